"""Depth images: what makes an image one, and the pixels' unit.

Sources: REP 118 (16UC1 holds millimetres, 32FC1 metres); compressed_depth_image_transport of image_transport_plugins:
12 bytes (int32 format, float32 a and b), then a PNG, or for RVL the width, the height and the codes. Floating-point
depth is quantised there as ``pixel = a / metres + b``.
"""

import math
import struct
from typing import Any

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, KeepRawError, int32

_UNIT_M = {"16UC1": 0.001, "mono16": 0.001, "32FC1": 1.0}
_HEAD = struct.Struct("<iff")
_RVL_SIZE = struct.Struct("<ii")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">IIBB")
_PNG_HEADER_AT = 16
_GREY_16 = (16, 0)
MAX_SIDE_PX = 65_536


def is_depth(channel: ChannelFacts, encoding: str) -> bool:
    """An encoding that can be depth, on a channel that is said to be: 16-bit grey is also what thermal cameras send."""
    if encoding not in _UNIT_M:
        return False
    return channel.modality is Modality.DEPTH or (channel.modality is None and "depth" in channel.topic.lower())


def depth_columns(encoding: str) -> dict[str, Any]:
    """Columns of ``depth_frame`` that say what a pixel is."""
    return {"depth_encoding": "32FC1" if encoding == "32FC1" else "16UC1", "depth_unit_m": _UNIT_M[encoding]}


def is_depth_png(channel: ChannelFacts, image: memoryview) -> bool:
    """A 16-bit grey PNG on a depth channel."""
    head = bytes(image[: _PNG_HEADER_AT + _PNG_HEADER.size])
    if not head.startswith(_PNG_START) or len(head) < _PNG_HEADER_AT + _PNG_HEADER.size:
        return False
    return _PNG_HEADER.unpack_from(head, _PNG_HEADER_AT)[2:] == _GREY_16 and is_depth(channel, "16UC1")


def compressed_depth(declared: str, data: memoryview, stamp_ns: int | None, frame_id: str | None) -> Decoded:
    """``sensor_msgs/CompressedImage`` with ``compressedDepth`` in its format; the image is what lies behind its head.

    Args:
        declared: for example ``16UC1; compressedDepth png`` or ``32FC1; compressedDepth``.

    Raises:
        BadInputError: reason ``image_header_invalid``.
    """
    encoding = declared.split(";")[0].strip()
    if encoding not in _UNIT_M:
        raise KeepRawError("depth_encoding_unsupported")
    if len(data) < _HEAD.size + _RVL_SIZE.size:
        raise _invalid(f"{len(data)} bytes")
    _, a, b = _HEAD.unpack_from(data)
    image = data[_HEAD.size :]
    image_format, width_px, height_px = _image(image, "rvl" in declared.lower())
    row = {"image": image, "image_format": image_format, "width_px": width_px, "height_px": height_px}
    row |= depth_columns(encoding)
    if encoding == "32FC1":
        if not (math.isfinite(a) and math.isfinite(b)):
            raise _invalid(f"quantised by {a} and {b}")
        row |= {"depth_unit_m": None, "inverse_depth": [a, b]}
    return Decoded(Modality.DEPTH, [row], stamp_ns, frame_id, width_px=width_px, height_px=height_px)


def _image(image: memoryview, is_rvl: bool) -> tuple[str, int, int]:
    if is_rvl:
        name, (width, height) = "rvl", _RVL_SIZE.unpack_from(image)
    else:
        head = bytes(image[: _PNG_HEADER_AT + _PNG_HEADER.size])
        if not head.startswith(_PNG_START) or len(head) < _PNG_HEADER_AT + _PNG_HEADER.size:
            raise _invalid(f"expected a PNG behind {_HEAD.size} bytes, got {head[:8].hex()}")
        name, (width, height) = "png", _PNG_HEADER.unpack_from(head, _PNG_HEADER_AT)[:2]
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise _invalid(f"{width}x{height} pixels")
    return name, int32(width), int32(height)


def _invalid(detail: str) -> BadInputError:
    return BadInputError(f"not a compressed depth image: {detail}", reason="image_header_invalid")
