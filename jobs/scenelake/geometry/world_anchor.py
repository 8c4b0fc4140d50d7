"""Where a drive's world frame lies on the Earth, from positions known in both."""

from dataclasses import dataclass

import numpy as np

from scenelake.geometry.wgs84 import enu_from_geodetic, geodetic_from_enu
from scenelake.timebase.arrays import FloatArray

MIN_BASELINE_M = 10.0
"""A drive must reach this far for its heading to be seen: fixes 0.5 m off give some degrees then."""
MAX_WORLD_M = 1e6
"""Farther from its origin than this a world frame is no local plane: a projection's coordinates, or nonsense."""
_OUTLIER_MADS = 5.0
_NBR_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class WorldAnchor:
    """The world frame's origin and direction; its z axis is up.

    Attributes:
        geodetic: (3,) latitude and longitude in degrees, height above the ellipsoid in metres, of the origin.
        heading_deg: direction of the world's x axis, clockwise from true north, [0, 360).
        residual_m: root mean square horizontal distance of the fixes that were used from where the poses put them.
        nbr_fixes: fixes that were used.
    """

    geodetic: FloatArray
    heading_deg: float
    residual_m: float
    nbr_fixes: int


def fit_anchor(world_m: FloatArray, geodetic: FloatArray) -> WorldAnchor | str:
    """Fits the anchor to the same places in both systems, or says why it cannot.

    The least-squares rotation about the vertical and translation between the world's horizontal plane and the
    east-north plane (Umeyama, PAMI 1991, without scale), of what is left after fixes more than five median absolute
    deviations off are put aside; the plane's origin is then moved to the world's and the fit repeated, because the
    vertical there is the world's z.

    Args:
        world_m: (n, 3) places in the world frame, finite.
        geodetic: (n, 3) the same as latitude, longitude (degrees) and height (m), finite.
    """
    if len(world_m) < 2:
        return f"{len(world_m)} GNSS fixes have a pose around them, expected at least 2"
    origin = geodetic[0]
    used = np.ones(len(world_m), np.bool_)
    angle_rad, shift_m, residual_m = 0.0, np.zeros(3), np.zeros(len(world_m))
    if not np.abs(world_m).max() < MAX_WORLD_M:
        return f"the poses lie {np.abs(world_m).max():.3g} m from their origin, expected less than {MAX_WORLD_M:.0g} m"
    for _ in range(_NBR_ROUNDS):
        enu_m = enu_from_geodetic(geodetic, origin)
        baseline_m = float(np.linalg.norm(np.ptp(world_m[used, :2], axis=0)))
        if baseline_m < MIN_BASELINE_M:
            return f"the poses span {baseline_m:.1f} m, expected {MIN_BASELINE_M:.0f} m to see a heading"
        angle_rad, shift_m = _fit(world_m[used], enu_m[used])
        predicted = _turned(world_m, angle_rad) + shift_m
        residual_m = np.linalg.norm((enu_m - predicted)[:, :2], axis=1)
        spread_m = float(np.median(np.abs(residual_m - np.median(residual_m))))
        used = residual_m <= np.median(residual_m) + max(_OUTLIER_MADS * spread_m, 1e-6)
        origin = geodetic_from_enu(shift_m, origin)
    heading_deg = float((90.0 - np.degrees(angle_rad)) % 360.0)
    root_mean_square_m = float(np.sqrt(np.mean(residual_m[used] ** 2)))
    return WorldAnchor(origin, heading_deg, root_mean_square_m, int(np.count_nonzero(used)))


def _fit(world_m: FloatArray, enu_m: FloatArray) -> tuple[float, FloatArray]:
    """Angle from east to the world's x axis, counter-clockwise, and where the world's origin lies in the plane."""
    world, enu = world_m - world_m.mean(axis=0), enu_m - enu_m.mean(axis=0)
    sine = np.sum(world[:, 0] * enu[:, 1] - world[:, 1] * enu[:, 0])
    cosine = np.sum(world[:, 0] * enu[:, 0] + world[:, 1] * enu[:, 1])
    angle_rad = float(np.arctan2(sine, cosine))
    return angle_rad, np.asarray(enu_m.mean(axis=0) - _turned(world_m.mean(axis=0), angle_rad))


def _turned(world_m: FloatArray, angle_rad: float) -> FloatArray:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    x, y, z = np.moveaxis(world_m, -1, 0)
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, z], axis=-1)
