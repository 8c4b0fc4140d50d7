"""Images: compressed ones as recorded, raw ones with their encoding."""

import struct
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.handlers.depth import compressed_depth, depth_columns, is_depth, is_depth_png
from scenelake.decode.handlers.video import video_frame
from scenelake.decode.values import (
    ChannelFacts,
    Decoded,
    KeepRawError,
    int32,
    octets_view,
    protobuf_stamp,
    ros_header,
    text,
)
from scenelake.decode.video_bitstream import video_codec

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_SIZES = struct.Struct(">HH")
_NO_LENGTH_MARKERS = frozenset((0x01, *range(0xD0, 0xD8)))
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_WINDOW_BYTES = 4096
"""Cameras pad a JPEG's end to their block size, so its end marker is looked for in this many last bytes."""


def ros_compressed_image(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    stamp_ns, frame_id = ros_header(message)
    return _compressed(message["data"], text(message["format"]), stamp_ns, frame_id, channel)


def foxglove_compressed_image(message: Any, channel: ChannelFacts) -> Decoded:
    return _compressed(message.data, message.format, protobuf_stamp(message), message.frame_id or None, channel)


def encoded_image(data: memoryview, channel: ChannelFacts) -> Decoded:
    """A JPEG or PNG without a message around it."""
    return _compressed(np.frombuffer(data, np.uint8), "", None, None, channel)


def ros_image(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    stamp_ns, frame_id = ros_header(message)
    encoding = text(message["encoding"])
    if message["is_bigendian"] and any(bits in encoding for bits in ("16", "32", "64")):
        raise KeepRawError("image_big_endian")
    size = (message["width"], message["height"], message["step"])
    return _raw(message["data"], encoding, size, stamp_ns, frame_id, channel)


def foxglove_raw_image(message: Any, channel: ChannelFacts) -> Decoded:
    size = (message.width, message.height, message.step)
    return _raw(message.data, message.encoding, size, protobuf_stamp(message), message.frame_id or None, channel)


def image_size(data: memoryview) -> tuple[str, int, int]:
    """Format, width and height in pixels from a JPEG's or PNG's headers alone.

    Sources: ITU-T T.81 annex B (markers, SOF segment); PNG specification, IHDR.

    Raises:
        BadInputError: reason ``image_header_invalid``.
    """
    start = bytes(data[:24])
    if start.startswith(b"\xff\xd8"):
        return ("jpeg", *_jpeg_size(data))
    if start.startswith(_PNG_MAGIC) and len(start) == 24 and start[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
        if width and height:
            return "png", int32(width), int32(height)
    raise _invalid(f"starts with {data[:8].hex() or 'nothing'}")


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise _invalid(f"expected a marker at byte {at}, got {data[at]:#04x}")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _NO_LENGTH_MARKERS:
            at += 2
        elif marker in _FRAME_MARKERS:
            if at + 9 > len(data):
                break
            height, width = _SIZES.unpack_from(data, at + 5)
            if not (width and height):
                raise _invalid(f"a frame of {width}x{height}")
            return width, height
        elif marker in (0x00, 0xD8, 0xD9, 0xDA):
            raise _invalid(f"marker {marker:#04x} at byte {at} before the frame header")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise _invalid(f"no frame header in {len(data)} bytes")


def _invalid(detail: str) -> BadInputError:
    return BadInputError(f"not a JPEG or PNG: {detail}", reason="image_header_invalid")


def _compressed(data: Any, declared: str, stamp_ns: int | None, frame_id: str | None, channel: ChannelFacts) -> Decoded:
    image = octets_view(data)
    words = declared.lower()
    if "compresseddepth" in words:
        return compressed_depth(declared, image, stamp_ns, frame_id)
    if video_codec(words) is not None:
        return video_frame(words, image, stamp_ns, frame_id, channel)
    is_claimed = not words or any(name in words for name in ("jpeg", "jpg", "png"))
    try:
        image_format, width_px, height_px = image_size(image)
    except BadInputError:
        if not is_claimed:
            raise KeepRawError("image_format_unsupported") from None
        raise
    row: dict[str, Any] = {"image": image, "image_format": image_format, "width_px": width_px, "height_px": height_px}
    if is_depth_png(channel, image):
        row |= depth_columns("16UC1")
    return _image(row, stamp_ns, frame_id, channel, _truncation(image_format, image))


def _truncation(image_format: str, image: memoryview) -> str | None:
    end = bytes(image[-_END_WINDOW_BYTES:])
    if image_format == "jpeg":
        return None if b"\xff\xd9" in end else "jpeg_truncated"
    return None if b"IEND" in end else "png_truncated"


def _raw(
    data: Any,
    encoding: str,
    size: tuple[int, int, int],
    stamp_ns: int | None,
    frame_id: str | None,
    channel: ChannelFacts,
) -> Decoded:
    width_px, height_px, stride_bytes = (int32(v) for v in size)
    image = octets_view(data)
    if not (width_px > 0 and height_px > 0 and stride_bytes >= width_px and stride_bytes * height_px <= len(image)):
        raise BadInputError(
            f"{width_px}x{height_px} pixels in rows of {stride_bytes} bytes contradict {len(image)} bytes",
            reason="image_size_contradicted",
        )
    row: dict[str, Any] = {
        "image": image,
        "image_format": encoding,
        "width_px": width_px,
        "height_px": height_px,
        "row_stride_bytes": stride_bytes,
    }
    if is_depth(channel, encoding):
        row |= depth_columns(encoding)
    return _image(row, stamp_ns, frame_id, channel, None)


def _image(
    row: dict[str, Any], stamp_ns: int | None, frame_id: str | None, channel: ChannelFacts, reason: str | None
) -> Decoded:
    modality = Modality.DEPTH if "depth_encoding" in row else Modality.CAMERA
    if channel.modality is Modality.RADAR:
        modality = Modality.RADAR
    if modality is Modality.RADAR and row.pop("row_stride_bytes", None) not in (None, row["width_px"]):
        raise KeepRawError("radar_image_stride")
    return Decoded(
        modality,
        [row],
        stamp_ns,
        frame_id,
        width_px=row["width_px"],
        height_px=row["height_px"],
        reason=reason,
    )
