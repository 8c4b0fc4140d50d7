"""The smallest error that an estimate and its uncertainty leave room for."""

import numpy as np

from scenelake.timebase.arrays import FloatArray

_NBR_HALVINGS = 60


def least_error(estimate: FloatArray, reach: FloatArray) -> float:
    """Distance of the origin from an ellipsoid about an estimate; 0 where it lies within.

    The point x of the ellipsoid nearest to the origin is ``estimate * m / (reach² + m)`` for the m (Lagrange's
    multiplier) that puts it on the surface; its distance from the middle falls as m grows.

    Args:
        estimate: (n,) in one unit.
        reach: (n,) half axes of the ellipsoid, in the same; infinite along an axis of which nothing is known.
    """
    known = np.isfinite(reach)
    middle, half = np.asarray(estimate, np.float64)[known], np.asarray(reach, np.float64)[known]
    low, high = 0.0, float(np.linalg.norm(middle * half))
    if not np.linalg.norm(middle / half) > 1.0:
        return 0.0
    for _ in range(_NBR_HALVINGS):
        m = (low + high) / 2
        is_outside = float(np.linalg.norm(middle * half / (half**2 + m))) > 1.0
        low, high = (m, high) if is_outside else (low, m)
    return float(np.linalg.norm(middle * high / (half**2 + high)))
