"""The content hash of a scene, derived anew from its gold rows.

The format is that of the lake (its documentation describes it); the code is the auditor's own. Per table in
order of name: its name, the number of rows, and every column in order of name that is neither a hint nor all
null. A column is its name, its type, its length, a byte per row of validity if any is null, the number of
nulls, and its values: strings and lists as int64 lengths and then their contents, structs as their children,
everything else little-endian with nulls as zero.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

HINTS = frozenset({"payload_file", "row_index", "decode_from_row", "content_hash", "release_id"})
"""Columns that do not belong to a scene's content."""

KEYS: dict[str, tuple[str, ...]] = {
    "action": ("sample_data_id",),
    "annotation": ("annotation_id",),
    "can_frame": ("sample_data_id",),
    "ego_pose": ("sample_data_id",),
    "episode": ("sample_data_id",),
    "gnss": ("sample_data_id",),
    "gnss_raw": ("sample_data_id",),
    "imu": ("sample_data_id",),
    "language": ("sample_data_id",),
    "radar_track": ("sample_data_id", "track_id"),
    "redaction": ("sample_data_id",),
    "robot_state": ("sample_data_id",),
    "sample": ("sample_id",),
    "sample_data": ("sample_data_id",),
    "scene": ("scene_id",),
    "sync_index": ("sample_id", "channel"),
    "text_log": ("sample_data_id",),
    "transform": ("sample_data_id", "parent_frame_id", "child_frame_id"),
}
"""Tables whose rows are a scene's content, and what orders their rows within it."""

_LENGTH = struct.Struct("<q")


def named_leaf(name: str, value: str) -> bytes:
    """A leaf of the release's Merkle tree."""
    return hashlib.sha256(f"{name}:{value}".encode()).digest()


class SceneDigest:
    """Takes a scene's rows table by table, in order of table name."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, table: str, rows: pa.Table) -> None:
        """Takes one table's rows of the scene; a table without rows leaves no trace."""
        if not rows.num_rows:
            return
        ordered = _in_order(rows, KEYS[table])
        self._digest.update(_text(table) + _LENGTH.pack(len(ordered)))
        for name in sorted(set(rows.column_names) - HINTS):
            column = ordered[name]
            if column.null_count == len(ordered):
                continue
            self._digest.update(_text(name))
            for part in _column(column.type, column.to_pylist()):
                self._digest.update(part)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _in_order(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Rows by key, nulls last; rows that share a key by the text of all their values."""
    keys = list(zip(*(rows[name].to_pylist() for name in key), strict=True))
    texts = [row_text(row).encode() for row in rows.to_pylist()] if len(set(keys)) < len(keys) else []

    def rank(at: int) -> tuple[Any, ...]:
        ranks = tuple((part is None, (part or "").encode()) for part in keys[at])
        return (*ranks, texts[at]) if texts else ranks

    return rows.take(pa.array(sorted(range(len(keys)), key=rank), pa.int64()))


def row_text(row: Mapping[str, Any]) -> str:
    """All values of a row as JSON with sorted keys; what JSON lacks is written as Python shows it."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)


def _column(kind: pa.DataType, values: list[Any]) -> Iterator[bytes]:
    yield _text(str(kind))
    yield _LENGTH.pack(len(values))
    nbr_null = sum(v is None for v in values)
    if nbr_null:
        yield bytes(v is not None for v in values)
    yield _LENGTH.pack(nbr_null)
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _column(field.type, [None if v is None else v[field.name] for v in values])
    elif pa.types.is_list(kind):
        yield _lengths(0 if v is None else len(v) for v in values)
        yield from _column(kind.value_type, [part for v in values if v is not None for part in v])
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        contents = [b"" if v is None else v.encode() if isinstance(v, str) else v for v in values]
        yield _lengths(map(len, contents))
        yield b"".join(contents)
    else:
        yield _fixed(kind, values)


_CODES = {"int32": "i", "int64": "q", "float": "f", "double": "d", "bool": "B"}


def _fixed(kind: pa.DataType, values: list[Any]) -> bytes:
    if pa.types.is_date32(kind):
        days = pa.array(values, kind).cast(pa.int32()).to_pylist()
        return _fixed(pa.int32(), days)
    code = _CODES.get(str(kind))
    if code is None:
        raise ValueError(f"column type {kind}: expected one of {', '.join(_CODES)}")
    return struct.pack(f"<{len(values)}{code}", *(0 if v is None else v for v in values))


def _lengths(values: Any) -> bytes:
    return b"".join(map(_LENGTH.pack, values))


def _text(value: str) -> bytes:
    data = value.encode()
    return _LENGTH.pack(len(data)) + data
