from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.timebase.grids import Grid
from scenelake.timebase.windows import Window

GRIDS = [Grid(2), Grid(30), Grid(10), Grid(30_000, 1001), Grid(1, 3), Grid(1_000_000), Grid(7)]
STAMPS = st.integers(-(10**15), 4 * 10**18)


@settings(deadline=None)
@given(grid=st.sampled_from(GRIDS), stamps=st.lists(STAMPS, min_size=1, max_size=20))
def test_ticks_agree_with_exact_fractions(grid, stamps):
    period = Fraction(grid.seconds * 10**9, grid.ticks)
    ticks = grid.ticks_of(np.array(stamps, np.int64))
    assert ticks.tolist() == [floor(Fraction(t) / period) for t in stamps]
    assert grid.times_of(ticks).tolist() == [ceil(int(k) * period) for k in ticks]
    assert grid.ticks_of(grid.times_of(ticks)).tolist() == ticks.tolist()


def test_thirty_hertz_does_not_drift_in_a_year():
    ticks = np.array([30 * 86_400 * 365 + 1])
    assert Grid(30).times_of(ticks).tolist() == [86_400 * 365 * 10**9 + 33_333_334]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 1_000_000_000, [0, 500_000_000]),
        (1, 1_000_000_000, [500_000_000]),
        (1, 500_000_000, []),
        (0, 500_000_001, [0, 500_000_000]),
        (-500_000_000, 1, [-500_000_000, 0]),
    ],
)
def test_times_in_a_half_open_window(start, end, expected):
    assert Grid(2).times_in(Window(start, end)).tolist() == expected


def test_the_first_stamp_of_each_tick():
    half = 500_000_000
    stamps = np.array([half - 1, half, half, half + 7, 4 * half + 3, 5 * half])
    assert Grid(2).first_of_each_tick(stamps).tolist() == [0, 1, 4, 5]
    assert Grid(2).first_of_each_tick(stamps[:0]).tolist() == []


@pytest.mark.parametrize(("ticks", "seconds"), [(0, 1), (-1, 1), (1, 0), (1_000_001, 1), (1_000_000, 10_000)])
def test_a_grid_that_would_overflow_is_refused(ticks, seconds):
    with pytest.raises(ValueError, match="grid"):
        Grid(ticks, seconds)
