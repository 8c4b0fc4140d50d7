"""Radar Doppler with the ego's own motion taken out."""

import numpy as np

from scenelake.geometry.poses import invert, rotate
from scenelake.timebase.arrays import FloatArray


def compensate_doppler(
    points_m: FloatArray,
    radial_velocity_m_s: FloatArray,
    ego_from_sensor: FloatArray,
    linear_m_s: FloatArray,
    angular_rad_s: FloatArray,
) -> FloatArray:
    """What each point moves along the line of sight by itself: 0 for what stands still.

    The radar moves with ``v_s = R^T (v + w x r)``, v and w the ego's velocity and angular rate, r the lever arm from
    the ego's origin to the radar and R its rotation; a target that stands still is seen at ``-u . v_s`` along the
    unit line of sight u, so ``compensated = measured + u . v_s`` (Kellner, Barjenbruch, Klappstein, Dickmann &
    Dietmayer, "Instantaneous ego-motion estimation using Doppler radar", ITSC 2013, eq. 1 to 5).

    Args:
        points_m: (n, 3) in the radar's frame.
        radial_velocity_m_s: (n,) as measured, positive receding.
        ego_from_sensor: (7,).
        linear_m_s, angular_rad_s: (3,) of the ego in its own frame at the scan's time.

    Returns:
        (n,) float64, positive receding; NaN for a point at the radar's origin, whose direction is not defined.
    """
    of_radar = linear_m_s + np.cross(angular_rad_s, ego_from_sensor[:3])
    in_sensor = rotate(invert(ego_from_sensor)[3:], of_radar)
    points = np.asarray(points_m, np.float64)
    distance = np.linalg.norm(points, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        along = points @ in_sensor / distance
    return np.asarray(radial_velocity_m_s + along)
