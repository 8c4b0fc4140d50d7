"""When the messages of one channel came: ends, median step and gaps, in memory that does not grow with them."""

import heapq
from dataclasses import dataclass

import numpy as np

MAX_GAPS = 10
"""The longest gaps of a channel are listed, the others counted."""

_GAP_STEPS = 3
_MIN_GAP_NS = 100_000_000
_PARTS = 8
_NBR_BINS = 66 * _PARTS


@dataclass(frozen=True, slots=True)
class Gap:
    """Two neighbouring messages, in order of time, that are far apart."""

    start_ns: int
    end_ns: int


class TimeLine:
    """Collects a channel's log times.

    Steps between neighbours are kept as a histogram of eighths of an octave with the mean of each bin, so that the
    median of a steady channel is exact and that of any other is right within 1 in 16.

    Attributes:
        nbr_out_of_order: messages that come later in the file than one of a later time.
    """

    def __init__(self) -> None:
        self.start_ns: int | None = None
        self.last_ns: int | None = None
        self.nbr_out_of_order = 0
        self._newest: int | None = None
        self._counts = np.zeros(_NBR_BINS, np.int64)
        self._sums_ns = np.zeros(_NBR_BINS, np.float64)
        self._longest: list[tuple[int, int]] = []

    def add(self, times_ns: np.ndarray) -> None:
        """Takes (n,) uint64 in the order of the file."""
        if not len(times_ns):
            return
        self.nbr_out_of_order += int((times_ns[1:] < times_ns[:-1]).sum())
        ordered = np.sort(times_ns)
        if self._newest is not None:
            if int(ordered[0]) < self._newest:
                self.nbr_out_of_order += 1
            ordered = ordered[ordered >= np.uint64(self._newest)]
            ordered = np.concatenate((np.array([self._newest], np.uint64), ordered))
        self._add_steps(ordered)
        first, last = int(times_ns.min()), int(times_ns.max())
        self.start_ns = first if self.start_ns is None else min(self.start_ns, first)
        self.last_ns = last if self.last_ns is None else max(self.last_ns, last)
        self._newest = last if self._newest is None else max(self._newest, last)

    def interrupt(self) -> None:
        """Says that messages between the last and the next ones were left out: the step between them is none."""
        self._newest = None

    def _add_steps(self, ordered: np.ndarray) -> None:
        steps = np.diff(ordered)
        if not len(steps):
            return
        mantissa, exponent = np.frexp(steps.astype(np.float64))
        bins = exponent * _PARTS + np.maximum((mantissa - 0.5) * 2 * _PARTS, 0).astype(np.int64)
        self._counts += np.bincount(bins, minlength=_NBR_BINS)
        self._sums_ns += np.bincount(bins, weights=steps, minlength=_NBR_BINS)
        long = np.argpartition(steps, -MAX_GAPS)[-MAX_GAPS:] if len(steps) > MAX_GAPS else np.arange(len(steps))
        for at in long.tolist():
            candidate = (int(steps[at]), int(ordered[at]))
            if len(self._longest) < MAX_GAPS:
                heapq.heappush(self._longest, candidate)
            else:
                heapq.heappushpop(self._longest, candidate)

    @property
    def median_step_ns(self) -> int | None:
        """Median step from a message to the next; None with fewer than two messages."""
        total = int(self._counts.sum())
        if not total:
            return None
        middle = int(np.searchsorted(np.cumsum(self._counts), (total + 1) // 2))
        return round(float(self._sums_ns[middle]) / int(self._counts[middle]))

    def _gap_ns(self) -> int | None:
        """From this step on it is a gap: more than 3 median steps, and 100 ms (as ``synchronise`` has it)."""
        median_ns = self.median_step_ns
        return None if median_ns is None else max(_GAP_STEPS * median_ns, _MIN_GAP_NS)

    @property
    def nbr_gaps(self) -> int:
        """Steps that are gaps; above ``MAX_GAPS`` those of a bin are counted by the bin's mean."""
        threshold_ns = self._gap_ns()
        if threshold_ns is None:
            return 0
        listed = len(self.gaps)
        if listed < len(self._longest) or listed < MAX_GAPS:
            return listed
        means = self._sums_ns / np.maximum(self._counts, 1)
        return max(int(self._counts[means > threshold_ns].sum()), listed)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The longest gaps, in order of time."""
        threshold_ns = self._gap_ns()
        if threshold_ns is None:
            return ()
        return tuple(
            Gap(start, start + step) for step, start in sorted(self._longest, key=lambda g: g[1]) if step > threshold_ns
        )
