"""Where the ego and the boxes are, for a recording."""

from collections.abc import Sequence

import numpy as np
import rerun as rr

from scenelake.export.poses import poses_at
from scenelake.geometry.poses import IDENTITY, compose
from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.view.boxes import Box, read_boxes
from scenelake.view.opened import NO_FRAME
from scenelake.view.stream import EGO, WORLD, Columns, Stream
from scenelake.view.tracks import read_tracks

_XYZW = (4, 5, 6, 3)
"""Columns of a pose in the order of Rerun's quaternions."""
_PLACED = (("camera", "camera_frame"), ("depth", "depth_frame"), ("lidar", "lidar_sweep"), ("radar", "radar_sweep"))
_PATH_COLOUR = (255, 190, 60)
_TRACK_RADIUS_M, _TRACK_COLOUR = 0.4, (230, 80, 220)


def transform_columns(parent_from_child: FloatArray) -> Columns:
    """Transforms of poses (n, 7)."""
    columns: Columns = rr.Transform3D.columns(
        translation=parent_from_child[:, :3].astype(np.float32),
        quaternion=parent_from_child[:, _XYZW].astype(np.float32),
    )
    return columns


def log_ego(stream: Stream) -> None:
    """The ego's pose whenever a sensor saw something, so that it saw it from there; and its path."""
    opened = stream.opened
    stream.log_static(WORLD, rr.ViewCoordinates.RIGHT_HAND_Z_UP)
    stamps_ns, poses = opened.path()
    if not len(stamps_ns):
        stream.summary.remark("there are no ego poses: the world is the ego's frame at each moment")
        return
    seen_ns = [c.stamps_ns for kind, table in _PLACED for c in opened.channels(kind, table)]
    times_ns = np.unique(np.concatenate([stamps_ns, opened.stamps_ns, *seen_ns]))
    found, is_between = poses_at(opened.trajectory, times_ns)
    stream.summary.leave_out("ego poses", "no_pose_on_both_sides_so_the_nearest_is_shown", "", int((~is_between).sum()))
    placed = compose(opened.local_from_world, found)
    stream.send(EGO, times_ns, _frames_at(times_ns, opened.stamps_ns), lambda at: transform_columns(placed[at]))
    line = poses[:, :3].astype(np.float32)
    stream.log_static(f"{WORLD}/ego_path", rr.LineStrips3D([line], colors=[_PATH_COLOUR]))
    stream.summary.wrote("ego poses", len(times_ns))


def _frames_at(times_ns: Int64Array, keyframes_ns: Int64Array) -> Int64Array:
    """The keyframe at exactly each time."""
    if not len(keyframes_ns):
        return np.full(len(times_ns), NO_FRAME, np.int64)
    at = np.searchsorted(keyframes_ns, times_ns).clip(0, len(keyframes_ns) - 1)
    return np.where(keyframes_ns[at] == times_ns, at, NO_FRAME).astype(np.int64)


def log_boxes(stream: Stream) -> None:
    """Boxes of annotators: under the world or under the ego, as they were given."""
    opened = stream.opened
    channels = list(opened.channels("annotation", "annotation"))
    every = read_boxes(opened, stream.summary) if channels else {}
    for channel in channels:
        boxes = [every.get(name, []) for name in channel.messages["sample_data_id"].to_pylist()]
        for parent, is_world, moved in ((WORLD, True, opened.local_from_world), (EGO, False, IDENTITY)):
            mine = [[_moved(b, moved) for b in row if b.is_world == is_world] for row in boxes]
            if any(mine):
                at = np.arange(len(mine))
                stream.send_items(stream.entity(parent, channel), channel, at, mine, _box_columns)
        stream.summary.wrote("boxes", sum(map(len, boxes)))


def log_tracks(stream: Stream) -> None:
    """What radars follow by themselves, under the ego."""
    channels = list(stream.opened.channels("radar_track", "radar_track"))
    every = read_tracks(stream.opened, stream.summary) if channels else {}
    for channel in channels:
        names = channel.messages["sample_data_id"].to_pylist()
        places = [every.get(name, np.empty((0, 3))) for name in names]
        entity = stream.entity(EGO, channel)
        stream.send_items(entity, channel, np.arange(len(places)), places, _track_columns)
        stream.log_static(entity, rr.Points3D.from_fields(radii=[_TRACK_RADIUS_M], colors=[_TRACK_COLOUR]))
        stream.summary.wrote("radar tracks", sum(map(len, places)))


def _track_columns(places: Sequence[FloatArray]) -> Columns:
    columns: Columns = rr.Points3D.columns(positions=np.concatenate(places).astype(np.float32)).partition(
        [len(p) for p in places]
    )
    return columns


def _moved(box: Box, target_from_parent: FloatArray) -> Box:
    pose = compose(target_from_parent, box.parent_from_box)
    return Box(box.category, box.track_id, box.is_world, pose, box.size_m)


def _box_columns(rows: Sequence[Sequence[Box]]) -> Columns:
    flat = [box for row in rows for box in row]
    poses = np.array([b.parent_from_box for b in flat]).reshape(-1, 7)
    columns: Columns = rr.Boxes3D.columns(
        centers=poses[:, :3].astype(np.float32),
        quaternions=poses[:, _XYZW].astype(np.float32),
        half_sizes=np.array([b.size_m / 2 for b in flat], np.float32).reshape(-1, 3),
        labels=[f"{b.category} {b.track_id[:8]}".strip() for b in flat],
    ).partition([len(row) for row in rows])
    return columns
