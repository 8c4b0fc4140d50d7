"""Arrow columns from arrays, without a Python step per value."""

import numpy as np
import pyarrow as pa

from scenelake.contracts.columns import COLUMNS
from scenelake.decode.formats.cdr_columns import TextColumn

_REALS = COLUMNS["covariance"][0]
_TEXTS = pa.list_(pa.field("element", pa.dictionary(pa.int32(), pa.string())))


def numbers(values: np.ndarray, kind: pa.DataType, is_valid: np.ndarray | None = None) -> pa.Array:
    """A column of numbers, null where ``is_valid`` is false."""
    mask = None if is_valid is None or is_valid.all() else ~is_valid
    return pa.array(np.ascontiguousarray(values), kind, mask=mask)


def number_lists(values: np.ndarray, is_valid: np.ndarray | None = None) -> pa.ListArray:
    """A list column of float64 from (n, k), null where ``is_valid`` is false."""
    nbr_rows, length = values.shape
    if is_valid is not None and not is_valid.all():
        lengths = np.where(is_valid, length, 0)
        values = values[is_valid]
        ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        offsets = pa.array(ends, pa.int32(), mask=np.append(~is_valid, False))
    else:
        offsets = pa.array(np.arange(0, (nbr_rows + 1) * length, length, dtype=np.int32) if length else
                           np.zeros(nbr_rows + 1, np.int32))  # fmt: skip
    flat = pa.array(np.ascontiguousarray(values, np.float64).reshape(-1))
    return pa.ListArray.from_arrays(offsets, flat, type=_REALS)


def texts(column: TextColumn, *, empty_is_null: bool = False) -> pa.DictionaryArray:
    """A column of strings, dictionary-encoded; empty ones may stand for absent ones."""
    codes = pa.array(column.codes, pa.int32())
    if empty_is_null and "" in column.values:
        codes = pa.array(column.codes, pa.int32(), mask=column.codes == column.values.index(""))
    return pa.DictionaryArray.from_arrays(codes, pa.array(column.values, pa.string()))


def text_lists(columns: list[TextColumn], nbr_rows: int) -> pa.ListArray:
    """A list column of strings, (n, k), from its k elements, dictionary-encoded."""
    values = [v for c in columns for v in c.values]
    firsts = np.cumsum([0, *(len(c.values) for c in columns[:-1])])
    codes = np.empty((nbr_rows, len(columns)), np.int32)
    for position, (column, first) in enumerate(zip(columns, firsts.tolist(), strict=True)):
        codes[:, position] = column.codes + first
    flat = pa.DictionaryArray.from_arrays(pa.array(codes.reshape(-1)), pa.array(values, pa.string()))
    offsets = pa.array(np.arange(nbr_rows + 1, dtype=np.int32) * len(columns))
    return pa.ListArray.from_arrays(offsets, flat, type=_TEXTS)


def repeated_text(value: str | None, nbr_rows: int) -> pa.DictionaryArray:
    """The same string, or null, in every row, dictionary-encoded."""
    if value is None:
        return pa.nulls(nbr_rows, pa.dictionary(pa.int32(), pa.string()))
    return pa.DictionaryArray.from_arrays(np.zeros(nbr_rows, np.int32), pa.array([value], pa.string()))


def blobs(values: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """A binary column from (n, k) bytes, of which each row's first ``lengths`` count."""
    kept = values[np.arange(values.shape[1]) < lengths[:, None]]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(kept)])


def poses(translation: np.ndarray, rotation_wxyz: np.ndarray) -> tuple[pa.StructArray, np.ndarray]:
    """Transforms in the columns' named form, and whether each is finite.

    The same rule as ``values.pose``: a quaternion of zeros is the identity, others are normalised.

    Args:
        translation: (n, 3) metres.
        rotation_wxyz: (n, 4).
    """
    w, x, y, z = rotation_wxyz.T
    with np.errstate(invalid="ignore", over="ignore"):
        norm = np.sqrt(w * w + x * x + y * y + z * z)
        is_unset = norm == 0.0
        divisor = np.where(is_unset, 1.0, norm)
        parts = [np.where(is_unset, 1.0, w) / divisor, x / divisor, y / divisor, z / divisor]
    is_finite = np.isfinite(norm) & np.isfinite(translation).all(axis=1)
    names = ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz")
    columns = [*translation.T, *parts]
    arrays = [pa.array(np.ascontiguousarray(c)) for c in columns]
    return pa.StructArray.from_arrays(arrays, names), is_finite
