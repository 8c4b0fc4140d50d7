"""Builds Arrow tables of a contract's schema from arrays and dictionaries."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table from dictionaries; columns that a row does not name are null.

    Raises:
        KeyError: when a row names a column that the schema lacks.
    """
    for row in rows:
        unknown = row.keys() - set(schema.names)
        if unknown:
            raise KeyError(f"expected columns of the schema, got also {', '.join(sorted(unknown))}")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def table_from_columns(columns: Mapping[str, Any], schema: pa.Schema, nbr_rows: int) -> pa.Table:
    """A table from Arrow arrays; columns that are not given are null."""
    made = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(nbr_rows, f.type) for f in schema]
    return pa.Table.from_arrays(made, schema=schema)


def choose(codes: Int64Array, values: Sequence[Any], value_type: pa.DataType) -> pa.Array:
    """``values[code]`` for each code, null for -1: (n,)."""
    return pa.array(list(values), value_type).take(pa.array(codes, mask=codes < 0))


def nullable(values: Int64Array, is_known: BoolArray) -> pa.Array:
    """int64 with nulls where ``is_known`` is false."""
    return pa.array(values, pa.int64(), mask=~is_known)


def list_array(matrix: FloatArray, is_known: BoolArray, list_type: pa.DataType) -> pa.Array:
    """One list per row of (n, w); null where ``is_known`` is false, null elements for NaN."""
    count, width = matrix.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
    elements = pa.array(matrix.ravel(), pa.float64(), from_pandas=True)
    return pa.ListArray.from_arrays(offsets, elements, type=list_type, mask=pa.array(~is_known))
