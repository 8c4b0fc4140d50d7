"""Jumps, changes of drift and changes of latency of one clock, against what was put in."""

import numpy as np
import pytest

from scenelake.timebase.clock_segments import segment_clock
from scenelake.timebase.observed_clock import ObservedClock, Segmentation, SegmentStart, measure_steps

T0 = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
MS = 1_000_000
FIRST, JUMP, LATENCY, DRIFT = SegmentStart


def sensor(rate_hz, seconds, seed, queue_ns=200_000, trigger_ns=300_000):
    random = np.random.default_rng(seed)
    period = SECOND // rate_hz
    jitter = np.clip(random.normal(0, min(trigger_ns, period // 10), rate_hz * seconds), -period // 4, period // 4)
    true = T0 + np.arange(rate_hz * seconds, dtype=np.int64) * period + jitter.astype(np.int64)
    latency = 5 * MS + random.exponential(queue_ns, len(true)).astype(np.int64)
    return true, np.maximum.accumulate(true + latency)


def segments(stamps, arrivals, **limits):
    clock = ObservedClock(stamps, arrivals, measure_steps(stamps), Segmentation(**limits))
    return segment_clock(clock)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate_hz", [1, 10, 30, 100, 1000])
def test_a_clean_clock_is_one_segment(rate_hz, seed):
    true, arrivals = sensor(rate_hz, 60, seed)
    (only,) = segments(true, arrivals)
    assert (only.start, only.end, only.begins, only.jump_ns) == (0, len(true), FIRST, 0)
    assert abs(only.line.drift_ppm) < 5


@pytest.mark.parametrize("jump_ms", [-400, -30, -5, 5, 30, 400])
@pytest.mark.parametrize("rate_hz", [10, 30, 100, 1000])
def test_jumps_are_found_at_their_message_and_to_a_millisecond(rate_hz, jump_ms):
    true, arrivals = sensor(rate_hz, 60, 7)
    inside = (true >= T0 + 20 * SECOND) & (true < T0 + 40 * SECOND)
    found = segments(true + inside * jump_ms * MS, arrivals)
    assert [s.begins for s in found] == [FIRST, JUMP, JUMP]
    assert [s.start for s in found[1:]] == [int(inside.argmax()), len(inside) - int(inside[::-1].argmax())]
    for segment, expected_ms in zip(found[1:], (-jump_ms, jump_ms), strict=True):
        assert abs(segment.jump_ns - expected_ms * MS) < MS
    assert all(abs(s.line.drift_ppm) < 5 for s in found)


@pytest.mark.parametrize("nbr_messages", [1, 3, 8])
@pytest.mark.parametrize("jump_ms", [-250, 250])
def test_a_jump_of_a_few_messages_is_found_both_ways(jump_ms, nbr_messages):
    true, arrivals = sensor(30, 60, 3)
    stamps = true.copy()
    stamps[900 : 900 + nbr_messages] += jump_ms * MS
    assert [s.start for s in segments(stamps, arrivals)] == [0, 900, 900 + nbr_messages]


@pytest.mark.parametrize("later_ms", [-4, 15, 30])
def test_a_change_of_latency_is_no_jump_of_the_clock(later_ms):
    true, arrivals = sensor(30, 60, 5)
    arrivals = np.maximum.accumulate(arrivals + (true >= T0 + 30 * SECOND) * later_ms * MS)
    found = segments(true, arrivals)
    assert [s.begins for s in found] == [FIRST, LATENCY]
    assert abs(found[1].jump_ns - later_ms * MS) < MS


def test_lost_messages_are_no_jump():
    true, arrivals = sensor(30, 60, 5)
    kept = np.random.default_rng(0).random(len(true)) > 0.4
    kept[600:700] = False
    assert len(segments(true[kept], arrivals[kept])) == 1


@pytest.mark.parametrize(("rate_hz", "drift_ppm"), [(30, 100.0), (100, -60.0), (1000, 20.0)])
def test_changes_of_drift_are_found(rate_hz, drift_ppm):
    true, arrivals = sensor(rate_hz, 120, 11)
    since = np.clip(true - (T0 + 40 * SECOND), 0, 40 * SECOND)
    gained = (since * drift_ppm / 1e6).astype(np.int64)
    found = segments(true + gained, arrivals)
    assert [s.begins for s in found] == [FIRST, DRIFT, DRIFT]
    for segment, expected in zip(found, (0.0, drift_ppm, 0.0), strict=True):
        assert abs(segment.line.drift_ppm - expected) < 5
    for segment, expected_s in zip(found[1:], (40, 80), strict=True):
        assert abs(int(true[segment.start]) - T0 - expected_s * SECOND) < 2 * SECOND


def test_drift_that_ends_with_a_reset():
    true, arrivals = sensor(100, 90, 2)
    inside = (true >= T0 + 30 * SECOND) & (true < T0 + 60 * SECOND)
    gained = np.where(inside, (true - T0 - 30 * SECOND) * 80 // 1_000_000, 0)
    found = segments(true + gained, arrivals)
    assert [s.begins for s in found] == [FIRST, DRIFT, JUMP]
    assert abs(found[2].jump_ns - 2_400_000) < MS
    assert abs(found[1].line.drift_ppm - 80) < 5


def test_scatter_of_stamps_is_no_row_of_jumps():
    true, arrivals = sensor(100, 60, 4)
    stamps = true.copy()
    stamps[2000:3000] += np.random.default_rng(1).normal(0, 1_500_000, 1000).astype(np.int64)
    assert len(segments(stamps, arrivals)) == 1


def test_a_clock_that_jumps_all_the_time_has_no_segments():
    true, arrivals = sensor(10, 200, 4)
    stamps = true + np.repeat(np.random.default_rng(0).integers(-9, 10, len(true) // 10) * SECOND, 10)
    assert segments(stamps, arrivals, max_jumps=50) == ()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_few_messages_are_one_segment(count):
    true, arrivals = sensor(10, 1, 0)
    assert len(segments(true[:count], arrivals[:count])) == 1


def test_jumps_across_blocks_of_a_long_channel_are_found_once():
    true, arrivals = sensor(1000, 150, 9)
    for at in (65_536, 65_530, 131_071):
        stamps = true.copy()
        stamps[at:] += 20 * MS
        assert [s.start for s in segments(stamps, arrivals)] == [0, at]
