"""Image statistics against images whose figures are known."""

import cv2
import numpy as np
import pytest
import simplejpeg

from scenelake.decode.measurements.images import (
    MAX_PIXELS,
    image_statistics,
    is_truncated,
    jpeg_header,
    perceptual_hash,
)

HEIGHT, WIDTH = 240, 320


def _jpeg(picture: np.ndarray, quality: int = 90) -> memoryview:
    return memoryview(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=quality))


def _found(data: memoryview, image_format: str, width_px: int, height_px: int, stride: int | None = None):
    """Statistics of an image that nothing is wrong with."""
    found, problem = image_statistics(data, image_format, width_px, height_px, stride)
    assert problem is None
    return found


def _picture(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_a_plain_image(grey: int) -> None:
    found = _found(_jpeg(np.full((HEIGHT, WIDTH, 3), grey, np.uint8)), "jpeg", WIDTH, HEIGHT)
    assert found is not None
    assert found.luma_mean == pytest.approx(grey, abs=2)
    assert found.luma_std == pytest.approx(0, abs=0.5)
    assert (found.dark_fraction, found.bright_fraction) == (float(grey == 0), float(grey == 255))
    assert found.laplacian_variance == pytest.approx(0, abs=0.5)


def test_half_black_half_white() -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, WIDTH // 2 :] = 255
    found = _found(_jpeg(picture), "jpeg", WIDTH, HEIGHT)
    assert found is not None
    assert found.luma_mean == pytest.approx(127.5, abs=3)
    assert found.dark_fraction == pytest.approx(0.5, abs=0.03)
    assert found.bright_fraction == pytest.approx(0.5, abs=0.03)


def test_blur_lowers_the_laplacian() -> None:
    noise = cv2.resize(np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8), (WIDTH * 2, HEIGHT * 2))
    sharp = np.repeat(noise[:, :, None], 3, axis=2)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 12)
    of_sharp, of_blurred = (_found(_jpeg(p), "jpeg", WIDTH * 2, HEIGHT * 2) for p in (sharp, blurred))
    assert of_sharp is not None
    assert of_blurred is not None
    assert of_blurred.laplacian_variance < 0.2 * of_sharp.laplacian_variance


def test_png_and_jpeg_of_one_picture_agree() -> None:
    picture = _picture()
    png = memoryview(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())
    of_png = _found(png, "png", WIDTH, HEIGHT)
    of_jpeg = _found(_jpeg(picture, 95), "jpeg", WIDTH, HEIGHT)
    assert of_png is not None
    assert of_jpeg is not None
    assert of_png.luma_mean == pytest.approx(of_jpeg.luma_mean, abs=2)
    assert _distance(of_png.perceptual_hash, of_jpeg.perceptual_hash) <= 4


def _distance(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def test_the_hash_knows_a_picture_again() -> None:
    grey = _picture().mean(axis=2)
    same = perceptual_hash(grey)
    smaller = cv2.resize(grey, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    assert _distance(same, perceptual_hash(smaller)) <= 4
    assert _distance(same, perceptual_hash(np.clip(grey * 0.8 + 20, 0, 255))) <= 4
    others = [_distance(same, perceptual_hash(_picture(seed).mean(axis=2))) for seed in range(1, 20)]
    assert min(others) > 12


@pytest.mark.parametrize("shape", [(3, 3), (5, 200), (31, 33), (64, 64)])
def test_the_hash_takes_any_shape(shape: tuple[int, int]) -> None:
    assert len(perceptual_hash(np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape))) == 16


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 100])
def test_the_quality_is_read_from_the_quantisation_table(quality: int) -> None:
    found = jpeg_header(_jpeg(_picture(), quality))
    assert found is not None
    assert found.quality == pytest.approx(quality, abs=2)
    assert (found.is_progressive, found.nbr_components) == (False, 3)


def test_a_progressive_jpeg() -> None:
    data = cv2.imencode(".jpg", _picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    found = jpeg_header(memoryview(data))
    assert found is not None
    assert found.is_progressive


def test_what_does_not_decode_has_no_statistics() -> None:
    good = _jpeg(_picture())
    assert image_statistics(good[:40], "jpeg", WIDTH, HEIGHT) == (None, "undecodable")
    assert image_statistics(memoryview(b"\x89PNG\r\n\x1a\n"), "png", WIDTH, HEIGHT) == (None, "undecodable")
    assert image_statistics(good, "h264", WIDTH, HEIGHT) == (None, None)
    assert image_statistics(good, "jpeg", MAX_PIXELS, 2) == (None, None)
    assert image_statistics(good, "rgb8", WIDTH, HEIGHT) == (None, "undecodable")
    for size in range(0, len(good), 7):
        header = jpeg_header(good[:size])
        assert header is None or header.nbr_components == 3


def test_tiles_lie_row_by_row() -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    picture[: HEIGHT // 6, WIDTH // 8 : WIDTH // 4] = 200
    found = _found(_jpeg(picture, 95), "jpeg", WIDTH, HEIGHT)
    assert found.tile_luma.shape == found.tile_laplacian.shape == (48,)
    assert found.tile_luma.argmax() == 1
    assert found.tile_luma[1] > 150 > 60 > found.tile_luma[[0, 2, 20, 47]].max()
    assert set(np.argsort(found.tile_laplacian)[-4:]) <= {0, 1, 2, 8, 9, 10}


@pytest.mark.parametrize("size", [(3, 3), (7, 5), (64, 64), (41, 1000)])
def test_small_images_have_tiles_too(size: tuple[int, int]) -> None:
    grey = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)
    found = _found(memoryview(cv2.imencode(".png", grey)[1].tobytes()), "png", size[1], size[0])
    assert len(found.tile_luma) == 48
    assert np.isfinite(found.tile_laplacian).all()


@pytest.mark.parametrize(("encoding", "nbr_bytes", "grey_at"), [("mono8", 1, 0), ("bgr8", 3, 1), ("rgba8", 4, 1)])
def test_raw_images_are_read_by_their_stride(encoding: str, nbr_bytes: int, grey_at: int) -> None:
    stride = WIDTH * nbr_bytes + 12
    lines = np.full((HEIGHT, stride), 255, np.uint8)
    pixels = np.zeros((HEIGHT, WIDTH, nbr_bytes), np.uint8)
    pixels[:, WIDTH // 2 :, grey_at] = 100
    lines[:, : WIDTH * nbr_bytes] = pixels.reshape(HEIGHT, -1)
    found = _found(memoryview(lines.tobytes()), encoding, WIDTH, HEIGHT, stride)
    assert found.luma_mean == pytest.approx(50, abs=1)
    assert found.tile_luma.reshape(6, 8)[:, [0, 7]].tolist() == [[0.0, 100.0]] * 6


def test_what_a_decoder_complains_of_is_told_and_measured() -> None:
    good = bytes(_jpeg(_picture()))
    torn = memoryview(good[: len(good) // 2])
    found, problem = image_statistics(torn, "jpeg", WIDTH, HEIGHT)
    assert found is not None
    assert problem == "decoder_warning"
    assert is_truncated(torn, "jpeg")
    assert not is_truncated(memoryview(good + bytes(2000)), "jpeg")
    assert not is_truncated(torn, "mono8")
