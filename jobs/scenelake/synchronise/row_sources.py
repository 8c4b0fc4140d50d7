"""Rows of a decoded table, a bounded number at once: memory does not grow with the table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 1 << 16


class Rows(Protocol):
    """A table that is read as often as it takes, each time in the same order."""

    @property
    def schema(self) -> pa.Schema: ...

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The columns of all rows, at most about ``BATCH_ROWS`` at once; texts may come dictionary-encoded."""
        ...


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows that are in memory."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        chosen = self.table.select(list(columns))
        for start in range(0, len(chosen), BATCH_ROWS):
            yield chosen.slice(start, BATCH_ROWS)


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """Rows of files one after the other.

    Attributes:
        files: paths, or files' bytes.
        schema: of the rows; texts other than ids come dictionary-encoded, as they lie in the files.
        distinct: texts that are mostly distinct, which come as they are.
    """

    files: tuple[Path | pa.Buffer, ...]
    schema: pa.Schema
    distinct: frozenset[str] = frozenset({"sample_data_id"})

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        fields = [self.schema.field(name) for name in columns]
        texts = [f.name for f in fields if pa.types.is_string(f.type) and f.name not in self.distinct]
        types = [pa.dictionary(pa.int32(), pa.string()) if f.name in texts else f.type for f in fields]
        wanted = pa.schema([f.with_type(t) for f, t in zip(fields, types, strict=True)])
        for source in self.files:
            opened = pa.BufferReader(source) if isinstance(source, pa.Buffer) else source
            with pq.ParquetFile(opened, read_dictionary=texts, pre_buffer=False) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
                    rows = pa.Table.from_batches([batch]).select(wanted.names)
                    yield rows if rows.schema.equals(wanted) else rows.cast(wanted)


def read_all(rows: Rows) -> pa.Table:
    """The whole table: for tables of a few rows a second, or that must be sorted."""
    if isinstance(rows, TableRows):
        return rows.table
    parts = [batch.cast(rows.schema) for batch in rows.batches(rows.schema.names)]
    return pa.concat_tables([rows.schema.empty_table(), *parts])
