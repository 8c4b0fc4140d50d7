"""Cheap statistics of an encoded image: its headers, and a grey decode at an eighth of its size."""

from dataclasses import dataclass

import numpy as np
import simplejpeg

MAX_PIXELS = 64 * 1024 * 1024
"""A progressive JPEG is decoded through buffers of its full size, whatever the scale asked for."""
SCALE = 8
DARK_LUMA, BRIGHT_LUMA = 5, 250
"""Of 0 to 255: nearly black and nearly white, a margin for the ringing of JPEG beside the bounds themselves."""

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
    """

    luma_mean: float
    luma_std: float
    dark_fraction: float
    bright_fraction: float
    laplacian_variance: float
    perceptual_hash: str


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


def image_statistics(data: memoryview, image_format: str, width_px: int, height_px: int) -> ImageStatistics | None:
    """Statistics of a JPEG or PNG; None for other formats, images too large, and images that do not decode."""
    if width_px * height_px > MAX_PIXELS:
        return None
    grey = _grey(data, image_format, height_px // SCALE, width_px // SCALE)
    if grey is None or min(grey.shape) < 3:
        return None
    values = grey.astype(np.float32)
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    return ImageStatistics(
        luma_mean=float(values.mean()),
        luma_std=float(values.std()),
        dark_fraction=float((grey <= DARK_LUMA).mean()),
        bright_fraction=float((grey >= BRIGHT_LUMA).mean()),
        laplacian_variance=float(laplacian.var()),
        perceptual_hash=perceptual_hash(values),
    )


def _grey(data: memoryview, image_format: str, min_height: int, min_width: int) -> np.ndarray | None:
    if image_format == "jpeg":
        try:
            decoded = simplejpeg.decode_jpeg(
                data,
                colorspace="GRAY",
                fastdct=True,
                fastupsample=True,
                min_height=max(min_height, 1),
                min_width=max(min_width, 1),
            )
        except ValueError:
            return None
        return np.asarray(decoded)[:, :, 0]
    if image_format == "png":
        # Only recordings with PNG frames pay for loading it.
        import cv2

        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        return None if found is None else np.asarray(found)
    return None


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
