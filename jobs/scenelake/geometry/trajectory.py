"""Where the ego is and how it moves at any time between its recorded poses."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from scenelake.geometry.linear import Interpolated, interpolate_linear
from scenelake.geometry.poses import invert, multiply, normalised, rotate, rotation_vector
from scenelake.geometry.slerp import interpolate_slerp
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

MAX_POSE_GAP_NS = 250_000_000
"""Widest pair of poses to interpolate between. At 3 m/s² the straight line between poses 250 ms apart is 2 cm off
(a t² / 8); it is the tolerance that keyframes have for ego poses as well."""

VELOCITY_HALF_WINDOW_NS = 50_000_000
"""Poses 100 ms apart give the velocity: 1 cm of noise in them makes 0.14 m/s, and a jerk of 10 m/s³ 4 mm/s."""


@dataclass(frozen=True, slots=True)
class Velocities:
    """The ego's motion in its own frame at m times; NaN rows where ``is_valid`` (m,) is false.

    Attributes:
        linear_m_s: (m, 3) of the ego's origin.
        angular_rad_s: (m, 3).
    """

    linear_m_s: FloatArray
    angular_rad_s: FloatArray
    is_valid: BoolArray


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Poses in order of time.

    Attributes:
        stamps_ns: (n,) int64, strictly increasing.
        poses: (n, 7) ``parent_from_child`` with unit quaternions; ``world_from_ego`` for the ego.
        max_gap_ns: widest pair of poses to interpolate between, inclusive.
    """

    stamps_ns: Int64Array
    poses: FloatArray
    max_gap_ns: int = MAX_POSE_GAP_NS

    @classmethod
    def of(cls, stamps_ns: Int64Array, poses: FloatArray, max_gap_ns: int = MAX_POSE_GAP_NS) -> Self:
        """From poses in any order. What is no rigid transform is left out; of equal stamps the first stays."""
        unit = normalised(poses)
        rows = np.flatnonzero(np.isfinite(unit).all(axis=1))
        rows = rows[np.argsort(stamps_ns[rows], kind="stable")]
        times = np.asarray(stamps_ns[rows], np.int64)
        is_first = np.ones(len(rows), np.bool_)
        is_first[1:] = times[1:] != times[:-1]
        return cls(times[is_first], unit[rows[is_first]], max_gap_ns)

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def at(self, times_ns: Int64Array) -> Interpolated:
        """Poses (m, 7) at times in any order: linear in translation, SLERP in rotation. Nothing is extrapolated."""
        gap_ns = self.max_gap_ns
        translation = interpolate_linear(times_ns, self.stamps_ns, self.poses[:, :3], gap_ns)
        rotation = interpolate_slerp(times_ns, self.stamps_ns, self.poses[:, 3:], gap_ns)
        return Interpolated(np.hstack([translation.values, rotation.values]), translation.is_valid & rotation.is_valid)

    def velocities_at(self, times_ns: Int64Array) -> Velocities:
        """Velocities from the poses ``VELOCITY_HALF_WINDOW_NS`` before and after, nearer at either end.

        The poses must cover at least one half window around the time without a gap.
        """
        count = len(times_ns)
        if not len(self):
            nothing = np.full((count, 3), np.nan)
            return Velocities(nothing, nothing, np.zeros(count, np.bool_))
        first, last = self.stamps_ns[0], self.stamps_ns[-1]
        before = np.maximum(times_ns - VELOCITY_HALF_WINDOW_NS, first)
        after = np.minimum(times_ns + VELOCITY_HALF_WINDOW_NS, last)
        here, start, stop = self.at(times_ns), self.at(before), self.at(after)
        is_valid = here.is_valid & start.is_valid & stop.is_valid & (after - before >= VELOCITY_HALF_WINDOW_NS)
        elapsed_s = (np.where(is_valid, after - before, 1) / 1e9)[:, None]
        world_m_s = (stop.values[:, :3] - start.values[:, :3]) / elapsed_s
        turned = multiply(invert(start.values)[:, 3:], stop.values[:, 3:])
        linear = rotate(invert(here.values)[:, 3:], world_m_s)
        angular = rotation_vector(turned) / elapsed_s
        linear[~is_valid] = angular[~is_valid] = np.nan
        return Velocities(linear, angular, is_valid)
