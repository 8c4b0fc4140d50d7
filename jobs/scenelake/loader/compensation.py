"""The ego's own motion taken out of sweeps, by the poses of the release (docs/decisions/0015)."""

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.doppler import compensate_doppler
from scenelake.geometry.motion_compensation import compensate_points
from scenelake.geometry.poses import pose_of
from scenelake.geometry.trajectory import Trajectory
from scenelake.loader.reading import Calibration, LoaderReader

Float32Array = NDArray[np.float32]

OFFSET = "offset_ns"
VELOCITY, COMPENSATED = "radial_velocity_m_s", "radial_velocity_compensated_m_s"

_NOWHERE = Trajectory(np.empty(0, np.int64), np.empty((0, 7)))


class EgoMotion:
    """Where the ego is in some scenes: by the poses that rule their drives, at the times that were recorded.

    Args:
        drives: drive of each scene.
    """

    def __init__(self, reader: LoaderReader, drives: Mapping[str, str]) -> None:
        self._drives = drives
        scene_ids = list(drives)
        ruling = reader.rows("drive", scene_ids, ["drive_id", "ego_pose_channel"]).to_pylist()
        channels = {row["drive_id"]: row["ego_pose_channel"] for row in ruling if row["ego_pose_channel"]}
        columns = ["drive_id", "channel", "timestamp_ns", "world_from_ego"]
        rows = reader.rows("ego_pose", scene_ids, columns, sorted(set(channels.values())))
        self._trajectories: dict[str, Trajectory] = {}
        for drive_id, channel in channels.items():
            mine = rows.filter(pc.and_(pc.equal(rows["drive_id"], drive_id), pc.equal(rows["channel"], channel)))
            self._trajectories[drive_id] = Trajectory.of(
                np.asarray(mine["timestamp_ns"], np.int64), pose_matrix(mine["world_from_ego"])
            )

    def of(self, scene_id: str) -> Trajectory:
        """``world_from_ego`` around a scene; without poses where there are none."""
        return self._trajectories.get(self._drives.get(scene_id, ""), _NOWHERE)


def still_points(
    xyz_m: Float32Array,
    offset_ns: NDArray[np.int64] | None,
    stamp_ns: int,
    trajectory: Trajectory,
    sensor: Calibration | None,
) -> Float32Array | None:
    """Points (n, 3) of a LiDAR, as seen at the sweep's stamp, sensor frame; None where that cannot be told."""
    if sensor is None or sensor.ego_from_sensor is None:
        return None
    if offset_ns is not None and len(offset_ns) != len(xyz_m):
        offset_ns = None
    found = compensate_points(
        xyz_m.astype(np.float64), offset_ns, stamp_ns, trajectory, _pose(sensor.ego_from_sensor),
        is_compensated=sensor.is_motion_compensated,
    )  # fmt: skip
    return None if found.points_m is None else found.points_m.astype(np.float32)


def own_velocity(
    xyz_m: Float32Array, measured_m_s: Float32Array, stamp_ns: int, trajectory: Trajectory, sensor: Calibration | None
) -> Float32Array | None:
    """(n,) Doppler of a radar's points without the ego's motion; None where that cannot be told."""
    moving = trajectory.velocities_at(np.array([stamp_ns], np.int64))
    if sensor is None or sensor.ego_from_sensor is None or not moving.is_valid[0]:
        return None
    return compensate_doppler(
        xyz_m.astype(np.float64), measured_m_s.astype(np.float64), _pose(sensor.ego_from_sensor),
        moving.linear_m_s[0], moving.angular_rad_s[0],
    ).astype(np.float32)  # fmt: skip


def _pose(ego_from_sensor: NDArray[np.float64]) -> NDArray[np.float64]:
    return pose_of(ego_from_sensor[:3, :3], ego_from_sensor[:3, 3])
