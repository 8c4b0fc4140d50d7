"""How well a drift can be told, as docs/clocks.md says it."""

import math

import numpy as np
import pytest

from scenelake.timebase.envelope import fit_line
from scenelake.timebase.observed_clock import ObservedClock, Segmentation, measure_steps

T0 = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def limit_ppm(rate_hz, seconds, queue_ns):
    """Standard error of a line by least squares through the least of n/m exponential waits each, at m places."""
    count = rate_hz * seconds
    places = min(max(math.isqrt(count), min(count // 6, 32)), 128)
    return queue_ns / 1e3 * math.sqrt(12 * places) / (count * seconds)


@pytest.mark.parametrize("drift_ppm", [0, 60, -400])
@pytest.mark.parametrize("queue_ns", [200_000, 600_000, 2_100_000])
@pytest.mark.parametrize(("rate_hz", "seconds"), [(10, 60), (10, 20), (30, 60), (100, 20), (1000, 20), (1, 300)])
def test_a_drift_is_told_to_the_limit_whatever_it_is(rate_hz, seconds, queue_ns, drift_ppm):
    errors = []
    for seed in range(30):
        random = np.random.default_rng(seed)
        true = T0 + np.arange(rate_hz * seconds, dtype=np.int64) * (SECOND // rate_hz)
        stamps = true + (true - T0) * drift_ppm // 1_000_000
        waits = random.exponential(queue_ns, len(true)).astype(np.int64)
        clock = ObservedClock(stamps, true + 5_000_000 + waits, measure_steps(stamps), Segmentation())
        errors.append(fit_line(clock.minima(0, len(clock))).drift_ppm - drift_ppm)
    found, expected = float(np.sqrt(np.mean(np.square(errors)))), limit_ppm(rate_hz, seconds, queue_ns)
    assert expected / 3 < found < expected
    if 3 * expected < 5:
        assert np.abs(errors).max() < 5
