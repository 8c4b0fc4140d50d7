"""Annotated boxes of one scene in the global frame, as nuScenes' instances and sample annotations."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.export.drives import Drive
from scenelake.export.nuscenes_tables import NuScenesTables, quaternion, token, translation
from scenelake.export.points import Float32Array
from scenelake.export.poses import count_inside, pose_of, poses_at
from scenelake.export.scenes import Scene, SceneSource
from scenelake.export.summary import Summary
from scenelake.geometry.poses import IDENTITY, compose, invert
from scenelake.geometry.trajectory import Trajectory
from scenelake.geometry.transform_tree import frame_name
from scenelake.timebase.arrays import FloatArray

_COLUMNS = (
    "sample_data_id", "timestamp_ns", "annotation_id", "track_id", "category", "frame_id", "sensor_from_box", "size_m",
)  # fmt: skip


@dataclass
class _Box:
    annotation_id: str
    instance: str
    category: str
    global_from_box: FloatArray
    size_m: FloatArray
    nbr_points: dict[str, int] = field(default_factory=lambda: {"lidar": 0, "radar": 0})


class SceneBoxes:
    """Boxes by sample: those of the message that the sample matches.

    Args:
        drive: names the frame of the trajectory's poses, and those of sensors that boxes may be in.
    """

    def __init__(
        self,
        source: SceneSource,
        scene: Scene,
        trajectory: Trajectory,
        drive: Drive,
        summary: Summary,
    ) -> None:
        self._scene = scene
        self._trajectory = trajectory
        self._world_frame = None if drive.world_frame is None else frame_name(drive.world_frame)
        self._summary = summary
        self._ego_from = drive.ego_from_frames()
        self._boxes: dict[int, list[_Box]] = defaultdict(list)
        for match in source.matches(scene):
            if match.modality == "annotation":
                rows = source.around(scene, "annotation", _COLUMNS)
                self._read(rows, match.frames.tolist(), match.messages["sample_data_id"])
                summary.measure_largest("largest_box_delta_ns", int(np.abs(match.delta_ns).max()))

    def count_points(
        self, modality: str, frame: int, points: Float32Array, global_from_ego: FloatArray, ego_from_sensor: FloatArray
    ) -> None:
        """Counts the points (n, 3 or more, sensor frame) of a sample's sweep that lie in its boxes."""
        boxes = self._boxes.get(frame)
        if not boxes:
            return
        sensor_from_global = invert(compose(global_from_ego, ego_from_sensor))
        xyz = points[:, :3].astype(np.float64)
        for box in boxes:
            sensor_from_box = compose(sensor_from_global, box.global_from_box)
            reach = float(np.linalg.norm(box.size_m)) / 2
            near = xyz[(np.abs(xyz - sensor_from_box[:3]) <= reach).all(axis=1)]
            box.nbr_points[modality] += count_inside(near, sensor_from_box, box.size_m)

    def write(self, tables: NuScenesTables, sample_tokens: list[str]) -> None:
        """Writes the boxes of the scene: instances, and annotations linked along them."""
        of_instance: dict[str, list[tuple[int, _Box]]] = {}
        for frame in sorted(self._boxes):
            for box in self._boxes[frame]:
                of_instance.setdefault(box.instance, []).append((frame, box))
        for instance, boxes in of_instance.items():
            names = ["", *(token("annotation", sample_tokens[f], b.annotation_id) for f, b in boxes), ""]
            category = token("category", boxes[0][1].category)
            tables.add_once("category", {"token": category, "name": boxes[0][1].category, "description": ""})
            tables.add(
                "instance",
                {
                    "token": instance,
                    "category_token": category,
                    "nbr_annotations": len(boxes),
                    "first_annotation_token": names[1],
                    "last_annotation_token": names[-2],
                },
            )
            for i, (frame, box) in enumerate(boxes):
                length, width, height = box.size_m.tolist()
                tables.add(
                    "sample_annotation",
                    {
                        "token": names[i + 1],
                        "sample_token": sample_tokens[frame],
                        "instance_token": instance,
                        "visibility_token": "",
                        "attribute_tokens": [],
                        "translation": translation(box.global_from_box),
                        "size": [width, length, height],
                        "rotation": quaternion(box.global_from_box),
                        "prev": names[i],
                        "next": names[i + 2],
                        "num_lidar_pts": box.nbr_points["lidar"],
                        "num_radar_pts": box.nbr_points["radar"],
                    },
                )
                self._summary.wrote("boxes")

    def _read(self, rows: pa.Table, frames: list[int], message_ids: pa.ChunkedArray) -> None:
        for frame, message_id in zip(frames, message_ids, strict=True):
            seen: set[str] = {box.instance for box in self._boxes[frame]}
            for row in rows.filter(pc.equal(rows["sample_data_id"], message_id)).to_pylist():
                pose, size = pose_of(row["sensor_from_box"]), row["size_m"]
                if pose is None or size is None or None in size or not np.isfinite(size).all():
                    self._summary.leave_out("boxes", "box_without_pose_or_size", row["annotation_id"])
                    continue
                global_from_frame = self._global_from(frame_name(row["frame_id"] or ""), row["timestamp_ns"])
                if global_from_frame is None:
                    self._summary.leave_out("boxes", "frame_unknown", f"frame {row['frame_id']!r}")
                    continue
                track = row["track_id"] or row["annotation_id"]
                instance = token("instance", self._scene.scene_id, row["category"] or "", track)
                if instance in seen:
                    self._summary.leave_out("boxes", "second_box_of_a_track_in_one_sample", row["annotation_id"])
                    continue
                seen.add(instance)
                placed = compose(global_from_frame, pose)
                self._boxes[frame].append(
                    _Box(row["annotation_id"], instance, row["category"] or "unknown", placed, np.array(size))
                )

    def _global_from(self, frame: str, timestamp_ns: int) -> FloatArray | None:
        if self._world_frame is not None and frame == self._world_frame:
            return IDENTITY
        if frame not in self._ego_from:
            return None
        global_from_ego = poses_at(self._trajectory, np.array([timestamp_ns], np.int64))[0][0]
        return compose(global_from_ego, self._ego_from[frame])
