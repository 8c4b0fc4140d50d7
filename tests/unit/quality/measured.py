"""Drives of cameras, LiDARs and radars made of decode's measurements: clean until a test changes a column."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from tests.unit.quality.recorded import Motion, facts, pose_rows, times

from scenelake.contracts.stages import ChannelClock
from scenelake.contracts.tables import DECODED
from scenelake.quality.baseline import Baseline, Baselines
from scenelake.quality.checks import Measurement
from scenelake.quality.evidence import DriveFacts

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SCENE_S = 20


def table(name: str, channel: str, stamps_ns: np.ndarray, scene: str, columns: Mapping[str, Any]) -> pa.Table:
    """Rows of one of decode's tables with their scene; columns that are not given are null."""
    schema = DECODED[name].schema.append(pa.field("scene_id", pa.string()))
    given = {
        "sample_data_id": [f"{scene} {channel} {i}" for i in range(len(stamps_ns))],
        "channel": [channel] * len(stamps_ns),
        "timestamp_ns": stamps_ns,
        "scene_id": [scene] * len(stamps_ns),
        **columns,
    }
    arrays = []
    for column in schema:
        values = given.get(column.name, [None] * len(stamps_ns))
        arrays.append(pa.array(values.tolist() if isinstance(values, np.ndarray) else values, column.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def clock(channel: str, modality: str, period_ns: int) -> ChannelClock:
    return ChannelClock(
        channel, modality, "sensor", 400, START, START + SCENE_S * SECOND, period_ns, 0, 0, 0, 0, 0, None, "utc"
    )


@dataclass
class Sensor:
    """Columns of one channel, per scene; a test changes them in place."""

    table: str
    channel: str
    modality: str
    rate_hz: float
    scenes: dict[int, dict[str, Any]] = field(default_factory=dict)

    def stamps(self, scene: int) -> np.ndarray:
        t = times(self.rate_hz)
        return START + scene * SCENE_S * SECOND + np.round(t * 1e9).astype(np.int64)


def camera(nbr_scenes: int = 3, channel: str = "/cam", measured_every: int = 10, seed: int = 0) -> Sensor:
    """A camera of 10 Hz whose every tenth frame is measured: textured everywhere but in the sky's eight tiles."""
    sensor = Sensor("image_statistic", channel, "camera", 10.0)
    for scene in range(nbr_scenes):
        random = np.random.default_rng((seed, scene))
        count = 10 * SCENE_S
        is_measured = np.arange(count) % measured_every == 0
        texture = 100.0 * 2.0 ** random.normal(0, 0.7, (count, 48))
        texture[:, :8] = 0.5
        luma = 100.0 + random.normal(0, 15, (count, 48))
        columns = {
            "payload_bytes": random.integers(90_000, 110_000, count),
            "fingerprint": random.integers(-(2**62), 2**62, count),
            "luma_mean": np.where(is_measured, 100.0 + random.normal(0, 3, count), np.nan),
            "luma_std": np.where(is_measured, 50.0, np.nan),
            "dark_fraction": np.where(is_measured, 0.01, np.nan),
            "bright_fraction": np.where(is_measured, 0.02, np.nan),
            "laplacian_variance": np.where(is_measured, 1500.0 * 2.0 ** random.normal(0, 0.1, count), np.nan),
        }
        sensor.scenes[scene] = {k: _nulled(v) for k, v in columns.items()} | {
            "tile_luma": [row.tolist() if ok else None for row, ok in zip(luma, is_measured, strict=True)],
            "tile_laplacian": [row.tolist() if ok else None for row, ok in zip(texture, is_measured, strict=True)],
            "image_problem": [None] * count,
        }
    return sensor


def lidar(nbr_scenes: int = 3, channel: str = "/lidar", rate_hz: float = 10.0, seed: int = 0) -> Sensor:
    """A LiDAR with returns all around, fewer in the upper rings, and its own mast in the lowest group."""
    sensor = Sensor("point_statistic", channel, "lidar", rate_hz)
    for scene in range(nbr_scenes):
        random = np.random.default_rng((seed, scene))
        count = int(rate_hz * SCENE_S)
        cells = random.poisson(np.repeat([30.0, 25.0, 12.0, 5.0], 72), (count, 288))
        shape = np.exp(-(((np.arange(32) - 14) / 5.0) ** 2))
        sensor.scenes[scene] = {
            "nbr_points": random.integers(19_000, 21_000, count),
            "nbr_invalid": np.zeros(count, np.int64),
            "nbr_not_finite": np.zeros(count, np.int64),
            "nbr_silent_rings": np.zeros(count, np.int64),
            "fingerprint": random.integers(-(2**62), 2**62, count),
            "sector_counts": cells.tolist(),
            "range_counts": random.poisson(300 * shape, (count, 32)).tolist(),
            "intensity_counts": random.poisson(300 * np.roll(shape, 8), (count, 32)).tolist(),
        }
    return sensor


def radar(nbr_scenes: int = 3, channel: str = "/radar", motion: Motion | None = None) -> Sensor:
    """A radar whose Doppler agrees with how the car moves."""
    sensor = Sensor("point_statistic", channel, "radar", 10.0)
    for scene in range(nbr_scenes):
        random = np.random.default_rng(scene)
        count = 10 * SCENE_S
        speed = (motion or Motion()).speed_m_s(times(10.0))
        sensor.scenes[scene] = {
            "nbr_points": random.integers(40, 60, count),
            "nbr_invalid": np.zeros(count, np.int64),
            "fingerprint": random.integers(-(2**62), 2**62, count),
            "doppler_speed_m_s": speed + random.normal(0, 0.05, count),
            "doppler_inlier_fraction": np.full(count, 0.8),
        }
    return sensor


def drive(
    *sensors: Sensor, motion: Motion | None = None, has_poses: bool = True, baselines: Baselines | None = None
) -> DriveFacts:
    """Facts of some sensors on a car that moves (or stands) the same way in every scene."""
    tables = [
        (s.table, table(s.table, s.channel, s.stamps(k), f"scene-{k}", columns))
        for s in sensors
        for k, columns in s.scenes.items()
    ]
    nbr_scenes = max((k for s in sensors for k in s.scenes), default=0) + 1
    if has_poses:
        t = times(50.0)
        for scene in range(nbr_scenes):
            name, rows = pose_rows(t, (motion or Motion()).poses(t))
            moved = pa.array(rows["timestamp_ns"].to_numpy() + scene * SCENE_S * SECOND)
            rows = rows.set_column(rows.schema.get_field_index("timestamp_ns"), "timestamp_ns", moved)
            names = pa.array([f"scene-{scene}"] * len(rows))
            tables.append((name, rows.set_column(rows.schema.get_field_index("scene_id"), "scene_id", names)))
    made = facts(tables, baselines, nbr_scenes)
    return replace(made, clocks={s.channel: clock(s.channel, s.modality, int(1e9 / s.rate_hz)) for s in sensors})


def baselines_from(measurements: list[Measurement]) -> Baselines:
    """What some measurements, and the statistics in their evidence, make usual."""
    values: dict[tuple[str, str], list[float]] = {}
    for m in measurements:
        if m.measured is not None:
            values.setdefault((m.channel or "", m.check.name), []).append(m.measured)
        for name, value in m.evidence.get("statistics", {}).items():
            values.setdefault((m.channel or "", f"{m.check.name}:{name}"), []).append(value)
    return Baselines(
        "test",
        {
            key: Baseline(
                len(of), float(np.median(of)), float(np.median(np.abs(np.array(of) - np.median(of)))), min(of), max(of)
            )
            for key, of in values.items()
        },
    )


def _nulled(values: np.ndarray) -> list[Any]:
    if values.dtype.kind != "f":
        return list(values.tolist())
    return [None if np.isnan(v) else v for v in values.tolist()]
