"""Calibrations of a drive's sensors, each with the time that it is valid for."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts import ids
from scenelake.contracts.modalities import Modality
from scenelake.geometry.poses import struct_from_pose
from scenelake.geometry.transform_tree import Chain, TransformTree, frame_name
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import Stream
from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.timebase.blocks import blocks
from scenelake.timebase.scratch import IN_MEMORY, Scratch

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
POSE_WIDTH = 7
_INTRINSICS = ("camera_model", "intrinsics", "distortion", "width_px", "height_px")


@dataclass(frozen=True, slots=True)
class ChannelCalibrations:
    """Calibrations of one channel in order of validity.

    Attributes:
        valid_from_ns: (k,) int64; each is valid up to the next.
        calibrated_sensor_ids: (k,) ids.
        moving: (n, 7) ``ego_from_sensor`` at each of the stream's rows in recording order, NaN where it is not known,
            where the sensor moves against the ego; else None.
    """

    valid_from_ns: Int64Array
    calibrated_sensor_ids: tuple[str, ...]
    moving: FloatArray | None = None

    def positions(self, timestamps_ns: Int64Array) -> Int64Array:
        """Which calibration applies at each stamp; the first also before its own start."""
        return np.maximum(np.searchsorted(self.valid_from_ns, timestamps_ns, side="right") - 1, 0).astype(np.int64)


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
    tree: TransformTree,
    *,
    rig_id: str,
    compensated: frozenset[str] = frozenset(),
    config: SynchroniseConfig,
    scratch: Scratch = IN_MEMORY,
) -> tuple[list[dict[str, Any]], dict[str, ChannelCalibrations]]:
    """Makes ``calibrated_sensor`` rows (without drive and date) for every sensor that names a frame or has
    calibration messages.

    A row begins where the intrinsics or a transform between sensor and ego are set to something else; equal
    calibrations in a row are one. A sensor that moves against the ego has its extrinsics at each of its messages
    instead. ``source`` says where each half came from, and why ``ego_from_sensor`` is null where it is.

    Args:
        calibration: rows of ``contracts.tables.CALIBRATION``.
        compensated: channels whose points the recording says to be motion compensated already.
    """
    rows: list[dict[str, Any]] = []
    by_channel: dict[str, ChannelCalibrations] = {}
    for stream in streams.values():
        if stream.modality not in _SENSORS or not len(stream):
            continue
        sensor = _sensor(stream, calibration, tree, config, scratch)
        if sensor is None:
            continue
        made = _rows(sensor, rig_id, is_compensated=stream.channel in compensated or None)
        rows.extend(made)
        starts = np.array([row["valid_from_ns"] for row in made], np.int64)
        names = tuple(row["calibrated_sensor_id"] for row in made)
        by_channel[stream.channel] = ChannelCalibrations(starts, names, sensor.moving)
    return rows, by_channel


@dataclass(frozen=True, slots=True)
class _Sensor:
    """One sensor's calibration over a drive, before it is cut into rows.

    Attributes:
        intrinsics: the first message of each run of equal ones, by time.
        chain: ``ego_from_sensor``; None when unknown.
    """

    stream: Stream
    frame: str | None
    intrinsics: list[dict[str, Any]]
    chain: Chain | None
    moving: FloatArray | None
    source: str


def _sensor(
    stream: Stream, calibration: pa.Table, tree: TransformTree, config: SynchroniseConfig, scratch: Scratch
) -> _Sensor | None:
    topic = calibration_channel(stream, calibration) if stream.modality in _WITH_INTRINSICS else None
    runs = _runs(calibration.filter(pc.equal(calibration["channel"], topic))) if topic else []
    frame = stream.frame_id or (runs[0]["frame_id"] if runs else None)
    if not frame and not runs:
        return None
    chain, moving, extrinsics = None, None, "unknown (no frame_id)"
    if frame:
        resolved = tree.resolve(config.ego_frame, frame)
        chain = resolved.chain
        extrinsics = f"unknown ({resolved.problem})" if chain is None else "static transforms"
    if chain is not None and chain.is_moving:
        moving, missing = _moving(chain, stream.recorded_ns, scratch)
        edges = ", ".join(str(edge) for edge in chain.edges if edge.is_moving)
        extrinsics = f"moving ({edges}), at each message; {missing} of {len(stream)} messages have none"
    return _Sensor(stream, frame, runs, chain, moving, f"intrinsics: {topic or 'none'}; extrinsics: {extrinsics}")


def _moving(chain: Chain, stamps_ns: Int64Array, scratch: Scratch) -> tuple[FloatArray, int]:
    """The chain at stamps (n,): poses (n, 7), and how many are not known."""
    poses = scratch.array(len(stamps_ns) * POSE_WIDTH, np.float64).reshape(-1, POSE_WIDTH)
    missing = 0
    for start, end in blocks(len(stamps_ns)):
        found = chain.at(stamps_ns[start:end])
        poses[start:end] = found.values
        missing += int(np.count_nonzero(~found.is_valid))
    return poses, missing


def _rows(sensor: _Sensor, rig_id: str, *, is_compensated: bool | None) -> list[dict[str, Any]]:
    contents = _contents(sensor)
    starts = [start for start, _ in contents]
    rows = []
    occurrences: Counter[str] = Counter()
    for (start, content), end in zip(contents, [*starts[1:], None], strict=True):
        content_hash = hashlib.sha256(ids.canonical_json(content).encode()).hexdigest()
        occurrence = occurrences[content_hash]
        occurrences[content_hash] += 1
        identity = ids.calibrated_sensor_id(rig_id, sensor.stream.channel, occurrence, content_hash)
        rows.append(
            content
            | {
                "calibrated_sensor_id": identity,
                "rig_id": rig_id,
                "channel": sensor.stream.channel,
                "valid_from_ns": start,
                "valid_to_ns": end,
                "is_motion_compensated": is_compensated,
                "source": sensor.source,
            }
        )
    return rows


def _contents(sensor: _Sensor) -> list[tuple[int, dict[str, Any]]]:
    """What the sensor's calibration was from which time on, by time, neighbours different.

    The first is valid from the sensor's first message: a latched calibration often arrives after what it describes.
    """
    chain = None if sensor.chain is None or sensor.chain.is_moving else sensor.chain
    set_ns = np.array([run["timestamp_ns"] for run in sensor.intrinsics], np.int64)
    moved_ns = np.empty(0, np.int64) if chain is None else chain.change_ns
    times_ns = np.unique(np.concatenate([sensor.stream.sorted_ns[:1], set_ns, moved_ns]))
    poses = None if chain is None else chain.at(times_ns)
    contents: list[tuple[int, dict[str, Any]]] = []
    for i, time_ns in enumerate(times_ns.tolist()):
        run = max(int(np.searchsorted(set_ns, time_ns, side="right")) - 1, 0)
        intrinsics = sensor.intrinsics[run] if sensor.intrinsics else dict.fromkeys(_INTRINSICS)
        pose = struct_from_pose(poses.values[i]) if poses is not None and poses.is_valid[i] else None
        content = {name: intrinsics[name] for name in _INTRINSICS}
        content |= {"frame_id": sensor.frame, "ego_from_sensor": pose}
        if not contents or contents[-1][1] != content:
            contents.append((time_ns, content))
    return contents


def _runs(calibration: pa.Table) -> list[dict[str, Any]]:
    """Messages of one calibration topic by time, the first of each run of equal ones."""
    runs: list[dict[str, Any]] = []
    for row in calibration.sort_by("timestamp_ns").to_pylist():
        if not runs or any(row[name] != runs[-1][name] for name in _INTRINSICS):
            runs.append(row)
    return runs
