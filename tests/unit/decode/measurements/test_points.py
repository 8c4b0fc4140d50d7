"""Point statistics against sweeps whose figures are known."""

import numpy as np
import pytest

from scenelake.decode.measurements.points import point_statistics

EMPTY = np.empty(0, np.float32)


def test_a_known_sweep() -> None:
    x = np.array([3, 0, np.nan, 0, np.inf], np.float32)
    y = np.array([4, 0, 1, 0, 1], np.float32)
    z = np.array([0, 0, 1, 2, 1], np.float32)
    intensity = np.array([1, 2, 3, np.nan, 6], np.float32)
    found = point_statistics(x, y, z, intensity, np.array([0, 1, 1, 7, 7]), np.array([5, 9, 100, 2, 50]))
    assert (found.nbr_points, found.nbr_invalid) == (5, 3)
    assert (found.range_min_m, found.range_mean_m, found.range_max_m) == (2.0, 3.5, 5.0)
    assert (found.intensity_mean, found.nbr_rings, found.offset_span_ns) == (3.0, 3, 98)


def test_a_sweep_without_valid_points() -> None:
    for x in (EMPTY, np.zeros(4, np.float32), np.full(4, np.nan, np.float32)):
        found = point_statistics(x, x, x)
        assert (found.nbr_points, found.nbr_invalid) == (len(x), len(x))
        assert (found.range_min_m, found.range_mean_m, found.range_max_m) == (None, None, None)
        assert (found.intensity_mean, found.nbr_rings, found.offset_span_ns) == (None, None, None)


def test_strided_columns_and_huge_values() -> None:
    packed = np.zeros(10, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("ring", "u2")])
    packed["x"] = 3e38
    packed["z"][0] = 1
    found = point_statistics(packed["x"], packed["y"], packed["z"], ring=packed["ring"])
    assert (found.nbr_invalid, found.nbr_rings) == (10, 1)
    packed["x"][0] = 0
    assert point_statistics(packed["x"], packed["y"], packed["z"]).range_max_m == pytest.approx(1.0)
