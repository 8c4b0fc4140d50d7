"""Linear interpolation of vectors, bounded by the gap that it may bridge."""

from dataclasses import dataclass

import numpy as np

from scenelake.geometry.brackets import bracket
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array


@dataclass(frozen=True, slots=True)
class Interpolated:
    """One answer per target.

    Attributes:
        values: (m, w) float64; NaN rows where ``is_valid`` is false.
        is_valid: (m,) bool, the target lies between two rows at most the largest gap apart, or on a row.
    """

    values: FloatArray
    is_valid: BoolArray


def interpolate_linear(
    targets_ns: Int64Array, stamps_ns: Int64Array, values: FloatArray, max_gap_ns: int | Int64Array
) -> Interpolated:
    """Interpolates each column between the enclosing rows. Nothing is extrapolated.

    Args:
        targets_ns: (m,) in any order.
        stamps_ns: (n,) non-decreasing; of equal stamps the first answers an exact hit.
        values: (n, w) float64; a NaN stays in its own column.
        max_gap_ns: widest pair of rows to interpolate between, inclusive.
    """
    around = bracket(targets_ns, stamps_ns)
    is_valid = around.is_inside & (around.gap_ns <= max_gap_ns)
    result = np.full((len(targets_ns), values.shape[1]), np.nan)
    before, after = values[around.before[is_valid]], values[around.after[is_valid]]
    weight = around.weight[is_valid, None]
    # Infinity times a weight of zero is NaN, which is what a value between it and another is worth.
    with np.errstate(invalid="ignore"):
        result[is_valid] = before * (1.0 - weight) + after * weight
    return Interpolated(result, is_valid)
