"""Rates and gaps of log times, whatever the portions in which they come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.decode.time_line import MAX_GAPS, Gap, TimeLine

MS = 1_000_000


def line_of(*portions: list[int]) -> TimeLine:
    line = TimeLine()
    for portion in portions:
        line.add(np.array(portion, np.uint64))
    return line


def test_a_steady_channel_has_its_rate_and_no_gap() -> None:
    line = line_of([i * 10 * MS for i in range(100)])
    assert (line.start_ns, line.last_ns, line.median_step_ns) == (0, 990 * MS, 10 * MS)
    assert (line.nbr_gaps, line.gaps, line.nbr_out_of_order) == (0, (), 0)


def test_thirds_of_a_tenth_are_thirty_hertz() -> None:
    times = [i * 1000 * MS // 30 for i in range(300)]
    assert round(1e9 / line_of(times).median_step_ns, 3) == 30.0


def test_gaps_are_longer_than_three_steps_and_a_tenth_of_a_second() -> None:
    times = [i * 50 * MS for i in range(100)]
    later = [times[-1] + 151 * MS + i * 50 * MS for i in range(100)]
    assert line_of(times, later).gaps == (Gap(times[-1], later[0]),)
    assert line_of(times, [t - MS for t in later]).nbr_gaps == 0
    fast = [i * MS for i in range(100)]
    assert line_of(fast, [199 * MS + i * MS for i in range(9)]).nbr_gaps == 0
    assert line_of(fast, [200 * MS + i * MS for i in range(9)]).nbr_gaps == 1


def test_more_gaps_than_are_listed_are_counted() -> None:
    times = [burst * 1000 * MS + i * MS for burst in range(50) for i in range(20)]
    line = line_of(times[:500], times[500:])
    assert line.nbr_gaps == 49
    assert len(line.gaps) == MAX_GAPS


def test_an_interruption_is_no_gap() -> None:
    line = line_of([0, MS, 2 * MS])
    line.interrupt()
    line.add(np.array([900 * MS, 901 * MS], np.uint64))
    assert (line.nbr_gaps, line.last_ns) == (0, 901 * MS)


def test_messages_out_of_order_are_counted() -> None:
    line = line_of([0, 2 * MS, MS, 3 * MS], [2 * MS, 4 * MS])
    assert line.nbr_out_of_order == 2
    assert (line.start_ns, line.last_ns, line.median_step_ns) == (0, 4 * MS, MS)


@pytest.mark.parametrize("times", [[], [5], [5, 5, 5]])
def test_channels_without_a_step_have_no_rate(times: list[int]) -> None:
    assert line_of(times).median_step_ns in (None, 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 40))
def test_any_times_in_any_portions_have_exact_ends(times: list[int], cut: int) -> None:
    line = line_of(times[:cut], times[cut:])
    assert (line.start_ns, line.last_ns) == ((min(times), max(times)) if times else (None, None))
    assert line.nbr_gaps >= len(line.gaps)
    for gap in line.gaps:
        assert gap.start_ns < gap.end_ns
        assert not any(gap.start_ns < t < gap.end_ns for t in times[:cut])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=60))
def test_the_median_is_right_within_a_bin(steps: list[int]) -> None:
    line = line_of(np.cumsum([0, *steps]).tolist())
    exact = sorted(steps)[(len(steps) - 1) // 2]
    assert exact / 1.13 <= line.median_step_ns <= exact * 1.13
