"""Where the sensors of a rig usually sit, and how far a drive's calibration is from that."""

from collections.abc import Callable, Iterator

import numpy as np

from scenelake.geometry.poses import pose_of, rotation_matrix
from scenelake.timebase.arrays import FloatArray

STATISTICS: tuple[str, ...] = (
    *(f"{axis}_m" for axis in "xyz"),
    *(f"r{row}{column}" for row in range(3) for column in range(3)),
)
"""Names under which a check's evidence tells a pose, and a baseline its medians.

The rotation is kept as its matrix, whose entries have medians; a quaternion's have none where its sign flips.
"""


def pose_statistics(ego_from_sensor: FloatArray) -> Iterator[tuple[str, float]]:
    """What a baseline is fitted to: name and value of each of ``STATISTICS`` of one pose (7,)."""
    values = [*ego_from_sensor[:3].tolist(), *rotation_matrix(ego_from_sensor[3:]).ravel().tolist()]
    yield from zip(STATISTICS, values, strict=True)


def usual_pose(median_of: Callable[[str], float | None]) -> FloatArray | None:
    """The pose (7,) whose statistics have these medians; None where one is not known.

    The medians of the entries are no rotation exactly; the nearest one is taken (Schoenemann 1966).
    """
    values = [median_of(name) for name in STATISTICS]
    if any(value is None for value in values):
        return None
    known = np.array(values, np.float64)
    left, _, right = np.linalg.svd(known[3:].reshape(3, 3))
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return pose_of(rotation, known[:3])
