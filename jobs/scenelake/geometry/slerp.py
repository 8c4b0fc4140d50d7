"""Spherical linear interpolation of rotations along the shortest arc (Shoemake, SIGGRAPH 1985)."""

import numpy as np

from scenelake.geometry.brackets import bracket
from scenelake.geometry.linear import Interpolated
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

_SMALL_SINE = 1e-6
"""Below this sine of the angle, linear weights and SLERP's agree to double precision."""


def interpolate_slerp(
    targets_ns: Int64Array, stamps_ns: Int64Array, quaternions: FloatArray, max_gap_ns: int | Int64Array
) -> Interpolated:
    """Interpolates unit quaternions between the enclosing rows at constant angular velocity.

    Args:
        targets_ns: (m,) in any order.
        stamps_ns: (n,) non-decreasing.
        quaternions: (n, 4) float64 in the order qw, qx, qy, qz; normalised here. q and -q are one rotation.
        max_gap_ns: widest pair of rows to interpolate between, inclusive.

    Returns:
        (m, 4) unit quaternions; invalid where the gap is too wide, outside the rows, or where an enclosing
        row is no rotation (zero or not finite).
    """
    around = bracket(targets_ns, stamps_ns)
    is_valid = around.is_inside & (around.gap_ns <= max_gap_ns)
    inside = np.flatnonzero(is_valid)
    before, is_before = _unit(quaternions[around.before[inside]])
    after, is_after = _unit(quaternions[around.after[inside]])
    both = is_before & is_after
    is_valid[inside] = both
    result = np.full((len(targets_ns), 4), np.nan)
    result[inside[both]] = _arc(before[both], after[both], around.weight[inside[both]])
    return Interpolated(result, is_valid)


def _unit(quaternions: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Normalised, and which of them are rotations."""
    norms = np.linalg.norm(quaternions, axis=1)
    is_rotation = np.asarray(np.isfinite(norms) & (norms > 0))
    return quaternions / np.where(is_rotation, norms, 1.0)[:, None], is_rotation


def _arc(before: FloatArray, after: FloatArray, weight: FloatArray) -> FloatArray:
    dot = np.sum(before * after, axis=1)
    after = np.where(dot[:, None] < 0.0, -after, after)
    angle = np.arccos(np.clip(np.abs(dot), 0.0, 1.0))
    sine = np.sin(angle)
    is_small = sine < _SMALL_SINE
    divisor = np.where(is_small, 1.0, sine)
    share_before = np.where(is_small, 1.0 - weight, np.sin((1.0 - weight) * angle) / divisor)
    share_after = np.where(is_small, weight, np.sin(weight * angle) / divisor)
    blended = share_before[:, None] * before + share_after[:, None] * after
    return np.asarray(blended / np.linalg.norm(blended, axis=1, keepdims=True))
