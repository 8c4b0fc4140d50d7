"""What the scenes of one drive share, as nuScenes has it: its log, its sensors and their calibrations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scenelake.export.drives import Drive, read_drive
from scenelake.export.nuscenes_tables import NuScenesTables, date_of, lake_token, quaternion, token, translation
from scenelake.export.scenes import Scene, SceneSource
from scenelake.export.summary import Summary
from scenelake.geometry.poses import IDENTITY

_NBR_INTRINSICS = 9


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
    drive = read_drive(source, scene)
    if drive.pose_channel is None:
        summary.remark(
            f"drive {scene.drive_id} has no ego pose: its global frame is the ego's own at each moment (identity)"
        )
    return drive


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
