"""Values of recorded messages, checked on their way into columns: nothing that a column cannot hold gets past."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError, ScenelakeError
from scenelake.contracts.modalities import Modality

INT64_MAX = 2**63 - 1
_INT32_MAX = 2**31 - 1


class KeepRawError(ScenelakeError):
    """The message is sound, but there is no table for what it holds: keep its bytes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What a handler may know about the channel.

    Attributes:
        modality: said by metadata or topic, or found by an earlier message; None when still open.
    """

    topic: str
    schema_name: str
    modality: Modality | None


@dataclass(slots=True)
class Decoded:
    """What a handler made of one message.

    Attributes:
        rows: rows of the modality's table, without the columns that every row has.
        stamp_ns: the message's own time; None when it has none. Not yet checked for range.
        is_random_access: of a video frame, whether a decoder can start at it; None for anything else.
    """

    modality: Modality
    rows: list[dict[str, Any]]
    stamp_ns: int | None
    frame_id: str | None = None
    nbr_points: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    is_random_access: bool | None = None
    reason: str | None = None


def unexpected(what: str, value: object) -> BadInputError:
    return BadInputError(f"{what}: got {str(value)[:80]!r} ({type(value).__name__})", reason="field_unexpected")


def real(value: Any) -> float:
    """A number, NaN included, as float64."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unexpected("expected a number", value)
    try:
        return float(value)
    except OverflowError:
        raise unexpected("expected a float64", value) from None


def int32(value: Any) -> int:
    """An integer that fits int32."""
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT32_MAX - 1 <= value <= _INT32_MAX:
        raise unexpected("expected an int32", value)
    return value


def text(value: Any) -> str:
    """Text that is valid UTF-8 (JSON can carry lone surrogates)."""
    if not isinstance(value, str):
        raise unexpected("expected text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise unexpected("expected UTF-8 text", ascii(value)) from None
    return value


def texts(values: Any) -> list[str]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise unexpected("expected a list of texts", values)
    return [text(v) for v in values]


def reals(values: Any, length: int | None = None) -> list[float]:
    """Numbers as float64; ``length`` elements where it is given."""
    if isinstance(values, np.ndarray):
        numbers: list[float] = values.astype(np.float64).tolist()
    elif isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise unexpected("expected a list of numbers", values)
    else:
        numbers = [real(v) for v in values]
    if length is not None and len(numbers) != length:
        raise BadInputError(f"expected {length} numbers, got {len(numbers)}", reason="field_unexpected")
    return numbers


def octets(value: Any) -> np.ndarray | bytes:
    """A field of bytes: a uint8 or int8 array (CDR) or bytes (protobuf)."""
    if isinstance(value, bytes) or (isinstance(value, np.ndarray) and value.dtype.itemsize == 1):
        return value
    raise unexpected("expected bytes", value)


def octets_view(value: Any) -> memoryview:
    """The same without a copy, as unsigned bytes."""
    found: Any = octets(value)
    return memoryview(found).cast("B")


def covariance(values: Any) -> list[float] | None:
    """Covariance as recorded; None for the ROS convention that all zeros mean unknown."""
    numbers = reals(values)
    return numbers if any(numbers) else None


def pose(translation: Sequence[Any], rotation_wxyz: Sequence[Any]) -> dict[str, float]:
    """A transform in the columns' named form. The all-zero quaternion of an unset message is identity."""
    tx, ty, tz = (real(v) for v in translation)
    qw, qx, qy, qz = (real(v) for v in rotation_wxyz)
    norm = math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
    if norm == 0.0:
        qw, norm = 1.0, 1.0
    if not all(math.isfinite(v) for v in (tx, ty, tz, norm)):
        raise BadInputError("a pose holds NaN or infinity", reason="pose_not_finite")
    return {"tx_m": tx, "ty_m": ty, "tz_m": tz, "qw": qw / norm, "qx": qx / norm, "qy": qy / norm, "qz": qz / norm}


def ros_vector(message: dict[str, Any], name: str) -> list[float]:
    """x, y, z of a nested ``geometry_msgs/Vector3`` or ``Point``."""
    return [real(message[f"{name}.{axis}"]) for axis in "xyz"]


def ros_pose(message: dict[str, Any], position: str, orientation: str) -> dict[str, float]:
    return pose(ros_vector(message, position), [real(message[f"{orientation}.{axis}"]) for axis in "wxyz"])


def ros_stamp(message: dict[str, Any], name: str = "header.stamp") -> int:
    """A ``builtin_interfaces/Time`` in ns; nanoseconds beyond a second are kept as they add up."""
    return int(message[f"{name}.sec"]) * 1_000_000_000 + int(message[f"{name}.nanosec"])


def ros_header(message: dict[str, Any]) -> tuple[int, str | None]:
    """Stamp in ns and frame of a message with a header; an empty frame is none."""
    return ros_stamp(message), text(message["header.frame_id"]) or None


def protobuf_stamp(message: Any) -> int | None:
    """A Foxglove message's ``timestamp`` in ns; None when it is not set."""
    if not message.HasField("timestamp"):
        return None
    return int(message.timestamp.seconds) * 1_000_000_000 + int(message.timestamp.nanos)
