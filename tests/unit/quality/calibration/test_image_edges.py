"""Edge strength is read across the outline, where the calibration puts it."""

import numpy as np
import pytest

from scenelake.geometry.poses import IDENTITY, compose
from scenelake.quality.calibration.depth_edges import DepthEdges
from scenelake.quality.calibration.image_edges import NBR_STEPS, STEP_RAD, CameraView, edge_profiles

FOCAL_PX, SIZE_PX = 400.0, (640, 400)
MATRIX = np.array([[FOCAL_PX, 0, 320.0], [0, FOCAL_PX, 200.0], [0, 0, 1]])
VIEW = CameraView(IDENTITY, MATRIX, None, None, SIZE_PX)


def outlines(points_m: np.ndarray, aside: tuple[float, float, float], *, is_across: bool = False) -> DepthEdges:
    count = len(points_m)
    return DepthEdges(points_m, points_m + aside, np.arange(count), np.full(count, is_across))


def column_of(y_m: np.ndarray) -> np.ndarray:
    return np.stack([np.full_like(y_m, 1.0), y_m, np.full_like(y_m, 10.0)], axis=1)


STEP_AT_PX = 364
"""Between 363 and 364, 3.5 px to the right of where x = 1, z = 10 falls."""
IMAGE = np.where(np.arange(SIZE_PX[0]) < STEP_AT_PX, 60, 180)[None, :].repeat(SIZE_PX[1], axis=0).astype(np.uint8)


def test_the_strength_peaks_where_the_edge_is() -> None:
    found = edge_profiles(IMAGE, outlines(column_of(np.linspace(-2, 2, 9)), (0.1, 0, 0)), IDENTITY, VIEW)
    assert len(found) == 9
    peak = found.strength.mean(axis=0).argmax() - NBR_STEPS // 2
    assert abs(peak * STEP_RAD * FOCAL_PX - 3.5) < 0.5
    np.testing.assert_allclose(found.strength.mean(axis=1), 0, atol=1e-5)


def test_a_level_outline_does_not_take_an_upright_edge() -> None:
    level = outlines(column_of(np.linspace(-2, 2, 9)), (0, 0.1, 0), is_across=True)
    assert np.abs(edge_profiles(IMAGE, level, IDENTITY, VIEW).strength).max() < 0.01


def test_an_outline_near_the_border_is_not_drawn_inwards() -> None:
    noise = np.random.default_rng(2).integers(0, 255, SIZE_PX[::-1]).astype(np.uint8)
    near = np.stack([np.full(9, 7.9), np.linspace(-2, 2, 9), np.full(9, 10.0)], axis=1)
    found = edge_profiles(noise, outlines(near, (0.05, 0, 0)), IDENTITY, VIEW).strength
    assert len(found) == 9
    columns = 320.0 + FOCAL_PX * (0.79 + (np.arange(NBR_STEPS) - NBR_STEPS // 2) * STEP_RAD)
    is_outside = columns > SIZE_PX[0] - 1
    assert is_outside.any()
    assert not found[:, is_outside].any()
    np.testing.assert_allclose(found[:, ~is_outside].mean(axis=1), 0, atol=1e-5)


@pytest.mark.parametrize("parameter", range(6))
def test_shifts_are_those_of_the_projection(parameter: int) -> None:
    random = np.random.default_rng(1)
    points = np.column_stack([random.uniform(-3, 3, 40), random.uniform(-2, 2, 40), random.uniform(6, 20, 40)])
    shifts = edge_profiles(IMAGE, outlines(points, (0.1, 0, 0)), IDENTITY, VIEW).shifts[:, parameter]
    small = 1e-4
    change = np.zeros(7)
    change[3] = 1.0
    change[parameter - 3 if parameter >= 3 else parameter + 4] = small if parameter >= 3 else small / 2
    turned = CameraView(compose(IDENTITY, change), MATRIX, None, None, SIZE_PX)
    px = [(p[:, 0] / p[:, 2]) for p in (points, _seen(points, turned))]
    # The camera moved by the change, so that points move the other way.
    np.testing.assert_allclose(-(px[1] - px[0]) / small, shifts, atol=2e-3)


def _seen(points: np.ndarray, view: CameraView) -> np.ndarray:
    from scenelake.geometry.poses import invert, transform

    return transform(invert(view.ego_from_camera), points)


def test_points_that_the_camera_does_not_see_are_left_out() -> None:
    behind = outlines(column_of(np.linspace(-2, 2, 9)) * [1, 1, -1], (0.1, 0, 0))
    assert not len(edge_profiles(IMAGE, behind, IDENTITY, VIEW))


def test_thinning_keeps_both_kinds() -> None:
    upright = edge_profiles(IMAGE, outlines(column_of(np.linspace(-3, 3, 90)), (0.1, 0, 0)), IDENTITY, VIEW)
    few = upright.thinned(40)
    assert len(few) == 40
    assert few.strength.shape == (40, NBR_STEPS)
    assert upright.thinned(90) is upright
