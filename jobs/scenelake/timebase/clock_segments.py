"""Cuts one channel's record of (stamp, arrival) into segments in which the stamp's clock ran evenly.

A step of the clock shows twice: the least delay changes its level, and for a sensor with a steady period the stamps
themselves take an uneven step, while the arrivals do not. The second tells a clock's step from a change of latency.
A change of drift shows only in the least delays, as a kink. Offsets between segments are exact to the noise of the
least delays; the offset of the whole is not to be seen (``timebase.envelope``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array
from scenelake.timebase.envelope import DelayLine, Minima, fit_line
from scenelake.timebase.kinks import kinks_between
from scenelake.timebase.observed_clock import ObservedClock, SegmentStart
from scenelake.timebase.running import minima_between, running_minimum, runs_of

_SECOND_NS = 1_000_000_000
_LEAST_WINDOW = 10
_UNREST_WINDOW = 32
_NBR_CALM_WINDOWS = 2048
_RESTLESS = 3.0
_BLOCK = 1 << 16
"""Messages that are looked at together: their arrays fit a processor's cache, and memory does not grow."""
_LEAST_STRETCHES = 8
"""Fewer least delays give no drift of a segment's own."""
_AGREEING = 3.0
MAX_DRIFT_PPM = 1e4
"""Beyond 1% the two clocks do not count the same time."""


@dataclass(frozen=True, slots=True)
class ClockSegment:
    """Messages ``[start, end)`` of a channel, and the line under their delays.

    Attributes:
        jump_ns: step of the least delay at the segment's first message, by the lines of both sides: a clock that
            jumps ahead by x shows as -x. 0 for the first segment.
    """

    start: int
    end: int
    begins: SegmentStart
    line: DelayLine
    jump_ns: int

    def __len__(self) -> int:
        return self.end - self.start


def segment_clock(clock: ObservedClock) -> tuple[ClockSegment, ...]:
    """Cuts a channel, of one message at least, where its clock jumps, its latency changes, or its drift changes.

    Nothing is returned for a clock that jumps more than ``max_jumps`` times: no line fits it.

    Segments whose drifts agree within 3 standard errors share one: an oscillator does not change its rate where its
    time is set.
    """
    slope, calm_ns = _steady_slope(clock), _usual_scatter(clock)
    found: list[tuple[int, int]] = []
    for start in range(0, len(clock), _BLOCK):
        found += _jumps(clock, start, min(start + _BLOCK, len(clock)), slope, calm_ns)
        if len(found) > clock.limits.max_jumps:
            return ()
    causes = dict(clock.cause_of(cut, jump_ns) for cut, jump_ns in found)
    causes |= kinks_between(clock, sorted(causes))
    segments = _fit(clock, causes)
    idle = [s.start for before, s in pairwise(segments) if _is_idle(clock, before, s, calm_ns)]
    return _fit(clock, {cut: cause for cut, cause in causes.items() if cut not in idle}) if idle else segments


def _is_idle(clock: ObservedClock, before: ClockSegment, segment: ClockSegment, calm_ns: float) -> bool:
    """A cut that changes neither offset nor drift, now that all others are known."""
    reach = 4 * _UNREST_WINDOW
    near_ns = clock.delays_ns(max(segment.start - reach, 0), segment.start + reach)
    least_ns = clock.limits.min_jump_ns + float(_unrest(near_ns, calm_ns).max())
    return abs(segment.jump_ns) <= least_ns and segment.line.drift_ppm == before.line.drift_ppm


def _steady_slope(clock: ObservedClock) -> float:
    """Slope of the least delays by the median between neighbours, which no jump bends."""
    minima = clock.minima(0, len(clock))
    run_ns = np.diff(minima.at_ns)
    is_run = run_ns > 0
    return float(np.median(np.diff(minima.delay_ns)[is_run] / run_ns[is_run])) if is_run.any() else 0.0


def _usual_scatter(clock: ObservedClock) -> float:
    """Middle distance between delays that follow each other, as windows spread over the channel see it."""
    nbr_windows = (len(clock) - 1) // _UNREST_WINDOW
    if nbr_windows < 3:
        return float(np.inf)
    stride = max(nbr_windows // _NBR_CALM_WINDOWS, 1)
    stamps_ns, arrivals_ns = (
        times[: nbr_windows * _UNREST_WINDOW].reshape(nbr_windows, -1)[::stride]
        for times in (clock.stamps_ns, clock.arrivals_ns)
    )
    whole = arrivals_ns - stamps_ns
    return float(np.median(np.median(np.abs(np.diff(whole, axis=1)), axis=1)))


def _jumps(clock: ObservedClock, start: int, end: int, slope: float, calm_ns: float) -> list[tuple[int, int]]:
    """Steps of the least delay in ``[start, end)`` that noise does not explain: first message after each, and size."""
    span_ns = int(clock.arrivals_ns[-1] - clock.arrivals_ns[0])
    window = max(_LEAST_WINDOW, (len(clock) - 1) * _SECOND_NS // span_ns if span_ns > 0 else len(clock))
    low = max(start - 2 * window, 0)
    part = clock.part(low, min(end + 2 * window, len(clock)))
    # Drift is taken out, so that a window's least delay is not just its last.
    level_ns = part.delays_ns() - np.rint((part.arrivals_ns - part.arrivals_ns[0]) * slope).astype(np.int64)
    count, ahead = len(part), running_minimum(level_ns, window)
    head = np.minimum.accumulate(level_ns[:window])
    behind = np.concatenate([level_ns[:1], head[: window - 1], ahead])[:count]
    behind[window:] = ahead[: max(count - window, 0)]
    noise_ns = 1.4427 * float(np.median(level_ns - ahead))
    least_ns = clock.limits.min_jump_ns + _unrest(level_ns, calm_ns)
    room = np.full(count, 2.0 / window)
    edge = min(window, count)
    room[:edge] += 1.0 / np.maximum(np.arange(edge), 1) - 1.0 / window
    room[count - edge :] += 1.0 / np.arange(edge, 0, -1) - 1.0 / window
    shift_ns, limit_ns = ahead - behind, least_ns + 10.0 * noise_ns * room
    _, falls = runs_of(shift_ns < -limit_ns)
    rises, _ = runs_of(shift_ns > limit_ns)
    found = np.unique(np.concatenate([falls, rises, np.flatnonzero(_uneven(part, level_ns, noise_ns)) + 1]))
    cuts = found[(found > 0) & (found < count)]
    before = np.maximum(np.concatenate([[0], cuts[:-1]]), cuts - window)
    after = np.minimum(np.concatenate([cuts[1:], [count]]), cuts + window)
    moved_ns = minima_between(level_ns, cuts, after) - minima_between(level_ns, before, cuts)
    explained_ns = least_ns[cuts] + 6.0 * noise_ns * (1.0 / (cuts - before) + 1.0 / (after - cuts))
    is_jump = (np.abs(moved_ns) > explained_ns) & (cuts + low >= start) & (cuts + low < end)
    return list(zip((cuts[is_jump] + low).tolist(), moved_ns[is_jump].tolist(), strict=True))


def _unrest(level_ns: Int64Array, calm_ns: float) -> FloatArray:
    """What must be added to a step where the stamps themselves scatter for a while: (n,) ns, 0 elsewhere.

    Scatter of stamps goes both ways, so the least delay of many messages is no steadier than that of few.

    Args:
        calm_ns: the channel's usual scatter.
    """
    nbr_windows = (len(level_ns) - 1) // _UNREST_WINDOW
    added_ns = np.zeros(len(level_ns))
    if nbr_windows == 0:
        return added_ns
    steps = np.abs(np.diff(level_ns[: nbr_windows * _UNREST_WINDOW]))
    steps = np.append(steps, steps[-1]).reshape(nbr_windows, -1)
    # Of the mean, as the median takes ten times as long; a jump alone must not look like scatter.
    is_suspect = steps.mean(axis=1) > _RESTLESS * calm_ns
    if not is_suspect.any():
        return added_ns
    scatter_ns = np.zeros(nbr_windows)
    scatter_ns[is_suspect] = np.median(steps[is_suspect], axis=1)
    scatter_ns[scatter_ns <= _RESTLESS * calm_ns] = 0.0
    padded = np.concatenate([[0.0], scatter_ns, [0.0]])
    widest_ns = np.maximum(np.maximum(padded[:-2], padded[2:]), scatter_ns)
    whole = nbr_windows * _UNREST_WINDOW
    added_ns[:whole] = np.repeat(8.0 * widest_ns, _UNREST_WINDOW)
    added_ns[whole:] = added_ns[whole - 1]
    return added_ns


def _uneven(clock: ObservedClock, level_ns: Int64Array, noise_ns: float) -> BoolArray:
    """Uneven steps of an even channel that move its delay: the only trace of a step back that soon ends."""
    least_ns = max(clock.limits.min_jump_ns, 6 * clock.steps.spread_ns)
    if not clock.steps.is_periodic:
        return np.zeros(len(level_ns) - 1, np.bool_)
    is_moved = np.abs(np.diff(level_ns)) > clock.limits.min_jump_ns + 10.0 * noise_ns
    return np.asarray(is_moved & (np.abs(np.diff(clock.stamps_ns) - clock.steps.period_ns) > least_ns))


def _fit(clock: ObservedClock, causes: Mapping[int, SegmentStart]) -> tuple[ClockSegment, ...]:
    bounds = [0, *sorted(causes), len(clock)]
    minima = [clock.minima(a, b) for a, b in pairwise(bounds)]
    lines = [fit_line(m) for m in minima]
    errors = np.array([_drift_error_ppm(line, least) for line, least in zip(lines, minima, strict=True)])
    drifts, errors = _shared_drifts(np.array([line.drift_ppm for line in lines]), errors)
    segments: list[ClockSegment] = []
    for i, least in enumerate(minima):
        line = replace(fit_line(least, float(drifts[i])), drift_error_ppm=float(errors[i]))
        jump_ns = 0
        if segments:
            first_ns = clock.arrivals_ns[bounds[i] : bounds[i] + 1]
            jump_ns = int(line.at(first_ns)[0] - segments[-1].line.at(first_ns)[0])
        begins = causes[bounds[i]] if i else SegmentStart.FIRST
        segments.append(ClockSegment(bounds[i], bounds[i + 1], begins, line, jump_ns))
    return tuple(segments)


def _drift_error_ppm(line: DelayLine, least: Minima) -> float:
    if len(least) < _LEAST_STRETCHES or least.lever_s == 0.0:
        return float(np.inf)
    return max(line.drift_error_ppm, least.noise_ns / least.lever_s / 1e3)


def _shared_drifts(drifts: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gives segments whose drifts agree the weighted mean of theirs; those that cannot tell take the best known.

    The best known drift begins a group; each next one joins the group that it is nearest to in standard errors, or
    begins another where it is further than three from all.

    Args:
        errors: (n,) standard errors, infinite where a segment is too short to tell.
    """
    group = np.full(len(drifts), -1, np.int64)
    heads: list[int] = []
    for i in np.argsort(errors, kind="stable").tolist():
        apart = [
            abs(drifts[i] - drifts[h]) / np.hypot(errors[i], errors[h]) if errors[i] < np.inf else 0.0 for h in heads
        ]
        nearest = int(np.argmin(apart)) if apart else -1
        if nearest < 0 or apart[nearest] > _AGREEING:
            heads.append(i)
            nearest = len(heads) - 1
        group[i] = nearest
    shared, shared_errors = drifts.copy(), errors.copy()
    for number, head in enumerate(heads):
        members = (group == number) & np.isfinite(errors)
        weights = 1.0 / np.maximum(errors[members], 1e-6) ** 2
        shared[group == number] = weights @ drifts[members] / weights.sum() if members.any() else drifts[head]
        shared_errors[group == number] = 1.0 / np.sqrt(weights.sum()) if members.any() else np.inf
    return shared, shared_errors
