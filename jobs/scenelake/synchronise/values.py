"""Columns of the small payload tables as NumPy matrices."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.synchronise.transforms import POSE_FIELDS
from scenelake.timebase.arrays import FloatArray, Int64Array


def rows_by_id(table: pa.Table, sample_data_ids: pa.Array) -> Int64Array:
    """Row of ``table`` for each id, -1 where it has none; of several rows the first."""
    found = pc.index_in(sample_data_ids, value_set=table["sample_data_id"].combine_chunks())
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int64)


def list_matrix(column: pa.ChunkedArray, width: int | None = None) -> FloatArray:
    """A list column as (n, width) float64; rows that are null or of another width are NaN.

    Args:
        width: expected number of elements; None takes the most common one.
    """
    lists = column.combine_chunks()
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False), np.int64)
    if width is None:
        present = lengths[lengths >= 0]
        width = int(np.bincount(present).argmax()) if len(present) else 0
    matrix = np.full((len(lists), width), np.nan)
    fits = lengths == width
    flat = pc.list_flatten(lists.filter(pa.array(fits)))
    matrix[fits] = np.asarray(flat.to_numpy(zero_copy_only=False), np.float64).reshape(np.count_nonzero(fits), width)
    return matrix


def pose_matrix(column: pa.ChunkedArray) -> FloatArray:
    """A POSE column as (n, 7) float64 in the order of its fields; null poses are NaN."""
    poses = column.combine_chunks()
    fields = [np.asarray(pc.struct_field(poses, n).to_numpy(zero_copy_only=False), np.float64) for n in POSE_FIELDS]
    matrix = np.stack(fields, axis=1) if len(poses) else np.empty((0, 7))
    matrix[np.asarray(poses.is_null().to_numpy(zero_copy_only=False))] = np.nan
    return matrix
