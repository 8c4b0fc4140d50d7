"""Long arrays a block at a time, so that what is computed on the way does not grow with them."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.scratch import IN_MEMORY, Scratch

BLOCK = 1 << 16
"""Values that are looked at together: they fit a processor's cache."""
_NBR_BINS = 1 << 14
_NBR_SAMPLES = 1 << 14
_SORTED_AT_ONCE = 1 << 19
_MOST_NS = np.iinfo(np.int64).max
_Kind = TypeVar("_Kind", bound=np.generic)


def blocks(count: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Half-open ranges of at most ``BLOCK`` that make up ``[start, count)``."""
    for first in range(start, count, BLOCK):
        yield first, min(first + BLOCK, count)


def steps_in(values: Int64Array) -> Iterator[tuple[int, Int64Array]]:
    """``np.diff(values)`` in blocks, each with the position of its first step."""
    for start, end in blocks(len(values) - 1):
        yield start, np.diff(values[start : end + 1])


def is_sorted(values: Int64Array) -> bool:
    """Whether the values never decrease."""
    return all(not (steps < 0).any() for _, steps in steps_in(values))


def count_where(count: int, is_set: Callable[[int, int], BoolArray]) -> int:
    """How many of ``count`` positions ``is_set`` holds for, which is asked for a range at a time."""
    return sum(int(np.count_nonzero(is_set(start, end))) for start, end in blocks(count))


def are_equal(first: Int64Array, second: Int64Array) -> bool:
    """``np.array_equal``."""
    if len(first) != len(second):
        return False
    return all(np.array_equal(first[start:end], second[start:end]) for start, end in blocks(len(first)))


def compress(
    values: npt.NDArray[_Kind], is_kept: Callable[[int, int], BoolArray], scratch: Scratch
) -> npt.NDArray[_Kind]:
    """``values[is_kept]``, the condition asked for a range at a time; the values themselves where all are kept."""
    kept = count_where(len(values), is_kept)
    if kept == len(values):
        return values
    found, filled = scratch.array(kept, values.dtype), 0
    for start, end in blocks(len(values)):
        part = values[start:end][is_kept(start, end)]
        found[filled : filled + len(part)] = part
        filled += len(part)
    return found


def positions_where(count: int, is_set: Callable[[int, int], BoolArray], scratch: Scratch) -> Int64Array:
    """The positions among ``count`` that ``is_set`` holds for."""
    found, filled = scratch.array(count_where(count, is_set), np.int64), 0
    for start, end in blocks(count):
        part = np.flatnonzero(is_set(start, end)) + start
        found[filled : filled + len(part)] = part
        filled += len(part)
    return found


def gather(values: npt.NDArray[_Kind], order: Int64Array, scratch: Scratch) -> npt.NDArray[_Kind]:
    """``values[order]``."""
    found = scratch.array(len(order), values.dtype)
    np.take(values, order, out=found)
    return found


def median_step(sorted_ns: Int64Array) -> int | None:
    """Lower median of the positive steps of values; None when there is no such step.

    Of many values by counting: steps below a range, and steps in each bin of it, until a bin is one value wide. The
    first range is where a sample has its median.
    """
    if len(sorted_ns) <= BLOCK:
        steps = np.diff(sorted_ns)
        steps = steps[steps > 0]
        middle = (len(steps) - 1) // 2
        return int(np.partition(steps, middle)[middle]) if len(steps) else None
    low, high = _likely_range(sorted_ns)
    while True:
        width = -(-(high - low + 1) // _NBR_BINS)
        nbr_positive, nbr_below, counts = 0, 0, np.zeros(_NBR_BINS, np.int64)
        for _, steps in steps_in(sorted_ns):
            nbr_positive += int(np.count_nonzero(steps > 0))
            nbr_below += int(np.count_nonzero((steps > 0) & (steps < low)))
            inside = steps[(steps >= low) & (steps <= high)]
            counts += np.bincount((inside - low) // width, minlength=_NBR_BINS)
        if nbr_positive == 0:
            return None
        rank = (nbr_positive - 1) // 2 - nbr_below
        reached = np.cumsum(counts)
        if rank < 0:
            low, high = 1, low - 1
        elif rank >= reached[-1]:
            low, high = high + 1, _MOST_NS
        else:
            low += int(np.searchsorted(reached, rank, side="right")) * width
            high = min(low + width - 1, high)
            if width == 1:
                return low


def _likely_range(values: Int64Array) -> tuple[int, int]:
    """The middle four hundredths of a sample of the positive steps."""
    stride = max((len(values) - 1) // _NBR_SAMPLES, 1)
    steps = values[1::stride][:_NBR_SAMPLES] - values[:-1:stride][:_NBR_SAMPLES]
    steps = np.sort(steps[steps > 0])
    if len(steps) == 0:
        return 1, _MOST_NS
    about = len(steps) * 48 // 100, min(len(steps) * 52 // 100, len(steps) - 1)
    return int(steps[about[0]]), int(steps[about[1]])


def sorting_order(values: Int64Array, scratch: Scratch = IN_MEMORY) -> Int64Array | None:
    """``np.argsort(values, kind="stable")``; None where the values are sorted.

    Many values are sorted range by range of a sample's values, each range gathered from the blocks that reach into
    it, so that only a range is in memory.
    """
    if is_sorted(values):
        return None
    if len(values) <= _SORTED_AT_ONCE:
        return np.asarray(np.argsort(values, kind="stable"), np.int64)
    bounds = [(start, end) for start, end in blocks(len(values))]
    lowest = np.array([values[start:end].min() for start, end in bounds])
    highest = np.array([values[start:end].max() for start, end in bounds])
    order, filled = scratch.array(len(values), np.int64), 0
    splits = _splits(values)
    for low, high in zip([int(lowest.min()), *splits], [*splits, int(highest.max()) + 1], strict=True):
        inside = np.flatnonzero((highest >= low) & (lowest < high)).tolist()
        first = filled
        for start, end in (bounds[i] for i in inside):
            part = values[start:end]
            positions = np.flatnonzero((part >= low) & (part < high)) + start
            order[filled : filled + len(positions)] = positions
            filled += len(positions)
        if high - low > 1:
            gathered = order[first:filled]
            gathered[:] = gathered[np.argsort(values[gathered], kind="stable")]
    return order


def _splits(values: Int64Array) -> list[int]:
    """Values between which about ``_SORTED_AT_ONCE`` lie; one that is most frequent has a range of its own."""
    sample = np.sort(values[:: max(len(values) // _NBR_SAMPLES, 1)])
    chosen = sample[:: max(len(sample) * _SORTED_AT_ONCE // len(values), 1)][1:]
    low, high = int(values.min()), int(values.max())
    return sorted({v for c in chosen.tolist() for v in (c, c + 1) if low < v <= high})
