"""Ray casting against boxes and the ground, each column of rays at its own time."""

from dataclasses import dataclass

import numpy as np

from scenelake.simulate.geometry import Floats, Integers
from scenelake.simulate.trajectory import MotionState
from scenelake.simulate.world import World

GROUND = -1
NOTHING = -2
_BEARING_MARGIN_RAD = np.radians(2.0)


@dataclass(frozen=True, slots=True)
class Rays:
    """c columns of r rays in the map frame: ``time_s`` (c,), ``origin_m`` (c, 3), unit ``direction`` (c, r, 3)."""

    time_s: Floats
    origin_m: Floats
    direction: Floats


@dataclass(frozen=True, slots=True)
class Hits:
    """Nearest hit of each ray, all (c, r).

    Attributes:
        distance_m: inf where nothing is hit.
        box: row of the box, ``GROUND`` or ``NOTHING``.
        cosine: cosine between the ray and the surface's normal.
    """

    distance_m: Floats
    box: Integers
    cosine: Floats


def cast(world: World, rays: Rays, rows: Integers, *, has_ground: bool = True) -> Hits:
    """Casts rays at the given boxes and, where asked, the ground plane z = 0."""
    columns, per_column, _ = rays.direction.shape
    best = np.full((columns, per_column), np.inf)
    box = np.full((columns, per_column), NOTHING, dtype=np.int64)
    cosine = np.zeros((columns, per_column))
    if has_ground:
        down = -rays.direction[..., 2]
        hits = down > 1e-9
        distance = np.divide(rays.origin_m[:, None, 2], down, out=np.full_like(down, np.inf), where=hits)
        best, box, cosine = distance, np.where(hits, GROUND, NOTHING), np.where(hits, down, 0.0)
    probes = np.unique([0, columns // 2, columns - 1])
    states = world.box_states(rays.time_s[probes], rows)
    is_still = world.boxes.motions.is_still[rows] | bool(np.ptp(rays.time_s) == 0)
    for i, chosen in enumerate(_columns_that_may_hit(world, rays, rows, probes, states)):
        if not len(chosen):
            continue
        if is_still[i]:
            centre_m, yaw_rad = states.position_m[i, :1], states.yaw_rad[i, :1]
        else:
            state = world.box_states(rays.time_s[chosen], rows[i : i + 1])
            centre_m, yaw_rad = state.position_m[0], state.yaw_rad[0]
        placed = _Placed(int(rows[i]), centre_m, yaw_rad, world.boxes.size_m[rows[i]] / 2)
        _hit_box(placed, rays, chosen, best, box, cosine)
    return Hits(best, box, cosine)


def _columns_that_may_hit(
    world: World, rays: Rays, rows: Integers, probes: Integers, states: MotionState
) -> list[Integers]:
    """Per box, the columns whose bearing is within the box's angular width; all where the ray starts within it.

    Bearings of the corners are taken at the probed columns' times (first, middle, last), with a margin for what
    happens in between. Columns of a sensor that is tilted a little fan out by less than the margin.
    """
    bearing = np.arctan2(rays.direction[:, 0, 1], rays.direction[:, 0, 0])
    half = world.boxes.size_m[rows, :2] / 2
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
    corner = half[:, None, None, :] * signs
    cos, sin = np.cos(states.yaw_rad)[..., None], np.sin(states.yaw_rad)[..., None]
    centre = states.position_m[..., :2] - rays.origin_m[probes, :2]
    x = centre[..., None, 0] + cos * corner[..., 0] - sin * corner[..., 1]
    y = centre[..., None, 1] + sin * corner[..., 0] + cos * corner[..., 1]
    reference = np.arctan2(centre[:, 0, 1], centre[:, 0, 0])
    relative = _wrapped(np.arctan2(y, x) - reference[:, None, None])
    low = relative.min(axis=(1, 2)) - _BEARING_MARGIN_RAD
    high = relative.max(axis=(1, 2)) + _BEARING_MARGIN_RAD
    from_box = _wrapped(bearing[None, :] - reference[:, None])
    inside = (from_box >= low[:, None]) & (from_box <= high[:, None])
    inside |= (high - low > np.pi)[:, None]
    return [np.flatnonzero(mask) for mask in inside]


def _wrapped(angle_rad: Floats) -> Floats:
    wrapped: Floats = (angle_rad + np.pi) % (2 * np.pi) - np.pi
    return wrapped


@dataclass(frozen=True, slots=True)
class _Placed:
    """One box: centre (c, 3) and yaw (c,) at its columns' times, or (1, 3) and (1,) when it stands still."""

    row: int
    centre_m: Floats
    yaw_rad: Floats
    half_m: Floats


def _hit_box(placed: _Placed, rays: Rays, columns: Integers, best: Floats, box: Integers, cosine: Floats) -> None:
    """Slab test (Kay & Kajiya 1986) of one box against some columns; updates best, box and cosine in place."""
    cos, sin = np.cos(placed.yaw_rad), np.sin(placed.yaw_rad)
    offset = rays.origin_m[columns] - placed.centre_m
    origin = (cos * offset[:, 0] + sin * offset[:, 1], cos * offset[:, 1] - sin * offset[:, 0], offset[:, 2])
    towards = rays.direction[columns]
    c, s = cos[:, None], sin[:, None]
    direction = (
        c * towards[..., 0] + s * towards[..., 1],
        c * towards[..., 1] - s * towards[..., 0],
        towards[..., 2],
    )
    near = np.full(towards.shape[:2], -np.inf)
    far = np.full(towards.shape[:2], np.inf)
    steepness = np.zeros(towards.shape[:2])
    for axis in range(3):
        along = direction[axis]
        inverse = 1.0 / np.where(np.abs(along) < 1e-12, 1e-12, along)
        start = -origin[axis][:, None] * inverse
        reach = placed.half_m[axis] * np.abs(inverse)
        enter = start - reach
        steepness = np.where(enter > near, np.abs(along), steepness)
        near, far = np.maximum(near, enter), np.minimum(far, start + reach)
    current = best[columns]
    hit = (near <= far) & (near > 0) & (near < current)
    best[columns] = np.where(hit, near, current)
    box[columns] = np.where(hit, placed.row, box[columns])
    cosine[columns] = np.where(hit, steepness, cosine[columns])
