"""Measured synchronisation error: from every reference row to the nearest row of another channel."""

from dataclasses import dataclass

import numpy as np

from scenelake.contracts.modalities import Modality
from scenelake.synchronise.nearest import match_nearest
from scenelake.timebase.arrays import Int64Array

MEASURED_MODALITIES = frozenset(
    {
        Modality.CAMERA,
        Modality.DEPTH,
        Modality.LIDAR,
        Modality.RADAR,
        Modality.RADAR_TRACK,
        Modality.IMU,
        Modality.GNSS,
        Modality.EGO_POSE,
        Modality.ROBOT_STATE,
        Modality.ACTION,
    }
)


@dataclass(frozen=True, slots=True)
class SyncError:
    """Statistics of |delta| in ns, by rank (no interpolation between ranks). None where nothing was measured.

    Attributes:
        nbr_reference: reference rows that were measured.
        median_abs_delta_ns: lower median.
        p99_abs_delta_ns: nearest rank.
    """

    nbr_reference: int
    median_abs_delta_ns: int | None
    p99_abs_delta_ns: int | None
    max_abs_delta_ns: int | None


def measure_sync_error(reference_ns: Int64Array, other_ns: Int64Array) -> SyncError:
    """Measures from the reference rows that lie within the other channel's span, both ends included.

    A reference row before the other sensor's first message or after its last says when the sensor ran, not
    how well the two are synchronised; completeness checks tell that. A hole within the span does count.

    Args:
        reference_ns: (m,) stamps of the reference in one scene.
        other_ns: (n,) non-decreasing stamps of the other channel over the drive.
    """
    if len(other_ns):
        reference_ns = reference_ns[(reference_ns >= other_ns[0]) & (reference_ns <= other_ns[-1])]
    count = len(reference_ns) if len(other_ns) else 0
    if count == 0:
        return SyncError(0, None, None, None)
    distance_ns = np.sort(np.abs(match_nearest(reference_ns, other_ns).delta_ns))
    ranks = ((count - 1) // 2, -(-99 * count // 100) - 1, count - 1)
    median, p99, largest = (int(distance_ns[rank]) for rank in ranks)
    return SyncError(count, median, p99, largest)
