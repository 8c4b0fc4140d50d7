"""Images, cameras, points and boxes move together: a point stays on the same picture content."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.loader.augment import Motion, resized_intrinsics
from scenelake.loader.batches import SceneBatches
from scenelake.loader.config import AugmentConfig

from .memory_release import BOXES, CAMERA, INTRINSICS, LIDAR, config, make_release

K = np.reshape(INTRINSICS, (3, 3))
EGO_FROM_CAMERA = np.array([[0.0, 0, 1, 1.2], [-1, 0, 0, 0.4], [0, -1, 0, 1.6], [0, 0, 0, 1]])
"""A camera that looks forward, 40 cm left of the middle."""
EGO_FROM_LIDAR = np.eye(4)
EGO_FROM_LIDAR[:3, 3] = [0.9, -0.2, 1.9]
SIZE = (32, 24)

motions = st.builds(
    Motion,
    is_flipped=st.booleans(),
    yaw_rad=st.floats(-math.pi, math.pi),
    scale=st.floats(0.5, 2.0),
    image_rotation_rad=st.floats(-0.5, 0.5),
    image_scale=st.floats(0.5, 2.0),
)


def pixels(points_m: np.ndarray, ego_from_camera: np.ndarray, k: np.ndarray) -> np.ndarray:
    in_camera = (points_m - ego_from_camera[:3, 3]) @ ego_from_camera[:3, :3]
    projected = in_camera @ k.T
    return projected[:, :2] / projected[:, 2:]


@settings(deadline=None)
@given(motions, st.integers(0, 2**32 - 1))
def test_a_point_stays_on_the_same_content(motion: Motion, seed: int) -> None:
    points = np.random.default_rng(seed).uniform([3, -5, -2], [30, 5, 4], (20, 3))
    before = pixels(points, EGO_FROM_CAMERA, K)
    pose = motion.extrinsics(EGO_FROM_CAMERA, is_camera=True)
    rotation = pose[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.isclose(np.linalg.det(rotation), 1.0)
    moved = points @ motion.scene.T
    assert np.allclose(motion.points(points.astype(np.float32)), moved, atol=1e-4)
    after = pixels(moved, pose, motion.intrinsics(K, *SIZE))
    mapped = np.column_stack([before, np.ones(20)]) @ motion.image_map(*SIZE).T
    assert np.allclose(after, mapped[:, :2], rtol=1e-9, atol=1e-6)


@settings(deadline=None)
@given(motions, st.floats(-3.1, 3.1))
def test_boxes_move_as_their_points_do(motion: Motion, yaw: float) -> None:
    box = np.array([[8.0, 3.0, 0.5, 4.0, 2.0, 1.5, yaw]])
    (moved,) = motion.boxes(box)
    heading = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    nose = box[0, :3] + heading * box[0, 3] / 2
    moved_nose = moved[:3] + np.array([math.cos(moved[6]), math.sin(moved[6]), 0.0]) * moved[3] / 2
    assert np.allclose(moved_nose, motion.scene @ nose, atol=1e-9)
    assert np.allclose(moved[3:6], box[0, 3:6] * motion.scale)
    assert -math.pi <= moved[6] <= math.pi


@settings(deadline=None)
@given(motions)
def test_points_of_a_sensors_own_frame_move_with_its_extrinsics(motion: Motion) -> None:
    points = np.array([[5.0, 2.0, 1.0], [9.0, -4.0, 0.0]], np.float32)
    in_ego = motion.points((points + EGO_FROM_LIDAR[:3, 3]).astype(np.float32))
    pose = motion.extrinsics(EGO_FROM_LIDAR, is_camera=False)
    own = motion.points(points, is_in_ego=False)
    assert np.allclose(own @ pose[:3, :3].T + pose[:3, 3], in_ego, atol=1e-3)


@pytest.mark.parametrize(
    "motion", [Motion(is_flipped=True), Motion(image_rotation_rad=0.3), Motion(is_flipped=True, image_scale=1.5)]
)
def test_the_picture_moves_as_its_map_says(motion: Motion) -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, (100, 50), 3, (255, 255, 255), -1)
    moved = motion.image(image)
    centre = np.argwhere(moved[..., 0] > 127)[:, ::-1].mean(axis=0)
    assert np.allclose(centre, (motion.image_map(160, 120) @ [100, 50, 1])[:2], atol=0.5)


def test_a_resize_moves_pixels_and_camera_alike() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, (100, 52), 6, (255, 255, 255), -1)
    small = cv2.resize(image, (80, 40), interpolation=cv2.INTER_AREA)
    weights = small[..., 0].astype(float)
    rows, columns = np.mgrid[:40, :80]
    centre = [(weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()]
    k = resized_intrinsics(np.eye(3), (160, 120), (80, 40))
    assert np.allclose(centre, (k @ [100, 52, 1])[:2], atol=0.1)


RELEASE = make_release([6, 5])
AUGMENT = AugmentConfig(
    flip_probability=0.5, max_yaw_rad=1.0, min_scale=0.8, max_scale=1.2, max_image_rotation_rad=0.1,
    min_image_scale=0.9, max_image_scale=1.3,
)  # fmt: skip
STREAMS = {
    "camera": CAMERA.model_copy(update={"noise_std": 5.0}),
    "lidar": LIDAR.model_copy(update={"max_points": 16, "noise_std": 0.02, "dropout": 0.2}),
    "boxes": BOXES,
}


def samples(epoch: int, **changes: object) -> dict[int, dict[str, np.ndarray]]:
    given_config = config(streams=STREAMS, augment=AUGMENT, **changes)
    batches = SceneBatches(RELEASE, given_config, prefetch_blocks=0)
    batches.set_epoch(epoch)
    return {
        int(window): {name: value[row] for name, value in batch.items() if isinstance(value, np.ndarray)}
        for batch in batches.batches(0, 1)
        for row, window in enumerate(batch["window"])
    }


def test_random_transforms_follow_seed_epoch_and_window_and_nothing_else() -> None:
    one, other = samples(0), samples(0, run_windows=2, batch_size=2, block_batches=1)
    for window, sample in one.items():
        for name, value in sample.items():
            assert np.array_equal(value, other[window][name], equal_nan=value.dtype.kind == "f"), name
    again, seeded = samples(1), samples(0, seed=9)
    for found in (again, seeded):
        assert all(not np.array_equal(one[w]["lidar"], found[w]["lidar"]) for w in one)
        assert any(not np.array_equal(one[w]["camera"], found[w]["camera"]) for w in one)


def test_without_a_seed_nothing_is_random() -> None:
    assert np.array_equal(samples(0, seed=None)[3]["lidar"], samples(4, seed=None)[3]["lidar"])
    plain = next(iter(SceneBatches(RELEASE, config(streams={"camera": CAMERA}, seed=None), prefetch_blocks=0)))
    assert np.array_equal(samples(0, seed=None)[0]["camera"], plain["camera"][0])


def test_noise_has_the_spread_that_was_asked_for() -> None:
    still = config(streams={"lidar": LIDAR.model_copy(update={"noise_std": 0.5, "max_points": 8})})
    plain = config(streams={"lidar": LIDAR.model_copy(update={"max_points": 8})})
    release = make_release([60] * 6)
    noisy, exact = (
        np.concatenate([b["lidar"][b["lidar.is_point"]] for b in SceneBatches(release, c)]) for c in (still, plain)
    )
    difference = (noisy - exact)[:, :3]
    assert abs(difference.std() - 0.5) < 0.02
    assert abs(difference.mean()) < 0.02
