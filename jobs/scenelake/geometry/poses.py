"""Rigid transforms as rows of seven numbers.

A pose is ``target_from_source``: (..., 7) float64 in the order of ``contracts.columns.POSE``: translation in metres,
then the unit quaternion qw, qx, qy, qz. ``a_from_c = compose(a_from_b, b_from_c)``. All functions broadcast.
"""

from collections.abc import Mapping

import numpy as np

from scenelake.contracts.columns import POSE
from scenelake.timebase.arrays import FloatArray

POSE_FIELDS: tuple[str, ...] = tuple(field.name for field in POSE)
IDENTITY: FloatArray = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
_CONJUGATE = np.array([1.0, -1.0, -1.0, -1.0])


def multiply(p: FloatArray, q: FloatArray) -> FloatArray:
    """Hamilton product of quaternions (..., 4)."""
    scalar = p[..., :1] * q[..., :1] - np.sum(p[..., 1:] * q[..., 1:], axis=-1, keepdims=True)
    vector = p[..., :1] * q[..., 1:] + q[..., :1] * p[..., 1:] + np.cross(p[..., 1:], q[..., 1:])
    return np.concatenate([scalar, vector], axis=-1)


def rotate(q: FloatArray, vectors: FloatArray) -> FloatArray:
    """Vectors (..., 3) turned by unit quaternions (..., 4)."""
    twice = 2.0 * np.cross(q[..., 1:], vectors)
    return np.asarray(vectors + q[..., :1] * twice + np.cross(q[..., 1:], twice))


def compose(a_from_b: FloatArray, b_from_c: FloatArray) -> FloatArray:
    """``a_from_c``, with its quaternion normalised."""
    rotation = multiply(a_from_b[..., 3:], b_from_c[..., 3:])
    translation = a_from_b[..., :3] + rotate(a_from_b[..., 3:], b_from_c[..., :3])
    return np.concatenate([translation, rotation / np.linalg.norm(rotation, axis=-1, keepdims=True)], axis=-1)


def invert(a_from_b: FloatArray) -> FloatArray:
    """``b_from_a`` of poses with unit quaternions."""
    conjugate = a_from_b[..., 3:] * _CONJUGATE
    return np.concatenate([-rotate(conjugate, a_from_b[..., :3]), conjugate], axis=-1)


def transform(target_from_source: FloatArray, points_m: FloatArray) -> FloatArray:
    """Points (..., 3) of the source frame in the target frame."""
    return rotate(target_from_source[..., 3:], points_m) + target_from_source[..., :3]


def normalised(poses: FloatArray) -> FloatArray:
    """Poses (..., 7) with unit quaternions; NaN throughout where one is no rigid transform."""
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(poses[..., 3:], axis=-1, keepdims=True)
    is_rigid = np.isfinite(poses).all(axis=-1, keepdims=True) & np.isfinite(norm) & (norm > 0.0)
    scale = np.where(is_rigid, norm, 1.0)
    unit = np.concatenate([poses[..., :3], poses[..., 3:] / scale], axis=-1)
    return np.where(is_rigid, unit, np.nan)


def rotation_matrix(q: FloatArray) -> FloatArray:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4)."""
    w, x, y, z = np.moveaxis(np.asarray(q, np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_of(rotation: FloatArray) -> FloatArray:
    """Unit quaternions (..., 4) with qw >= 0 of rotation matrices (..., 3, 3).

    Divides by the largest of the four components, which is stable for every rotation (Shepperd 1978).
    """
    m = np.asarray(rotation, np.float64)
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    squares = (1 + a + b + c, 1 + a - b - c, 1 - a + b - c, 1 - a - b + c)
    rows = [
        [squares[0], wx, wy, wz],
        [wx, squares[1], xy, xz],
        [wy, xy, squares[2], yz],
        [wz, xz, yz, squares[3]],
    ]
    products = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    largest = np.argmax(np.stack(squares, axis=-1), axis=-1)
    chosen = np.take_along_axis(products, largest[..., None, None], axis=-2)[..., 0, :]
    unit = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.asarray(np.where(unit[..., :1] < 0, -unit, unit))


def pose_of(rotation: FloatArray, translation_m: FloatArray) -> FloatArray:
    """Poses (..., 7) of rotation matrices (..., 3, 3) and translations (..., 3)."""
    return np.concatenate([np.asarray(translation_m, np.float64), quaternion_of(rotation)], axis=-1)


def matrix_of(pose: FloatArray) -> FloatArray:
    """Homogeneous matrices (..., 4, 4)."""
    matrix = np.zeros((*pose.shape[:-1], 4, 4))
    matrix[..., :3, :3] = rotation_matrix(pose[..., 3:])
    matrix[..., :3, 3] = pose[..., :3]
    matrix[..., 3, 3] = 1.0
    return matrix


def pose_from_struct(values: Mapping[str, float]) -> FloatArray:
    """A POSE struct as (7,)."""
    return np.array([values[name] for name in POSE_FIELDS], np.float64)


def struct_from_pose(pose: FloatArray) -> dict[str, float]:
    """A pose (7,) by the names of POSE."""
    return dict(zip(POSE_FIELDS, np.asarray(pose, np.float64).tolist(), strict=True))


def rotation_vector(q: FloatArray) -> FloatArray:
    """Axis times angle in (-pi, pi], (..., 3), of unit quaternions: the logarithm of the rotation."""
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., :1])
    is_small = sine < 1e-12
    return np.asarray(q[..., 1:] * np.where(is_small, 2.0, angle / np.where(is_small, 1.0, sine)))
