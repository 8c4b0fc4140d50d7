"""Hold-last for discrete values, with a limit to how stale they may get."""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import BoolArray, Int64Array


@dataclass(frozen=True, slots=True)
class HeldMatches:
    """One answer per target.

    Attributes:
        indices: (m,) int64 into the stamps; -1 where no row is at or before the target.
        delta_ns: (m,) int64, held stamp minus target: zero or negative; 0 where the index is -1.
        is_fresh: (m,) bool, there is a row and it is no older than the limit.
    """

    indices: Int64Array
    delta_ns: Int64Array
    is_fresh: BoolArray


def match_hold(targets_ns: Int64Array, stamps_ns: Int64Array, max_age_ns: int | Int64Array) -> HeldMatches:
    """Finds the last row at or before each target; of equal stamps the last recorded one rules.

    Args:
        targets_ns: (m,) in any order.
        stamps_ns: (n,) non-decreasing, equal stamps in recording order.
        max_age_ns: oldest row that still counts, inclusive.
    """
    indices = (np.searchsorted(stamps_ns, targets_ns, side="right") - 1).astype(np.int64)
    has_row = indices >= 0
    delta_ns = np.zeros(len(targets_ns), np.int64)
    delta_ns[has_row] = stamps_ns[indices[has_row]] - targets_ns[has_row]
    return HeldMatches(indices, delta_ns, np.asarray(has_row & (-delta_ns <= max_age_ns)))
