"""Depth images in every form that the lake holds."""

import cv2
import numpy as np
import pytest
from tests.unit.view.tiny import png

from scenelake.export.images import Unusable
from scenelake.view.depth import as_picture, as_png, depth_m

MILLIMETRES = np.array([[0, 1000, 2500], [40_000, 65_535, 1]], np.uint16)
METRES = np.array([[np.nan, 1.0, 2.5], [40.0, 65.535, 0.001]], np.float32)


def row(image: bytes, image_format: str, **more: object) -> dict:
    size = {"width_px": 3, "height_px": 2, "row_stride_bytes": None, "depth_unit_m": 0.001, "inverse_depth": None}
    return {"sample_data_id": "m", "image": image, "image_format": image_format} | size | more


def padded(pixels: np.ndarray, stride: int) -> bytes:
    return b"".join(line.tobytes().ljust(stride, b"\xff") for line in pixels)


@pytest.mark.parametrize(
    "given",
    [
        row(png(MILLIMETRES), "png"),
        row(MILLIMETRES.tobytes(), "16UC1"),
        row(padded(MILLIMETRES, 10), "mono16", row_stride_bytes=10),
        row(METRES.tobytes(), "32FC1", depth_unit_m=1.0),
    ],
    ids=["png", "16UC1", "padded", "32FC1"],
)
def test_metres_come_out_and_what_is_unknown_is_nan(given: dict) -> None:
    assert np.allclose(depth_m(given), METRES, equal_nan=True, rtol=1e-6)


def test_quantised_inverse_depth() -> None:
    pixels = np.array([[0, 120, 300], [100, 90, 1100]], np.uint16)
    found = depth_m(row(png(pixels), "png", depth_unit_m=None, inverse_depth=[200.0, 100.0]))
    assert np.allclose(found, [[np.nan, 10.0, 1.0], [np.nan, np.nan, 0.2]], equal_nan=True)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (row(b"no png", "png"), "image_undecodable"),
        (row(b"12345", "16UC1"), "image_undecodable"),
        (row(MILLIMETRES.tobytes(), "16UC1", row_stride_bytes=2), "image_undecodable"),
        (row(b"", "rvl"), "depth_format_unsupported"),
    ],
)
def test_what_cannot_be_read_says_why(given: dict, reason: str) -> None:
    found = depth_m(given)
    assert isinstance(found, Unusable)
    assert found.reason == reason
    assert "message m" in found.detail


def test_a_picture_and_a_png_keep_what_is_near_and_what_is_unknown() -> None:
    picture = as_picture(METRES)
    assert picture.shape == (2, 3, 3)
    assert not picture[0, 0].any()
    assert picture[0, 1, 0] > picture[0, 1, 2], "near is red"
    assert picture[1, 1, 2] > picture[1, 1, 0], "far is blue"
    assert not as_picture(np.full((2, 2), np.nan, np.float32)).any()
    kept = cv2.imdecode(np.frombuffer(as_png(METRES), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(kept, MILLIMETRES)
    beyond = cv2.imdecode(np.frombuffer(as_png(np.full((1, 1), 70.0, np.float32)), np.uint8), cv2.IMREAD_UNCHANGED)
    assert beyond[0, 0] == 0
