"""Sweeps of LiDARs and radars as nuScenes has them: moved to one time, velocities without the ego's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.release_reader import ReleaseReader
from scenelake.export.images import BATCH, Unusable
from scenelake.export.points import (
    COMPENSATED,
    LIDAR_COLUMNS,
    RADAR_COLUMNS,
    VELOCITY,
    Float32Array,
    finite,
    lidar_file,
    radar_file,
    sweeps,
)
from scenelake.export.summary import Summary
from scenelake.geometry.doppler import compensate_doppler
from scenelake.geometry.motion_compensation import compensate_points
from scenelake.geometry.trajectory import Trajectory
from scenelake.timebase.arrays import FloatArray, Int64Array


@dataclass(frozen=True, slots=True)
class SweepFile:
    """A file's bytes, and the points (n, 3 or more) in it, sensor frame."""

    data: bytes
    suffix: str
    points: Float32Array


@dataclass(frozen=True, slots=True)
class SweepMount:
    """What is known of the sensor at one sweep.

    Attributes:
        ego_from_sensor: None when unknown.
        is_compensated: the points are recorded as seen at the sweep's stamp already.
    """

    ego_from_sensor: FloatArray | None
    is_compensated: bool


class SweepReader:
    """Reads the sweeps of one scene.

    Args:
        is_compensated: LiDAR points are moved to the sweep's stamp, as nuScenes' are, where their times are known.
    """

    def __init__(
        self, reader: ReleaseReader, trajectory: Trajectory, summary: Summary, *, is_compensated: bool
    ) -> None:
        self._reader = reader
        self._trajectory = trajectory
        self._summary = summary
        self._is_compensated = is_compensated

    def files(self, modality: str, messages: pa.Table, mounts: Sequence[SweepMount]) -> Iterator[SweepFile | Unusable]:
        """A file for each message, in their order."""
        for points in self.points(modality, messages, mounts):
            if isinstance(points, Unusable):
                yield points
            elif modality == "lidar":
                yield SweepFile(lidar_file(points), "pcd.bin", points)
            else:
                yield SweepFile(radar_file(points), "pcd", points)

    def points(
        self, modality: str, messages: pa.Table, mounts: Sequence[SweepMount]
    ) -> Iterator[Float32Array | Unusable]:
        """Points of each message, sensor frame: (n, 5) or (n, 6), in the order of ``LIDAR_COLUMNS``, ``RADAR_COLUMNS``.

        Those without a place are left out.
        """
        columns = LIDAR_COLUMNS if modality == "lidar" else RADAR_COLUMNS
        read = (*columns, "offset_ns") if modality == "lidar" else columns
        for start in range(0, len(messages), BATCH):
            part = messages.slice(start, BATCH)
            rows = self._reader.payloads(part, read)
            has_points = pc.is_valid(rows["x_m"]).to_pylist()
            stamps_ns = part["timestamp_ns"].to_pylist()
            for i, points in enumerate(sweeps(rows, columns)):
                mount = mounts[start + i]
                if not has_points[i]:
                    yield Unusable("no_points", "")
                elif modality == "lidar":
                    yield self._finite(modality, self._moved(points, _offsets(rows, i), stamps_ns[i], mount))
                else:
                    yield self._finite(modality, self._without_ego(points, stamps_ns[i], mount.ego_from_sensor))

    def _moved(
        self, points: Float32Array, offset_ns: Int64Array | None, stamp_ns: int, mount: SweepMount
    ) -> Float32Array:
        if not self._is_compensated:
            return points
        if offset_ns is not None and len(offset_ns) != len(points):
            offset_ns = None
        found = compensate_points(
            points[:, :3].astype(np.float64), offset_ns, stamp_ns, self._trajectory,
            mount.ego_from_sensor, is_compensated=mount.is_compensated,
        )  # fmt: skip
        if found.points_m is None:
            reason = (found.problem or "").partition(":")[0]
            self._summary.leave_out("lidar motion compensation", reason, found.problem or "")
            return points
        moved = points.copy()
        moved[:, :3] = found.points_m
        return moved

    def _without_ego(self, points: Float32Array, stamp_ns: int, ego_from_sensor: FloatArray | None) -> Float32Array:
        """Fills the compensated velocity where the recording has none and it can be computed."""
        if not len(points) or not np.isnan(points[:, COMPENSATED]).all() or np.isnan(points[:, VELOCITY]).all():
            return points
        moving = self._trajectory.velocities_at(np.array([stamp_ns], np.int64))
        if ego_from_sensor is None or not moving.is_valid[0]:
            self._summary.leave_out("radar velocity compensation", "no_pose_or_extrinsic", str(stamp_ns))
            return points
        filled = points.copy()
        filled[:, COMPENSATED] = compensate_doppler(
            points[:, :3].astype(np.float64), points[:, VELOCITY].astype(np.float64), ego_from_sensor,
            moving.linear_m_s[0], moving.angular_rad_s[0],
        )  # fmt: skip
        return filled

    def _finite(self, modality: str, points: Float32Array) -> Float32Array:
        kept = finite(points)
        self._summary.leave_out(f"{modality} points", "not_finite", "", len(points) - len(kept))
        names = LIDAR_COLUMNS if modality == "lidar" else RADAR_COLUMNS
        for name, column in zip(names[3:], kept.T[3:], strict=True):
            if len(column) and np.isnan(column).all():
                self._summary.remark(f"{modality}: {name} is not known in some sweeps and is 0 there")
        return kept


def _offsets(rows: pa.Table, row: int) -> Int64Array | None:
    value = rows["offset_ns"][row]
    return None if not value.is_valid else np.asarray(value.values, np.int64)
