"""The picture's geometry: poses as matrices and points into pixels."""

import numpy as np

from scenelake.cli.sample_view import Calibration, matrix, project

K = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])
CAMERA = Calibration(None, K, np.zeros(5))


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    half = np.sqrt(0.5)
    pose = {"tx_m": 1.0, "ty_m": 2.0, "tz_m": 3.0, "qw": half, "qx": 0.0, "qy": 0.0, "qz": half}
    assert np.allclose(matrix(pose) @ [1, 0, 0, 1], [1, 3, 3, 1])


def test_points_fall_where_a_pinhole_puts_them() -> None:
    pixels, depth = project(np.array([[0.1, 0.2, 2.0]]), CAMERA, (100, 80))
    assert np.allclose(pixels, [[55, 50]])
    assert np.allclose(depth, [2.0])


def test_points_behind_or_outside_are_left_out() -> None:
    points = np.array([[0.0, 0, -1], [0, 0, 0.1], [10, 0, 1], [0, 0, 5]])
    pixels, depth = project(points, CAMERA, (100, 80))
    assert depth.tolist() == [5.0]
    assert len(pixels) == 1


def test_strong_distortion_cannot_fold_far_points_into_the_picture() -> None:
    barrel = Calibration(None, K, np.array([-0.5, 0, 0, 0, 0]))
    far = np.array([[3.0, 0, 1.0]])
    assert len(project(far, barrel, (100, 80))[0]) == 0
