"""A distribution that moved is told from one that did not, over many comparisons at once."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.quality.shift import (
    LARGE_PSI,
    MIN_SCENES,
    NBR_BARS,
    SMALL_PSI,
    Reading,
    benjamini_hochberg,
    called,
    kolmogorov_smirnov,
    population_stability,
    shifts,
)


def observed(before, after, statistic="camera.black", channel="/cam", robot="anna"):
    count = len(before) + len(after)
    return pa.table(
        {
            "robot_id": [robot] * count,
            "channel": [channel] * count,
            "statistic": pa.array([statistic] * count, pa.string()),
            "value": np.concatenate([before, after]).astype(np.float64),
            "is_after": [False] * len(before) + [True] * len(after),
        }
    )


def compared(*tables, rows=None):
    return shifts(pa.concat_tables(tables).to_batches(max_chunksize=rows))


def normal(count, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1.0, count)


@pytest.mark.parametrize(
    ("mean", "is_shifted"), [(0.0, False), (0.1, False), (0.7, True), (1.5, True), (-3.0, True), (100.0, True)]
)
def test_a_mean_that_moved_is_found(mean, is_shifted):
    (row,) = compared(observed(normal(800), normal(800, mean, seed=1)))
    assert (row.robot_id, row.channel, row.statistic) == ("anna", "/cam", "camera.black")
    assert (row.nbr_before, row.nbr_after) == (800, 800)
    assert row.median_after - row.median_before == pytest.approx(mean, abs=0.15)
    assert called([row]) == [row] * int(is_shifted)
    assert (row.reading is Reading.LARGE) is is_shifted
    assert (row.psi >= LARGE_PSI) is is_shifted
    assert (row.psi < SMALL_PSI) is not is_shifted


def test_a_share_that_was_zero_and_is_not_any_more_is_found():
    """As of black frames: most values are equal, and bins by quantiles alone would all fall on one."""
    before, after = np.zeros(300), np.concatenate([np.zeros(200), np.full(100, 0.4)])
    below = np.concatenate([np.zeros(200), np.full(100, -0.4)])
    assert population_stability(before, after) > LARGE_PSI
    assert population_stability(before, below) > LARGE_PSI
    assert len(called(compared(observed(before, after)))) == 1
    assert population_stability(before, np.zeros(50)) < SMALL_PSI


def test_of_a_thousand_comparisons_without_a_shift_none_is_called():
    names = sorted(f"s{k}" for k in range(1000))
    found = compared(*(observed(normal(60, seed=k), normal(60, seed=5000 + k), name) for k, name in enumerate(names)))
    assert [row.statistic for row in found] == names
    assert 0.02 < np.mean([row.p_value < 0.05 for row in found]) < 0.08
    assert called(found) == []
    assert {row.reading for row in found} == {Reading.CHANCE}, "however large the index is, of so few scenes"
    assert max(row.psi for row in found) > LARGE_PSI


def test_what_is_on_one_side_alone_or_too_rare_is_left_out():
    few = MIN_SCENES - 1
    assert compared(observed(normal(50), normal(few))) == []
    assert compared(observed(normal(few), normal(50))) == []
    assert compared(observed(normal(50), []), observed([], normal(50), "other")) == []
    assert compared(observed([], [])) == shifts([]) == []
    assert len(compared(observed(normal(MIN_SCENES), normal(MIN_SCENES)))) == 1


@pytest.mark.parametrize("rows", [1, 7, 64, 10_000])
def test_a_group_may_be_cut_anywhere_between_batches(rows):
    tables = [
        observed(normal(30, seed=k), normal(20, 1.0, seed=k + 9), statistic, channel, robot)
        for k, (robot, channel, statistic) in enumerate(
            [("a", "", "x"), ("a", "", "y"), ("a", "/c", "y"), ("b", "/c", "y"), ("b", "/d", "x")]
        )
    ]
    found = compared(*tables, rows=rows)
    assert [(s.robot_id, s.channel, s.statistic, s.nbr_before, s.nbr_after) for s in found] == [
        ("a", "", "x", 30, 20), ("a", "", "y", 30, 20), ("a", "/c", "y", 30, 20), ("b", "/c", "y", 30, 20),
        ("b", "/d", "x", 30, 20),
    ]  # fmt: skip
    assert [(s.psi, s.ks, s.q_value) for s in found] == [(s.psi, s.ks, s.q_value) for s in compared(*tables)]


def test_the_largest_come_first_and_moderate_is_not_large():
    found = compared(
        observed(normal(3000), normal(3000, 0.4, seed=1), "a"),
        observed(normal(3000), normal(3000, 2.0, seed=2), "b"),
        observed(normal(3000), normal(3000, 0.2, seed=3), "c"),
        observed(normal(3000), normal(3000, 0.0, seed=4), "d"),
    )
    assert [row.reading for row in found] == [Reading.MODERATE, Reading.LARGE, Reading.NONE, Reading.CHANCE]
    assert [row.statistic for row in called(found)] == ["b", "a"]


def test_the_histogram_holds_every_scene_in_bars_that_both_sides_share():
    outlier = np.append(normal(400), 1e12)
    (row,) = compared(observed(outlier, normal(300, 5.0, seed=1)))
    shown = row.histogram
    assert (shown.before.sum(), shown.after.sum()) == (401, 300)
    assert len(shown.before) == len(shown.after) == NBR_BARS
    assert -4.0 < shown.low < shown.high < 9.0, "one scene must not press all others into one bar"
    assert shown.before[: NBR_BARS // 2].sum() > 350
    assert shown.after[NBR_BARS // 2 :].sum() > 250
    (flat,) = compared(observed(np.zeros(20), np.zeros(20)))
    assert flat.histogram.low < 0.0 < flat.histogram.high
    assert flat.histogram.before.max() == flat.histogram.after.max() == 20


@pytest.mark.parametrize(
    ("count", "distance", "p_value"),
    # Kolmogorov's distribution at 1.3581 and 1.6276, whose 5 % and 1 % points they are (Smirnov, 1948).
    [(10_000, 1.3581 / np.sqrt(5_000), 0.05), (10_000, 1.6276 / np.sqrt(5_000), 0.01)],
)
def test_the_p_value_is_kolmogorov_s(count, distance, p_value):
    rank = np.arange(count) / count
    found, p = kolmogorov_smirnov(rank, rank + round(distance * count) / count)
    assert found == pytest.approx(distance, abs=1.5 / count)
    assert p == pytest.approx(p_value, rel=0.08)


def test_both_series_of_kolmogorov_s_distribution_meet():
    rank = np.arange(1000) / 1000
    shift = np.arange(40, 70) / 1000
    p_values = np.array([kolmogorov_smirnov(rank, rank + s)[1] for s in shift])
    assert (np.diff(p_values) < 0).all()
    assert np.abs(np.diff(p_values, 2)).max() < 0.01


def test_benjamini_and_hochberg_s_own_example():
    p_values = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
                         0.5719, 0.6528, 0.7590, 1.0])  # fmt: skip
    corrected = benjamini_hochberg(p_values)
    assert np.count_nonzero(corrected <= 0.05) == 4
    assert corrected[0] == pytest.approx(0.0015)
    assert (np.diff(corrected) >= 0).all()


VALUES = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-1e6, 1e6)), min_size=1, max_size=50)


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES, st.randoms(use_true_random=False))
def test_measures_of_shift_are_bounded_and_know_no_order(before, after, random):
    old, new = np.array(before), np.array(after)
    psi = population_stability(old, new)
    distance, p_value = kolmogorov_smirnov(old, new)
    assert np.isfinite(psi)
    assert psi >= 0.0
    assert 0.0 <= distance <= 1.0
    assert 0.0 <= p_value <= 1.0
    assert kolmogorov_smirnov(new, old)[0] == pytest.approx(distance)
    assert population_stability(old, old) == 0.0
    assert kolmogorov_smirnov(old, old) == (0.0, 1.0)
    random.shuffle(before)
    random.shuffle(after)
    assert population_stability(np.array(before), np.array(after)) == psi
    assert kolmogorov_smirnov(np.array(before), np.array(after)) == (distance, p_value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), max_size=40), st.randoms(use_true_random=False))
def test_a_corrected_value_is_no_smaller_and_keeps_the_order(p_values, random):
    given_p = np.array(p_values, np.float64)
    corrected = benjamini_hochberg(given_p)
    assert ((corrected >= given_p - 1e-15) & (corrected <= 1.0)).all()
    order = list(range(len(p_values)))
    random.shuffle(order)
    np.testing.assert_allclose(benjamini_hochberg(given_p[order]), corrected[order])
