"""Rigid transforms, rotations and the seeded generators that every simulated sensor draws from."""

import zlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BODY_FROM_OPTICAL: Floats = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Body axes (x forward, y left, z up) from optical axes (x right, y down, z forward)."""


@dataclass(frozen=True, slots=True)
class Transform:
    """``target_from_source``: rotation (3, 3) and translation (3,) in metres."""

    rotation: Floats
    translation_m: Floats

    def __matmul__(self, other: "Transform") -> "Transform":
        return Transform(self.rotation @ other.rotation, self.rotation @ other.translation_m + self.translation_m)

    @classmethod
    def identity(cls) -> Self:
        return cls(np.eye(3), np.zeros(3))

    def inverse(self) -> "Transform":
        return Transform(self.rotation.T, -self.rotation.T @ self.translation_m)

    def apply(self, points_m: Floats) -> Floats:
        """Points (..., 3) of the source frame in the target frame."""
        moved: Floats = points_m @ self.rotation.T + self.translation_m
        return moved

    def to_json(self) -> dict[str, float]:
        """Translation and quaternion by the names that ``contracts.columns.POSE`` has."""
        values = (*self.translation_m, *quaternion_wxyz(self.rotation))
        names = ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz")
        return {name: float(value) for name, value in zip(names, values, strict=True)}


def rotation_from_rpy(roll_rad: Any, pitch_rad: Any, yaw_rad: Any) -> Floats:
    """Rz(yaw) Ry(pitch) Rx(roll) as (..., 3, 3); the arguments broadcast."""
    roll, pitch, yaw = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (roll_rad, pitch_rad, yaw_rad)))
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_wxyz(rotation: Floats) -> tuple[float, float, float, float]:
    """Unit quaternion (qw, qx, qy, qz) with qw >= 0 of one rotation matrix.

    Takes the largest of the four components first, which is stable for every rotation (Shepperd 1978).
    """
    r = rotation
    trace = float(np.trace(r))
    squares = (trace, float(r[0, 0]), float(r[1, 1]), float(r[2, 2]))
    largest = int(np.argmax(squares))
    if largest == 0:
        quaternion = np.array([1 + trace, r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    else:
        i, j, k = ((0, 1, 2), (1, 2, 0), (2, 0, 1))[largest - 1]
        quaternion = np.empty(4)
        quaternion[0] = r[k, j] - r[j, k]
        quaternion[1 + i] = 1 + r[i, i] - r[j, j] - r[k, k]
        quaternion[1 + j] = r[j, i] + r[i, j]
        quaternion[1 + k] = r[k, i] + r[i, k]
    quaternion = quaternion / np.linalg.norm(quaternion)
    if quaternion[0] < 0:
        quaternion = -quaternion
    w, x, y, z = (float(v) for v in quaternion)
    return w, x, y, z


def generator(*key: int | str) -> np.random.Generator:
    """A generator for one purpose: equal keys give equal draws, and no purpose disturbs another's."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.default_rng(words)
