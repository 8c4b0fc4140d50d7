"""Statistics of one sweep of points."""

from dataclasses import dataclass

import numpy as np

_MAX_COUNTED = 65_536


@dataclass(frozen=True, slots=True)
class PointStatistics:
    """Of the points that are finite and not at the sensor's origin, which is where sensors put missing returns.

    Attributes:
        nbr_invalid: the others.
        range_min_m, range_mean_m, range_max_m: distance from the sensor's origin; None without a valid point.
        intensity_mean: None where there is no intensity.
        nbr_rings: distinct rings; None where there are none.
        offset_span_ns: latest less earliest point; None without per-point time.
    """

    nbr_points: int
    nbr_invalid: int
    range_min_m: float | None
    range_mean_m: float | None
    range_max_m: float | None
    intensity_mean: float | None
    nbr_rings: int | None
    offset_span_ns: int | None


def point_statistics(
    x_m: np.ndarray,
    y_m: np.ndarray,
    z_m: np.ndarray,
    intensity: np.ndarray | None = None,
    ring: np.ndarray | None = None,
    offset_ns: np.ndarray | None = None,
) -> PointStatistics:
    """Statistics of columns of n points, each (n,)."""
    with np.errstate(invalid="ignore", over="ignore"):
        squared = x_m * x_m + y_m * y_m + z_m * z_m
        is_valid = np.isfinite(squared) & (squared > 0)
    nbr_points, nbr_valid = len(squared), int(np.count_nonzero(is_valid))
    ranges = np.sqrt(squared if nbr_valid == nbr_points else squared[is_valid])
    has_points = nbr_valid > 0
    return PointStatistics(
        nbr_points=nbr_points,
        nbr_invalid=nbr_points - nbr_valid,
        range_min_m=float(ranges.min()) if has_points else None,
        range_mean_m=float(ranges.mean(dtype=np.float64)) if has_points else None,
        range_max_m=float(ranges.max()) if has_points else None,
        intensity_mean=_finite_mean(intensity),
        nbr_rings=None if ring is None else _nbr_distinct(ring),
        offset_span_ns=int(offset_ns.max() - offset_ns.min()) if offset_ns is not None and len(offset_ns) else None,
    )


def _nbr_distinct(values: np.ndarray) -> int:
    """Distinct values of (n,) int32; sorting them would cost several times as much."""
    if not len(values):
        return 0
    lowest, span = int(values.min()), int(values.max()) - int(values.min())
    if span >= _MAX_COUNTED:
        return len(np.unique(values))
    return int(np.count_nonzero(np.bincount(values.astype(np.int64) - lowest, minlength=1)))


def _finite_mean(values: np.ndarray | None) -> float | None:
    if values is None:
        return None
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else None
