"""Least values over stretches, against a look at every stretch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenelake.timebase.running import minima_between, running_minimum, runs_of

VALUES = st.lists(st.integers(-50, 50), min_size=1, max_size=60).map(lambda v: np.array(v, np.int64))


@given(values=VALUES, width=st.integers(1, 80))
def test_a_running_minimum_is_the_least_of_each_stretch(values, width):
    expected = [values[i : i + width].min() for i in range(len(values))]
    assert running_minimum(values, width).tolist() == expected


def test_a_width_of_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="width"):
        running_minimum(np.array([1]), 0)


@given(values=VALUES, data=st.data())
def test_minima_between_any_pairs(values, data):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, len(values) - 1), st.integers(1, len(values))), max_size=8))
    pairs = [(a, b) for a, b in pairs if a < b]
    starts, ends = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    assert minima_between(values, starts, ends).tolist() == [values[a:b].min() for a, b in pairs]


@pytest.mark.parametrize(
    ("text", "max_hole", "expected"),
    [
        ("", 0, []),
        ("....", 0, []),
        ("####", 0, [(0, 3)]),
        ("#..##.#", 0, [(0, 0), (3, 4), (6, 6)]),
        ("#..##.#", 1, [(0, 0), (3, 6)]),
        ("#..##.#", 2, [(0, 6)]),
    ],
)
def test_runs(text, max_hole, expected):
    firsts, lasts = runs_of(np.array([c == "#" for c in text], np.bool_), max_hole)
    assert list(zip(firsts.tolist(), lasts.tolist(), strict=True)) == expected
