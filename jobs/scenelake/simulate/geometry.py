"""Rigid transforms, rotations and the seeded generators that every simulated sensor draws from."""

import zlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from scenelake.geometry.poses import pose_of, struct_from_pose

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
        return struct_from_pose(pose_of(self.rotation, self.translation_m))


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


def generator(*key: int | str) -> np.random.Generator:
    """A generator for one purpose: equal keys give equal draws, and no purpose disturbs another's."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.default_rng(words)
