"""The line under a cloud of delays, which is what one clock says of another.

Arrival less stamp is a latency that only ever gets longer by waiting in queues, less the error of the stamp's clock.
So the clock shows in the least delays, not in the mean ones: the delays are cut into stretches, the least of each is
kept, and a robust line is laid through those (V. Paxson, "On Calibrating Measurements of Packet Transit Times",
SIGMETRICS 1998, section 4; the robust line is Theil's median of pairwise slopes, weighted by the length of the pairs
as in L. A. Jaeckel, Annals of Mathematical Statistics 43, 1972). What is constant in the latency cannot be told from
a constant offset of the clock: only changes of offset, and drift, can be seen in one channel alone.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.timebase.blocks import blocks

MAX_STRETCHES = 128
"""More of them cost the square in pairs and gain little."""

_PPM_OF_SLOPE = 1e-3
"""A delay that falls by 1000 ns in a second is a clock that gains 1 ppm."""


@dataclass(frozen=True, slots=True)
class Minima:
    """Least delays of stretches of equal count.

    Attributes:
        at_ns: (m,) int64 arrival of each.
        delay_ns: (m,) int64.
    """

    at_ns: Int64Array
    delay_ns: Int64Array

    def __len__(self) -> int:
        return len(self.at_ns)

    def part(self, start: int, end: int) -> "Minima":
        return Minima(self.at_ns[start:end], self.delay_ns[start:end])

    @property
    def noise_ns(self) -> float:
        """Spread of a least delay about its neighbours, which neither drift nor a few jumps enlarge."""
        if len(self) < 3:
            return math.inf
        y = (self.delay_ns - self.delay_ns[0]).astype(np.float64)
        return 1.4826 * float(np.median(np.abs(y[1:-1] - (y[:-2] + y[2:]) / 2))) / math.sqrt(1.5)

    @property
    def lever_s(self) -> float:
        """Root of the summed squares of arrivals about their mean: a drift's error is the noise over this."""
        x = (self.at_ns - self.at_ns[0]) / 1e9
        return float(np.sqrt(np.sum((x - x.mean()) ** 2)))


@dataclass(frozen=True, slots=True)
class DelayLine:
    """The least delay over time.

    Attributes:
        anchor_ns: arrival at which the line is ``floor_ns``.
        floor_ns: least arrival less stamp there: latency less the offset of the clock.
        drift_ppm: what the stamp's clock gains on the arrival's clock; positive runs fast.
        drift_error_ppm: standard error of it; infinite where there are too few stretches to tell.
    """

    anchor_ns: int
    floor_ns: int
    drift_ppm: float
    drift_error_ppm: float

    def at(self, times_ns: Int64Array) -> Int64Array:
        """The line at arrivals (n,): int64 ns."""
        gained = np.rint((times_ns - self.anchor_ns) * (self.drift_ppm * 1e-6))
        return np.asarray(self.floor_ns - gained.astype(np.int64))


def least_delays(stamps_ns: Int64Array, arrivals_ns: Int64Array, drift_ppm: float = 0.0) -> Minima:
    """Keeps the least delay of each of about sqrt(n) stretches: of few messages 6 in each, at most ``MAX_STRETCHES``.

    Of equal delays of a stretch it is the first. Looked at block by block: the arrays may be longer than memory.

    Args:
        stamps_ns, arrivals_ns: (n,) in the order of arrival, n at least 1.
        drift_ppm: what the stamps' clock is known to gain. It is taken out before delays are compared: else the least
            of a stretch is one of its last (or first), and most messages cannot be it, however short they waited.
    """
    count = len(arrivals_ns)
    nbr_stretches = min(max(math.isqrt(count), min(count // 6, 32), 1), MAX_STRETCHES)
    bounds = np.arange(nbr_stretches + 1, dtype=np.int64) * count // nbr_stretches
    chosen = np.array([_soonest(stamps_ns, arrivals_ns, a, b, drift_ppm) for a, b in pairwise(bounds.tolist())])
    return Minima(arrivals_ns[chosen], arrivals_ns[chosen] - stamps_ns[chosen])


def _soonest(stamps_ns: Int64Array, arrivals_ns: Int64Array, start: int, end: int, drift_ppm: float) -> int:
    """The first of messages ``[start, end)`` with the least delay but for drift."""
    found: list[tuple[int, int]] = []
    for first, last in blocks(end, start):
        here_ns = arrivals_ns[first:last]
        delays_ns = here_ns - stamps_ns[first:last]
        if drift_ppm:
            delays_ns = delays_ns + np.rint((here_ns - arrivals_ns[start]) * (drift_ppm * 1e-6)).astype(np.int64)
        at = int(delays_ns.argmin())
        found.append((int(delays_ns[at]), first + at))
    return min(found)[1]


def fit_line(minima: Minima, drift_ppm: float | None = None) -> DelayLine:
    """Lays the line under the delays.

    Args:
        minima: at least one.
        drift_ppm: a slope that is known; None measures it, and takes 0 of infinite error where there are fewer
            than three stretches or no time between them.
    """
    anchor_ns, base_ns = int(minima.at_ns[0]), int(minima.delay_ns[0])
    x = (minima.at_ns - anchor_ns) / 1e9
    y = (minima.delay_ns - base_ns).astype(np.float64)
    measured = drift_ppm is None and len(minima) >= 3 and x[-1] > x[0]
    slope = _median_slope(x, y) if measured else -(drift_ppm or 0.0) / _PPM_OF_SLOPE
    rest = y - slope * x
    middle = float(np.median(rest))
    spread = 1.4826 * float(np.median(np.abs(rest - middle)))
    # A single stamp far ahead makes one delay far too small; the floor is the least of the others.
    floor = float(rest[rest >= middle - 6.0 * spread - 1.0].min())
    error = math.inf
    if measured:
        error = _PPM_OF_SLOPE * max(spread, 1.0) / minima.lever_s
    return DelayLine(anchor_ns, base_ns + round(floor), -slope * _PPM_OF_SLOPE, error)


def _median_slope(x: FloatArray, y: FloatArray) -> float:
    first, second = np.triu_indices(len(x), 1)
    run = x[second] - x[first]
    first, second, run = first[run > 0], second[run > 0], run[run > 0]
    slopes = (y[second] - y[first]) / run
    order = np.argsort(slopes)
    weight = np.cumsum(run[order])
    return float(slopes[order][np.searchsorted(weight, weight[-1] / 2)])


def best_split(minima: Minima, least_part: int) -> tuple[int, float]:
    """Where two lines fit best instead of one: the first position of the second, and the squared error saved.

    Args:
        least_part: stretches that each of the two must have, at least 3.

    Returns:
        Position, and ns squared; ``(0, 0.0)`` where there is no room for two.
    """
    count = len(minima)
    if count < 2 * least_part:
        return 0, 0.0
    x = (minima.at_ns - minima.at_ns[0]) / 1e9
    y = (minima.delay_ns - minima.delay_ns[0]) / 1e3
    sums = np.cumsum(np.column_stack([np.ones(count), x, y, x * x, x * y, y * y]), axis=0)
    whole = float(_squared_error(sums[-1:])[0])
    cuts = np.arange(least_part, count - least_part + 1)
    parts = _squared_error(sums[cuts - 1]) + _squared_error(sums[-1] - sums[cuts - 1])
    best = int(np.argmin(parts))
    return int(cuts[best]), max(whole - float(parts[best]), 0.0) * 1e6


def _squared_error(sums: FloatArray) -> FloatArray:
    n, x, y, xx, xy, yy = sums.T
    spread_x = xx - x * x / n
    shared = xy - x * y / n
    slope = np.divide(shared, spread_x, out=np.zeros_like(shared), where=spread_x > 0)
    return np.asarray(np.maximum(yy - y * y / n - slope * shared, 0.0))
