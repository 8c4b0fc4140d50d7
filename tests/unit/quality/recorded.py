"""Drives made of arrays: what the checks of signals look at, without a recording."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.tables import GOLD
from scenelake.geometry.wgs84 import geodetic_from_enu
from scenelake.quality.baseline import Baselines
from scenelake.quality.checks import Bound, Measurement
from scenelake.quality.evidence import DriveFacts, SceneFacts

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SCENE_S = 20
GRAVITY = 9.80665
ORIGIN = np.array([48.1, 11.5, 500.0])

Measure = Callable[[DriveFacts], Iterator[Measurement]]


def rows(name: str, channel: str, stamps_ns: np.ndarray, scene: str = "scene-0", **columns: Any) -> pa.Table:
    """Rows of a small table; columns that are not given are null. Arrays (n, w) become lists."""
    schema = GOLD[name].schema
    given = {
        "sample_data_id": [f"{scene} {channel} {i}" for i in range(len(stamps_ns))],
        "channel": [channel] * len(stamps_ns),
        "timestamp_ns": stamps_ns,
        "scene_id": [scene] * len(stamps_ns),
        **columns,
    }
    arrays = []
    for field in schema:
        values = given.get(field.name, [None] * len(stamps_ns))
        arrays.append(pa.array(values.tolist() if isinstance(values, np.ndarray) else values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def facts(
    tables: Iterable[tuple[str, pa.Table]], baselines: Baselines | None = None, nbr_scenes: int = 1
) -> DriveFacts:
    """A drive of scenes of ``SCENE_S`` with some rows."""
    scenes = tuple(
        SceneFacts(
            f"scene-{k}", "drive", START + k * SCENE_S * SECOND, START + (k + 1) * SCENE_S * SECOND, 40,
            date(2023, 11, 14), {}, frozenset(),
        )
        for k in range(nbr_scenes)
    )  # fmt: skip
    parts: dict[str, list[pa.Table]] = {}
    for name, part in tables:
        parts.setdefault(name, []).append(part)
    order = [(name, "ascending") for name in ("scene_id", "channel", "timestamp_ns")]
    made = {name: pa.concat_tables(of).sort_by(order) for name, of in parts.items()}
    empty = pa.table({})
    return DriveFacts(scenes, {}, empty, empty, (), tables=made, robot_id="r", baselines=baselines or Baselines())


def is_bad(found: Measurement) -> bool:
    """Whether a measurement is beyond the check's own limit."""
    if found.measured is None:
        return False
    if found.check.bound is Bound.MIN:
        return found.measured < found.check.limit
    return found.measured > max(found.check.limit, found.check.per_scale * (found.scale or 0.0))


def judged(drive: DriveFacts, measures: Iterable[Measure]) -> tuple[set[str], dict[str, Measurement]]:
    """Names of the checks that fail anywhere, and the measurement of each that is furthest out."""
    found = [m for measure in measures for m in measure(drive)]
    for m in found:
        assert m.measured is None or np.isfinite(m.measured)
        json.dumps(dict(m.evidence), allow_nan=False)
    worst: dict[str, Measurement] = {}
    for m in sorted(found, key=lambda m: -np.inf if m.measured is None else m.measured):
        worst[m.check.name] = m
    return {m.check.name for m in found if is_bad(m)}, worst


@dataclass
class Motion:
    """A car that bends, brakes and speeds up for 20 s on a plane, by time in seconds since the scene's start."""

    is_standing: bool = False

    def speed_m_s(self, t: np.ndarray) -> np.ndarray:
        return 0.0 * t if self.is_standing else 10.0 + 3.0 * np.sin(2 * np.pi * t / 11.0)

    def acceleration_m_s2(self, t: np.ndarray) -> np.ndarray:
        return 0.0 * t if self.is_standing else 3.0 * 2 * np.pi / 11.0 * np.cos(2 * np.pi * t / 11.0)

    def yaw_rad_s(self, t: np.ndarray) -> np.ndarray:
        wave = 0.25 * np.sin(2 * np.pi * t / 7.3) + 0.1 * np.sin(2 * np.pi * t / 3.1 + 1.0)
        return 0.0 * t if self.is_standing else wave

    def poses(self, t: np.ndarray) -> np.ndarray:
        """(n, 7) at ascending times."""
        fine = np.arange(-1.0, SCENE_S + 1.0, 1e-3)
        yaw = np.cumsum(self.yaw_rad_s(fine)) * 1e-3
        x, y = (np.cumsum(self.speed_m_s(fine) * f(yaw)) * 1e-3 for f in (np.cos, np.sin))
        angle = np.interp(t, fine, yaw)
        zero = np.zeros(len(t))
        return np.stack(
            [np.interp(t, fine, x), np.interp(t, fine, y), zero, np.cos(angle / 2), zero, zero, np.sin(angle / 2)],
            axis=1,
        )


def times(rate_hz: float, duration_s: float = SCENE_S) -> np.ndarray:
    return np.arange(int(duration_s * rate_hz)) / rate_hz


def stamps(t: np.ndarray) -> np.ndarray:
    return START + np.round(np.asarray(t) * 1e9).astype(np.int64)


def imu_values(motion: Motion, t: np.ndarray, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Specific force and turn rate (n, 3) of an IMU that looks forward, with a consumer part's noise."""
    random = np.random.default_rng(seed)
    yaw = motion.yaw_rad_s(t)
    force = np.stack([motion.acceleration_m_s2(t), motion.speed_m_s(t) * yaw, np.full(len(t), GRAVITY)], axis=1)
    turn = np.stack([0.0 * t, 0.0 * t, yaw], axis=1)
    return force + random.normal(0, 0.05, force.shape), turn + random.normal(0, 0.003, turn.shape) + 0.002


def imu_rows(
    t: np.ndarray, force: Any, turn: Any, channel: str = "/imu", scene: str = "scene-0"
) -> tuple[str, pa.Table]:
    return "imu", rows(
        "imu", channel, stamps(t), scene, linear_acceleration_m_s2=force, angular_velocity_rad_s=turn,
        frame_id=["imu"] * len(t),
    )  # fmt: skip


def pose_rows(t: np.ndarray, poses: np.ndarray, channel: str = "/pose", **columns: Any) -> tuple[str, pa.Table]:
    names = ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz")
    structs = [dict(zip(names, pose, strict=True)) for pose in poses.tolist()]
    return "ego_pose", rows("ego_pose", channel, stamps(t), world_from_ego=structs, **columns)


def fix_rows(t: np.ndarray, enu_m: np.ndarray, channel: str = "/gnss", **columns: Any) -> tuple[str, pa.Table]:
    geodetic = geodetic_from_enu(enu_m, ORIGIN)
    named = dict(zip(("latitude_deg", "longitude_deg", "altitude_m"), geodetic.T, strict=True))
    return "gnss", rows("gnss", channel, stamps(t), **(named | {"fix_status": [0] * len(t)} | columns))
