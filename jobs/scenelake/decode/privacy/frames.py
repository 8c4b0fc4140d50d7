"""Camera frames as pixels and back: what format and encoding a frame has, it keeps."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from scenelake.contracts.errors import BadInputError
from scenelake.decode.measurements.images import jpeg_header
from scenelake.decode.raw_images import RAW_ENCODINGS, rgb_of_raw
from scenelake.decode.row_columns import Row

_VIDEO = frozenset(("h264", "h265", "av1"))
_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
_QUALITY = 95
"""Of a JPEG whose own quality cannot be told."""
_SUBSAMPLINGS = frozenset(("444", "422", "420", "440", "411", "Gray"))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that could be opened.

    Attributes:
        pixels: (height, width) or (height, width, channels) uint8 or uint16, writable, as its format has them.
        rgb: (height, width, 3) uint8; does not change with ``pixels``.
        is_mosaic: a Bayer pattern.
        encode: the frame's bytes with what ``pixels`` holds now, and nothing of a JPEG's or PNG's other segments: a
            thumbnail would show what is hidden.
    """

    pixels: np.ndarray
    rgb: np.ndarray
    is_mosaic: bool
    encode: Callable[[], bytes]


def opened_frame(row: Row, max_pixels: int) -> Frame:
    """Opens a row of ``camera_frame``.

    Raises:
        BadInputError: it cannot be looked at; reason ``image_too_large``, ``image_undecodable``,
            ``video_not_examined`` or ``encoding_not_examined``.
    """
    kind = row["image_format"]
    if kind in _VIDEO:
        raise BadInputError(f"a frame of {kind}: expected a still image", reason="video_not_examined")
    if kind not in ("jpeg", "png", *RAW_ENCODINGS):
        raise BadInputError(f"image_format {kind!r} has no reader here", reason="encoding_not_examined")
    width_px, height_px = row["width_px"], row["height_px"]
    if width_px * height_px > max_pixels:
        said = f"{width_px}x{height_px} pixels: expected at most {max_pixels}"
        raise BadInputError(said, reason="image_too_large")
    try:
        frame = _opened(row, kind)
    except (ValueError, cv2.error) as error:
        raise BadInputError(f"{kind}: {str(error)[:200]}", reason="image_undecodable") from error
    if frame.rgb.shape != (height_px, width_px, 3) or frame.pixels.dtype not in (np.uint8, np.uint16):
        said = f"{kind}: expected {width_px}x{height_px} pixels, got {frame.rgb.shape} of {frame.pixels.dtype}"
        raise BadInputError(said, reason="image_undecodable")
    return frame


def _opened(row: Row, kind: str) -> Frame:
    if kind == "jpeg":
        return _jpeg(memoryview(row["image"]), (row["height_px"], row["width_px"]))
    return _png(row) if kind == "png" else _raw(row)


def _jpeg(data: memoryview, size: tuple[int, int]) -> Frame:
    try:
        height, width, colours, subsampling = simplejpeg.decode_jpeg_header(data, strict=False)
    except KeyError as error:
        raise ValueError("the decoder finds no header that it knows") from error
    if (height, width) != size:
        raise ValueError(f"the decoder's header says {width}x{height}")
    colours = "GRAY" if colours.upper() == "GRAY" else "RGB"
    pixels = np.array(simplejpeg.decode_jpeg(data, colorspace=colours, strict=False))
    header = jpeg_header(data)
    quality = header.quality if header is not None and header.quality is not None else _QUALITY
    kept = subsampling if subsampling in _SUBSAMPLINGS else "444"
    rgb = np.repeat(pixels, 3, axis=2) if colours == "GRAY" else pixels.copy()

    def encode() -> bytes:
        return bytes(simplejpeg.encode_jpeg(pixels, quality, colours, kept))

    return Frame(pixels, rgb, False, encode)


def _png(row: Row) -> Frame:
    # As it is: neither turned by its EXIF orientation nor cut to 8 bits.
    found = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError("no PNG that can be decoded")
    pixels = np.asarray(found)
    shown = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    conversion = _TO_RGB.get(1 if shown.ndim == 2 else shown.shape[2])
    if conversion is None:
        raise ValueError(f"{shown.shape} has no colours that are known")

    def encode() -> bytes:
        is_made, data = cv2.imencode(".png", pixels)
        if not is_made:
            raise ValueError(f"{pixels.shape} cannot be written as PNG")
        return bytes(data.tobytes())

    return Frame(pixels, np.asarray(cv2.cvtColor(shown, conversion)), False, encode)


def _raw(row: Row) -> Frame:
    rgb = rgb_of_raw(row).copy()
    nbr_channels, _ = RAW_ENCODINGS[row["image_format"]]
    stride = row["row_stride_bytes"] or row["width_px"] * nbr_channels
    shape, strides = (row["height_px"], row["width_px"], nbr_channels), (stride, nbr_channels, 1)
    # Bytes beside and behind the rows were not shown to the detector: a frame cut from a larger one has its rest there.
    held = bytearray(len(row["image"]))
    pixels = np.ndarray(shape, np.uint8, held, strides=strides)
    pixels[:] = np.ndarray(shape, np.uint8, row["image"], strides=strides)
    return Frame(pixels, rgb, row["image_format"].startswith("bayer"), lambda: bytes(held))
