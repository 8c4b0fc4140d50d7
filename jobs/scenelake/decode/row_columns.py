"""Rows as Arrow columns: lists of numbers, among them whole point clouds, without a Python step per number."""

from typing import Any

import numpy as np
import pyarrow as pa

Row = dict[str, Any]


def rows_to_batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    """One record batch; a key that a row lacks is null. Keys outside the schema are ignored."""
    columns = [_column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind) and any(isinstance(v, np.ndarray) for v in values):
        return _arrays(values, kind)
    return pa.array(values, kind)


def _arrays(values: list[np.ndarray | None], kind: pa.DataType) -> pa.Array:
    lengths = np.array([0 if v is None else len(v) for v in values], np.int64)
    ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    offsets = pa.array(ends, pa.int32(), mask=np.array([*(v is None for v in values), False]))
    parts = [v for v in values if v is not None]
    return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(parts), kind.value_type), type=kind)
