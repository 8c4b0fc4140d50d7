"""Every fault of a transform and a camera matrix is named, and sound ones have none."""

import math

import numpy as np
import pytest

from scenelake.geometry.poses import POSE_FIELDS, pose_of
from scenelake.quality.calibration.validity import (
    difference,
    intrinsics_problems,
    same_places,
    transform_problems,
)

FORWARD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
MATRIX = [500.0, 0, 320.0, 0, 500.0, 200.0, 0, 0, 1.0]
SOUND = {
    "intrinsics": MATRIX, "distortion": [-0.1, 0.01, 0, 0, 0], "camera_model": "plumb_bob", "width_px": 640,
    "height_px": 400,
}  # fmt: skip


def pose(rotation: np.ndarray = FORWARD, at: tuple[float, float, float] = (1.5, 0.2, 1.4), **changes: float):
    return dict(zip(POSE_FIELDS, pose_of(rotation, np.array(at)).tolist(), strict=True)) | changes


def turned(axis: int, deg: float) -> np.ndarray:
    c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


@pytest.mark.parametrize(
    ("given", "modality"),
    [
        (pose(), "camera"),
        (pose(turned(2, 120) @ FORWARD), "camera"),
        (pose(turned(1, -40) @ FORWARD), "camera"),
        (pose(np.diag([1.0, -1.0, -1.0])), "lidar"),
        (None, "camera"),
    ],
    ids=["ahead", "aside", "steep", "LiDAR upside down", "missing"],
)
def test_sound_transforms_have_no_fault(given, modality: str) -> None:
    assert transform_problems(given, modality) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (pose(np.eye(3)), "sky"),
        (pose(turned(1, -75) @ FORWARD), "to the ground"),
        (pose(turned(0, 90) @ FORWARD), "image is turned"),
        (pose(qw=0.9), "length"),
        (pose(tx_m=float("nan")), "no finite number"),
        (pose(ty_m=None), "no finite number"),
        (pose(at=(1500.0, 0, 1400.0)), "from the ego's origin"),
    ],
    ids=["body frame", "down", "on its side", "no rotation", "NaN", "null", "millimetres"],
)
def test_faults_of_a_camera_transform_are_named(given, words: str) -> None:
    (problem,) = transform_problems(given, "camera")
    assert words in problem


def test_two_sensors_of_a_kind_in_one_place_are_named() -> None:
    here, there = pose_of(FORWARD, np.array([1.0, 0, 1.5])), pose_of(FORWARD, np.array([1.0, 0.3, 1.5]))
    sensors = [
        ("/a", "camera", "a", here), ("/a/raw", "camera", "a", here), ("/b", "camera", "b", there),
        ("/c", "camera", "c", here), ("/l", "lidar", "l", here),
    ]  # fmt: skip
    assert same_places(sensors) == {"/a": "/c", "/a/raw": "/c", "/c": "/a/raw"}


def test_the_difference_of_poses() -> None:
    angle_deg, distance_m = difference(
        pose_of(turned(2, 10), np.zeros(3)), pose_of(turned(2, 9.5), np.array([0.0, 0.03, 0.04]))
    )
    assert angle_deg == pytest.approx(0.5)
    assert distance_m == pytest.approx(0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"camera_model": None, "distortion": None},
        {"camera_model": "equidistant", "distortion": [0.02, -0.004, 0.001, 0.0]},
        {"camera_model": "rational_polynomial", "distortion": [0.3, 0.02, 0, 0, 0.001, 0.65, 0.06, 0.003]},
    ],
    ids=str,
)
def test_sound_cameras_have_no_fault(changes) -> None:
    assert intrinsics_problems(SOUND | changes, (640, 400)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intrinsics": None}, "nine finite"),
        ({"intrinsics": [*MATRIX[:8], float("nan")]}, "nine finite"),
        ({"intrinsics": [-500.0, *MATRIX[1:]]}, "focal lengths"),
        ({"intrinsics": [900.0, *MATRIX[1:]]}, "differ as no lens"),
        ({"intrinsics": [5e5, 0, 320, 0, 5e5, 200, 0, 0, 1]}, "sees"),
        ({"intrinsics": [*MATRIX[:2], 20.0, *MATRIX[3:]]}, "principal point"),
        ({"width_px": 1280, "height_px": 800, "intrinsics": [1e3, 0, 640, 0, 1e3, 400, 0, 0, 1]}, "the images are"),
        ({"distortion": [-0.9, 0, 0, 0, 0]}, "turns back"),
        ({"camera_model": "equidistant", "distortion": [-0.9, 0, 0, 0]}, "turns back"),
        ({"distortion": [float("inf")]}, "no finite number"),
        ({"camera_model": "mei"}, "not known"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_faults_of_a_camera_are_named(changes, words: str) -> None:
    (problem,) = intrinsics_problems(SOUND | changes, (640, 400))
    assert words in problem


def test_the_size_of_the_images_stands_in_for_a_missing_one() -> None:
    assert intrinsics_problems(SOUND | {"width_px": None, "height_px": None}, (640, 400)) == []
    (problem,) = intrinsics_problems(SOUND | {"width_px": 0}, None)
    assert "no image size" in problem
