"""Annotated boxes of a scene, each where it stands: in the world, or with the ego."""

from dataclasses import dataclass

import numpy as np

from scenelake.export.poses import pose_of
from scenelake.export.summary import Summary
from scenelake.geometry.poses import IDENTITY, compose
from scenelake.geometry.transform_tree import frame_name
from scenelake.timebase.arrays import FloatArray
from scenelake.view.opened import OpenedScene

_COLUMNS = ("sample_data_id", "annotation_id", "track_id", "category", "frame_id", "sensor_from_box", "size_m")


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a message.

    Attributes:
        is_world: ``parent_from_box`` (7,) is in the world frame, else in the ego's at the message's time.
        size_m: (3,) length along its x, width along y, height along z.
    """

    category: str
    track_id: str
    is_world: bool
    parent_from_box: FloatArray
    size_m: FloatArray


def read_boxes(opened: OpenedScene, summary: Summary) -> dict[str, list[Box]]:
    """Boxes by message. Those without a place or in a frame that nobody knows are counted in the summary."""
    world = opened.drive.world_frame and frame_name(opened.drive.world_frame)
    parents = {frame: (False, pose) for frame, pose in opened.drive.ego_from_frames().items()}
    if world:
        parents[world] = (True, IDENTITY)
    found: dict[str, list[Box]] = {}
    for row in opened.source.around(opened.scene, "annotation", _COLUMNS).to_pylist():
        pose, size = pose_of(row["sensor_from_box"]), row["size_m"]
        parent = parents.get(frame_name(row["frame_id"] or ""))
        if pose is None or size is None or len(size) != 3 or None in size or not np.isfinite(size).all():
            summary.leave_out("boxes", "box_without_pose_or_size", row["annotation_id"])
        elif parent is None:
            summary.leave_out("boxes", "frame_unknown", f"frame {row['frame_id']!r}")
        else:
            is_world, parent_from_frame = parent
            box = Box(
                row["category"] or "unknown", row["track_id"] or "", is_world, compose(parent_from_frame, pose),
                np.array(size, np.float64),
            )  # fmt: skip
            found.setdefault(row["sample_data_id"], []).append(box)
    return found
