"""Where the ego is at any message of a scene, and poses as the formats take them."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.poses import IDENTITY, POSE_FIELDS, invert, normalised, transform
from scenelake.geometry.trajectory import Trajectory
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array


def pose_of(struct: Mapping[str, float | None] | None) -> FloatArray | None:
    """A POSE struct as (7,); None for a null one and for one that is no rigid transform."""
    if struct is None:
        return None
    pose = normalised(np.array([np.nan if struct[name] is None else struct[name] for name in POSE_FIELDS]))
    return pose if np.isfinite(pose).all() else None


def trajectory_of(rows: pa.Table) -> Trajectory:
    """Of ``timestamp_ns`` and ``world_from_ego`` of rows of ``ego_pose``, in any order."""
    return Trajectory.of(np.asarray(rows["timestamp_ns"], np.int64), pose_matrix(rows["world_from_ego"]))


def poses_at(trajectory: Trajectory, times_ns: Int64Array) -> tuple[FloatArray, BoolArray]:
    """``world_from_ego`` at each time: (m, 7).

    Interpolated between poses; where there is none on both sides the nearest stands in, and the second answer (m,) is
    false. Without any pose: identity.
    """
    count, last = len(times_ns), len(trajectory) - 1
    if last < 0:
        return np.tile(IDENTITY, (count, 1)), np.zeros(count, bool)
    found = trajectory.at(times_ns)
    after = np.searchsorted(trajectory.stamps_ns, times_ns).clip(0, last)
    before = (after - 1).clip(0)
    is_before = np.abs(times_ns - trajectory.stamps_ns[before]) <= np.abs(trajectory.stamps_ns[after] - times_ns)
    nearest = trajectory.poses[np.where(is_before, before, after)]
    return np.where(found.is_valid[:, None], found.values, nearest), found.is_valid


def count_inside(points_m: FloatArray, frame_from_box: FloatArray, size_m: FloatArray) -> int:
    """How many points (n, 3) of a frame lie in a box: length along its x, width along y, height along z."""
    in_box = transform(invert(frame_from_box), points_m)
    return int(np.count_nonzero((np.abs(in_box) <= size_m / 2).all(axis=1)))
