"""Where a robot went in a scene, as its poses tell: what other sensors are compared with."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.trajectory import Trajectory, Velocities
from scenelake.quality.evidence import DriveFacts
from scenelake.quality.series import bounded, quantile, stamps_of
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

STEP_NS = 20_000_000
"""Of the grid on which signals are compared: a fifth of the window that velocities are averaged over."""

MAX_SPAN_NS = 3600 * 1_000_000_000
"""Of a scene, so that a stray stamp cannot make a grid that fills the memory."""

AT_REST_M_S = 0.05
AT_REST_RAD_S = 0.02
"""Below both, wheels stand: a walking pace is twenty times as fast, and 2 mm of noise in poses make less."""

MOVING_M_S = 0.5
"""Below this speed a disagreement says more about the noise than about a sensor."""


@dataclass(frozen=True, slots=True)
class EgoPath:
    """Poses of one scene and the motion that they make.

    Attributes:
        channel: that the poses are of.
        grid_ns: (m,) every ``STEP_NS`` from the first to the last pose.
        motion: at the grid; NaN where no poses are near.
        speed_m_s: (m,).
    """

    channel: str
    trajectory: Trajectory
    grid_ns: Int64Array
    motion: Velocities
    speed_m_s: FloatArray

    @property
    def yaw_rad_s(self) -> FloatArray:
        """About the ego's z axis, which points up: (m,)."""
        return np.asarray(self.motion.angular_rad_s[:, 2], np.float64)

    @property
    def is_moving(self) -> bool:
        """For a tenth of the scene at least."""
        return bool(quantile(self.speed_m_s, 0.9) > MOVING_M_S)

    def at_rest(self, times_ns: Int64Array) -> tuple[BoolArray, BoolArray]:
        """Of times (k,): whether the robot is known to stand, and whether anything is known."""
        if not len(self.grid_ns):
            return np.zeros(len(times_ns), np.bool_), np.zeros(len(times_ns), np.bool_)
        at = np.clip((times_ns - self.grid_ns[0]) // STEP_NS, 0, len(self.grid_ns) - 1)
        is_inside = (times_ns >= self.grid_ns[0]) & (times_ns <= self.grid_ns[-1] + STEP_NS)
        turn = np.linalg.norm(self.motion.angular_rad_s, axis=1)
        stands = (self.speed_m_s < AT_REST_M_S) & (turn < AT_REST_RAD_S)
        return stands[at], is_inside & self.motion.is_valid[at]


def ego_paths(facts: DriveFacts) -> dict[str, EgoPath]:
    """By scene, of the drive's richest channel of poses (of equally rich ones the first by name)."""
    groups = list(facts.groups("ego_pose"))
    counts: Counter[str] = Counter()
    for _, channel, rows in groups:
        counts[channel] += len(rows)
    if not counts:
        return {}
    reference = min(counts, key=lambda channel: (-counts[channel], channel))
    paths = {}
    for scene, channel, rows in groups:
        if channel == reference:
            poses = bounded(pose_matrix(rows["world_from_ego"]))
            paths[scene.scene_id] = path_of(channel, Trajectory.of(stamps_of(rows), poses))
    return paths


def path_of(channel: str, trajectory: Trajectory) -> EgoPath:
    """The motion along a trajectory."""
    grid_ns = np.empty(0, np.int64)
    if len(trajectory):
        first_ns, last_ns = int(trajectory.stamps_ns[0]), int(trajectory.stamps_ns[-1])
        grid_ns = np.arange(first_ns, min(last_ns, first_ns + MAX_SPAN_NS) + 1, STEP_NS, dtype=np.int64)
    motion = trajectory.velocities_at(grid_ns)
    return EgoPath(channel, trajectory, grid_ns, motion, np.linalg.norm(motion.linear_m_s, axis=1))
