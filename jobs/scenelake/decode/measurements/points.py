"""Statistics of one sweep of points."""

from dataclasses import dataclass

import numpy as np

from scenelake.decode.measurements.doppler import doppler_speed
from scenelake.decode.measurements.fingerprints import columns_fingerprint

NBR_SECTORS, NBR_GROUPS = 72, 4
NBR_BINS = 32

_MAX_COUNTED = 65_536
_SAMPLED = 8192
"""Points that histograms are taken of: some 30 in a sector of a group; of all points they would cost as much as the
sweep's decoding."""
_STRIDES = (1, 3, 7, 9, 11, 13, 17, 19, 23, 27, 29, 31, 37, 41, 43, 47, 49, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
"""None shares a factor with the usual numbers of rings, so that a sample of points in the order of firing has all."""
_LEAST_RANGE_M, _RANGE_OCTAVES = 0.5, 10.0
_LEAST_INTENSITY, _INTENSITY_OCTAVES = 2.0**-8, 16.0
_ELEVATIONS = np.array([-0.17, -0.06, 0.0])
"""Sines that part the groups of a sweep without rings: 10 and 3.5 degrees below the horizon, and the horizon."""


@dataclass(frozen=True, slots=True)
class PointStatistics:
    """Of the points that are finite and not at the sensor's origin, which is where sensors put missing returns.

    Attributes:
        nbr_invalid: the others.
        range_min_m, range_mean_m, range_max_m: distance from the sensor's origin; None without a valid point.
        intensity_mean: None where there is no intensity.
        nbr_rings: distinct rings; None where there are none.
        offset_span_ns: latest less earliest point; None without per-point time.
        nbr_silent_rings: without a point, between the first and the last that has one.
        sector_counts: (``NBR_GROUPS * NBR_SECTORS``,) int32, group by group, sectors from -x counter-clockwise.
        range_counts, intensity_counts: (``NBR_BINS``,) int32 in logarithmic bins; the outer ones hold what is beyond.
        doppler_speed_m_s, doppler_inlier_fraction: ``doppler_speed``.
    """

    nbr_points: int
    nbr_invalid: int
    range_min_m: float | None
    range_mean_m: float | None
    range_max_m: float | None
    intensity_mean: float | None
    nbr_rings: int | None
    offset_span_ns: int | None
    fingerprint: int | None = None
    nbr_not_finite: int | None = None
    nbr_silent_rings: int | None = None
    sector_counts: np.ndarray | None = None
    range_counts: np.ndarray | None = None
    intensity_counts: np.ndarray | None = None
    doppler_speed_m_s: float | None = None
    doppler_inlier_fraction: float | None = None


def point_statistics(
    x_m: np.ndarray,
    y_m: np.ndarray,
    z_m: np.ndarray,
    intensity: np.ndarray | None = None,
    ring: np.ndarray | None = None,
    offset_ns: np.ndarray | None = None,
    radial_velocity_m_s: np.ndarray | None = None,
) -> PointStatistics:
    """Statistics of columns of n points, each (n,)."""
    with np.errstate(invalid="ignore", over="ignore"):
        squared = x_m * x_m + y_m * y_m + z_m * z_m
        is_finite = np.isfinite(squared)
        is_valid = is_finite & (squared > 0)
    nbr_points, nbr_valid = len(squared), int(np.count_nonzero(is_valid))
    ranges = np.sqrt(squared if nbr_valid == nbr_points else squared[is_valid])
    has_points = nbr_valid > 0
    nbr_rings, nbr_silent = (None, None) if ring is None else _rings(ring)
    ego = None if radial_velocity_m_s is None else doppler_speed(x_m, y_m, radial_velocity_m_s)
    step = _stride(nbr_points)
    chosen = np.flatnonzero(is_valid[::step]) * step
    return PointStatistics(
        nbr_points=nbr_points,
        nbr_invalid=nbr_points - nbr_valid,
        range_min_m=float(ranges.min()) if has_points else None,
        range_mean_m=float(ranges.mean(dtype=np.float64)) if has_points else None,
        range_max_m=float(ranges.max()) if has_points else None,
        intensity_mean=_finite_mean(intensity),
        nbr_rings=nbr_rings,
        offset_span_ns=int(offset_ns.max() - offset_ns.min()) if offset_ns is not None and len(offset_ns) else None,
        fingerprint=columns_fingerprint((x_m, y_m, z_m)) if nbr_points else None,
        nbr_not_finite=nbr_points - int(np.count_nonzero(is_finite)),
        nbr_silent_rings=nbr_silent,
        sector_counts=_sectors((x_m[chosen], y_m[chosen], z_m[chosen]), None if ring is None else ring[chosen]),
        range_counts=_octaves(np.sqrt(squared[chosen]), _LEAST_RANGE_M, _RANGE_OCTAVES),
        intensity_counts=None if intensity is None else _intensities(intensity[chosen]),
        doppler_speed_m_s=ego[0] if ego else None,
        doppler_inlier_fraction=ego[1] if ego else None,
    )


def _stride(nbr_points: int) -> int:
    """Least step that leaves at most ``_SAMPLED`` points; of more than 800,000 it leaves more."""
    return next((step for step in _STRIDES if nbr_points <= step * _SAMPLED), _STRIDES[-1])


def _sectors(points_m: tuple[np.ndarray, np.ndarray, np.ndarray], ring: np.ndarray | None) -> np.ndarray:
    """(``NBR_GROUPS * NBR_SECTORS``,) int32 of valid points (n,) each."""
    x_m, y_m, z_m = points_m
    turn = np.arctan2(y_m, x_m) * np.float32(NBR_SECTORS / (2 * np.pi)) + np.float32(NBR_SECTORS / 2)
    sector = np.clip(turn.astype(np.int64), 0, NBR_SECTORS - 1)
    if ring is None or not len(ring):
        with np.errstate(over="ignore"):
            group = np.searchsorted(_ELEVATIONS, z_m / np.sqrt(x_m * x_m + y_m * y_m + z_m * z_m))
    else:
        lowest = int(ring.min())
        group = (ring.astype(np.int64) - lowest) * NBR_GROUPS // (int(ring.max()) - lowest + 1)
    return np.bincount(group * NBR_SECTORS + sector, minlength=NBR_GROUPS * NBR_SECTORS).astype(np.int32)


def _octaves(values: np.ndarray, least: float, nbr_octaves: float) -> np.ndarray:
    """(``NBR_BINS``,) int32 of positive values (n,) in bins of the same number of octaves each."""
    at = np.log2(values / values.dtype.type(least)) * values.dtype.type(NBR_BINS / nbr_octaves)
    # A float beyond int64 becomes its least value: bound it before.
    bins = np.clip(at, 0, NBR_BINS - 1).astype(np.int64)
    return np.bincount(bins, minlength=NBR_BINS).astype(np.int32)


def _intensities(values: np.ndarray) -> np.ndarray:
    """Those of nothing at all count in the first bin; what is no number or negative in none."""
    with np.errstate(invalid="ignore"):
        known = values[np.isfinite(values) & (values >= 0)]
    return _octaves(np.maximum(known, known.dtype.type(_LEAST_INTENSITY)), _LEAST_INTENSITY, _INTENSITY_OCTAVES)


def _rings(values: np.ndarray) -> tuple[int, int]:
    """Distinct values of (n,) int32 and those missing between the outer ones; sorting would cost several times more."""
    if not len(values):
        return 0, 0
    lowest, span = int(values.min()), int(values.max()) - int(values.min())
    if span >= _MAX_COUNTED:
        distinct = len(np.unique(values))
    else:
        distinct = int(np.count_nonzero(np.bincount(values.astype(np.int64) - lowest, minlength=1)))
    return distinct, span + 1 - distinct


def _finite_mean(values: np.ndarray | None) -> float | None:
    if values is None:
        return None
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else None
