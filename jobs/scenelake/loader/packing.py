"""Packing of items of mixed lengths into bins of a fixed budget of frames or tokens.

Best fit decreasing within a buffer of items that came together, so that the order of arrival (and so the shuffle)
survives outside the buffer. Bins that are not full enough at the end of a buffer give their items back to the next
one. Best fit decreasing never needs more than 11/9 of the fewest possible bins, plus 4 (Johnson, 1973); on lengths
that are spread over the budget its waste falls with the size of the buffer.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

from scenelake.contracts.errors import ConfigurationError

Int64Array = NDArray[np.int64]
FULL_ENOUGH = 0.97
"""A bin with this share of its budget filled is closed at the end of its buffer."""


def pack(lengths: Int64Array, budget: int, buffer: int = 1024) -> list[Int64Array]:
    """Positions of the items of each bin, each item in exactly one, each bin within the budget.

    Args:
        lengths: (n,) positive, in the order of arrival.
        budget: what a bin holds.
        buffer: items that are looked at together.

    Raises:
        ConfigurationError: an item is longer than the budget.
    """
    too_long = np.flatnonzero(lengths > budget)
    if len(too_long):
        raise ConfigurationError(
            f"packing.budget: expected at least {int(lengths.max())}, the longest of {len(too_long)} windows that do"
            f" not fit, got {budget}; raise it or shorten window.length"
        )
    bins: list[Int64Array] = []
    carried = np.empty(0, np.int64)
    for start in range(0, len(lengths), buffer):
        members = np.concatenate([carried, np.arange(start, min(start + buffer, len(lengths)))])
        is_last = start + buffer >= len(lengths)
        returned: list[Int64Array] = []
        for held in _best_fit(lengths, members, budget):
            is_closed = is_last or lengths[held].sum() >= FULL_ENOUGH * budget
            # What was carried once already is not carried on and on.
            (bins if is_closed or held.min() < start else returned).append(held)
        carried = np.sort(np.concatenate(returned)) if returned else carried[:0]
    return bins


def padding_share(lengths: Int64Array, bins: list[Int64Array], budget: int) -> float:
    """Share of the bins' budgets that no item fills."""
    return 1.0 - float(lengths.sum()) / (budget * len(bins)) if bins else 0.0


def _best_fit(lengths: Int64Array, members: Int64Array, budget: int) -> list[Int64Array]:
    """Bins of the members: the longest first, each into the fullest bin that takes it; in the order of arrival."""
    open_bins: list[tuple[int, int]] = []
    contents: list[list[int]] = []
    for position in members[np.argsort(-lengths[members], kind="stable")].tolist():
        length = int(lengths[position])
        at = bisect_left(open_bins, (length, -1))
        if at < len(open_bins):
            free, number = open_bins.pop(at)
        else:
            free, number = budget, len(contents)
            contents.append([])
        contents[number].append(position)
        insort(open_bins, (free - length, number))
    held = [np.sort(np.array(c, np.int64)) for c in contents]
    return sorted(held, key=lambda c: int(c[0]))
