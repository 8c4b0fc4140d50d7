"""Keyframe grids: tick k of a rate of ``ticks / seconds`` lies at k * seconds / ticks after the epoch.

All arithmetic is on integers, so that a 30 Hz or 30000/1001 Hz grid neither drifts nor rounds: a tick that
falls between two nanoseconds is at the later one, and every stamp belongs to the tick at or before it.
"""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import Int64Array
from scenelake.timebase.slots import SECOND_NS
from scenelake.timebase.windows import Window


@dataclass(frozen=True, slots=True)
class Grid:
    """A rate as a ratio of whole numbers, anchored at the epoch.

    Attributes:
        ticks: ticks per ``seconds``, 1 to 1,000,000.
        seconds: 1 to 10,000; 1001 with ticks=30000 is NTSC.

    Raises:
        ValueError: for a value outside those bounds, which keep products within int64.
    """

    ticks: int
    seconds: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.ticks <= 1_000_000 and 1 <= self.seconds <= 10_000):
            raise ValueError(f"grid: expected 1..1000000 ticks in 1..10000 s, got {self.ticks} in {self.seconds} s")
        if self.ticks * self.seconds > 9 * SECOND_NS:
            raise ValueError(f"grid: {self.ticks} ticks in {self.seconds} s overflows int64")

    def ticks_of(self, timestamps_ns: Int64Array) -> Int64Array:
        """Number of the last tick at or before each stamp: (n,) int64."""
        cycle_ns = self.seconds * SECOND_NS
        cycles, rest_ns = np.divmod(timestamps_ns, cycle_ns)
        return np.asarray(cycles * self.ticks + rest_ns * self.ticks // cycle_ns)

    def times_of(self, ticks: Int64Array) -> Int64Array:
        """First whole nanosecond of each tick: (n,) int64."""
        cycle_ns = self.seconds * SECOND_NS
        cycles, rest = np.divmod(ticks, self.ticks)
        return np.asarray(cycles * cycle_ns - (-rest * cycle_ns // self.ticks))

    def times_in(self, window: Window) -> Int64Array:
        """Times of the ticks inside a half-open window, ascending."""
        bounds = np.array([window.start_ns - 1, window.exclusive_end_ns - 1], np.int64)
        before, last = self.ticks_of(bounds).tolist()
        return self.times_of(np.arange(before + 1, last + 1, dtype=np.int64))

    def first_of_each_tick(self, sorted_ns: Int64Array) -> Int64Array:
        """Indices of the first stamp in each tick that has one, for (n,) non-decreasing stamps."""
        ticks = self.ticks_of(sorted_ns)
        is_first = np.ones(len(ticks), np.bool_)
        is_first[1:] = ticks[1:] != ticks[:-1]
        return np.flatnonzero(is_first)
