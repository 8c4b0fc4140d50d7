"""Rows of the small payload tables that belong to messages."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.synchronise.streams import one_chunk
from scenelake.timebase.arrays import Int64Array


def rows_by_id(ids: pa.Array, wanted: pa.Array) -> Int64Array:
    """Position among ``ids`` of each wanted one, -1 where it is none of them; of several the first."""
    found = pc.index_in(wanted, value_set=ids)
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int64)


def payload_rows(table: pa.Table, channel: str, sample_data_ids: pa.Array) -> Int64Array:
    """Rows of ``table`` that have the ids of one channel's messages, without a look-up where they are in one order."""
    ids = one_chunk(table["sample_data_id"])
    mine = np.flatnonzero(pc.equal(table["channel"], channel).to_numpy())
    if len(mine) == len(sample_data_ids) and sample_data_ids.equals(
        ids if len(mine) == len(ids) else ids.take(pa.array(mine))
    ):
        return mine
    return rows_by_id(ids, sample_data_ids)
