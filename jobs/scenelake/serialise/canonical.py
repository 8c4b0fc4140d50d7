"""One byte sequence for equal rows, whatever file, chunk, order or batch they came in.

Rows are sorted by their key (rows that share a key by all their values), and each column is written as its
name, its type, which values are null, and the values: fixed-width ones little-endian with nulls as zero,
strings and lists as lengths (int64) followed by their contents, structs as their children. Columns that are
all null are left out, so that a column appended later does not change the hash of older rows.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts import ids
from scenelake.contracts.tables import GOLD

HINTS = frozenset({"payload_file", "row_index", "decode_from_row", "content_hash", "release_id"})
"""Columns that say where a row lies or when it was written, not what it is."""

_TIE = "__tie"


def conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows in a schema's columns and types; columns that are absent become null."""
    columns = [
        rows.column(f.name).cast(f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema
    ]
    return pa.Table.from_arrays([_chunked(c) for c in columns], schema=schema)


def _chunked(column: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def sorted_rows(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Rows in the order of their key; rows with equal keys in the order of their other values."""
    order = [(name, "ascending") for name in key]
    found = rows.take(pc.sort_indices(rows, order)).combine_chunks()
    if not _has_ties(found, key):
        return found
    ties = [ids.canonical_json(_plain(row)) for row in rows.to_pylist()]
    rows = rows.append_column(_TIE, pa.array(ties, pa.string()))
    return rows.take(pc.sort_indices(rows, [*order, (_TIE, "ascending")])).drop_columns([_TIE]).combine_chunks()


def _has_ties(rows: pa.Table, key: Sequence[str]) -> bool:
    if len(rows) < 2:
        return False
    same = np.ones(len(rows) - 1, dtype=bool)
    for name in key:
        column = _whole(rows.column(name))
        equal = pc.fill_null(pc.equal(column.slice(1), column.slice(0, len(column) - 1)), True)
        same &= equal.to_numpy(zero_copy_only=False)
    return bool(same.any())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, int | float | str) else repr(value)


def digest(rows: pa.Table, key: Sequence[str], ignore: Iterable[str] = ()) -> str:
    """SHA-256 over the canonical bytes of a table, apart from the columns to ignore: 64 hex digits."""
    found = hashlib.sha256()
    for part in _row_bytes(sorted_rows(rows, key), frozenset(ignore)):
        found.update(part)
    return found.hexdigest()


def scene_hashes(tables: Mapping[str, pa.Table]) -> dict[str, str]:
    """Content hash of every scene: SHA-256 over the canonical bytes of its rows, table by table in name order.

    Args:
        tables: gold rows by table name, each with a ``scene_id`` column. The payload itself takes part through
            ``payload_hash`` of ``sample_data``.

    Returns:
        ``{scene_id: 64 hex digits}`` for every scene that any table mentions.
    """
    digests: dict[str, Any] = {}
    for name in sorted(tables):
        ordered = sorted_rows(tables[name], ("scene_id", *GOLD[name].key))
        for scene_id, rows in _runs(ordered, "scene_id"):
            found = digests.setdefault(scene_id, hashlib.sha256())
            found.update(_text(name))
            for part in _row_bytes(rows, HINTS):
                found.update(part)
    return {scene_id: found.hexdigest() for scene_id, found in digests.items()}


def _runs(rows: pa.Table, column: str) -> Iterator[tuple[str, pa.Table]]:
    """Consecutive rows that share a value, for rows sorted by that column."""
    if not len(rows):
        return
    runs = pc.run_end_encode(_whole(rows.column(column)))
    start = 0
    for value, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield value, rows.slice(start, end - start)
        start = end


def _row_bytes(rows: pa.Table, ignore: frozenset[str]) -> Iterator[bytes]:
    yield _length(len(rows))
    for name in sorted(set(rows.column_names) - ignore):
        column = _whole(rows.column(name))
        if column.null_count == len(column):
            continue
        yield _text(name)
        yield from _array_bytes(column)


def _array_bytes(column: pa.Array) -> Iterator[bytes]:
    yield _text(str(column.type))
    yield _length(len(column))
    yield column.is_valid().to_numpy(zero_copy_only=False).tobytes() if column.null_count else b""
    yield _length(column.null_count)
    if pa.types.is_struct(column.type):
        for child in column.flatten():
            yield from _array_bytes(child)
    elif pa.types.is_list(column.type):
        yield _lengths(pc.list_value_length(column))
        yield from _array_bytes(column.flatten())
    elif pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        yield _lengths(pc.binary_length(column))
        yield _contents(column)
    else:
        yield _fixed(column)


def _contents(column: pa.Array) -> bytes:
    filled = column.fill_null("" if pa.types.is_string(column.type) else b"")
    _, offsets, data = filled.buffers()
    if data is None:
        return b""
    ends = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return bytes(data[int(ends[0]) : int(ends[-1])].to_pybytes())


def _fixed(column: pa.Array) -> bytes:
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _lengths(column: pa.Array) -> bytes:
    return bytes(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes())


def _length(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data
