"""Rows of Parquet objects by number: only the row groups and columns that they lie in are fetched.

Fetched ranges go to pyarrow as a file with holes, so the same code reads S3 and a local folder, and the ranges of a
row group are asked for at the same time. Memory holds the answer, one row group, and a cache of row groups that is
bounded in bytes.
"""

import io
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scenelake.adapters.objects import Objects
from scenelake.contracts.errors import BadInputError

_TAIL_BYTES = 64 * 1024
_GAP_BYTES = 256 * 1024
"""Ranges that are nearer than this are one request: a request costs more than so many bytes."""
_NBR_THREADS = 8
_CACHED_FOOTERS = 4096


@dataclass(frozen=True, slots=True)
class _Footer:
    """Metadata of one file.

    Attributes:
        starts: (row groups + 1,) int64, number of the first row of each group, and of rows.
    """

    metadata: pq.FileMetaData
    size_bytes: int
    starts: np.ndarray


class PayloadRows:
    """Reads rows of Parquet objects. Safe to use from threads.

    Args:
        cache_bytes: row groups that are kept because neighbouring rows are usually asked for next.
    """

    def __init__(self, objects: Objects, cache_bytes: int = 256 * 1024**2) -> None:
        self._objects = objects
        self._cache_bytes = cache_bytes
        self._footers: OrderedDict[str, _Footer] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int, tuple[str, ...]], pa.Table] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    def nbr_rows(self, uri: str) -> int:
        return int(self._footer(uri).starts[-1])

    def group_of(self, uri: str, rows: np.ndarray) -> np.ndarray:
        """(n,) int64 row group of each row number; -1 for rows that the file does not have."""
        footer = self._footer(uri)
        groups = np.searchsorted(footer.starts, rows, side="right") - 1
        return np.where((rows >= 0) & (rows < footer.starts[-1]), groups, -1)

    def take(self, uri: str, rows: Sequence[int] | np.ndarray, columns: Sequence[str]) -> pa.Table:
        """The rows with these numbers, in this order.

        Args:
            rows: (n,) numbers within the file.
            columns: those that the file does not have are left out of the answer.

        Raises:
            FileNotFoundError: there is no such object.
            IndexError: the file has no such row.
            BadInputError: reason ``parquet_invalid``.
        """
        wanted = np.asarray(rows, np.int64)
        groups = self.group_of(uri, wanted)
        if len(groups) and groups.min() < 0:
            raise IndexError(f"{uri}: row {int(wanted[groups < 0][0])} of {self.nbr_rows(uri)}")
        starts = self._footer(uri).starts
        parts, places = [], []
        for group in np.unique(groups).tolist():
            (at,) = np.nonzero(groups == group)
            parts.append(_taken(self.row_group(uri, group, columns), wanted[at] - starts[group]))
            places.append(at)
        if not parts:
            return self._schema(uri, columns).empty_table()
        if len(parts) == 1:
            return parts[0]
        return in_order(parts, np.concatenate(places))

    def row_group(self, uri: str, group: int, columns: Sequence[str]) -> pa.Table:
        """One row group, from the cache or from storage."""
        key = (uri, group, tuple(columns))
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        table = self._read(uri, group, columns)
        with self._lock:
            if key not in self._groups and table.nbytes <= self._cache_bytes:
                self._groups[key] = table
                self._held_bytes += table.nbytes
            while self._held_bytes > self._cache_bytes:
                self._held_bytes -= self._groups.popitem(last=False)[1].nbytes
        return table

    def _schema(self, uri: str, columns: Sequence[str]) -> pa.Schema:
        schema = self._footer(uri).metadata.schema.to_arrow_schema()
        return pa.schema([schema.field(c) for c in columns if c in schema.names])

    def _footer(self, uri: str) -> _Footer:
        with self._lock:
            if uri in self._footers:
                self._footers.move_to_end(uri)
                return self._footers[uri]
        footer = self._read_footer(uri)
        with self._lock:
            self._footers[uri] = footer
            if len(self._footers) > _CACHED_FOOTERS:
                self._footers.popitem(last=False)
        return footer

    def _read_footer(self, uri: str) -> _Footer:
        size = self._objects.head(uri).size_bytes
        tail = self._objects.read_range(uri, max(size - _TAIL_BYTES, 0), min(size, _TAIL_BYTES))
        needed = int.from_bytes(tail[-8:-4], "little") + 8
        if len(tail) < needed <= size:
            tail = self._objects.read_range(uri, size - needed, needed)
        try:
            metadata = pq.read_metadata(pa.BufferReader(tail))
        except pa.ArrowInvalid as error:
            raise BadInputError(f"{uri}: no Parquet footer at its end: {error}", reason="parquet_invalid") from error
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        return _Footer(metadata, size, np.cumsum([0, *counts], dtype=np.int64))

    def _read(self, uri: str, group: int, columns: Sequence[str]) -> pa.Table:
        footer = self._footer(uri)
        names = set(columns)
        described = footer.metadata.row_group(group)
        ranges = []
        for i in range(described.num_columns):
            column = described.column(i)
            if column.path_in_schema.partition(".")[0] in names:
                first = column.dictionary_page_offset or column.data_page_offset
                start = min(first, column.data_page_offset)
                ranges.append((start, start + column.total_compressed_size))
        fetched = _HoleyFile(footer.size_bytes, self._fetch(uri, ranges))
        present = [n for n in columns if n in footer.metadata.schema.to_arrow_schema().names]
        try:
            with pq.ParquetFile(pa.PythonFile(fetched, "r"), metadata=footer.metadata) as file:
                return file.read_row_group(group, columns=present, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInputError(f"{uri}: row group {group}: {error}", reason="parquet_invalid") from error

    def _fetch(self, uri: str, ranges: list[tuple[int, int]]) -> dict[int, bytes]:
        merged: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if merged and start - merged[-1][1] <= _GAP_BYTES:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        if len(merged) == 1:
            start, end = merged[0]
            return {start: self._objects.read_range(uri, start, end - start)}
        with ThreadPoolExecutor(_NBR_THREADS) as pool:
            parts = pool.map(lambda r: self._objects.read_range(uri, r[0], r[1] - r[0]), merged)
            return {start: data for (start, _), data in zip(merged, parts, strict=True)}


def in_order(parts: Sequence[pa.Table], places: np.ndarray) -> pa.Table:
    """Rows of the parts, one after the other, each moved to its place: (n,) a permutation."""
    joined = pa.concat_tables(parts)
    if np.array_equal(places, np.arange(len(places))):
        return joined
    order = np.empty(len(places), np.int64)
    order[places] = np.arange(len(places))
    return joined.take(pa.array(order))


def _taken(group: pa.Table, rows: np.ndarray) -> pa.Table:
    """Rows of a row group; a run of most of it is not copied, a few rows do not keep the whole group in memory."""
    if 2 * len(rows) >= len(group) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return group.slice(int(rows[0]), len(rows))
    return group.take(pa.array(rows))


class _HoleyFile(io.RawIOBase):
    """A file of which only some ranges are known."""

    def __init__(self, size_bytes: int, ranges: dict[int, bytes]) -> None:
        super().__init__()
        self._size_bytes = size_bytes
        self._starts = sorted(ranges)
        self._ranges = ranges
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence] + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        start = next((s for s in reversed(self._starts) if s <= self._at), None)
        data = b"" if start is None else self._ranges[start]
        offset = self._at - (start or 0)
        part = data[offset : offset + size] if size >= 0 else b""
        if len(part) != size:
            raise OSError(f"bytes {self._at} to {self._at + size} lie outside the columns that the footer describes")
        self._at += size
        return part
