"""List columns of tables as NumPy arrays."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.timebase.arrays import FloatArray


def list_matrix(column: pa.ChunkedArray, width: int | None = None) -> FloatArray:
    """A list column as (n, width) float64; rows that are null or of another width are NaN, as are null elements.

    Args:
        width: expected number of elements; None takes the most common one.
    """
    lists = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False), np.int64)
    if width is None:
        present = lengths[lengths >= 0]
        width = int(np.bincount(present).argmax()) if len(present) else 0
    matrix = np.full((len(lists), width), np.nan)
    fits = lengths == width
    flat = pc.list_flatten(lists.filter(pa.array(fits)))
    matrix[fits] = np.asarray(flat.to_numpy(zero_copy_only=False), np.float64).reshape(np.count_nonzero(fits), width)
    return matrix
