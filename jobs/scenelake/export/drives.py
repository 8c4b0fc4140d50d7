"""What the scenes of one drive share: the poses that rule, and its calibrations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from scenelake.export.poses import pose_of, trajectory_of
from scenelake.export.scenes import Scene, SceneSource
from scenelake.geometry.poses import IDENTITY
from scenelake.geometry.trajectory import Trajectory
from scenelake.geometry.transform_tree import frame_name
from scenelake.timebase.arrays import FloatArray

EGO_FRAMES = ("base_link", "ego")
_CALIBRATION_COLUMNS = (
    "calibrated_sensor_id", "channel", "frame_id", "ego_from_sensor", "camera_model", "intrinsics", "distortion",
    "width_px", "height_px", "is_motion_compensated",
)  # fmt: skip


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

    def ego_from_frames(self) -> dict[str, FloatArray]:
        """``ego_from_frame`` by name: the ego's own frame, and those of calibrated sensors."""
        found = {frame: IDENTITY for frame in EGO_FRAMES}
        for row in self.calibrations.values():
            pose = pose_of(row["ego_from_sensor"])
            if row["frame_id"] and pose is not None:
                found.setdefault(frame_name(row["frame_id"]), pose)
        return found


def read_drive(source: SceneSource, scene: Scene) -> Drive:
    """Reads what a scene's drive says of itself."""
    row = source.drives[scene.drive_id]
    channel, frame = row.get("ego_pose_channel"), row.get("world_frame_id")
    if channel is None:
        channel, frame = _most_poses(source, scene.drive_id)
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
