"""Nearest, linear, SLERP and hold against oracles that look at every row."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.modalities import SyncMethod
from scenelake.geometry.linear import interpolate_linear
from scenelake.geometry.slerp import interpolate_slerp
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.hold import match_hold
from scenelake.synchronise.match import Candidates, SceneTargets, match_scenes, near_positions
from scenelake.synchronise.nearest import match_nearest
from scenelake.timebase.windows import Window

BASE = 1_700_000_000_000_000_000
TIMES = st.integers(BASE - 40, BASE + 40)
STAMPS = st.lists(TIMES, max_size=25).map(sorted)
TARGETS = st.lists(TIMES, max_size=10)


def array(values):
    return np.array(values, np.int64)


@settings(deadline=None)
@given(targets=TARGETS, stamps=STAMPS)
def test_nearest_is_the_best_of_all_rows(targets, stamps):
    found = match_nearest(array(targets), array(stamps))
    for target, index, delta in zip(targets, found.indices.tolist(), found.delta_ns.tolist(), strict=True):
        if not stamps:
            assert (index, delta) == (-1, 0)
            continue
        best = min(range(len(stamps)), key=lambda i: (abs(stamps[i] - target), stamps[i], i))
        assert (index, delta) == (best, stamps[best] - target)


@pytest.mark.parametrize(
    ("target", "stamps", "index", "delta"),
    [
        (5, [0, 10], 0, -5),
        (6, [0, 10], 1, 4),
        (5, [0, 0, 10, 10], 0, -5),
        (9, [0, 10, 10], 1, 1),
        (11, [0, 10, 10], 1, -1),
        (-7, [0, 10], 0, 7),
        (10, [10, 10, 10], 0, 0),
        (3, [], -1, 0),
    ],
    ids=["tie", "later", "tie-duplicates", "duplicate-after", "duplicate-before", "before-all", "exact", "empty"],
)
def test_nearest_ties_and_edges(target, stamps, index, delta):
    found = match_nearest(array([target]), array(stamps))
    assert (found.indices.tolist(), found.delta_ns.tolist()) == ([index], [delta])


def test_nearest_keeps_nanoseconds_that_a_float_would_lose():
    found = match_nearest(array([BASE + 1]), array([BASE, BASE + 3]))
    assert found.delta_ns.tolist() == [-1]


@settings(deadline=None)
@given(targets=TARGETS, stamps=STAMPS, max_age=st.integers(0, 50))
def test_hold_is_the_last_row_at_or_before(targets, stamps, max_age):
    found = match_hold(array(targets), array(stamps), max_age)
    for target, index, delta, fresh in zip(targets, found.indices, found.delta_ns, found.is_fresh, strict=True):
        past = [i for i, t in enumerate(stamps) if t <= target]
        if not past:
            assert (index, delta, fresh) == (-1, 0, False)
        else:
            assert (index, delta) == (past[-1], stamps[past[-1]] - target)
            assert fresh == (target - stamps[past[-1]] <= max_age)


@settings(deadline=None)
@given(targets=TARGETS, stamps=STAMPS, max_gap=st.integers(1, 30), data=st.data())
def test_linear_agrees_with_a_search_of_all_pairs(targets, stamps, max_gap, data):
    cells = st.floats(-1e3, 1e3)
    values = np.array(data.draw(st.lists(st.tuples(cells, cells), min_size=len(stamps), max_size=len(stamps))))
    values = values.reshape(len(stamps), 2)
    found = interpolate_linear(array(targets), array(stamps), values, max_gap)
    for target, value, valid in zip(targets, found.values, found.is_valid, strict=True):
        expected = linear_oracle(target, stamps, values, max_gap)
        assert valid == (expected is not None)
        if expected is None:
            assert np.isnan(value).all()
        else:
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-9)


def linear_oracle(target, stamps, values, max_gap):
    if target in stamps:
        return values[stamps.index(target)]
    before = [i for i, t in enumerate(stamps) if t < target]
    after = [i for i, t in enumerate(stamps) if t > target]
    if not before or not after or stamps[after[0]] - stamps[before[-1]] > max_gap:
        return None
    a, b = before[-1], after[0]
    share = (target - stamps[a]) / (stamps[b] - stamps[a])
    return values[a] + share * (values[b] - values[a])


@pytest.mark.parametrize("gap", [100, 99])
def test_the_widest_gap_is_inclusive(gap):
    found = interpolate_linear(array([BASE + 50]), array([BASE, BASE + 100]), np.array([[0.0], [1.0]]), gap)
    assert found.is_valid.tolist() == [gap == 100]


def test_a_missing_component_stays_in_its_column():
    found = interpolate_linear(array([5]), array([0, 10]), np.array([[0.0, math.nan], [2.0, 1.0]]), 100)
    assert found.values[0, 0] == 1.0
    assert math.isnan(found.values[0, 1])


def turn(degrees, axis=(0.0, 0.0, 1.0)):
    half = math.radians(degrees) / 2
    unit = np.array(axis) / np.linalg.norm(axis)
    return np.concatenate([[math.cos(half)], math.sin(half) * unit])


UNITS = st.tuples(*[st.floats(-1, 1)] * 4).map(np.array).filter(lambda q: np.linalg.norm(q) > 0.1)


@settings(deadline=None)
@given(first=UNITS, second=UNITS, share=st.integers(0, 1000))
def test_slerp_turns_at_a_constant_rate_along_the_shortest_arc(first, second, share):
    found = interpolate_slerp(array([share]), array([0, 1000]), np.array([first, second]), 1000)
    a, b, q = (v / np.linalg.norm(v) for v in (first, second, found.values[0]))
    whole = math.acos(min(1.0, abs(a @ b)))
    part = math.acos(min(1.0, abs(a @ q)))
    rest = math.acos(min(1.0, abs(q @ b)))
    assert found.is_valid.all()
    assert np.linalg.norm(found.values[0]) == pytest.approx(1.0)
    assert part == pytest.approx(whole * share / 1000, abs=1e-6)
    assert rest == pytest.approx(whole * (1 - share / 1000), abs=1e-6)


def test_slerp_takes_the_shortest_arc_whatever_the_sign():
    for sign in (1.0, -1.0):
        quaternions = np.array([turn(170), sign * turn(-170)])
        halfway = interpolate_slerp(array([50]), array([0, 100]), quaternions, 100).values[0]
        assert abs(halfway @ turn(180)) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [[0.0] * 4, [math.nan] * 4])
def test_slerp_makes_nothing_of_what_is_no_rotation(bad):
    found = interpolate_slerp(array([5, 10, 15]), array([0, 10, 20]), np.array([turn(0), bad, turn(20)]), 100)
    assert not found.is_valid.any()


@pytest.mark.parametrize("count", [0, 1])
def test_interpolation_needs_two_rows_or_an_exact_hit(count):
    stamps = array([10][:count])
    linear = interpolate_linear(array([9, 10, 11]), stamps, np.ones((count, 3)), 100)
    slerp = interpolate_slerp(array([9, 10, 11]), stamps, np.ones((count, 4)), 100)
    assert linear.is_valid.tolist() == slerp.is_valid.tolist() == [False, count == 1, False]


@settings(deadline=None)
@given(targets=TARGETS, stamps=STAMPS, max_gap=st.integers(1, 30), data=st.data())
def test_slerp_agrees_with_a_search_of_all_pairs(targets, stamps, max_gap, data):
    angles = data.draw(st.lists(st.floats(-80, 80), min_size=len(stamps), max_size=len(stamps)))
    quaternions = np.array([turn(a) for a in angles]).reshape(len(stamps), 4)
    found = interpolate_slerp(array(targets), array(stamps), quaternions, max_gap)
    for target, value, valid in zip(targets, found.values, found.is_valid, strict=True):
        expected = linear_oracle(target, stamps, np.array(angles).reshape(-1, 1), max_gap)
        assert valid == (expected is not None)
        if expected is not None:
            assert abs(value @ turn(float(expected[0]))) == pytest.approx(1.0, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_values_read_near_keyframes_alone_give_the_same_matches(data):
    count = data.draw(st.integers(1, 40))
    stamps = array(sorted(data.draw(st.lists(TIMES, min_size=count, max_size=count))))
    keyframes = array(sorted(data.draw(st.lists(TIMES, min_size=1, max_size=6))))
    is_assigned = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    every = Candidates(np.arange(count), stamps, np.arange(count, dtype=float).reshape(-1, 1))
    inside = np.flatnonzero(is_assigned)
    near = np.union1d(near_positions(keyframes, stamps), inside[near_positions(keyframes, stamps[inside])])
    some = Candidates(near, stamps[near], every.values[near])
    windows = [SceneTargets(Window(BASE - 41, BASE + 41), keyframes, np.full(len(keyframes), 7))]
    for is_episodic in (False, True):
        answers = [
            match_scenes(
                windows,
                c,
                c.where(is_assigned[c.rows]),
                SyncMethod.LINEAR,
                SynchroniseConfig(),
                is_episodic=is_episodic,
            )
            for c in (every, some)
        ]
        for name in ("rows", "delta_ns", "has_delta", "values"):
            np.testing.assert_array_equal(*(getattr(answer, name) for answer in answers))
