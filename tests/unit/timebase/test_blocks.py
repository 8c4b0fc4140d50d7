"""Answers do not depend on how long arrays are cut into blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenelake.timebase import blocks as module
from scenelake.timebase import scratch as scratch_module
from scenelake.timebase.blocks import (
    are_equal,
    blocks,
    compress,
    count_where,
    is_sorted,
    median_step,
    positions_where,
    sorting_order,
)
from scenelake.timebase.run_sums import RunSums
from scenelake.timebase.running import runs_of
from scenelake.timebase.scratch import IN_MEMORY, Scratch

WIDE = st.integers(-(2**61), 2**61)
NEAR = st.integers(-5, 5)
VALUES = st.lists(WIDE | NEAR, max_size=60).map(lambda values: np.array(values, np.int64))


@pytest.fixture(autouse=True)
def tiny_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr(module, "_SORTED_AT_ONCE", 5)
    monkeypatch.setattr(module, "_NBR_BINS", 8)
    monkeypatch.setattr(module, "_NBR_SAMPLES", 6)
    monkeypatch.setattr(scratch_module, "_LEAST_FILE_BYTES", 1)


@given(count=st.integers(0, 20), start=st.integers(0, 20))
def test_blocks_make_up_the_range(count, start):
    assert [i for a, b in blocks(count, start) for i in range(a, b)] == list(range(start, count))


@given(values=VALUES)
def test_sorting_is_numpys(values):
    order = sorting_order(values)
    expected = np.argsort(values, kind="stable")
    assert is_sorted(values) == (order is None) == bool((values[1:] >= values[:-1]).all())
    np.testing.assert_array_equal(np.arange(len(values)) if order is None else order, expected)


@given(values=VALUES.map(np.sort))
def test_the_median_step_is_that_of_all_positive_steps(values):
    steps = sorted(int(s) for s in np.diff(values) if s > 0)
    assert median_step(values) == (steps[(len(steps) - 1) // 2] if steps else None)


@given(values=VALUES)
def test_conditions_are_those_of_the_whole(values):
    def is_kept(start, end):
        return values[start:end] % 2 == 0

    expected = values % 2 == 0
    assert count_where(len(values), is_kept) == np.count_nonzero(expected)
    np.testing.assert_array_equal(compress(values, is_kept, IN_MEMORY), values[expected])
    np.testing.assert_array_equal(positions_where(len(values), is_kept, IN_MEMORY), np.flatnonzero(expected))


@given(values=VALUES, other=VALUES)
def test_equality_is_numpys(values, other):
    assert are_equal(values, values.copy())
    assert are_equal(values, other) == np.array_equal(values, other)


@given(
    positions=st.sets(st.integers(0, 400), max_size=80).map(sorted),
    cuts=st.lists(st.integers(0, 80), max_size=8).map(sorted),
    max_runs=st.integers(1, 10),
)
def test_runs_are_those_of_all_positions(positions, cuts, max_runs):
    is_set = np.zeros(401, np.bool_)
    is_set[positions] = True
    values = np.random.default_rng(1).integers(-50, 50, 401)
    collected = RunSums(2, max_runs)
    for part in np.split(np.array(positions, np.int64), cuts):
        collected.add(part, values[part], 2 * values[part])
    hole = 2
    firsts, lasts = runs_of(is_set, hole)
    while len(firsts) > max_runs:
        hole *= 4
        firsts, lasts = runs_of(is_set, hole)
    inside = [values[a : b + 1][is_set[a : b + 1]] for a, b in zip(firsts, lasts, strict=True)]
    runs = collected.runs
    assert (runs.firsts.tolist(), runs.lasts.tolist()) == (firsts.tolist(), lasts.tolist())
    assert runs.counts.tolist() == [len(v) for v in inside]
    assert runs.least.tolist() == [v.min() for v in inside]
    assert runs.largest.tolist() == [v.max() for v in inside]
    assert runs.sums.tolist() == [2 * v.sum() for v in inside]


def test_long_arrays_lie_in_files_that_leave_nothing_behind(tmp_path):
    scratch = Scratch(tmp_path)
    array = scratch.array(1000, np.int64)
    assert not array.any()
    array[:] = np.arange(1000)
    scratch.drop_pages()
    assert array.tolist() == list(range(1000))
    assert list(tmp_path.iterdir()) == []
    assert len(scratch.array(0, np.float64)) == 0
