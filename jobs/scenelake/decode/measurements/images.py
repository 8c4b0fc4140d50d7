"""Cheap statistics of an image: its headers, and its grey values at an eighth of its size."""

from dataclasses import dataclass

import numpy as np
import simplejpeg

MAX_PIXELS = 64 * 1024 * 1024
"""A progressive JPEG is decoded through buffers of its full size, whatever the scale asked for."""
SCALE = 8
MIN_SIDE_PX = 40
"""Images that an eighth would make smaller are scaled down less."""
TILE_ROWS, TILE_COLUMNS = 6, 8
DARK_LUMA, BRIGHT_LUMA = 5, 250
"""Of 0 to 255: nearly black and nearly white, a margin for the ringing of JPEG beside the bounds themselves."""

_RAW = {
    "mono8": (1, 0), "8UC1": (1, 0), "rgb8": (3, 1), "bgr8": (3, 1), "8UC3": (3, 1), "rgba8": (4, 1), "bgra8": (4, 1),
    "bayer_rggb8": (1, 0), "bayer_bggr8": (1, 0), "bayer_gbrg8": (1, 0), "bayer_grbg8": (1, 0),
}  # fmt: skip
"""Bytes of a pixel of raw encodings, and the one that is grey or green."""
MEASURED_FORMATS = frozenset({"jpeg", "png", *_RAW})

_END_WINDOW_BYTES = 4096
"""Cameras pad a JPEG's end to their block size, so its end marker is looked for in this many last bytes."""
_HASH_SIZE, _KEPT = 32, 8
_MAX_HEADER_BYTES = 256 * 1024
_ROW_OF_QUALITY_50 = np.array([16, 11, 10, 16, 24, 40, 51, 61], np.float64)


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the markers in front of the image data say.

    Attributes:
        quality: libjpeg's scale, 1 to 100, estimated from the first row of the luminance quantisation table
            (ITU-T T.81 table K.1; libjpeg jcparam.c); None without a table.
    """

    is_progressive: bool
    nbr_components: int
    quality: int | None


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Grey values from 0 to 255 of the scaled image.

    Attributes:
        dark_fraction, bright_fraction: pixels at most ``DARK_LUMA``, at least ``BRIGHT_LUMA``.
        laplacian_variance: of the 4-neighbour Laplacian at that scale; small for images without edges. It compares
            frames of one camera, not cameras.
        perceptual_hash: 64 bits as 16 hex digits (``perceptual_hash``).
        tile_luma, tile_laplacian: (``TILE_ROWS * TILE_COLUMNS``,) float32, row by row: mean, and mean square.
    """

    luma_mean: float
    luma_std: float
    dark_fraction: float
    bright_fraction: float
    laplacian_variance: float
    perceptual_hash: str
    tile_luma: np.ndarray
    tile_laplacian: np.ndarray


def is_truncated(data: memoryview, image_format: str) -> bool:
    """Whether a JPEG or PNG lacks its end marker; False for other formats."""
    marker = {"jpeg": b"\xff\xd9", "png": b"IEND"}.get(image_format)
    return marker is not None and marker not in bytes(data[-_END_WINDOW_BYTES:])


def jpeg_header(data: memoryview) -> JpegHeader | None:
    """Reads the markers up to the frame header; None when there is none in the first 256 KiB.

    Source: ITU-T T.81 annex B.
    """
    head = bytes(data[:_MAX_HEADER_BYTES])
    at, quality = 2, None
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(head[at + 2 : at + 4], "big")
        if marker == 0xDB and quality is None:
            quality = _quality(head[at + 4 : at + 2 + length])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 10 <= len(head):
            return JpegHeader(marker in (0xC2, 0xC6, 0xCA, 0xCE), head[at + 9], quality)
        if length < 2 or marker in (0xD9, 0xDA):
            return None
        at += 2 + length
    return None


def _quality(segment: bytes) -> int | None:
    """Inverts libjpeg's scaling of the first eight zigzag-free entries that a table of 8-bit values starts with."""
    if len(segment) < 65 or segment[0] != 0:
        return None
    in_zigzag = np.frombuffer(segment, np.uint8, 64, 1).astype(np.float64)
    first_row = in_zigzag[[0, 1, 5, 6, 14, 15, 27, 28]]
    if (in_zigzag == 1).all():
        return 100
    scale = float(np.median(first_row / _ROW_OF_QUALITY_50) * 100)
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return int(min(max(round(quality), 1), 100))


def image_statistics(
    data: memoryview, image_format: str, width_px: int, height_px: int, row_stride_bytes: int | None = None
) -> tuple[ImageStatistics | None, str | None]:
    """Statistics of a JPEG, a PNG or raw grey or colour bytes, and what was wrong: ``undecodable``,
    ``decoder_warning`` or None. No statistics of other formats, of images too large and of those that do not decode.
    """
    if image_format not in MEASURED_FORMATS or width_px * height_px > MAX_PIXELS:
        return None, None
    grey, problem = _grey(data, image_format, width_px, height_px, row_stride_bytes)
    if grey is None or min(grey.shape) < 3:
        return None, problem
    values = grey.astype(np.float32)
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    found = ImageStatistics(
        luma_mean=float(values.mean()),
        luma_std=float(values.std()),
        dark_fraction=float((grey <= DARK_LUMA).mean()),
        bright_fraction=float((grey >= BRIGHT_LUMA).mean()),
        laplacian_variance=float(laplacian.var()),
        perceptual_hash=perceptual_hash(values),
        tile_luma=_tiles(inner),
        tile_laplacian=_tiles(laplacian * laplacian),
    )
    return found, problem


def _tiles(values: np.ndarray) -> np.ndarray:
    """Means of tiles of (height, width): (``TILE_ROWS * TILE_COLUMNS``,); sides shorter than the tiles repeat."""
    rows, columns = (
        np.minimum(np.arange(count) * length // count, length - 1)
        for count, length in zip((TILE_ROWS, TILE_COLUMNS), values.shape, strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    sizes = np.outer(np.maximum(_sizes(rows, values.shape[0]), 1), np.maximum(_sizes(columns, values.shape[1]), 1))
    return np.asarray((sums / sizes).reshape(-1), np.float32)


def _sizes(starts: np.ndarray, length: int) -> np.ndarray:
    return np.diff(starts, append=length)


def _scale(width_px: int, height_px: int) -> int:
    scale = SCALE
    while scale > 1 and min(width_px, height_px) // scale < MIN_SIDE_PX:
        scale //= 2
    return scale


def _grey(
    data: memoryview, image_format: str, width_px: int, height_px: int, row_stride_bytes: int | None
) -> tuple[np.ndarray | None, str | None]:
    scale = _scale(width_px, height_px)
    if image_format == "jpeg":
        return _grey_of_jpeg(data, height_px // scale, width_px // scale)
    if image_format == "png":
        # Only recordings with PNG frames pay for loading it.
        import cv2

        flags = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4}
        found = cv2.imdecode(np.frombuffer(data, np.uint8), flags.get(scale, cv2.IMREAD_REDUCED_GRAYSCALE_8))
        return (None, "undecodable") if found is None else (np.asarray(found), None)
    nbr_bytes, wanted = _RAW[image_format]
    stride = row_stride_bytes or width_px * nbr_bytes
    if stride < width_px * nbr_bytes or len(data) < stride * height_px:
        return None, "undecodable"
    lines = np.frombuffer(data, np.uint8, stride * height_px).reshape(height_px, stride)
    # An even step stays on one colour of a Bayer pattern.
    step = max(scale, 2)
    return lines[::step, wanted : width_px * nbr_bytes : step * nbr_bytes], None


def _grey_of_jpeg(data: memoryview, min_height: int, min_width: int) -> tuple[np.ndarray | None, str | None]:
    problem: str | None = None
    for strict in (True, False):
        try:
            decoded = simplejpeg.decode_jpeg(
                data,
                colorspace="GRAY",
                fastdct=True,
                fastupsample=True,
                min_height=max(min_height, 1),
                min_width=max(min_width, 1),
                strict=strict,
            )
        except ValueError:
            problem = "decoder_warning"
            continue
        return np.asarray(decoded)[:, :, 0], problem
    return None, "undecodable"


def perceptual_hash(grey: np.ndarray) -> str:
    """pHash: signs of the 64 lowest frequencies of a 32x32 DCT against their median, the constant one left out.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), section 3.2.

    Args:
        grey: (height, width) of any size and real type.
    """
    small = _shrunk(grey, _HASH_SIZE)
    frequencies = (_DCT @ small @ _DCT.T)[:_KEPT, :_KEPT].reshape(-1)
    bits = frequencies > np.median(frequencies[1:])
    bits[0] = False
    return np.packbits(bits).tobytes().hex()


def _shrunk(grey: np.ndarray, size: int) -> np.ndarray:
    """(size, size) means of blocks; a side shorter than ``size`` repeats its pixels."""
    rows, columns = (np.linspace(0, length, size + 1).astype(np.int64) for length in grey.shape)
    if min(grey.shape) >= size:
        sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0, dtype=np.float64), columns[:-1], axis=1)
        return np.asarray(sums / np.outer(np.diff(rows), np.diff(columns)))
    sums = np.zeros((grey.shape[0] + 1, grey.shape[1] + 1))
    sums[1:, 1:] = grey.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    top, bottom = np.minimum(rows[:-1], grey.shape[0] - 1), np.maximum(rows[1:], rows[:-1] + 1)
    left, right = np.minimum(columns[:-1], grey.shape[1] - 1), np.maximum(columns[1:], columns[:-1] + 1)
    total = (
        sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)] + sums[np.ix_(top, left)]
    )
    means: np.ndarray = total / np.outer(bottom - top, right - left)
    return means


def _dct_matrix(size: int) -> np.ndarray:
    k, n = np.mgrid[:size, :size]
    matrix = np.cos(np.pi * k * (2 * n + 1) / (2 * size)) * np.sqrt(2 / size)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)


_DCT = _dct_matrix(_HASH_SIZE)
