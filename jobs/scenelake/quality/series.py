"""Numbers of one channel over one scene, and what many checks ask of them."""

from collections.abc import Iterable
from math import comb
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.geometry.arrow_vectors import list_matrix
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array
from scenelake.timebase.running import runs_of

LARGEST = 1e15
"""No quantity of the sensors looked at here is larger in its unit (a time in ms is 1e12); what is counts as not finite,
and sums of squares of the rest stay far inside float64."""

MAX_MESSAGES = 8
"""Messages that one piece of evidence names."""

_SMALLEST_GAP_SHARE = 1e-7
"""Values of one level that went through float32 differ by so much of their size."""


def stamps_of(rows: pa.Table) -> Int64Array:
    """Ruling times (n,)."""
    return np.asarray(rows["timestamp_ns"].to_numpy(), np.int64)


def vectors(rows: pa.Table, name: str, width: int | None = None) -> FloatArray:
    """A list column as (n, width); NaN for null, another width, what is not finite and what is absurdly large."""
    return bounded(list_matrix(rows[name], width))


def scalars(rows: pa.Table, name: str) -> FloatArray:
    """A column of numbers as (n,); NaN as in ``vectors``."""
    return bounded(np.asarray(rows[name].to_numpy(), np.float64))


def bounded(values: FloatArray) -> FloatArray:
    """The values, NaN where they are not finite or beyond ``LARGEST``."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def mad_sigma(values: FloatArray) -> float:
    """Standard deviation that a normal distribution with the same median absolute deviation has; NaN of nothing."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan")
    return 1.4826 * float(np.median(np.abs(finite - np.median(finite))))


def quantile(values: FloatArray, share: float) -> float:
    """Quantile of the finite ones; NaN of nothing."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else float("nan")


def longest_run_ns(is_step: BoolArray, stamps_ns: Int64Array) -> tuple[int, int]:
    """How long the longest run of steps between neighbours lasts, and when it starts; 0 and 0 without one.

    Args:
        is_step: (n - 1,) steps that count.
        stamps_ns: (n,) non-decreasing.
    """
    firsts, lasts = runs_of(is_step)
    if not len(firsts):
        return 0, 0
    lengths = stamps_ns[lasts + 1] - stamps_ns[firsts]
    longest = int(lengths.argmax())
    return int(lengths[longest]), int(stamps_ns[firsts[longest]])


def noise(values: FloatArray, order: int = 2) -> FloatArray:
    """White noise of each column of (n, w), from differences of an order, which slow signals hardly enter: (w,).

    Var(x[i-1] - 2 x[i] + x[i+1]) is six times that of x where its values are independent (von Neumann and others,
    "The mean square successive difference", 1941, carried one order further); of order k it is (2k)! / (k!)² times.
    """
    bends = np.diff(values, order, axis=0)
    sizes = np.array([mad_sigma(bends[:, i]) for i in range(values.shape[1])], np.float64)
    return np.asarray(sizes / np.sqrt(comb(2 * order, order)))


def quantum(values: FloatArray) -> float | None:
    """Step between neighbouring levels that (n,) values take; None with fewer than three levels.

    The gap that one in twenty undercuts: of a coarse converter all gaps are multiples of one, of fine values they are
    as small as their number makes them.
    """
    levels = np.unique(values[np.isfinite(values)])
    if len(levels) < 3:
        return None
    gaps = np.diff(levels)
    gaps = gaps[gaps > _SMALLEST_GAP_SHARE * max(abs(levels[0]), abs(levels[-1]))]
    return float(np.quantile(gaps, 0.05)) if len(gaps) > 1 else None


def messages(rows: pa.Table, positions: Iterable[int]) -> list[dict[str, Any]]:
    """The first ``MAX_MESSAGES`` of some rows, as evidence names them."""
    chosen = np.array([int(position) for position in positions][:MAX_MESSAGES], np.int64)
    named: list[dict[str, Any]] = rows.select(["sample_data_id", "timestamp_ns"]).take(pa.array(chosen)).to_pylist()
    return named
