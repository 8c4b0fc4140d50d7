"""LiDAR motion compensation: every point where it would have been seen at one time."""

from dataclasses import dataclass

import numpy as np

from scenelake.geometry.poses import compose, invert, rotation_matrix
from scenelake.geometry.trajectory import Trajectory
from scenelake.timebase.arrays import FloatArray, Int64Array

NO_POINT_TIME = "no_point_time"
NO_EXTRINSIC = "no_extrinsic"
POSE_GAP = "pose_gap"


@dataclass(frozen=True, slots=True)
class Compensated:
    """Points moved to one time, or why they are not. Exactly one of the two is None.

    Attributes:
        points_m: (n, 3) float64 in the sensor's frame at the target time, in the order of the points.
        problem: a code (``NO_POINT_TIME``, ``NO_EXTRINSIC`` or ``POSE_GAP``), a colon and the details.
    """

    points_m: FloatArray | None
    problem: str | None


def compensate_points(
    points_m: FloatArray,
    offset_ns: Int64Array | None,
    stamp_ns: int,
    trajectory: Trajectory,
    ego_from_sensor: FloatArray | None,
    *,
    target_ns: int | None = None,
    is_compensated: bool = False,
) -> Compensated:
    """Moves each point of a sweep from its own time to one time, as if the scene stood still.

    ``sensor(target)_from_sensor(t) = (world_from_ego(target) ego_from_sensor)^-1 world_from_ego(t) ego_from_sensor``
    with the ego's pose interpolated at the point's own time t, linear in translation and SLERP in rotation (as in
    Zhang & Singh, LOAM, RSS 2014, V.A, with recorded poses in place of the estimated ones). A moving object is
    moved as if it stood still.

    Args:
        points_m: (n, 3) in the sensor's frame as recorded; NaN stays NaN.
        offset_ns: (n,) point time minus ``stamp_ns``; None where the sensor gives none.
        trajectory: ``world_from_ego``.
        ego_from_sensor: (7,); None when unknown.
        target_ns: the time to move to; the sweep's own stamp by default.
        is_compensated: the points are recorded as seen at ``stamp_ns`` already (Argoverse 2 does so), whatever
            their offsets say.
    """
    target_ns = stamp_ns if target_ns is None else target_ns
    if ego_from_sensor is None or not np.isfinite(ego_from_sensor).all():
        return Compensated(None, f"{NO_EXTRINSIC}: ego_from_sensor is not known")
    if is_compensated:
        offset_ns = np.zeros(len(points_m), np.int64)
    if offset_ns is None:
        return Compensated(None, f"{NO_POINT_TIME}: the points have no offset_ns")
    times_ns, of_point = np.unique(offset_ns, return_inverse=True)
    times_ns = np.append(times_ns + stamp_ns, target_ns)
    if is_compensated and target_ns == stamp_ns:
        return Compensated(np.asarray(points_m, np.float64), None)
    poses = trajectory.at(times_ns)
    if not poses.is_valid.all():
        return Compensated(None, _gap(trajectory, times_ns[~poses.is_valid], len(times_ns)))
    world_from_sensor = compose(poses.values, ego_from_sensor)
    target_from_sensor = compose(invert(world_from_sensor[-1]), world_from_sensor[:-1])
    rotation = rotation_matrix(target_from_sensor[:, 3:])[of_point]
    moved = np.einsum("nij,nj->ni", rotation, np.asarray(points_m, np.float64)) + target_from_sensor[of_point, :3]
    return Compensated(moved, None)


def _gap(trajectory: Trajectory, missing_ns: Int64Array, count: int) -> str:
    if not len(trajectory):
        return f"{POSE_GAP}: there are no ego poses"
    covered = f"poses cover {trajectory.stamps_ns[0]} to {trajectory.stamps_ns[-1]}"
    where = f"{len(missing_ns)} of {count} times, the first {missing_ns.min()}, have no poses around them"
    return f"{POSE_GAP}: {where} at most {trajectory.max_gap_ns} ns apart ({covered})"
