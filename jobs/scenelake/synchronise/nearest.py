"""Nearest row in time, with every tie decided."""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import Int64Array


@dataclass(frozen=True, slots=True)
class NearestMatches:
    """One answer per target.

    Attributes:
        indices: (m,) int64 into the stamps; -1 where there are no stamps at all.
        delta_ns: (m,) int64, matched stamp minus target; 0 where the index is -1.
    """

    indices: Int64Array
    delta_ns: Int64Array


def match_nearest(targets_ns: Int64Array, stamps_ns: Int64Array) -> NearestMatches:
    """Finds for each target the stamp with the smallest distance.

    Of two stamps equally far the earlier wins; of equal stamps the first. No tolerance is applied: the caller
    judges ``delta_ns``, which is of use also where it is too large.

    Args:
        targets_ns: (m,) in any order.
        stamps_ns: (n,) non-decreasing; duplicates are welcome.
    """
    count = len(stamps_ns)
    if count == 0:
        return NearestMatches(np.full(len(targets_ns), -1, np.int64), np.zeros(len(targets_ns), np.int64))
    right = np.searchsorted(stamps_ns, targets_ns, side="left")
    after = np.minimum(right, count - 1)
    before = np.maximum(right - 1, 0)
    is_before = (right == count) | ((right > 0) & (targets_ns - stamps_ns[before] <= stamps_ns[after] - targets_ns))
    chosen = stamps_ns[np.where(is_before, before, after)]
    indices = np.searchsorted(stamps_ns, chosen, side="left").astype(np.int64)
    return NearestMatches(indices, chosen - targets_ns)
