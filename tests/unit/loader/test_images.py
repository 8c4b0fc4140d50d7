"""Frames of every encoding into RGB, and video from the random access point on."""

from collections.abc import Callable
from fractions import Fraction

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
import simplejpeg

from scenelake.contracts.errors import BadInputError
from scenelake.loader.batches import SceneBatches
from scenelake.loader.config import ImageConfig
from scenelake.loader.images import decode_still, empty_images, place, resized

from .memory_release import CAMERA, config, make_release

PLAIN = ImageConfig(is_channels_first=False)
RGB = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
SMOOTH = cv2.resize(RGB[:4, :6], (240, 160), interpolation=cv2.INTER_CUBIC)


def row(image: bytes, image_format: str, **more: object) -> dict[str, object]:
    return {"sample_data_id": "m1", "image": image, "image_format": image_format, "height_px": 16, "width_px": 24,
            "row_stride_bytes": None, **more}  # fmt: skip


def padded(lines: np.ndarray) -> bytes:
    return np.pad(lines.reshape(16, -1), ((0, 0), (0, 5))).tobytes()


@pytest.mark.parametrize(
    ("image_format", "lines"),
    [
        ("rgb8", RGB), ("bgr8", RGB[..., ::-1]), ("rgba8", np.dstack([RGB, RGB[..., 0]])),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., 0]])),
    ],
)  # fmt: skip
def test_raw_images_of_any_stride_become_rgb(image_format: str, lines: np.ndarray) -> None:
    assert np.array_equal(decode_still(row(lines.tobytes(), image_format), PLAIN), RGB)
    stride = lines.shape[1] * lines.shape[2] + 5
    assert np.array_equal(decode_still(row(padded(lines), image_format, row_stride_bytes=stride), PLAIN), RGB)


def test_grey_images_are_grey_in_every_channel() -> None:
    found = decode_still(row(RGB[..., 0].tobytes(), "mono8"), PLAIN)
    assert all(np.array_equal(found[..., c], RGB[..., 0]) for c in range(3))


def test_encoded_images_become_rgb() -> None:
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    assert np.array_equal(decode_still(row(png, "png"), PLAIN), RGB)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(SMOOTH), quality=95)
    assert np.abs(decode_still(row(jpeg, "jpeg"), PLAIN).astype(int) - SMOOTH).mean() < 2


def test_a_small_jpeg_is_decoded_small_and_looks_the_same() -> None:
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(SMOOTH), quality=95)
    small = ImageConfig(height_px=40, width_px=60)
    decoded = decode_still(row(jpeg, "jpeg"), small)
    assert decoded.shape == (40, 60, 3)
    expected = cv2.resize(SMOOTH, (60, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(resized(decoded, small).astype(int) - expected).mean() < 4
    uneven = ImageConfig(height_px=33, width_px=70)
    assert resized(decode_still(row(jpeg, "jpeg"), uneven), uneven).shape == (33, 70, 3)


@pytest.mark.parametrize("is_channels_first", [True, False])
@pytest.mark.parametrize("is_scaled", [True, False])
def test_pixels_are_placed_and_scaled_by_mean_and_std(is_channels_first: bool, is_scaled: bool) -> None:
    scale = {"mean": (0.5, 0.25, 0.0), "std": (0.5, 0.25, 1.0)} if is_scaled else {}
    given_config = ImageConfig(is_channels_first=is_channels_first, **scale)
    batch = empty_images((2,), 16, 24, given_config)
    batch[...] = 0
    place(RGB, batch[1], given_config)
    found = np.moveaxis(batch[1], 0, -1) if is_channels_first else batch[1]
    assert not batch[0].any()
    assert batch.dtype == (np.float32 if is_scaled else np.uint8)
    expected = (RGB / 255 - [0.5, 0.25, 0.0]) / [0.5, 0.25, 1.0] if is_scaled else RGB
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "image_format", "reason"),
    [
        (b"\xff\xd8 broken", "jpeg", "image_undecodable"),
        (b"\x89PNG broken", "png", "image_undecodable"),
        (b"short", "rgb8", "image_undecodable"),
        (b"what", "webm", "image_format_unsupported"),
        (b"", "jpeg", "image_undecodable"),
    ],
)
def test_what_is_no_image_is_bad_input_that_names_the_message(image: bytes, image_format: str, reason: str) -> None:
    with pytest.raises(BadInputError, match="camera_frame m1") as raised:
        decode_still(row(image, image_format), PLAIN)
    assert raised.value.reason == reason


@pytest.fixture
def video_release(video_units: Callable[..., list[tuple[bytes, bool]]]) -> object:
    """Two scenes of one drive in one stream of video whose second random access point lies in the second scene."""
    release = make_release([10, 10], scenes_per_drive=2)
    units = video_units(20, 14)
    frames = release.tables["camera_frame"].to_pylist()
    for frame, (unit, is_entry) in zip(frames, units, strict=True):
        frame.update(image=unit, image_format="h264", is_random_access=is_entry, width_px=64, height_px=48)
    release.tables["camera_frame"] = pa.Table.from_pylist(frames, release.tables["camera_frame"].schema)
    return release


@pytest.fixture
def video_units() -> Callable[..., list[tuple[bytes, bool]]]:
    def make(count: int, gop: int) -> list[tuple[bytes, bool]]:
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = 64, 48, "yuv420p"
        context.time_base = Fraction(1, 10)
        context.options = {"bf": "0", "g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "crf": "1"}
        packets = []
        for number in range(count):
            image = np.full((48, 64, 3), 10 * number + 20, np.uint8)
            packets += context.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
        packets += context.encode(None)
        return [(bytes(p), p.is_keyframe) for p in packets]

    return make


def test_video_frames_are_those_of_their_keyframes_whatever_the_order(video_release: object) -> None:
    for seed in (None, 1, 2):
        streams = {"camera": CAMERA.model_copy(update={"first": -2})}
        batches = SceneBatches(video_release, config(streams=streams, seed=seed, run_windows=2), prefetch_blocks=0)
        seen = 0
        for batch in batches.batches(0, 1):
            for item in range(len(batch["window"])):
                scene, frame = int(batch["scene_id"][item][6:]), int(batch["frame_index"][item])
                for back in range(3):
                    if batch["camera.is_valid"][item, 2 - back]:
                        shade = 10 * (scene * 10 + frame - back) + 20
                        assert abs(batch["camera"][item, 2 - back].mean() - shade) < 4
                        seen += 1
        assert seen == 2 * (10 + 9 + 8)


def test_video_frames_before_the_first_random_access_point_are_missing(video_release: object) -> None:
    release = video_release
    units = release.tables["camera_frame"].to_pylist()
    for number, unit in enumerate(units):
        unit["is_random_access"] = unit["is_random_access"] if number else False
    release.tables["camera_frame"] = pa.Table.from_pylist(units, release.tables["camera_frame"].schema)
    for batch in SceneBatches(release, config(streams={"camera": CAMERA}), prefetch_blocks=0).batches(0, 1):
        for item in range(len(batch["window"])):
            number = int(batch["scene_id"][item][6:]) * 10 + int(batch["frame_index"][item])
            assert bool(batch["camera.is_valid"][item]) == (number >= 14)
