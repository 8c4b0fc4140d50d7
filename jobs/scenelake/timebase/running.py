"""Least values over stretches of an array, in time that does not depend on how long the stretches are."""

import numpy as np

from scenelake.timebase.arrays import BoolArray, Int64Array


def running_minimum(values: Int64Array, width: int) -> Int64Array:
    """Least of ``values[i : i + width]`` for each i; stretches at the end are as long as what is left.

    Two passes over blocks of ``width`` (van Herk, Pattern Recognition Letters 13, 1992).

    Args:
        values: (n,) int64.
        width: at least 1.

    Raises:
        ValueError: when the width is less than 1.
    """
    if width < 1:
        raise ValueError(f"width: expected at least 1, got {width}")
    count = len(values)
    padded = np.full(-(-(count + width) // width) * width, np.iinfo(np.int64).max)
    padded[:count] = values
    blocks = padded.reshape(-1, width)
    from_start = np.minimum.accumulate(blocks, axis=1).ravel()
    to_end = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.asarray(np.minimum(to_end[:count], from_start[width - 1 : width - 1 + count]))


def minima_between(values: Int64Array, starts: Int64Array, ends: Int64Array) -> Int64Array:
    """Least of ``values[start:end]`` for each pair: (m,) int64.

    Args:
        values: (n,) int64, n at least 1.
        starts, ends: (m,) int64 with 0 <= start < end <= n; the pairs may overlap.
    """
    if len(starts) == 0:
        return np.empty(0, np.int64)
    bounds = np.column_stack([starts, ends]).ravel()
    # reduceat wants every bound inside the array; a last element that never is the least closes the last pair.
    closed = np.append(values, np.iinfo(np.int64).max)
    return np.asarray(np.minimum.reduceat(closed, bounds)[::2])


def runs_of(is_set: BoolArray, max_hole: int = 0) -> tuple[Int64Array, Int64Array]:
    """First and last position of each run of true values: two (m,) int64.

    Args:
        is_set: (n,) bool.
        max_hole: runs with at most so many false values between them are one.
    """
    positions = np.flatnonzero(is_set)
    if len(positions) == 0:
        return positions, positions
    is_break = np.diff(positions) > max_hole + 1
    firsts = positions[np.concatenate([[True], is_break])]
    lasts = positions[np.concatenate([is_break, [True]])]
    return firsts, lasts
