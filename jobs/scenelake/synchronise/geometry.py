"""Calibrations with their validity, and ego poses that hide in transforms."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts import ids
from scenelake.contracts.modalities import Modality
from scenelake.contracts.tables import decoded_schema
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import Stream
from scenelake.synchronise.transforms import POSE_FIELDS, Edge, TransformTree, frame_name
from scenelake.synchronise.values import pose_matrix
from scenelake.timebase.arrays import Int64Array

_SENSORS = frozenset(
    {
        Modality.CAMERA,
        Modality.DEPTH,
        Modality.LIDAR,
        Modality.RADAR,
        Modality.RADAR_TRACK,
        Modality.IMU,
        Modality.GNSS,
    }
)
_WITH_INTRINSICS = (Modality.CAMERA, Modality.DEPTH)
_INTRINSICS = ("camera_model", "intrinsics", "distortion", "width_px", "height_px")


@dataclass(frozen=True, slots=True)
class ChannelCalibrations:
    """Calibrations of one channel in order of validity.

    Attributes:
        valid_from_ns: (k,) int64; each is valid up to the next.
        calibrated_sensor_ids: (k,) ids.
    """

    valid_from_ns: Int64Array
    calibrated_sensor_ids: tuple[str, ...]

    def positions(self, timestamps_ns: Int64Array) -> Int64Array:
        """Which calibration applies at each stamp; the first also before its own start."""
        return np.maximum(np.searchsorted(self.valid_from_ns, timestamps_ns, side="right") - 1, 0).astype(np.int64)


def static_tree(transforms: pa.Table) -> TransformTree:
    """The tree of the static transforms of a drive's ``transform`` table."""
    static = transforms.filter(pc.fill_null(transforms["is_static"], False)).sort_by("timestamp_ns")
    poses = pose_matrix(static["parent_from_child"])
    pairs = zip(static["parent_frame_id"].to_pylist(), static["child_frame_id"].to_pylist(), poses, strict=True)
    return TransformTree(Edge(parent, child, pose) for parent, child, pose in pairs if parent and child)


def calibration_channel(stream: Stream, calibration: pa.Table) -> str | None:
    """The calibration topic of a camera: the one whose parent is the longest prefix of the camera's topic,
    else the only one whose messages name the camera's frame."""
    frames: dict[str, set[str]] = {}
    for row in calibration.select(["channel", "frame_id"]).group_by(["channel", "frame_id"]).aggregate([]).to_pylist():
        frames.setdefault(row["channel"], set()).add(frame_name(row["frame_id"] or ""))
    parents = {topic: topic.rpartition("/")[0] for topic in sorted(frames)}
    near = [t for t, parent in parents.items() if parent and stream.channel.startswith(f"{parent}/")]
    if near:
        return max(near, key=lambda topic: len(parents[topic]))
    same_frame = [t for t in parents if stream.frame_id and frame_name(stream.frame_id) in frames[t]]
    return same_frame[0] if len(same_frame) == 1 else None


def calibrate(
    streams: Mapping[str, Stream],
    calibration: pa.Table,
    transforms: pa.Table,
    *,
    rig_id: str,
    config: SynchroniseConfig,
) -> tuple[list[dict[str, Any]], dict[str, ChannelCalibrations]]:
    """Makes ``calibrated_sensor`` rows (without drive and date) for every sensor that names a frame or has
    calibration messages. Equal calibrations in a row are one; ``source`` says where each half came from, and
    why ``ego_from_sensor`` is null where it is.

    Args:
        calibration: rows of ``contracts.tables.CALIBRATION``.
        transforms: rows of the ``transform`` table as decode left them.
    """
    tree = static_tree(transforms)
    rows: list[dict[str, Any]] = []
    by_channel: dict[str, ChannelCalibrations] = {}
    for stream in streams.values():
        if stream.modality not in _SENSORS or not len(stream.rows):
            continue
        made = _channel_rows(stream, calibration, tree, rig_id, config)
        if made:
            rows.extend(made)
            starts = np.array([row["valid_from_ns"] for row in made], np.int64)
            by_channel[stream.channel] = ChannelCalibrations(starts, tuple(r["calibrated_sensor_id"] for r in made))
    return rows, by_channel


def _channel_rows(
    stream: Stream, calibration: pa.Table, tree: TransformTree, rig_id: str, config: SynchroniseConfig
) -> list[dict[str, Any]]:
    topic = calibration_channel(stream, calibration) if stream.modality in _WITH_INTRINSICS else None
    runs = _runs(calibration.filter(pc.equal(calibration["channel"], topic))) if topic else []
    frame = stream.frame_id or (runs[0]["frame_id"] if runs else None)
    if not frame and not runs:
        return []
    resolved = tree.resolve(config.ego_frame, frame) if frame else None
    pose = None
    extrinsics = "unknown (no frame_id)"
    if resolved is not None:
        extrinsics = f"unknown ({resolved.problem})" if resolved.pose is None else "static transforms"
        pose = None if resolved.pose is None else dict(zip(POSE_FIELDS, resolved.pose.tolist(), strict=True))
    source = f"intrinsics: {topic or 'none'}; extrinsics: {extrinsics}"
    runs = runs or [dict.fromkeys(_INTRINSICS) | {"timestamp_ns": int(stream.sorted_ns[0])}]
    starts = [run["timestamp_ns"] for run in runs]
    # A latched calibration often arrives after the first frames that it describes.
    starts[0] = min(starts[0], int(stream.sorted_ns[0]))
    rows = []
    occurrences: Counter[str] = Counter()
    for run, start, end in zip(runs, starts, [*starts[1:], None], strict=True):
        content = {name: run[name] for name in _INTRINSICS} | {"frame_id": frame, "ego_from_sensor": pose}
        content_hash = hashlib.sha256(ids.canonical_json(content).encode()).hexdigest()
        calibrated_sensor_id = ids.calibrated_sensor_id(rig_id, stream.channel, occurrences[content_hash], content_hash)
        occurrences[content_hash] += 1
        rows.append(
            content
            | {
                "calibrated_sensor_id": calibrated_sensor_id,
                "rig_id": rig_id,
                "channel": stream.channel,
                "valid_from_ns": start,
                "valid_to_ns": end,
                "source": source,
            }
        )
    return rows


def _runs(calibration: pa.Table) -> list[dict[str, Any]]:
    """Messages of one calibration topic by time, the first of each run of equal ones."""
    runs: list[dict[str, Any]] = []
    for row in calibration.sort_by("timestamp_ns").to_pylist():
        if not runs or any(row[name] != runs[-1][name] for name in _INTRINSICS):
            runs.append(row)
    return runs


def poses_from_transforms(transforms: pa.Table, config: SynchroniseConfig) -> pa.Table:
    """Dynamic transforms from a world frame to the ego frame, as decoded ``ego_pose`` rows.

    Where a channel has several world frames the first of ``world_frames`` that it has is taken, so that a
    message gives one pose; equal stamps of one message keep the first.
    """
    schema = decoded_schema("ego_pose")
    is_ego = [
        not static and frame_name(child or "") == config.ego_frame and frame_name(parent or "") in config.world_frames
        for static, child, parent in zip(
            *(transforms[n].to_pylist() for n in ("is_static", "child_frame_id", "parent_frame_id")), strict=True
        )
    ]
    poses = transforms.filter(pa.array(is_ego, pa.bool_()))
    best = _best_world(poses, config.world_frames)
    keep = []
    seen: set[str] = set()
    wanted = ("channel", "parent_frame_id", "sample_data_id")
    for channel, parent, sample_data_id in zip(*(poses[n].to_pylist() for n in wanted), strict=True):
        is_kept = best[channel] == frame_name(parent) and sample_data_id not in seen
        seen.update([sample_data_id] if is_kept else [])
        keep.append(is_kept)
    kept = poses.filter(pa.array(keep, pa.bool_()))
    renamed = {"world_from_ego": "parent_from_child", "frame_id": "parent_frame_id"}
    columns = []
    for field in schema:
        name = renamed.get(field.name, field.name)
        if field.name == "source":
            columns.append(pa.array(["transform"] * len(kept), field.type))
        else:
            columns.append(
                kept[name].cast(field.type) if name in kept.column_names else pa.nulls(len(kept), field.type)
            )
    return pa.Table.from_arrays(columns, schema=schema)


def _best_world(poses: pa.Table, world_frames: Sequence[str]) -> dict[str, str]:
    best: dict[str, str] = {}
    pairs = poses.select(["channel", "parent_frame_id"]).group_by(["channel", "parent_frame_id"]).aggregate([])
    for row in pairs.to_pylist():
        parent = frame_name(row["parent_frame_id"])
        held = best.get(row["channel"], parent)
        best[row["channel"]] = min(held, parent, key=world_frames.index)
    return best
