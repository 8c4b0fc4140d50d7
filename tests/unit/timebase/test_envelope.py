"""The line under delays is the clock, whatever the queues add."""

import math

import numpy as np
import pytest

from scenelake.timebase.envelope import Minima, best_split, fit_line, least_delays

T0 = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def queued(count, rate_hz, drift_ppm, latency_ns, queue_ns, seed=0):
    random = np.random.default_rng(seed)
    true = T0 + np.arange(count, dtype=np.int64) * round(SECOND / rate_hz)
    arrivals = np.maximum.accumulate(true + latency_ns + random.exponential(queue_ns, count).astype(np.int64))
    stamps = true + ((true - T0) * drift_ppm / 1e6).astype(np.int64)
    return stamps, arrivals


@pytest.mark.parametrize("drift_ppm", [-150.0, -5.0, 0.0, 40.0, 3000.0])
@pytest.mark.parametrize(("rate_hz", "seconds"), [(10, 60), (100, 60), (1, 300), (1000, 20)])
def test_drift_is_found_under_queues(rate_hz, seconds, drift_ppm):
    stamps, arrivals = queued(rate_hz * seconds, rate_hz, drift_ppm, 12_000_000, 2_000_000)
    line = fit_line(least_delays(stamps, arrivals))
    assert abs(line.drift_ppm - drift_ppm) < 5.0
    assert abs(line.drift_ppm - drift_ppm) < 5 * line.drift_error_ppm
    assert abs(int(line.at(arrivals[:1])[0]) - 12_000_000) < 1_000_000


def test_a_mean_would_follow_the_queues_where_the_least_delay_does_not():
    stamps, arrivals = queued(6000, 100, 0.0, 1_000_000, 100_000)
    half = len(stamps) // 2
    congested = arrivals.copy()
    congested[half:] += np.random.default_rng(1).exponential(5_000_000, half).astype(np.int64)
    congested = np.maximum.accumulate(congested)
    delays = congested - stamps
    mean_ppm = -np.polyfit((congested - T0) / 1e9, delays / 1e3, 1)[0]
    assert abs(mean_ppm) > 50
    assert abs(fit_line(least_delays(stamps, congested)).drift_ppm) < 5


def test_stamps_that_are_far_ahead_once_do_not_lower_the_floor():
    stamps, arrivals = queued(600, 10, 0.0, 12_000_000, 500_000)
    stamps[300] += SECOND
    line = fit_line(least_delays(stamps, arrivals))
    assert abs(line.floor_ns - 12_000_000) < 500_000


def test_a_known_drift_is_kept_and_few_delays_measure_none():
    stamps, arrivals = queued(2, 10, 0.0, 5_000_000, 1)
    minima = least_delays(stamps, arrivals)
    assert fit_line(minima, drift_ppm=25.0).drift_ppm == 25.0
    assert (fit_line(minima).drift_ppm, fit_line(minima).drift_error_ppm) == (0.0, math.inf)


def test_least_delays_are_the_least_of_equal_stretches():
    delays = np.array([5, 3, 4, 9, 9, 8, 7, 1, 2, 6, 6, 6], np.int64)
    arrivals = np.arange(12, dtype=np.int64)
    minima = least_delays(arrivals - delays, arrivals)
    assert (minima.at_ns.tolist(), minima.delay_ns.tolist()) == ([1, 7, 8], [3, 1, 2])


def test_the_line_keeps_nanoseconds_of_large_offsets():
    arrivals = T0 + np.arange(100, dtype=np.int64) * SECOND
    stamps = np.arange(100, dtype=np.int64) * SECOND + 7
    line = fit_line(least_delays(stamps, arrivals))
    assert (line.floor_ns, line.at(arrivals[-1:]).tolist()) == (T0 - 7, [T0 - 7])


def test_two_lines_part_where_the_drift_changes():
    at = T0 + np.arange(40, dtype=np.int64) * SECOND
    delay = np.where(np.arange(40) < 25, 0, (np.arange(40) - 25) * 100_000).astype(np.int64)
    cut, saved = best_split(Minima(at, delay), 4)
    assert cut in (25, 26)
    assert saved > 0
    assert best_split(Minima(at[:7], delay[:7]), 4) == (0, 0.0)
