"""From points in a camera's frame to pixels, with the lens's distortion.

Models and the order of their coefficients are those of ROS ``sensor_msgs/CameraInfo`` and OpenCV's calib3d
(docs.opencv.org, "Camera Calibration and 3D Reconstruction" and "Fisheye camera model"): ``plumb_bob`` k1, k2, p1,
p2, k3; ``rational_polynomial`` k1, k2, p1, p2, k3, k4, k5, k6; ``equidistant`` k1 to k4.
"""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import BoolArray, FloatArray

PLUMB_BOB = "plumb_bob"
RATIONAL = "rational_polynomial"
EQUIDISTANT = "equidistant"
_NBR_COEFFICIENTS = {PLUMB_BOB: 5, RATIONAL: 8, EQUIDISTANT: 4}
_NEAREST_DEPTH_M = 0.1
"""Nothing is seen nearer; it also keeps the division by depth away from zero."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where points fall in an image.

    Attributes:
        pixels: (n, 2) u to the right, v down; the centre of the upper left pixel is (0, 0). NaN where not visible.
        depth_m: (n,) z in the camera's frame.
        is_visible: (n,) in front of the camera, within what the distortion model describes, and in the image.
    """

    pixels: FloatArray
    depth_m: FloatArray
    is_visible: BoolArray


def is_known_model(camera_model: str | None) -> bool:
    """Whether ``project`` knows the distortion model; an absent or empty one is a pinhole."""
    return not camera_model or camera_model in _NBR_COEFFICIENTS


def project(
    points_m: FloatArray,
    intrinsics: FloatArray,
    distortion: FloatArray | None,
    camera_model: str | None,
    size_px: tuple[int, int],
) -> Pixels:
    """Projects points (z forward, x right, y down).

    A distortion polynomial is fitted within the image and folds what lies far outside back into it, so points
    beyond the angle at which it stops growing are not visible.

    Args:
        points_m: (n, 3).
        intrinsics: (3, 3) camera matrix in pixels.
        distortion: coefficients in the model's order, missing ones 0; None for none.
        size_px: width and height.

    Raises:
        ValueError: for a distortion model that is not known (``is_known_model``).
    """
    if not is_known_model(camera_model):
        raise ValueError(f"camera_model: expected one of {', '.join(_NBR_COEFFICIENTS)}, got {camera_model!r}")
    model = camera_model or PLUMB_BOB
    coefficients = np.zeros(_NBR_COEFFICIENTS[model])
    if distortion is not None:
        given = np.asarray(distortion, np.float64)[: len(coefficients)]
        coefficients[: len(given)] = given
    points = np.asarray(points_m, np.float64)
    depth = points[:, 2]
    is_ahead = depth > _NEAREST_DEPTH_M
    flat = points[:, :2] / np.where(is_ahead, depth, 1.0)[:, None]
    distort = _equidistant if model == EQUIDISTANT else _brown
    # Far outside the image the polynomials overflow; what comes out is masked.
    with np.errstate(over="ignore", invalid="ignore"):
        bent, is_described = distort(flat, coefficients)
        pixels = bent @ intrinsics[:2, :2].T + intrinsics[:2, 2]
        inside = ((pixels >= -0.5) & (pixels < np.array(size_px) - 0.5)).all(axis=1)
    is_visible = np.asarray(is_ahead & is_described & inside)
    pixels[~is_visible] = np.nan
    return Pixels(pixels, depth, is_visible)


def _brown(flat: FloatArray, d: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Radial polynomial (or ratio of two) and tangential part, of plumb_bob and rational_polynomial."""
    k1, k2, p1, p2, k3 = d[:5]
    upper = np.array([k3, k2, k1, 1.0])
    lower = np.array([*d[7:4:-1], 1.0]) if len(d) == 8 else np.array([1.0])
    x, y = flat.T
    square = x * x + y * y
    scale = np.polyval(upper, square) / np.polyval(lower, square)
    bent = np.stack(
        [
            x * scale + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * scale + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=1,
    )
    # r s(u), u = r², stops growing where d(r s)/dr = s + 2 u s'(u) = 0; times lower² that is a polynomial in u.
    slope: FloatArray = np.polysub(np.polymul(np.polyder(upper), lower), np.polymul(upper, np.polyder(lower)))
    growth = np.polyadd(np.polymul(upper, lower), 2 * np.polymul([1.0, 0.0], slope))
    return bent, np.asarray(square < _first_root(growth))


def _equidistant(flat: FloatArray, d: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Kannala & Brandt 2006 as in OpenCV's fisheye module: the angle itself is distorted."""
    radius = np.hypot(flat[:, 0], flat[:, 1])
    angle = np.arctan(radius)
    bent_angle = angle * np.polyval([*d[::-1], 1.0], angle**2)
    is_centre = radius < 1e-12
    scale = np.where(is_centre, 1.0, bent_angle / np.where(is_centre, 1.0, radius))
    growth = np.array([9 * d[3], 7 * d[2], 5 * d[1], 3 * d[0], 1.0])
    return flat * scale[:, None], np.asarray(angle**2 < _first_root(growth))


def _first_root(polynomial: FloatArray) -> float:
    """The smallest positive real root; infinity without one."""
    roots = np.roots(polynomial)
    real = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return float(real.min()) if len(real) else np.inf
