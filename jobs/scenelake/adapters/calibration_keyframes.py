"""Keyframes of a drive with their payload, for the camera-LiDAR check: a sample of them, one at a time.

Cost: storage is read by row groups of sweeps and of images (32 MiB each at most), so keyframes are taken in stretches
of neighbours, which share them; a keyframe decodes a grey, reduced image per camera.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg

from scenelake.adapters.objects import Objects, read_table
from scenelake.adapters.payload_rows import PayloadRows
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import MessageStatus, Modality
from scenelake.decode.raw_images import RAW_ENCODINGS, rgb_of_raw
from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.camera import is_known_model
from scenelake.geometry.poses import normalised, pose_from_struct
from scenelake.geometry.trajectory import Trajectory
from scenelake.quality.calibration.image_edges import CameraView, GreyImage
from scenelake.quality.calibration.keyframes import WINDOW_FRAMES, Keyframe, Sweep, TakenImage, alignment_table
from scenelake.timebase.arrays import FloatArray, Int64Array

MAX_KEYFRAMES = 300
"""Of one drive: three windows of an hour, at a few per cent of what its decode takes."""
SHARE = 0.2
"""Of a drive's keyframes: a tenth of what its decode takes. A drive of four minutes then has a window."""
MIN_STEP_NS = 400_000_000
"""Between keyframes, on average: at so much the check was tried."""
STRETCH_NS = 15_000_000_000
"""Of neighbouring keyframes: a row group holds some two seconds of a LiDAR, or of six cameras."""
LEAST_WIDTH_PX = 640
"""Wider images are decoded at the nearest eighth above that: 0.15° a pixel with a field of view of 90°."""
CACHE_BYTES = 96 * 1024**2

_IMAGE_COLUMNS = ("sample_data_id", "image", "image_format", "width_px", "height_px", "row_stride_bytes")
_SWEEP_COLUMNS = ("sample_data_id", "x_m", "y_m", "z_m", "ring", "offset_ns")
_STILL = frozenset(("jpeg", "jpg", "png"))


@dataclass(frozen=True, slots=True)
class _Message:
    """One message of a keyframe: its ``sample_data`` row and its sensor's calibration."""

    row: Mapping[str, Any]
    sensor: Mapping[str, Any]
    ego_from_sensor: FloatArray


def camera_lidar_alignment(
    objects: Objects,
    folder: str,
    tables: Mapping[str, pa.Table],
    max_keyframes: int = MAX_KEYFRAMES,
    share: float = SHARE,
    min_keyframes: int = WINDOW_FRAMES,
) -> pa.Table:
    """``ALIGNMENT_SCHEMA`` rows of one drive.

    Args:
        folder: synchronise's folder of the drive.
        tables: its ``sample_data``, ``sync_index`` and ``calibrated_sensor``, and decode's ``ego_pose`` where there
            is one.
        max_keyframes: 0 for none.
        share: of the drive's keyframes, at most.
        min_keyframes: of a drive that has fewer nothing is read: a part of a window shows little and costs as much.
    """
    trajectory = _trajectory(objects, folder, tables.get("ego_pose"))
    found = calibration_keyframes(
        objects, tables["sample_data"], tables["sync_index"], tables["calibrated_sensor"],
        max_keyframes, share, min_keyframes,
    )  # fmt: skip
    return alignment_table(found, trajectory)


def calibration_keyframes(
    objects: Objects,
    sample_data: pa.Table,
    sync_index: pa.Table,
    calibrated_sensor: pa.Table,
    max_keyframes: int,
    share: float = 1.0,
    min_keyframes: int = 0,
) -> Iterator[Keyframe]:
    """Keyframes in stretches spread over a drive, in order of time, with images and sweep.

    Unreadable payload is skipped.

    The LiDAR is the one with the most matched keyframes; cameras need extrinsics, intrinsics and a known lens model.
    """
    sensors = {row["calibrated_sensor_id"]: row for row in calibrated_sensor.to_pylist()}
    wanted = pc.field("is_match") & pc.field("modality").isin([Modality.CAMERA, Modality.LIDAR])
    matches = sync_index.filter(wanted).select(["sample_id", "modality", "channel", "sample_data_id"])
    payload = PayloadRows(objects, CACHE_BYTES)
    for messages in _chosen(matches, sample_data, sensors, max_keyframes, share, min_keyframes):
        sweep = _sweep(payload, messages[0])
        if sweep is not None:
            images = (_image(payload, message) for message in messages[1:])
            yield Keyframe(sweep, tuple(image for image in images if image is not None))


def _chosen(
    matches: pa.Table,
    sample_data: pa.Table,
    sensors: Mapping[str, Mapping[str, Any]],
    most: int,
    share: float,
    least: int,
) -> Iterator[list[_Message]]:
    """The LiDAR's message and then the cameras' of each keyframe that is looked at."""
    lidars = matches.filter(pc.equal(matches["modality"], Modality.LIDAR))
    if not len(lidars) or most <= 0:
        return
    counts = lidars["channel"].value_counts().to_pylist()
    lidar = max(sorted(counts, key=lambda c: str(c["values"])), key=lambda c: c["counts"])["values"]
    mine = lidars.filter(pc.equal(lidars["channel"], lidar))
    at = pc.index_in(mine["sample_data_id"], value_set=sample_data["sample_data_id"])
    times = np.asarray(sample_data["timestamp_ns"].take(at.drop_null()), np.int64)
    samples = np.asarray(mine["sample_id"].filter(pc.is_valid(at)).to_pylist(), object)
    order = np.argsort(times, kind="stable")
    picked = samples[order[stretches(times[order], most, share)]].tolist()
    if len(picked) < least:
        return
    ids = matches.filter(pc.is_in(matches["sample_id"], value_set=pa.array(picked, pa.string())))
    rows = sample_data.filter(pc.is_in(sample_data["sample_data_id"], value_set=ids["sample_data_id"]))
    by_id = {row["sample_data_id"]: row for row in rows.to_pylist()}
    of_sample: dict[str, list[Mapping[str, Any]]] = {}
    for match in ids.to_pylist():
        if match["sample_data_id"] in by_id and (match["modality"] != Modality.LIDAR or match["channel"] == lidar):
            of_sample.setdefault(match["sample_id"], []).append(by_id[match["sample_data_id"]])
    for sample in picked:
        messages = [m for row in of_sample[sample] if (m := _message(row, sensors)) is not None]
        messages.sort(key=lambda m: (m.row["modality"] != Modality.LIDAR, m.row["channel"]))
        if len(messages) > 1 and messages[0].row["modality"] == Modality.LIDAR:
            yield messages


def stretches(times_ns: Int64Array, most: int, share: float) -> Int64Array:
    """Positions of neighbouring times, in stretches spread evenly over all of them.

    Args:
        times_ns: (n,) ascending, n > 0.
        most: of them.
        share: of those that are ``MIN_STEP_NS`` apart.
    """
    span_ns = int(times_ns[-1] - times_ns[0])
    usable = min(len(times_ns), span_ns // MIN_STEP_NS + 1)
    stepped = np.arange(usable) * len(times_ns) // usable
    count = min(most, math.ceil(share * usable))
    each = max(usable * STRETCH_NS // max(span_ns, STRETCH_NS), 1)
    nbr_stretches = math.ceil(count / each)
    sizes = np.diff(np.arange(nbr_stretches + 1) * count // nbr_stretches)
    starts = np.arange(nbr_stretches) * usable // nbr_stretches
    parts = [stepped[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    return np.unique(np.concatenate(parts))


def _message(row: Mapping[str, Any], sensors: Mapping[str, Mapping[str, Any]]) -> _Message | None:
    """A message with what is known of its sensor; None where it cannot be used."""
    sensor = sensors.get(row["calibrated_sensor_id"])
    if sensor is None or row["status"] != MessageStatus.DECODED or row["payload_file"] is None:
        return None
    given = row.get("ego_from_sensor") or sensor["ego_from_sensor"]
    if given is None or None in given.values() or row["row_index"] is None:
        return None
    pose = normalised(pose_from_struct(given))
    if not np.isfinite(pose).all():
        return None
    if row["modality"] == Modality.CAMERA and not (
        _is_matrix(sensor["intrinsics"]) and is_known_model(sensor["camera_model"])
    ):
        return None
    return _Message(row, sensor, pose)


def _is_matrix(values: Sequence[float | None] | None) -> bool:
    """Nine finite numbers with focal lengths above 0."""
    matrix = np.array([] if values is None else values, np.float64)
    return len(matrix) == 9 and bool(np.isfinite(matrix).all()) and min(matrix[0], matrix[4]) > 0


def _payload(payload: PayloadRows, message: _Message, columns: tuple[str, ...]) -> Mapping[str, Any] | None:
    """The payload row that the message names; None where it is gone or another."""
    try:
        found = payload.take(message.row["payload_file"], [message.row["row_index"]], columns)
    except (FileNotFoundError, IndexError, BadInputError):
        return None
    # Lists stay Arrow: a sweep as Python floats would take a hundred times its size.
    row = {name: found[name][0] for name in found.column_names}
    return row if row["sample_data_id"].as_py() == message.row["sample_data_id"] else None


def _sweep(payload: PayloadRows, message: _Message) -> Sweep | None:
    row = _payload(payload, message, _SWEEP_COLUMNS)
    if row is None:
        return None
    parts = {name: _values(row.get(name)) for name in _SWEEP_COLUMNS[1:]}
    xyz = [axis for name in ("x_m", "y_m", "z_m") if (axis := parts[name]) is not None]
    if len(xyz) != 3 or len({len(axis) for axis in xyz}) != 1:
        return None
    points = np.stack(xyz, axis=1).astype(np.float64)
    ring, offset_ns = (
        None if part is None or len(part) != len(points) else np.asarray(part, np.int64)
        for part in (parts["ring"], parts["offset_ns"])
    )
    return Sweep(
        message.row["channel"], message.row["timestamp_ns"], points, ring, offset_ns, message.ego_from_sensor,
        bool(message.sensor["is_motion_compensated"]),
    )  # fmt: skip


def _values(value: pa.ListScalar | None) -> np.ndarray | None:
    if value is None or not value.is_valid or value.values.null_count:
        return None
    return np.asarray(value.values.to_numpy(zero_copy_only=False))


def _image(payload: PayloadRows, message: _Message) -> TakenImage | None:
    found = _payload(payload, message, _IMAGE_COLUMNS)
    if found is None:
        return None
    row = {name: value.as_py() for name, value in found.items()}
    grey = _grey(row)
    if grey is None:
        return None
    sensor = message.sensor
    height, width = grey.shape
    full = sensor["width_px"] or row["width_px"] or width, sensor["height_px"] or row["height_px"] or height
    scale = np.array([width / full[0], height / full[1]])
    matrix = np.array(sensor["intrinsics"], np.float64).reshape(3, 3)
    matrix[:2] *= scale[:, None]
    # Pixel centres are whole numbers: the middle of a reduced pixel is half a pixel farther in.
    matrix[:2, 2] += 0.5 * scale - 0.5
    distortion = None if sensor["distortion"] is None else np.array(sensor["distortion"], np.float64)
    view = CameraView(message.ego_from_sensor, matrix, distortion, sensor["camera_model"], (width, height))
    return TakenImage(message.row["channel"], message.row["timestamp_ns"], grey, view)


def _grey(row: Mapping[str, Any]) -> GreyImage | None:
    """A grey, reduced image; None for video and for what does not decode, which other checks tell."""
    data, kind = row["image"], row["image_format"]
    try:
        if kind in ("jpeg", "jpg"):
            return np.asarray(
                simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_width=LEAST_WIDTH_PX)[..., 0], np.uint8
            )
        if kind in RAW_ENCODINGS:
            grey = cv2.cvtColor(rgb_of_raw(row), cv2.COLOR_RGB2GRAY)
        elif kind in _STILL:
            grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        else:
            return None
    except (ValueError, cv2.error):
        return None
    if grey is None:
        return None
    step = max(grey.shape[1] // LEAST_WIDTH_PX, 1)
    if step > 1:
        grey = cv2.resize(grey, (grey.shape[1] // step, grey.shape[0] // step), interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _trajectory(objects: Objects, folder: str, decoded: pa.Table | None) -> Trajectory:
    """The poses that rule the drive: recorded ones, or those that synchronise found in transforms."""
    (ruling,) = read_table(objects, f"{folder}/drive.parquet")["ego_pose_channel"].to_pylist()
    parts = [read_table(objects, f"{folder}/ego_pose.parquet"), *([] if decoded is None else [decoded])]
    names = ["channel", "timestamp_ns", "world_from_ego"]
    rows = pa.concat_tables([part.select(names) for part in parts], promote_options="default")
    mine = rows.filter(pc.equal(rows["channel"], pa.scalar(ruling, pa.string())))
    return Trajectory.of(np.asarray(mine["timestamp_ns"], np.int64), pose_matrix(mine["world_from_ego"]))
