"""What LiDARs, radars and annotators saw at one keyframe, in the ego frame there."""

import numpy as np

from scenelake.export.images import Unusable
from scenelake.export.nuscenes_sweeps import SweepReader
from scenelake.export.points import COMPENSATED, VELOCITY
from scenelake.export.summary import Summary
from scenelake.geometry.poses import compose, transform
from scenelake.timebase.arrays import FloatArray
from scenelake.view.boxes import Box, read_boxes
from scenelake.view.opened import OpenedScene
from scenelake.view.panels import FromAbove
from scenelake.view.tracks import read_tracks

_SWEPT = ("lidar", "radar")
_SEEING = (*_SWEPT, "radar_track")


def busiest_frame(opened: OpenedScene) -> int | None:
    """The keyframe nearest to the middle of those that most LiDARs and radars have a match for; None without any."""
    count = np.zeros(len(opened.stamps_ns), np.int64)
    for match in opened.matches.values():
        if match.modality in _SEEING:
            count[match.frames] += 1
    if not count.any():
        return None
    best = np.flatnonzero(count == count.max())
    return int(best[np.abs(best - len(count) // 2).argmin()])


def seen_from_above(opened: OpenedScene, frame: int, summary: Summary) -> FromAbove:
    """Gathers what the keyframe matches; LiDAR points are moved to one time where that is possible."""
    clouds, returns = [np.empty((0, 3))], [np.empty((0, 4))]
    reader = SweepReader(opened.source.reader, opened.trajectory, summary, is_compensated=True)
    notes = []
    for match in opened.matches.values():
        at = np.flatnonzero(match.frames == frame)
        if match.modality not in _SWEPT or not len(at):
            continue
        messages = match.messages.take(at)
        mount = opened.mounts(messages)[0]
        if mount.ego_from_sensor is None:
            notes.append(f"{match.channel}: extrinsics unknown, shown as if at the ego's origin")
        (points,) = reader.points(match.modality, messages, [mount])
        if isinstance(points, Unusable):
            continue
        place = _place(opened, frame, messages["timestamp_ns"][0].as_py(), mount.ego_from_sensor)
        xyz = transform(place, points[:, :3].astype(np.float64))
        if match.modality == "lidar":
            clouds.append(xyz)
        else:
            known = ~np.isnan(points[:, COMPENSATED])
            speed = np.where(known, points[:, COMPENSATED], points[:, VELOCITY])
            returns.append(np.column_stack([xyz, speed]))
    returns += _tracks(opened, frame, summary)
    boxes = _boxes(opened, frame, summary)
    return FromAbove(frame, np.concatenate(clouds), np.concatenate(returns), boxes, notes)


def _tracks(opened: OpenedScene, frame: int, summary: Summary) -> list[FloatArray]:
    """Tracks of radars as returns (n, 4) whose velocity is not known."""
    matched = [m for m in opened.matches.values() if m.modality == "radar_track" and frame in m.frames]
    every = read_tracks(opened, summary) if matched else {}
    found = []
    for match in matched:
        message = match.messages.slice(int(np.searchsorted(match.frames, frame)), 1).to_pylist()[0]
        places = every.get(message["sample_data_id"], np.empty((0, 3)))
        moved = transform(opened.ego_from_ego(int(opened.stamps_ns[frame]), message["timestamp_ns"]), places)
        found.append(np.column_stack([moved, np.full(len(moved), np.nan)]))
    return found


def _place(opened: OpenedScene, frame: int, stamp_ns: int, ego_from_sensor: FloatArray | None) -> FloatArray:
    """The sensor at its own time as seen from the ego at the keyframe."""
    moved = opened.ego_from_ego(int(opened.stamps_ns[frame]), stamp_ns)
    return moved if ego_from_sensor is None else compose(moved, ego_from_sensor)


def _boxes(opened: OpenedScene, frame: int, summary: Summary) -> list[tuple[Box, FloatArray]]:
    matched = [m for m in opened.matches.values() if m.modality == "annotation" and frame in m.frames]
    every = read_boxes(opened, summary) if matched else {}
    ego_from_world = opened.ego_from_world(int(opened.stamps_ns[frame]))
    found = []
    for match in matched:
        message = match.messages.slice(int(np.searchsorted(match.frames, frame)), 1).to_pylist()[0]
        moved = opened.ego_from_ego(int(opened.stamps_ns[frame]), message["timestamp_ns"])
        for box in every.get(message["sample_data_id"], []):
            found.append((box, compose(ego_from_world if box.is_world else moved, box.parent_from_box)))
    return found
