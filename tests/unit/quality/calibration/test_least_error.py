"""The smallest error that an estimate leaves room for."""

import numpy as np
import pytest

from scenelake.quality.calibration.least_error import least_error


@pytest.mark.parametrize(
    ("estimate", "reach", "expected"),
    [
        ([3.0, 0.0, 0.0], [1.0, 9.0, 9.0], 2.0),
        ([3.0, 4.0], [1.0, 1.0], 4.0),
        ([0.5, 0.5], [1.0, 1.0], 0.0),
        ([0.9, 0.9], [1.0, 1.0], 0.9 * np.sqrt(2) - 1),
        ([3.0, 9.0], [1.0, np.inf], 2.0),
        ([5.0, 5.0], [np.inf, np.inf], 0.0),
        ([0.0, 0.0], [1.0, 1.0], 0.0),
    ],
    ids=["axis", "round", "within", "both together", "one axis unknown", "nothing known", "none"],
)
def test_it_is_the_distance_from_the_ellipsoid(estimate: list[float], reach: list[float], expected: float) -> None:
    assert least_error(np.array(estimate), np.array(reach)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_the_ellipsoid_is_nearer(seed: int) -> None:
    random = np.random.default_rng(seed)
    middle, half = random.normal(size=3) * 3, random.uniform(0.3, 1.0, 3)
    points = random.normal(size=(50_000, 3))
    surface = middle + half * points / np.linalg.norm(points, axis=1, keepdims=True)
    nearest = float(np.linalg.norm(surface, axis=1).min())
    found = least_error(middle, half)
    assert found <= nearest + 1e-9
    if np.linalg.norm(middle / half) > 1:
        assert found == pytest.approx(nearest, abs=0.01)
    else:
        assert found == 0.0
