"""What a recorder saw of one sensor's clock, and why the sight of it changed."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from scenelake.timebase.arrays import Int64Array
from scenelake.timebase.envelope import Minima, fit_line, least_delays

_NBR_STEPS = 1 << 16
_NEAR = 3
"""An uneven step so many messages away is the one that moved the delay."""


class SegmentStart(StrEnum):
    """Why a segment of a clock begins."""

    FIRST = "first"
    CLOCK_JUMP = "clock_jump"
    LATENCY_CHANGE = "latency_change"
    DRIFT_CHANGE = "drift_change"


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What counts as a change.

    Attributes:
        min_jump_ns: least step of the clock that is told from noise, before the noise is added to it.
        min_kink_ppm: least change of drift that is told from noise.
        max_kinks: how deep changes of drift are looked for within changes of drift.
        max_jumps: a clock that jumps more often is none.
    """

    min_jump_ns: int = 1_500_000
    min_kink_ppm: float = 10.0
    max_kinks: int = 4
    max_jumps: int = 128


@dataclass(frozen=True, slots=True)
class Steps:
    """How even a channel's stamps are.

    Attributes:
        period_ns: lower median of the steps that are not zero or negative; 0 where there is none.
        spread_ns: 1.4826 times the median distance from it.
    """

    period_ns: int
    spread_ns: int

    @property
    def is_periodic(self) -> bool:
        return self.period_ns > 0 and 4 * self.spread_ns < self.period_ns


def measure_steps(stamps_ns: Int64Array) -> Steps:
    """Period and evenness of stamps in recording order, from at most ``_NBR_STEPS`` steps spread over all."""
    stride = max((len(stamps_ns) - 1) // _NBR_STEPS, 1)
    steps = stamps_ns[1::stride] - stamps_ns[:-1:stride]
    steps = steps[steps > 0]
    if len(steps) == 0:
        return Steps(0, 0)
    middle = (len(steps) - 1) // 2
    period_ns = int(np.partition(steps, middle)[middle])
    return Steps(period_ns, round(1.4826 * int(np.partition(np.abs(steps - period_ns), middle)[middle])))


@dataclass(frozen=True, slots=True)
class ObservedClock:
    """One channel's record of when its messages were stamped and when they arrived.

    Attributes:
        stamps_ns, arrivals_ns: (n,) int64 in the order of arrival; arrivals do not go back. They may lie in files.
    """

    stamps_ns: Int64Array
    arrivals_ns: Int64Array
    steps: Steps
    limits: Segmentation

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def part(self, start: int, end: int) -> "ObservedClock":
        """Messages ``[start, end)`` alone."""
        run = slice(start, end)
        return ObservedClock(self.stamps_ns[run], self.arrivals_ns[run], self.steps, self.limits)

    def delays_ns(self, start: int = 0, end: int | None = None) -> Int64Array:
        """Arrivals less stamps of messages ``[start, end)``."""
        return np.asarray(self.arrivals_ns[start:end] - self.stamps_ns[start:end])

    def minima(self, start: int, end: int) -> Minima:
        """Least delays of stretches of messages ``[start, end)``, told apart from their drift."""
        stamps_ns, arrivals_ns = self.stamps_ns[start:end], self.arrivals_ns[start:end]
        found = least_delays(stamps_ns, arrivals_ns)
        drift_ppm = fit_line(found).drift_ppm
        return least_delays(stamps_ns, arrivals_ns, drift_ppm) if drift_ppm else found

    def cause_of(self, cut: int, jump_ns: int) -> tuple[int, SegmentStart]:
        """Why the least delay steps by ``jump_ns`` about message ``cut``, and at which message exactly.

        Where the clock jumped, the stamps of an even sensor take a step that is longer or shorter by as much; where
        the latency changed, they go on evenly. Of a sensor without a period a jump is all that can be said.
        """
        if not self.steps.is_periodic:
            return cut, SegmentStart.CLOCK_JUMP
        low, high = max(cut - _NEAR, 1), min(cut + _NEAR + 1, len(self))
        sign = -1 if jump_ns > 0 else 1
        steps_ns, period_ns = np.diff(self.stamps_ns[low - 1 : high]), self.steps.period_ns
        excess_ns = sign * (steps_ns - period_ns)
        beats = np.maximum((steps_ns + period_ns // 2) // period_ns, 1)
        # A message that was never recorded makes a step of whole periods, but of stamps and arrivals alike.
        moved_ns = -sign * np.diff(self.delays_ns(low - 1, high)) + abs(jump_ns) // 2
        is_off_beat = 2 * np.abs(steps_ns - beats * period_ns) > abs(jump_ns)
        explained_ns = np.where(is_off_beat, excess_ns, np.minimum(excess_ns, moved_ns))
        if 2 * int(explained_ns[cut - low]) > abs(jump_ns):
            return cut, SegmentStart.CLOCK_JUMP
        if int(explained_ns.max()) > max(abs(jump_ns) // 2, 3 * self.steps.spread_ns):
            return low + int(explained_ns.argmax()), SegmentStart.CLOCK_JUMP
        return cut, SegmentStart.LATENCY_CHANGE
