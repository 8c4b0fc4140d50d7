"""Frames of every format: opened within bounds, redacted where something was found, otherwise left alone."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from scenelake.decode.measurements.images import jpeg_header
from scenelake.decode.privacy import frames
from scenelake.decode.privacy.config import Device, PrivacyPolicy
from scenelake.decode.privacy.examine import Guard, examined
from scenelake.decode.privacy.onnx_detector import onnx_detector
from scenelake.decode.raw_images import RAW_ENCODINGS, rgb_of_raw

from .conftest import BOX, HEIGHT, WIDTH, scene
from .models import red_detector

BESIDE = (slice(0, 24), slice(None))
"""Rows that no block of the region reaches."""


def jpeg(picture: np.ndarray, quality: int = 90, subsampling: str = "420") -> bytes:
    return bytes(simplejpeg.encode_jpeg(picture, quality, "RGB", subsampling))


def png(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1].tobytes())


def row(image: bytes, image_format: str, **more: Any) -> dict[str, Any]:
    return {"image": image, "image_format": image_format, "width_px": WIDTH, "height_px": HEIGHT} | more


def raw(encoding: str, seed: int = 0, padding: int = 0) -> dict[str, Any]:
    """The scene in a raw encoding, with bytes beyond each line and the last."""
    picture = scene(seed)
    made = {
        "rgb8": picture,
        "bgr8": picture[..., ::-1],
        "8UC3": picture[..., ::-1],
        "rgba8": np.dstack([picture, np.full((HEIGHT, WIDTH), 77, np.uint8)]),
        "bgra8": np.dstack([picture[..., ::-1], np.full((HEIGHT, WIDTH), 77, np.uint8)]),
        "bayer_rggb8": picture[..., 1].copy(),
    }
    pixels = made[encoding]
    if encoding == "bayer_rggb8":
        pixels[::2, ::2], pixels[1::2, 1::2] = picture[::2, ::2, 0], picture[1::2, 1::2, 2]
    lines = pixels.reshape(HEIGHT, -1)
    lines = np.hstack([lines, np.full((HEIGHT, padding), 9, np.uint8)]) if padding else lines
    return row(np.ascontiguousarray(lines).tobytes() + b"tail", encoding, row_stride_bytes=lines.shape[1])


def test_a_jpeg_is_redacted_and_keeps_its_kind(guard: Callable[..., Guard]) -> None:
    for quality, subsampling in ((90, "420"), (60, "444"), (75, "422")):
        data = jpeg(scene(), quality, subsampling)
        found = examined(row(data, "jpeg"), guard())
        assert found.image is not None
        assert simplejpeg.decode_jpeg_header(found.image) == (HEIGHT, WIDTH, "YCbCr", subsampling)
        header = jpeg_header(memoryview(found.image))
        assert header is not None
        assert header.quality == quality
        before, after = (simplejpeg.decode_jpeg(d).astype(int) for d in (data, found.image))
        assert np.abs(after - before)[BESIDE].mean() < 1
        inside = after[40:56, 56:72]
        assert (inside[..., 0] - inside[..., 1]).max() < 60, "something red is left"
        assert inside.std(axis=(0, 1)).max() < 8, "something structured is left"


def test_frames_that_differ_inside_the_region_alone_become_the_same_bytes(guard: Callable[..., Guard]) -> None:
    for make in (lambda seed: row(png(scene(seed)[..., ::-1]), "png"), lambda seed: raw("rgb8", seed)):
        first, second = (examined(make(seed), guard(margin=0.1)) for seed in (1, 2))
        assert first.image == second.image is not None
        assert [(r.left, r.top) for r in first.regions] == [(r.left, r.top) for r in second.regions]


def test_a_grey_jpeg_stays_grey(guard: Callable[..., Guard]) -> None:
    grey = bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(scene()[..., :1]), 80, "GRAY", "Gray"))
    frame = frames.opened_frame(row(grey, "jpeg"), 10**6)
    assert frame.rgb.shape == (HEIGHT, WIDTH, 3)
    assert simplejpeg.decode_jpeg_header(frame.encode())[2:] == ("Gray", "Gray")
    assert examined(row(grey, "jpeg"), guard()).image is None


@pytest.mark.parametrize("kind", ["8 bit", "16 bit", "alpha"])
def test_a_png_stays_one_of_its_depth(guard: Callable[..., Guard], kind: str) -> None:
    bgr = np.ascontiguousarray(scene()[..., ::-1])
    picture = {
        "8 bit": bgr,
        "16 bit": bgr.astype(np.uint16) * 257,
        "alpha": np.dstack([bgr, np.full((HEIGHT, WIDTH), 10, np.uint8)]),
    }[kind]
    found = examined(row(png(picture), "png"), guard())
    assert found.image is not None
    after = cv2.imdecode(np.frombuffer(found.image, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (after.dtype, after.shape) == (picture.dtype, picture.shape)
    is_outside = np.ones((HEIGHT, WIDTH), bool)
    is_outside[BOX] = False
    assert (after[is_outside] == picture[is_outside]).all()
    assert (after[BOX] != picture[BOX]).any(axis=2).mean() > 0.9


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "bayer_rggb8"])
@pytest.mark.parametrize("padding", [0, 5])
def test_a_raw_frame_changes_in_its_regions_alone(guard: Callable[..., Guard], encoding: str, padding: int) -> None:
    given = raw(encoding, padding=padding)
    held = bytes(given["image"])
    found = examined(given, guard())
    assert given["image"] == held
    assert found.image is not None
    assert len(found.image) == len(held)
    nbr_channels = RAW_ENCODINGS[encoding][0]
    stride = given["row_stride_bytes"]
    before, after = (np.frombuffer(d, np.uint8, stride * HEIGHT).reshape(HEIGHT, stride) for d in (held, found.image))
    is_changed = before != after
    columns = slice(BOX[1].start * nbr_channels, BOX[1].stop * nbr_channels)
    assert is_changed[BOX[0], columns].mean() > 0.7
    is_changed = is_changed.copy()
    is_changed[BOX[0], columns] = False
    assert not is_changed[:, : WIDTH * nbr_channels].any()
    assert not after[:, WIDTH * nbr_channels :].any()
    assert found.image.endswith(bytes(4))
    shown = rgb_of_raw(given | {"image": found.image}).astype(int)[40:56, 56:72]
    assert (shown[..., 0] - shown[..., 1]).max() < 60


def test_a_frame_without_anything_to_hide_is_not_touched(guard: Callable[..., Guard]) -> None:
    found = examined(row(jpeg(scene(is_red=False)), "jpeg"), guard())
    assert (found.image, found.regions, found.problem) == (None, (), None)


def test_a_thumbnail_does_not_survive(guard: Callable[..., Guard]) -> None:
    """An Exif segment (APP1) with a small picture of what is hidden, as cameras write it."""
    thumbnail = jpeg(scene()[::2, ::2].copy())
    exif = b"Exif\0\0" + thumbnail
    plain = jpeg(scene())
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:] + b"after" + thumbnail
    assert data.count(b"\xff\xd8\xff") == 3
    found = examined(row(data, "jpeg"), guard())
    assert found.image is not None
    assert found.image.count(b"\xff\xd8\xff") == 1
    assert b"Exif" not in found.image
    assert found.image == examined(row(plain, "jpeg"), guard()).image


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (row(b"\x00\x00\x01\x65", "h264"), "video_not_examined"),
        (row(bytes(WIDTH * HEIGHT * 2), "mono16"), "encoding_not_examined"),
        (row(b"", "jpeg"), "image_undecodable"),
        (row(b"", "png"), "image_undecodable"),
        (row(jpeg(scene())[:300], "jpeg"), "image_undecodable"),
        (row(png(scene())[:100], "png"), "image_undecodable"),
        (row(jpeg(scene()[:32].copy()), "jpeg"), "image_undecodable"),
        (row(bytes(10), "rgb8", row_stride_bytes=WIDTH * 3), "image_undecodable"),
    ],
)
def test_what_cannot_be_looked_at_says_why(guard: Callable[..., Guard], given: dict[str, Any], problem: str) -> None:
    found = examined(given, guard())
    assert (found.problem, found.image, found.regions) == (problem, None, ())


def test_a_header_that_claims_too_much_is_not_opened(
    guard: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_opened", lambda *_: pytest.fail("opened"))
    start = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + start + struct.pack(">I", zlib.crc32(start))
    huge = {"image": bomb, "image_format": "png", "width_px": 60_000, "height_px": 60_000}
    assert examined(huge, guard()).problem == "image_too_large"
    assert examined(row(jpeg(scene()), "jpeg"), guard(max_pixels=WIDTH * HEIGHT - 1)).problem == "image_too_large"


def test_a_header_that_lies_about_the_size_is_not_decoded(
    guard: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row's size was read from the headers that the bound is held against."""
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    small = {"image": jpeg(scene()), "image_format": "jpeg", "width_px": 8, "height_px": 8}
    assert examined(small, guard(max_pixels=100)).problem == "image_undecodable"


def test_real_frames_change_where_something_was_found_alone(
    real_data: Callable[[str], Path], policy: Callable[..., PrivacyPolicy]
) -> None:
    """Rear lights and signs: a tenth more red than green over a cell."""
    detector = onnx_detector(red_detector(least=0.1).SerializeToString(), "red.onnx", Device.CPU)
    guard = Guard(policy(min_score=0.0, margin=0.2), detector)
    changed = 0
    for path in sorted(real_data("nuscenes_one_keyframe").rglob("*.jpg")):
        data = path.read_bytes()
        given = {"image": data, "image_format": "jpeg", "width_px": 1600, "height_px": 900}
        found = examined(given, guard)
        assert found.problem is None
        if found.image is None:
            continue
        changed += 1
        assert 0.5 < len(found.image) / len(data) < 1.5
        before, after = (simplejpeg.decode_jpeg(d).astype(int) for d in (data, found.image))
        is_far = np.ones((900, 1600), bool)
        for r in found.regions:
            # JPEG codes blocks of 8, with colours at half the size blocks of 16, and smooths colours across them.
            is_far[max(r.top - 32, 0) : r.exclusive_bottom + 32, max(r.left - 32, 0) : r.exclusive_right + 32] = False
        assert np.abs(after - before)[is_far].mean() < 2
    assert changed >= 3


def test_the_same_frame_gives_the_same_bytes(guard: Callable[..., Guard]) -> None:
    given = row(jpeg(scene()), "jpeg")
    assert examined(given, guard()) == examined(given, guard())
