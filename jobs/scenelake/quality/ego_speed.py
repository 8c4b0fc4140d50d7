"""How fast the robot is, from its poses or, without them, from a receiver."""

import numpy as np

from scenelake.quality.ego_path import ego_paths
from scenelake.quality.evidence import DriveFacts
from scenelake.quality.series import scalars, stamps_of
from scenelake.timebase.arrays import FloatArray, Int64Array

_NEAR_NS = 1_000_000_000


class EgoSpeed:
    """Speeds over a drive."""

    def __init__(self, facts: DriveFacts) -> None:
        self._known: dict[str, tuple[Int64Array, FloatArray]] = {}
        for scene, _, rows in facts.groups("gnss"):
            self._keep(scene.scene_id, stamps_of(rows), scalars(rows, "ground_speed_m_s"))
        for scene_id, path in ego_paths(facts).items():
            self._keep(scene_id, path.grid_ns, path.speed_m_s)

    def _keep(self, scene_id: str, stamps_ns: Int64Array, speed_m_s: FloatArray) -> None:
        is_known = np.isfinite(speed_m_s)
        if is_known.any():
            self._known[scene_id] = stamps_ns[is_known], speed_m_s[is_known]

    def at(self, scene_id: str, at_ns: Int64Array) -> FloatArray:
        """Speed in m/s at times (n,); NaN where none is known within a second."""
        if scene_id not in self._known or not len(at_ns):
            return np.full(len(at_ns), np.nan)
        stamps_ns, speed_m_s = self._known[scene_id]
        after = np.minimum(np.searchsorted(stamps_ns, at_ns), len(stamps_ns) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(stamps_ns[after] - at_ns) < np.abs(stamps_ns[before] - at_ns), after, before)
        is_near = np.abs(stamps_ns[nearest] - at_ns) <= _NEAR_NS
        return np.asarray(np.where(is_near, speed_m_s[nearest], np.nan), np.float64)
