"""What is wrong with a transform or a camera matrix, whatever the sensors see. Each finding is a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scenelake.contracts.modalities import Modality
from scenelake.geometry.camera import is_known_model, project
from scenelake.geometry.poses import POSE_FIELDS, invert, multiply, rotate, rotation_vector
from scenelake.timebase.arrays import FloatArray

QUATERNION_TOLERANCE = 1e-3
"""A rotation printed with four decimals still passes; a matrix that is no rotation does not come this near."""
MAX_TRANSLATION_M = 25.0
"""Longer than any lorry with a trailer (18.75 m, directive 96/53/EC); metres read as millimetres lie beyond it."""
STEEP_DEG = 60.0
"""Cameras of vehicles and robots look farther ahead than up or down; a wrong axis convention is 90° off."""
SAME_PLACE_M, SAME_PLACE_DEG = 0.005, 0.2
"""Two housings cannot be as near; copies of a transform are equal."""
FIELD_OF_VIEW_DEG = (2.0, 220.0)
"""Telephoto to fisheye."""
CENTRE_SHARE = 0.25
"""Of the size, from the middle to the principal point: a crop that was forgotten moves it farther."""
ASPECT = 1.25
"""Ratio of the focal lengths; real pixels are square, and anamorphic lenses are not used."""
_NBR_RADII = 400


def transform_problems(ego_from_sensor: Mapping[str, Any] | None, modality: str | None) -> list[str]:
    """What is wrong with one transform.

    Args:
        ego_from_sensor: a POSE struct; None is no problem of the transform (it is missing).
        modality: of the sensor; a camera's frame is z forward, x right, y down.
    """
    if ego_from_sensor is None:
        return []
    pose = np.array([_number(ego_from_sensor.get(name)) for name in POSE_FIELDS])
    if not np.isfinite(pose).all():
        return ["the transform has parts that are no finite number"]
    norm, problems = float(np.linalg.norm(pose[3:])), []
    if abs(norm - 1.0) > QUATERNION_TOLERANCE:
        problems.append(f"its quaternion has length {norm:.4f}, not 1: it is no rotation")
    distance_m = float(np.linalg.norm(pose[:3]))
    if distance_m > MAX_TRANSLATION_M:
        problems.append(f"it lies {distance_m:.1f} m from the ego's origin")
    if modality in (Modality.CAMERA, Modality.DEPTH) and norm > 0.5:
        problems += _axis_problems(pose[3:] / norm)
    return problems


def _axis_problems(rotation: FloatArray) -> Iterator[str]:
    """Whether a camera's axes are those of an optical frame (ROS REP 103)."""
    forward, down = rotate(rotation, np.array([0.0, 0.0, 1.0])), rotate(rotation, np.array([0.0, 1.0, 0.0]))
    steep_deg = float(np.degrees(np.arcsin(np.clip(forward[2], -1, 1))))
    if abs(steep_deg) > STEEP_DEG:
        where = "sky" if steep_deg > 0 else "ground"
        yield f"its z axis, along which a camera looks, points {abs(steep_deg):.0f}° to the {where}: a body frame?"
    elif down[2] > -np.cos(np.radians(STEEP_DEG)):
        lean_deg = float(np.degrees(np.arccos(np.clip(-down[2], -1, 1))))
        yield f"its y axis, which is down in the image, is {lean_deg:.0f}° off the ego's down: the image is turned"


def same_places(sensors: Sequence[tuple[str, str, str | None, FloatArray]]) -> dict[str, str]:
    """Channels whose sensor lies where another of its kind does, with that one. Channels of one frame are one sensor.

    Args:
        sensors: channel, modality, frame and ``ego_from_sensor`` (7,) of each.
    """
    found: dict[str, str] = {}
    for i, (channel, modality, frame, pose) in enumerate(sensors):
        for other, of_other, other_frame, placed in sensors[:i]:
            if modality == of_other and frame != other_frame and is_same_place(pose, placed):
                found[channel] = other
                found.setdefault(other, channel)
    return found


def is_same_place(a: FloatArray, b: FloatArray) -> bool:
    rotation_deg, translation_m = difference(a, b)
    return bool(translation_m < SAME_PLACE_M and rotation_deg < SAME_PLACE_DEG)


def difference(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """Angle in degrees between two poses' rotations, and metres between their origins."""
    turn = multiply(invert(a)[3:], b[3:])
    return float(np.degrees(np.linalg.norm(rotation_vector(turn)))), float(np.linalg.norm(a[:3] - b[:3]))


def intrinsics_problems(row: Mapping[str, Any], image_size_px: tuple[int, int] | None) -> list[str]:
    """What is wrong with one camera's ``intrinsics``, ``distortion``, ``camera_model`` and size.

    Args:
        row: of ``calibrated_sensor``.
        image_size_px: width and height of its images, where they are known.
    """
    matrix = _matrix(row.get("intrinsics"))
    if matrix is None:
        return ["its camera matrix is not nine finite numbers"]
    size = row.get("width_px") or 0, row.get("height_px") or 0
    if min(size) <= 0:
        if image_size_px is None:
            return ["its calibration gives no image size"]
        size = image_size_px
    problems = []
    if image_size_px is not None and size != image_size_px:
        problems.append(f"it is of {size[0]}x{size[1]} px, but the images are {image_size_px[0]}x{image_size_px[1]}")
    fx, fy = matrix[0, 0], matrix[1, 1]
    if min(fx, fy) <= 0 or abs(matrix[2, 2] - 1) > 1e-6:
        return [*problems, f"its focal lengths are {fx:g} and {fy:g} px, and the last entry {matrix[2, 2]:g}"]
    if max(fx / fy, fy / fx) > ASPECT:
        problems.append(f"its focal lengths {fx:.0f} and {fy:.0f} px differ as no lens's do")
    wide_deg = float(np.degrees(2 * np.arctan(size[0] / 2 / fx)))
    if not FIELD_OF_VIEW_DEG[0] <= wide_deg <= FIELD_OF_VIEW_DEG[1]:
        problems.append(f"a focal length of {fx:.0f} px sees {wide_deg:.1f}° of {size[0]} px")
    off = np.abs(matrix[:2, 2] / np.array(size) - 0.5)
    if (off > CENTRE_SHARE).any():
        at = f"({matrix[0, 2]:.0f}, {matrix[1, 2]:.0f})"
        problems.append(f"its principal point {at} is far from the middle of {size[0]}x{size[1]} px")
    return problems + _distortion_problems(row, matrix, size)


def _distortion_problems(row: Mapping[str, Any], matrix: FloatArray, size: tuple[int, int]) -> list[str]:
    """Whether every pixel has one direction: a polynomial that folds over gives some pixels two and others none."""
    model, given = row.get("camera_model"), row.get("distortion")
    if not is_known_model(model):
        return [f"its distortion model {model!r} is not known"]
    distortion = np.array([_number(v) for v in given or ()])
    if not np.isfinite(distortion).all():
        return ["its distortion has coefficients that are no finite number"]
    corners = np.array([(x, y) for x in (0, size[0] - 1) for y in (0, size[1] - 1)], np.float64)
    needed = float(np.hypot(*((corners - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]).T).max())
    reached = _reach(distortion, model)
    if reached < needed:
        return [
            f"its distortion turns back {reached / needed:.0%} of the way to the image's farthest corner: beyond that"
            " pixels have no direction"
        ]
    return []


def _reach(distortion: FloatArray, model: str | None) -> float:
    """The largest radius in the image plane, in focal lengths, that the lens's polynomial reaches before it folds."""
    radii = np.tan(np.linspace(0.0, np.radians(88.0), _NBR_RADII))
    radial = distortion.copy()
    if model != "equidistant":
        radial[2:4] = 0.0
    wide = 10_000_000
    centred = np.array([[1.0, 0.0, wide / 2], [0.0, 1.0, wide / 2], [0.0, 0.0, 1.0]])
    points = np.stack([radii, np.zeros(_NBR_RADII), np.ones(_NBR_RADII)], axis=1)
    seen = project(points, centred, radial, model, (wide, wide))
    return float(np.nanmax(np.where(seen.is_visible, seen.pixels[:, 0] - wide / 2, 0.0)))


def _matrix(values: Sequence[Any] | None) -> FloatArray | None:
    if values is None or len(values) != 9:
        return None
    matrix = np.array([_number(v) for v in values]).reshape(3, 3)
    return matrix if np.isfinite(matrix).all() else None


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
