"""What a file holds besides its picture is cut out, and the picture stays bit for bit."""

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from scenelake.contracts.errors import BadInputError
from scenelake.decode.privacy.examine import Guard, examined
from scenelake.decode.privacy.remainder import SMALL_BYTES, without_remainder

from .conftest import HEIGHT, WIDTH

PICTURE = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
FACE = bytes(simplejpeg.encode_jpeg(np.full((40, 40, 3), 200, np.uint8)))


def jpeg(*parameters: int) -> bytes:
    return bytes(cv2.imencode(".jpg", PICTURE, parameters)[1].tobytes())


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    data = bytes(cv2.imencode(".png", PICTURE)[1].tobytes())
    made = [
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    ]
    return data[:33] + b"".join(made) + data[33:]


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        with_segment(jpeg(), 0xE2, b"ICC_PROFILE\0" + bytes(3000)),
        with_segment(jpeg(), 0xFE, b"camera 7"),
        jpeg() + bytes(1000),
        jpeg()[:-2],
    ],
    ids=["plain", "progressive", "restart markers", "colour profile", "small comment", "zeros behind", "no end"],
)
def test_a_jpeg_that_is_a_picture_alone_is_left_alone(data: bytes) -> None:
    assert without_remainder(data, "jpeg") is None


@pytest.mark.parametrize(
    "data",
    [
        with_segment(jpeg(), 0xE1, b"Exif\0\0" + FACE),
        with_segment(jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 0xFE, FACE),
        with_segment(jpeg(), 0xE0, b"JFXX\0\x10" + FACE),
        jpeg() + FACE,
        jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1) + bytes(100) + FACE,
    ],
    ids=["EXIF thumbnail", "comment", "JFIF thumbnail", "second picture", "behind zeros"],
)
def test_another_picture_in_a_jpeg_is_cut_out(data: bytes, guard: Callable[..., Guard]) -> None:
    kept = without_remainder(data, "jpeg")
    assert kept is not None
    assert FACE[-40:] not in kept
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(kept), simplejpeg.decode_jpeg(data))
    assert without_remainder(kept, "jpeg") is None
    found = examined({"image": data, "image_format": "jpeg", "width_px": WIDTH, "height_px": HEIGHT}, guard())
    assert (found.image, found.regions, found.problem) == (kept, (), None)


def test_a_png_keeps_its_picture_alone() -> None:
    assert without_remainder(png(), "png") is None
    assert without_remainder(png((b"tEXt", b"by\0us")), "png") is None
    large, frame = (b"eXIf", FACE), (b"fdAT", b"\0\0\0\1" + FACE)
    for data in (png(large), png((b"acTL", bytes(8)), frame), png() + FACE):
        kept = without_remainder(data, "png")
        assert kept == png()


@given(st.binary(max_size=400), st.integers(0, 400))
def test_whatever_the_bytes_are_they_are_followed_or_refused(noise: bytes, at: int) -> None:
    for data, kind in ((jpeg(), "jpeg"), (png(), "png")):
        spoiled = data[: at + 20] + noise + data[at + 20 + len(noise) // 2 :]
        try:
            kept = without_remainder(spoiled, kind)
        except BadInputError:
            continue
        assert kept is None or len(kept) < len(spoiled)


def test_small_segments_have_no_room_for_a_picture() -> None:
    least = bytes(simplejpeg.encode_jpeg(np.zeros((1, 1, 3), np.uint8), 1))
    assert len(least) > SMALL_BYTES
