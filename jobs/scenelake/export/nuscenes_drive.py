"""What the scenes of one drive share: its log, the poses that rule, and its calibrations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.export.nuscenes_tables import NuScenesTables, date_of, lake_token, quaternion, token, translation
from scenelake.export.poses import pose_of, trajectory_of
from scenelake.export.scenes import Scene, SceneSource
from scenelake.export.summary import Summary
from scenelake.geometry.poses import IDENTITY
from scenelake.geometry.trajectory import Trajectory
from scenelake.timebase.arrays import FloatArray

_CALIBRATION_COLUMNS = (
    "calibrated_sensor_id", "channel", "frame_id", "ego_from_sensor", "camera_model", "intrinsics", "distortion",
    "is_motion_compensated",
)  # fmt: skip
_NBR_INTRINSICS = 9


@dataclass(frozen=True, slots=True)
class Drive:
    """One drive.

    Attributes:
        pose_channel: channel of ``ego_pose`` that rules; None without poses.
        world_frame: frame of its poses.
        calibrations: rows of ``calibrated_sensor`` by id.
    """

    drive_id: str
    pose_channel: str | None
    world_frame: str | None
    calibrations: Mapping[str, Mapping[str, Any]]

    def trajectory(self, source: SceneSource, scene: Scene) -> Trajectory:
        """Poses of a scene and of its neighbours."""
        rows = source.around(scene, "ego_pose", ("channel", "timestamp_ns", "world_from_ego"))
        return trajectory_of(rows.filter(pc.equal(rows["channel"], self.pose_channel or "")))

    def ego_from_sensor(self, message: Mapping[str, Any]) -> FloatArray | None:
        """Extrinsics of a message: its own where the sensor moves against the ego, else its calibration's."""
        row = self.calibrations.get(message["calibrated_sensor_id"] or "", {})
        own = pose_of(message["ego_from_sensor"])
        return pose_of(row.get("ego_from_sensor")) if own is None else own

    def is_compensated(self, message: Mapping[str, Any]) -> bool:
        """Whether the recording says that a sweep's points are as seen at its stamp already."""
        row = self.calibrations.get(message["calibrated_sensor_id"] or "", {})
        return bool(row.get("is_motion_compensated"))


def open_drive(source: SceneSource, scene: Scene, tables: NuScenesTables, summary: Summary) -> Drive:
    """Reads what a scene's drive says of itself, and writes its log."""
    row = source.drives[scene.drive_id]
    tables.add_once(
        "log",
        {
            "token": lake_token(scene.drive_id),
            "logfile": f"{row['fleet']}/{row['robot_id']}/{row['drive_name']}",
            "vehicle": row["robot_id"],
            "date_captured": date_of(row["start_ns"]),
            "location": row["location"] or "",
        },
    )
    channel, frame = row.get("ego_pose_channel"), row.get("world_frame_id")
    if channel is None:
        channel, frame = _most_poses(source, scene.drive_id)
    if channel is None:
        summary.remark(
            f"drive {scene.drive_id} has no ego pose: its global frame is the ego's own at each moment (identity)"
        )
    rows = source.rows(scene.scene_id, "calibrated_sensor", _CALIBRATION_COLUMNS).to_pylist()
    return Drive(scene.drive_id, channel, frame, {r["calibrated_sensor_id"]: r for r in rows})


def _most_poses(source: SceneSource, drive_id: str) -> tuple[str | None, str | None]:
    """Channel and frame with most poses, for releases whose drives do not say which rule."""
    ids = [s.scene_id for s in source.scenes if s.drive_id == drive_id]
    poses: pa.Table = source.reader.rows("ego_pose", ids, ("channel", "frame_id"))
    counted = poses.group_by(["channel", "frame_id"]).aggregate([([], "count_all")]).to_pylist()
    if not counted:
        return None, None
    best = min(counted, key=lambda r: (-r["count_all"], r["channel"], r["frame_id"] or ""))
    return best["channel"], best["frame_id"]


def add_calibration(
    tables: NuScenesTables,
    drive: Drive,
    message: Mapping[str, Any],
    name: str,
    summary: Summary,
) -> str:
    """Writes a message's sensor and calibration on their first use, and returns the calibration's token."""
    channel, modality = message["channel"], message["modality"]
    found = drive.ego_from_sensor(message)
    if found is None:
        summary.remark(f"{channel} of drive {drive.drive_id}: extrinsics are unknown: identity stands in")
    sensor = token("sensor", name)
    tables.add_once("sensor", {"token": sensor, "channel": name, "modality": modality})
    moving = message["sample_data_id"] if message["ego_from_sensor"] is not None else ""
    own = token("calibrated_sensor", drive.drive_id, message["calibrated_sensor_id"] or "", name, moving)
    pose = IDENTITY if found is None else found
    row: dict[str, Any] = {"token": own, "sensor_token": sensor}
    row |= {"translation": translation(pose), "rotation": quaternion(pose), "camera_intrinsic": []}
    if modality == "camera":
        camera = _camera(drive.calibrations.get(message["calibrated_sensor_id"] or "", {}))
        if not camera:
            summary.remark(f"{channel} of drive {drive.drive_id}: intrinsics are unknown and left empty")
        row |= camera
    tables.add_once("calibrated_sensor", row)
    return own


def _camera(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """The pinhole matrix, and the distortion that nuScenes has no column for."""
    intrinsics = calibration.get("intrinsics")
    if intrinsics is None or len(intrinsics) != _NBR_INTRINSICS or not np.isfinite(intrinsics).all():
        return {}
    distortion = [float(v) for v in calibration["distortion"] or [] if np.isfinite(v)]
    matrix = np.reshape(intrinsics, (3, 3)).tolist()
    return {"camera_intrinsic": matrix, "camera_distortion": distortion, "camera_model": calibration["camera_model"]}
