"""The two rows that enclose a time, which linear interpolation and SLERP share."""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array


@dataclass(frozen=True, slots=True)
class Brackets:
    """One answer per target; where ``is_inside`` is false the other values mean nothing.

    Attributes:
        before, after: (m,) int64 into the stamps. Equal where a stamp is the target itself.
        weight: (m,) float64 in [0, 1): the share of ``after``.
        gap_ns: (m,) int64, stamp after minus stamp before.
        is_inside: (m,) bool, the target lies within the first and the last stamp.
    """

    before: Int64Array
    after: Int64Array
    weight: FloatArray
    gap_ns: Int64Array
    is_inside: BoolArray


def bracket(targets_ns: Int64Array, stamps_ns: Int64Array) -> Brackets:
    """Encloses each target. Of equal stamps, the first is an exact hit and the last is the row before.

    Args:
        targets_ns: (m,) in any order.
        stamps_ns: (n,) non-decreasing; may be empty.
    """
    count = len(stamps_ns)
    if count == 0:
        none = np.zeros(len(targets_ns), np.int64)
        return Brackets(none, none, none.astype(np.float64), none, none.astype(np.bool_))
    right = np.searchsorted(stamps_ns, targets_ns, side="left")
    after = np.minimum(right, count - 1).astype(np.int64)
    is_exact = stamps_ns[after] == targets_ns
    before = np.where(is_exact, after, np.maximum(right - 1, 0)).astype(np.int64)
    gap_ns = stamps_ns[after] - stamps_ns[before]
    weight = (targets_ns - stamps_ns[before]) / np.maximum(gap_ns, 1)
    return Brackets(before, after, weight, gap_ns, np.asarray(is_exact | ((right > 0) & (right < count))))
