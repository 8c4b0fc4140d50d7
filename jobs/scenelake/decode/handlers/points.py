"""Point clouds: packed points of any layout become columns, without a Python step per point."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, KeepRawError, octets, pose, protobuf_stamp, ros_header, text
from scenelake.geometry.poses import pose_from_struct, rotation_matrix

_ROS_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_FOXGLOVE_TYPES = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}
_MAX_FIELDS = 64
_MAX_OFFSET_S = 1e6

_INTENSITY = ("intensity", "i")
_RING = ("ring", "laser_number", "channel")
_OFFSET_NS = ("offset_ns", "t")
_OFFSET_S = ("time", "offset_s")
_DOPPLER = ("radial_velocity", "vr", "doppler", "velocity")
_DOPPLER_COMPENSATED = ("radial_velocity_compensated", "vr_comp")
_RCS = ("rcs",)

FieldLayout = tuple[tuple[str, str, int], ...]
"""Name, NumPy type and offset in bytes of each field of a point."""


@dataclass(frozen=True, slots=True)
class _Points:
    """Packed points as recorded: one structured array and what travels with it."""

    array: np.ndarray
    stamp_ns: int | None
    frame_id: str | None
    reason: str | None


def ros_point_cloud(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``sensor_msgs/PointCloud2``; organised clouds are read row by row of ``row_step`` bytes."""
    stamp_ns, frame_id = ros_header(message)
    order = ">" if message["is_bigendian"] else "<"
    listed = message["fields"]
    if not isinstance(listed, list) or len(listed) > _MAX_FIELDS:
        raise BadInputError(f"expected up to {_MAX_FIELDS} point fields", reason="points_layout_invalid")
    layout = tuple(
        (text(f["name"]), order + _ROS_TYPES[f["datatype"]], int(f["offset"]))
        for f in listed
        if f["datatype"] in _ROS_TYPES and f["count"] in (0, 1)
    )
    shape = (int(message["height"]), int(message["width"]))
    array, reason = _view(_packed(message["data"]), layout, int(message["point_step"]), shape, int(message["row_step"]))
    return _decoded(_Points(array, stamp_ns, frame_id, reason), channel)


def foxglove_point_cloud(message: Any, channel: ChannelFacts) -> Decoded:
    """``foxglove.PointCloud``; a pose other than identity is applied to the points (frame: ``frame_id``)."""
    if len(message.fields) > _MAX_FIELDS:
        raise BadInputError(f"expected up to {_MAX_FIELDS} point fields", reason="points_layout_invalid")
    layout = tuple(
        (text(f.name), "<" + _FOXGLOVE_TYPES[f.type], int(f.offset))
        for f in message.fields
        if f.type in _FOXGLOVE_TYPES
    )
    data, stride = _packed(message.data), int(message.point_stride)
    nbr_points = len(data) // stride if stride else 0
    array, reason = _view(data, layout, stride, (1, nbr_points), nbr_points * stride)
    decoded = _decoded(_Points(array, protobuf_stamp(message), message.frame_id or None, reason), channel)
    if message.HasField("pose"):
        at, turn = message.pose.position, message.pose.orientation
        _apply_pose(decoded.rows[0], pose((at.x, at.y, at.z), (turn.w, turn.x, turn.y, turn.z)))
    return decoded


def _packed(data: Any) -> np.ndarray:
    return np.frombuffer(octets(data), np.uint8)


@lru_cache(maxsize=256)
def _point_type(layout: FieldLayout, step: int) -> np.dtype:
    names: dict[str, tuple[str, int]] = {}
    for name, code, offset in layout:
        if offset < 0 or offset + np.dtype(code).itemsize > step:
            raise BadInputError(
                f"field {name!r} ends at byte {offset + np.dtype(code).itemsize} of a {step}-byte point",
                reason="points_layout_invalid",
            )
        names.setdefault(name, (code, offset))
    return np.dtype(
        {
            "names": list(names),
            "formats": [code for code, _ in names.values()],
            "offsets": [offset for _, offset in names.values()],
            "itemsize": step,
        }
    )


def _view(
    data: np.ndarray, layout: FieldLayout, step: int, shape: tuple[int, int], row_step: int
) -> tuple[np.ndarray, str | None]:
    height, width = shape
    if height * width == 0:
        return np.empty(0, _point_type(layout, max(step, 1))), "points_trailing_bytes" if len(data) else None
    if height == 1:
        row_step = width * step
    needed = (height - 1) * row_step + width * step
    if step <= 0 or row_step < width * step or needed > len(data):
        raise BadInputError(
            f"{height}x{width} points of {step} bytes in rows of {row_step} contradict {len(data)} bytes of data",
            reason="points_size_contradicted",
        )
    array = np.ndarray(shape, _point_type(layout, step), data, 0, (row_step, step)).reshape(-1)
    return array, "points_trailing_bytes" if len(data) > max(needed, height * row_step) else None


def _decoded(points: _Points, channel: ChannelFacts) -> Decoded:
    names = points.array.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise KeepRawError("points_without_xyz")
    is_radar = channel.modality is Modality.RADAR or (channel.modality is None and _find(points, _DOPPLER) is not None)
    row: dict[str, Any] = {"nbr_points": len(points.array)}
    row.update({f"{axis}_m": _column(points.array[axis], np.float32) for axis in "xyz"})
    reason = points.reason
    if is_radar:
        row["radial_velocity_m_s"] = _optional(points, _DOPPLER, np.float32)
        row["radial_velocity_compensated_m_s"] = _optional(points, _DOPPLER_COMPENSATED, np.float32)
        row["radar_cross_section_dbsm"] = _optional(points, _RCS, np.float32)
    else:
        row["intensity"] = _optional(points, _INTENSITY, np.float32)
        row["ring"], ring_reason = _integers(_find(points, _RING), np.int32)
        row["offset_ns"], offset_reason = _offsets(points)
        reason = reason or ring_reason or offset_reason
    return Decoded(
        Modality.RADAR if is_radar else Modality.LIDAR,
        [row],
        points.stamp_ns,
        points.frame_id,
        nbr_points=row["nbr_points"],
        reason=reason,
    )


def _find(points: _Points, names: tuple[str, ...]) -> np.ndarray | None:
    present = points.array.dtype.names or ()
    return next((points.array[name] for name in names if name in present), None)


def _column(values: np.ndarray, kind: type[np.generic]) -> np.ndarray:
    """The values as they lie, with their stride, where they have the kind already."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(kind, copy=False)


def _optional(points: _Points, names: tuple[str, ...], kind: type[np.generic]) -> np.ndarray | None:
    values = _find(points, names)
    return None if values is None else _column(values, kind)


def _integers(values: np.ndarray | None, kind: type[np.signedinteger]) -> tuple[np.ndarray | None, str | None]:
    if values is None:
        return None, None
    limits = np.iinfo(kind)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return None, "ring_out_of_range"
    if len(values) and not (values.min() >= limits.min and values.max() <= limits.max):
        return None, "ring_out_of_range"
    return _column(values, kind), None


def _offsets(points: _Points) -> tuple[np.ndarray | None, str | None]:
    """Point times relative to the header stamp, in ns."""
    exact = _find(points, _OFFSET_NS)
    if exact is not None and exact.dtype.kind in "iu":
        return _column(exact, np.int64), None
    seconds = _find(points, _OFFSET_S)
    if seconds is None or seconds.dtype.kind != "f":
        return None, None
    if not (np.isfinite(seconds).all() and (np.abs(seconds) < _MAX_OFFSET_S).all()):
        return None, "point_time_out_of_range"
    return np.rint(seconds.astype(np.float64) * 1e9).astype(np.int64), None


def _apply_pose(row: dict[str, Any], frame_from_points: dict[str, float]) -> None:
    moving = pose_from_struct(frame_from_points)
    shift, rotation = moving[:3], rotation_matrix(moving[3:])
    if moving[3] == 1.0 and not shift.any():
        return
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.stack([row["x_m"], row["y_m"], row["z_m"]]).astype(np.float64)
        moved = rotation @ moved + shift[:, None]
        row["x_m"], row["y_m"], row["z_m"] = moved.astype(np.float32)
