"""Where a sweep's range jumps: outlines of objects as a LiDAR sees them.

A jump between neighbours on a ring, or between rings, tells that an object's outline runs between the two beams; it is
put in the middle, where the nearer surface would end (depth discontinuities: Levinson & Thrun, "Automatic Online
Calibration of Cameras and Lasers", RSS 2013, III).
"""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

MAX_RANGE_M = 50.0
"""Farther outlines are too small in both sensors, and moved too far by errors of the poses."""
_MIN_RANGE_M = 1.5
_MIN_POINTS = 200
_JUMP_M, _JUMP_SHARE = 0.5, 0.08
"""A jump is larger than both: beyond the noise, and beyond the beam's own width at a slanted wall."""
_APPROACH = 0.4
"""A surface that comes nearer by this share of the jump from one beam to the next is a wall seen along its face."""
_SLANT_SHARE = 0.15
"""A surface goes on up to its outline as it went before, unless it would go by more than this share."""
_NEXT, _NOTHING = 1.6, 3.5
"""In steps of the ring: beams at most this far apart are neighbours; farther than that lies nothing between them."""
_LEAN_M, _LEAN_SHARE = 0.08, 0.4
"""An upright surface leans by less than the noise and this share of its height."""
_NORMAL_RAD = np.radians(0.5)
_TURN = 2 * np.pi


@dataclass(frozen=True, slots=True)
class DepthEdges:
    """Outlines of one sweep in the sensor's frame, each at its own point's time.

    Attributes:
        points_m: (m, 3) on the outline.
        aside_m: (m, 3) half a degree across the outline, at the same range.
        rows: (m,) the sweep's point that each came from, for its time.
        is_across: (m,) between rings: the outline runs level.
    """

    points_m: FloatArray
    aside_m: FloatArray
    rows: Int64Array
    is_across: BoolArray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class _Sweep:
    """Valid points by ring from the lowest up, and by azimuth within a ring; all (n,).

    Attributes:
        rank: number of the ring, by elevation.
        step_rad: usual step in azimuth.
        height_rad: (rings,) median elevation.
    """

    azimuth: FloatArray
    elevation: FloatArray
    range_m: FloatArray
    rank: Int64Array
    rows: Int64Array
    step_rad: float
    height_rad: FloatArray


def depth_edges(points_m: FloatArray, ring: Int64Array) -> DepthEdges:
    """Finds the outlines in a sweep of a spinning LiDAR whose axis is z.

    Args:
        points_m: (n, 3) as recorded, not motion compensated; NaN and points at the origin are skipped.
        ring: (n,) laser of each point, in any order.
    """
    sweep = _ordered(points_m, ring)
    if sweep is None:
        nothing = np.empty((0, 3))
        return DepthEdges(nothing, nothing, np.empty(0, np.int64), np.empty(0, np.bool_))
    parts = [_sides(sweep, 1), _sides(sweep, -1), _tops(sweep)]
    at = np.concatenate([p.at for p in parts])
    azimuth = np.concatenate([p.azimuth for p in parts])
    elevation = np.concatenate([p.elevation for p in parts])
    reach = np.concatenate([p.range_m for p in parts])
    is_across = np.repeat([p.is_across for p in parts], [len(p.at) for p in parts])
    near = (reach < MAX_RANGE_M) & (reach > _MIN_RANGE_M)
    at, azimuth, elevation, reach, is_across = (v[near] for v in (at, azimuth, elevation, reach, is_across))
    aside = _place(azimuth + _NORMAL_RAD * ~is_across, elevation + _NORMAL_RAD * is_across, reach)
    return DepthEdges(_place(azimuth, elevation, reach), aside, sweep.rows[at], is_across)


def _place(azimuth: FloatArray, elevation: FloatArray, range_m: FloatArray) -> FloatArray:
    flat = np.cos(elevation) * range_m
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation) * range_m], axis=-1)


def _ordered(points_m: FloatArray, ring: Int64Array) -> _Sweep | None:
    points = np.asarray(points_m, np.float64)
    range_m = np.linalg.norm(points, axis=1)
    rows = np.flatnonzero(np.isfinite(range_m) & (range_m > 0.3))
    if len(rows) < _MIN_POINTS:
        return None
    x, y, z = points[rows].T
    azimuth, elevation = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
    _, codes = np.unique(ring[rows], return_inverse=True)
    heights = _medians(elevation, codes)
    rank = np.argsort(np.argsort(heights, kind="stable"), kind="stable")[codes]
    order = _by_angle(azimuth, rank)
    azimuth, rank = azimuth[order], rank[order]
    steps = np.diff(azimuth)[(np.diff(rank) == 0) & (np.diff(azimuth) > 1e-5)]
    if not len(steps):
        return None
    step_rad = float(np.median(steps))
    return _Sweep(
        azimuth, elevation[order], range_m[rows][order], rank.astype(np.int64), rows[order], step_rad, np.sort(heights)
    )


def _medians(values: FloatArray, codes: Int64Array) -> FloatArray:
    """Median of each code's values."""
    counts = np.bincount(codes)
    return np.asarray(values[_by_angle(values, codes)][np.cumsum(counts) - counts + counts // 2])


def _by_angle(angle: FloatArray, codes: Int64Array) -> Int64Array:
    """Order by code and then by angle, in rad: one sort of numbers takes a sixth of ``lexsort``."""
    return np.argsort(codes * (2 * _TURN) + angle)


@dataclass(frozen=True, slots=True)
class _Found:
    """Outlines of one kind: the points ``at`` that they belong to, and where they run."""

    at: Int64Array
    azimuth: FloatArray
    elevation: FloatArray
    range_m: FloatArray
    is_across: bool


def _jump_limit(range_m: FloatArray) -> FloatArray:
    return np.maximum(_JUMP_M, _JUMP_SHARE * range_m)


def _sides(sweep: _Sweep, side: int) -> _Found:
    """Upright outlines: objects that end towards growing (1) or falling (-1) azimuth."""
    count = len(sweep.azimuth)
    here = np.arange(count)
    after, before = (here + side) % count, (here - side) % count
    gap = side * (sweep.azimuth[after] - sweep.azimuth)
    back = side * (sweep.azimuth - sweep.azimuth[before])
    same, same_back = sweep.rank[after] == sweep.rank, sweep.rank[before] == sweep.rank
    gap, back = np.where(gap < 0, gap + _TURN, gap), np.where(back < 0, back + _TURN, back)
    jump = sweep.range_m[after] - sweep.range_m
    approach = np.where(same_back & (back < _NEXT * sweep.step_rad), sweep.range_m - sweep.range_m[before], 0.0)
    is_next = same & (gap < _NEXT * sweep.step_rad)
    is_edge = is_next & (jump > _jump_limit(sweep.range_m)) & (approach < _APPROACH * jump)
    is_open = same & (gap > _NOTHING * sweep.step_rad) & (np.abs(approach) < _jump_limit(sweep.range_m))
    half = np.where(is_open, sweep.step_rad, gap) / 2
    slant = np.where(np.abs(approach) < _APPROACH * np.where(is_edge, jump, np.inf), approach, 0.0)
    slant = np.where(np.abs(slant) < _SLANT_SHARE * sweep.range_m, slant, 0.0)
    at = np.flatnonzero(is_edge | is_open)
    reach = sweep.range_m[at] + (slant * half / np.maximum(back, half))[at]
    return _Found(at, sweep.azimuth[at] + side * half[at], sweep.elevation[at], reach, False)


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """The point of the next ring at the same azimuth: (n,) its place, whether it is there, whether nothing is."""

    at: Int64Array
    is_there: BoolArray
    is_open: BoolArray


def _neighbour(sweep: _Sweep, step: int) -> _Neighbour:
    wide = 2 * _TURN
    key = sweep.rank * wide + sweep.azimuth
    wanted = (sweep.rank + step) * wide + sweep.azimuth
    right = np.clip(np.searchsorted(key, wanted), 0, len(key) - 1)
    left = np.maximum(right - 1, 0)
    at = np.where(np.abs(key[left] - wanted) < np.abs(key[right] - wanted), left, right)
    off = np.abs(key[at] - wanted)
    exists = (sweep.rank + step >= 0) & (sweep.rank + step < len(sweep.height_rad))
    is_within = np.abs(sweep.azimuth) < np.pi - 2 * _NOTHING * sweep.step_rad
    is_open = exists & is_within & (off > _NOTHING / 2 * sweep.step_rad)
    return _Neighbour(np.asarray(at, np.int64), exists & (off < 0.75 * sweep.step_rad), is_open)


def _is_upright(sweep: _Sweep, neighbour: _Neighbour) -> BoolArray:
    """(n,) the surface from a point to its neighbour stands up."""
    flat, height = np.cos(sweep.elevation) * sweep.range_m, np.sin(sweep.elevation) * sweep.range_m
    lean = np.abs(flat[neighbour.at] - flat)
    return np.asarray(neighbour.is_there & (lean < _LEAN_M + _LEAN_SHARE * np.abs(height[neighbour.at] - height)))


def _tops(sweep: _Sweep) -> _Found:
    """Level outlines: upright surfaces that end before the next ring.

    The far edge of a level one (a roof seen from above) is not what a camera below it sees, and where a car's
    underside or a wall's foot is, images show the edge of a shadow.
    """
    above = _neighbour(sweep, 1)
    is_edge = above.is_there & (sweep.range_m[above.at] - sweep.range_m > _jump_limit(sweep.range_m))
    at = np.flatnonzero(_is_upright(sweep, _neighbour(sweep, -1)) & (is_edge | above.is_open))
    level = sweep.height_rad[np.clip(sweep.rank[at] + 1, 0, len(sweep.height_rad) - 1)]
    outside = np.where(is_edge[at], sweep.elevation[above.at[at]], level)
    return _Found(at, sweep.azimuth[at], (sweep.elevation[at] + outside) / 2, sweep.range_m[at], True)
