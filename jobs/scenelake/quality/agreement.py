"""Do two recordings of one motion agree, and how far apart are their clocks?"""

from dataclasses import dataclass

import numpy as np

from scenelake.geometry.brackets import bracket
from scenelake.quality.ego_path import STEP_NS
from scenelake.timebase.arrays import FloatArray, Int64Array

MAX_LAG_NS = 1_000_000_000
"""Largest lag that is looked for: what is further apart is a fault of a clock, which the clock checks name."""

HALF_WINDOW_NS = 50_000_000
"""Signals are averaged over the window that velocities from poses are averaged over."""

MIN_CORRELATION = 0.7
"""Below it the two have less than half of their variance in common, and a lag between them means nothing."""

MIN_OVERLAP = 100
"""Points of the grid, two seconds."""

MAX_LAG_ERROR_NS = 10_000_000
"""Standard error of a lag that still tells 50 ms from none."""

_CORRELATED_NS = 200_000_000
"""Errors nearer to each other than two windows are not independent."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a signal makes of a reference, at the lag at which they are most alike.

    Attributes:
        nbr_points: of the grid that both cover.
        correlation: at that lag; negative for a signal of the other sign, which lag, offset and residual allow for.
        lag_ns: how much later the signal shows what the reference shows; None where it cannot be told.
        lag_error_ns: standard error of it; None as well.
        slope_low, slope_high: between which the signal's scale lies: the two regressions, of one on the other; infinite
            where too little is common to both.
        offset: median of the signal, in the reference's sign, less the reference.
        residual: 95th percentile of the absolute difference, the offset taken out.
    """

    nbr_points: int
    correlation: float
    lag_ns: float | None
    lag_error_ns: float | None
    slope_low: float
    slope_high: float
    offset: float
    residual: float

    @property
    def scale_error(self) -> float:
        """How far from 1 the signal's scale is for certain: 0 where 1 lies between the two regressions."""
        return max(self.slope_low - 1.0, 1.0 - self.slope_high, 0.0)


def averaged(stamps_ns: Int64Array, values: FloatArray, times_ns: Int64Array, max_gap_ns: int) -> FloatArray:
    """Means of (n,) values over ``HALF_WINDOW_NS`` on either side of times (m,), by the trapezoid between samples.

    NaN beyond the first and last sample and where two samples around a time are further apart than ``max_gap_ns``.
    """
    keep = np.isfinite(values)
    keep[1:] &= np.diff(stamps_ns) > 0
    stamps_ns, values = stamps_ns[keep], values[keep]
    if len(stamps_ns) < 2:
        return np.full(len(times_ns), np.nan)
    start_ns = stamps_ns[0]
    seconds = (stamps_ns - start_ns) / 1e9
    area = np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(seconds))])
    lows = np.maximum(times_ns - HALF_WINDOW_NS, start_ns)
    highs = np.minimum(times_ns + HALF_WINDOW_NS, stamps_ns[-1])
    around = bracket(times_ns, stamps_ns)
    known = around.is_inside & (around.gap_ns <= max_gap_ns) & (highs > lows)
    spans_s = np.where(known, highs - lows, 1) / 1e9
    rises = _integral(highs, start_ns, seconds, values, area) - _integral(lows, start_ns, seconds, values, area)
    return np.where(known, rises / spans_s, np.nan)


def _integral(
    times_ns: Int64Array, start_ns: np.int64, seconds: FloatArray, values: FloatArray, area: FloatArray
) -> FloatArray:
    at = (times_ns - start_ns) / 1e9
    before = np.clip(np.searchsorted(seconds, at, side="right") - 1, 0, len(seconds) - 2)
    part = np.clip(at - seconds[before], 0.0, None)
    bend = (values[before + 1] - values[before]) / (seconds[before + 1] - seconds[before])
    return np.asarray(area[before] + part * (values[before] + 0.5 * bend * part))


def compare(reference: FloatArray, signal: FloatArray) -> Agreement | None:
    """Compares two signals on one grid of ``STEP_NS``, both (m,), NaN where they are not known.

    The lag is where Pearson's correlation is strongest, refined by the parabola through it and its neighbours. Its
    standard error is that of a shift fitted by least squares: the spread of what is left over the slope of the signal
    and the root of the number of independent points.

    Returns:
        None where they overlap for less than ``MIN_OVERLAP`` points or one of them does not change.
    """
    reach = min(MAX_LAG_NS // STEP_NS, len(reference) // 4)
    found = [_correlation(reference, signal, lag) for lag in range(-reach, reach + 1)]
    zero = found[reach]
    if zero is None:
        return None
    strength = np.array([0.0 if r is None else abs(r) for r in found])
    best = int(strength.argmax())
    is_peak = 0 < best < len(found) - 1 and strength[best] >= MIN_CORRELATION
    lag = best - reach if is_peak else 0
    correlation = (found[best] if is_peak else zero) or 0.0
    x, y = _overlap(reference, signal, lag)
    slopes = [-np.inf, np.inf]
    sign = 1.0
    if abs(correlation) >= MIN_CORRELATION:
        spread = float(y.std() / x.std())
        slopes = sorted((correlation * spread, spread / correlation))
        sign = float(np.sign(correlation))
    difference = sign * y - x
    offset = float(np.median(difference))
    residual = float(np.quantile(np.abs(difference - offset), 0.95))
    error_ns = _lag_error_ns(x, sign * y, correlation) if is_peak else np.inf
    if error_ns > MAX_LAG_ERROR_NS:
        return Agreement(len(x), correlation, None, None, slopes[0], slopes[1], offset, residual)
    lag_ns = (lag + _vertex(strength[best - 1 : best + 2])) * STEP_NS
    return Agreement(len(x), correlation, lag_ns, error_ns, slopes[0], slopes[1], offset, residual)


def _overlap(reference: FloatArray, signal: FloatArray, lag: int) -> tuple[FloatArray, FloatArray]:
    """Points at which both are known when the signal is taken ``lag`` steps later."""
    count = len(reference) - abs(lag)
    x = reference[max(-lag, 0) :][:count]
    y = signal[max(lag, 0) :][:count]
    both = np.isfinite(x) & np.isfinite(y)
    return x[both], y[both]


def _correlation(reference: FloatArray, signal: FloatArray, lag: int) -> float | None:
    x, y = _overlap(reference, signal, lag)
    if len(x) < MIN_OVERLAP:
        return None
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0.0 and np.isfinite(scale) else None


def _lag_error_ns(x: FloatArray, y: FloatArray, correlation: float) -> float:
    """Standard error of the shift of y against x, both (k,) on the grid."""
    # Of the product, because noise that only one of them has is no slope.
    slope_per_s = float(np.sqrt(max(float(np.mean(np.diff(x) * np.diff(y))), 0.0))) / (STEP_NS / 1e9)
    slope_per_s *= float(np.sqrt(y.std() / x.std()))
    left = float(y.std()) * np.sqrt(max(1.0 - correlation**2, 0.0))
    independent = max(len(x) * STEP_NS / _CORRELATED_NS, 1.0)
    return 1e9 * left / (slope_per_s * np.sqrt(independent)) if slope_per_s > 0.0 else float("inf")


def _vertex(heights: FloatArray) -> float:
    """Where the parabola through three equally spaced heights, the middle one the greatest, has its top: in [-1, 1]."""
    before, middle, after = heights.tolist()
    bend = before - 2.0 * middle + after
    return 0.5 * (before - after) / bend if bend < 0.0 else 0.0
