"""Grids and drifts are exact in integers."""

import numpy as np
import pytest

from scenelake.simulate.clock import grid_ns
from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.faults import drift_ns


@pytest.mark.parametrize(
    ("rate_hz", "seconds", "count"), [(10.0, 3, 30), (12.5, 2, 25), (30.0, 1, 30), (0.5, 3, 2), (13.0, 1, 13)]
)
def test_a_grid_has_as_many_steps_as_its_rate_says(rate_hz, seconds, count):
    grid = grid_ns(rate_hz, seconds * SECOND_NS)
    assert len(grid) == count
    assert grid[0] == 0
    assert grid[-1] < seconds * SECOND_NS


def test_rounding_does_not_accumulate():
    grid = grid_ns(30.0, 3600 * SECOND_NS)
    assert (grid[::30] == np.arange(3600) * SECOND_NS).all()


@pytest.mark.parametrize(("phase_ns", "expected"), [(0, 10), (99_999_999, 10), (100_000_000, 9), (SECOND_NS, 0)])
def test_the_phase_moves_the_grid_within_the_window(phase_ns, expected):
    assert len(grid_ns(10.0, SECOND_NS, phase_ns)) == expected


@pytest.mark.parametrize(
    ("elapsed_ns", "ppm", "gained"),
    [
        (SECOND_NS, 1.0, 1000),
        (1500 * SECOND_NS, 20.0, 30_000_000),
        (SECOND_NS // 2, 100.0, 50_000),
        (SECOND_NS, -1.0, -1000),
    ],
)
def test_drift_is_parts_per_million(elapsed_ns, ppm, gained):
    assert drift_ns(np.array([elapsed_ns]), ppm).tolist() == [gained]
