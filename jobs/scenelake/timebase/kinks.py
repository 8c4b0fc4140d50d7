"""Changes of drift, and steps too small to be seen message by message, from the least delays alone."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scenelake.timebase.blocks import blocks
from scenelake.timebase.envelope import DelayLine, best_split, fit_line
from scenelake.timebase.observed_clock import ObservedClock, SegmentStart

_LEAST_PART = 5
"""Stretches on either side of a change."""
_LEAST_SAVED = 40.0
"""Squared error that the second line must take away, in squares of the noise; chance saves about 10."""
_SURE = 3.5
"""Standard errors by which two drifts must differ."""
_STEP_NOISES = 4.0
"""Two lines that are further apart where they are cut do not cross there."""
_BELOW_COSTS = 20
"""Queues put delays above the line; nothing puts them below it."""
_NBR_ROUNDS = 2
"""The first cut is placed by a line across the changes that are found after it."""


@dataclass(frozen=True, slots=True)
class _Change:
    """Lines before and after a cut.

    Attributes:
        jump_ns: step between them; 0 where it is too small to be told as one.
        is_step: the lines are further apart at the cut than their noise explains, so that they do not meet there.
        strength: of the step or the kink against what is told from noise; below 1 there is no change.
    """

    first: DelayLine
    second: DelayLine
    jump_ns: int
    is_step: bool
    strength: float


def find_kinks(clock: ObservedClock, start: int, end: int) -> dict[int, SegmentStart]:
    """Changes within messages ``[start, end)``: first message of each new line, and what changed."""
    cuts: list[int] = []
    _split(clock, start, end, clock.limits.max_kinks, cuts)
    causes: dict[int, SegmentStart] = {}
    for _ in range(_NBR_ROUNDS if cuts else 0):
        bounds, changes = _pruned(clock, [start, *sorted(cuts), end])
        placed = [
            (before, after, *_place(clock, before, cut, after, change))
            for before, cut, after, change in zip(bounds[:-2], bounds[1:-1], bounds[2:], changes, strict=True)
        ]
        causes = {position: cause for before, after, position, cause in placed if before < position < after}
        cuts = list(causes)
    return causes


def _pruned(clock: ObservedClock, bounds: list[int]) -> tuple[list[int], list[_Change]]:
    """Takes away cuts that change nothing, the least first, as each makes its neighbours plainer."""
    while True:
        changes = [_change(clock, *near) for near in zip(bounds[:-2], bounds[1:-1], bounds[2:], strict=True)]
        weakest = min(range(len(changes)), key=lambda i: changes[i].strength, default=-1)
        if weakest < 0 or changes[weakest].strength >= 1.0:
            return bounds, changes
        bounds = [*bounds[: weakest + 1], *bounds[weakest + 2 :]]


def _split(clock: ObservedClock, start: int, end: int, depth: int, cuts: list[int]) -> None:
    """Cuts where two lines are better than one; what the cuts are is judged when all of them are known."""
    minima = clock.minima(start, end)
    cut, saved = best_split(minima, _LEAST_PART)
    is_better = saved > _LEAST_SAVED * max(minima.noise_ns, 1.0) ** 2
    if depth < 1 or not is_better:
        return
    position = start + int(np.searchsorted(clock.arrivals_ns[start:end], minima.at_ns[cut]))
    if start < position < end:
        cuts.append(position)
        _split(clock, start, position, depth - 1, cuts)
        _split(clock, position, end, depth - 1, cuts)


def _change(clock: ObservedClock, start: int, cut: int, end: int) -> _Change:
    """What changes at ``cut``, given the cuts about it; stretches next to it may hold both and are left out."""
    sides = clock.minima(start, cut), clock.minima(cut, end)
    parts = sides[0].part(0, max(len(sides[0]) - 1, 1)), sides[1].part(min(1, len(sides[1]) - 1), len(sides[1]))
    first, second = (fit_line(part) for part in parts)
    noise_ns = clock.minima(start, end).noise_ns
    at_ns = clock.arrivals_ns[cut : cut + 1]
    jump_ns = int(second.at(at_ns)[0] - first.at(at_ns)[0])
    errors = [
        max(line.drift_error_ppm, noise_ns / max(part.lever_s, 1e-9) / 1e3)
        for line, part in zip((first, second), parts, strict=True)
    ]
    least_ppm = max(clock.limits.min_kink_ppm, _SURE * float(np.hypot(errors[0], errors[1])))
    of_jump = abs(jump_ns) / (clock.limits.min_jump_ns + 6.0 * noise_ns)
    of_kink = abs(second.drift_ppm - first.drift_ppm) / least_ppm
    is_step = abs(jump_ns) > _STEP_NOISES * noise_ns
    return _Change(first, second, jump_ns if of_jump > 1.0 else 0, is_step, max(of_jump, of_kink))


def _place(clock: ObservedClock, start: int, cut: int, end: int, change: _Change) -> tuple[int, SegmentStart]:
    """The first message after a change, and its cause."""
    reach = 2 * max((cut - start) // len(clock.minima(start, cut)), (end - cut) // len(clock.minima(cut, end)))
    low, high = max(cut - reach, start + 1), min(cut + reach, end - 1)
    if not change.is_step:
        return _crossing(clock, low, high, change.first, change.second), SegmentStart.DRIFT_CHANGE
    cut = _step(clock, low, high, change.first, change.second)
    # Of a clock that is set right after it drifted: too little to be told as a jump, but the lines part there.
    return clock.cause_of(cut, change.jump_ns) if change.jump_ns else (cut, SegmentStart.DRIFT_CHANGE)


def _step(clock: ObservedClock, low: int, high: int, first: DelayLine, second: DelayLine) -> int:
    """The cut in ``[low, high]`` that leaves delays above the line of their side, and close to it."""
    best, best_total, total = low, 0.0, 0.0
    for start, end in blocks(high, low):
        times_ns, delays_ns = clock.arrivals_ns[start:end], clock.delays_ns(start, end)
        above = [delays_ns - line.at(times_ns) for line in (first, second)]
        costs = [np.where(rest < 0, -_BELOW_COSTS * rest, rest) for rest in above]
        totals = total + np.cumsum(costs[0] - costs[1], dtype=np.float64)
        at = int(totals.argmin())
        if totals[at] < best_total:
            best, best_total = start + at + 1, float(totals[at])
        total = float(totals[-1])
    return best


def _crossing(clock: ObservedClock, low: int, high: int, first: DelayLine, second: DelayLine) -> int:
    """Where two lines meet, within ``[low, high]``."""
    apart_ns = second.at(clock.arrivals_ns[low : low + 1]) - first.at(clock.arrivals_ns[low : low + 1])
    closing = (second.drift_ppm - first.drift_ppm) * 1e-6
    meet_ns = int(clock.arrivals_ns[low]) + round(int(apart_ns[0]) / closing)
    return low + int(np.searchsorted(clock.arrivals_ns[low:high], meet_ns))


def kinks_between(clock: ObservedClock, cuts: list[int]) -> dict[int, SegmentStart]:
    """Changes within each stretch that the cuts leave of a channel."""
    found: dict[int, SegmentStart] = {}
    for start, end in pairwise([0, *cuts, len(clock)]):
        found |= find_kinks(clock, start, end)
    return found
