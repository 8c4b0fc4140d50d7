"""POSE columns of tables as NumPy arrays and back."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.columns import POSE
from scenelake.geometry.poses import POSE_FIELDS
from scenelake.timebase.arrays import FloatArray


def pose_matrix(column: pa.ChunkedArray) -> FloatArray:
    """A POSE column as (n, 7) float64 in the order of its fields; null poses are NaN."""
    poses = column.combine_chunks()
    fields = [np.asarray(pc.struct_field(poses, n).to_numpy(zero_copy_only=False), np.float64) for n in POSE_FIELDS]
    matrix = np.stack(fields, axis=1) if len(poses) else np.empty((0, 7))
    matrix[np.asarray(poses.is_null().to_numpy(zero_copy_only=False))] = np.nan
    return matrix


def pose_array(poses: FloatArray) -> pa.StructArray:
    """Poses (n, 7) as a POSE array; null where any part is NaN."""
    columns = [pa.array(poses[:, i], pa.float64()) for i in range(len(POSE_FIELDS))]
    is_null = pa.array(~np.isfinite(poses).all(axis=1))
    return pa.StructArray.from_arrays(columns, fields=list(POSE), mask=is_null)
