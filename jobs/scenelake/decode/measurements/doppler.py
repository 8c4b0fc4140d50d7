"""How fast a radar moves over ground, from the radial velocities of what stands still."""

import math

import numpy as np

_MAX_DETECTIONS = 128
_NBR_PAIRS = 48
_TOLERANCE_M_S = 0.5
"""Doppler noise of automotive radars is 0.03 to 0.1 m/s (Continental ARS 408 and 548 datasheets); a sensor far from the
vehicle's axis adds its turning."""
_MIN_INLIERS, _MIN_SHARE = 6, 0.4
_MIN_SPREAD = 0.003
"""Smallest variance of the directions along any axis: some 3 degrees; narrower fans leave the speed across unknown."""

_PAIRS = np.random.default_rng(0).random((2, _NBR_PAIRS))


def doppler_speed(x_m: np.ndarray, y_m: np.ndarray, radial_velocity_m_s: np.ndarray) -> tuple[float, float] | None:
    """Speed in m/s, and the share of the detections that agree on it; None when too few do.

    Consensus over pairs of detections, then least squares over those within 0.5 m/s: of a world at rest the radial
    velocity is minus the sensor's velocity along the line of sight (Kellner and others, "Instantaneous ego-motion
    estimation using Doppler radar", ITSC 2013). The plane x, y alone is considered.

    Args:
        x_m, y_m, radial_velocity_m_s: (n,) of one sweep, sensor frame, positive receding.
    """
    step = max(-(-len(x_m) // _MAX_DETECTIONS), 1)
    columns = np.stack([np.asarray(c[::step], np.float64) for c in (x_m, y_m, radial_velocity_m_s)])
    with np.errstate(invalid="ignore", over="ignore"):
        range_m = np.hypot(columns[0], columns[1])
    is_usable = np.isfinite(range_m) & (range_m > 0) & np.isfinite(columns[2])
    directions = (columns[:2, is_usable] / range_m[is_usable]).T
    seen_m_s = -columns[2, is_usable]
    count = len(seen_m_s)
    if count < _MIN_INLIERS:
        return None
    first, second = (_PAIRS * count).astype(np.int64)
    a, b = directions[first], directions[second]
    determinant = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    is_apart = np.abs(determinant) > _MIN_SPREAD
    if not is_apart.any():
        return None
    u, v = seen_m_s[first], seen_m_s[second]
    guesses = np.stack([u * b[:, 1] - v * a[:, 1], v * a[:, 0] - u * b[:, 0]])[:, is_apart] / determinant[is_apart]
    agrees = np.abs(directions @ guesses - seen_m_s[:, None]) < _TOLERANCE_M_S
    inliers = agrees[:, int(agrees.sum(axis=0).argmax())]
    chosen = directions[inliers]
    nbr_inliers = len(chosen)
    if nbr_inliers < max(_MIN_INLIERS, _MIN_SHARE * count):
        return None
    # Two unknowns in closed form: for so few detections a call of LAPACK costs more than all else.
    (xx, xy), (_, yy) = (chosen.T @ chosen / nbr_inliers).tolist()
    if (xx + yy) / 2 - math.hypot((xx - yy) / 2, xy) < _MIN_SPREAD:
        return None
    x, y = (chosen.T @ seen_m_s[inliers] / nbr_inliers).tolist()
    speed = math.hypot(yy * x - xy * y, xx * y - xy * x) / (xx * yy - xy * xy)
    return speed, nbr_inliers / count
