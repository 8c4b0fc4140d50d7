"""Tables that are written some rows at a time, each to one Parquet object."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from scenelake.adapters.objects import Objects

ROWS_IN_GROUP = 1 << 17
_DISTINCT = "sample_data_id"
"""Distinct texts of random digits: neither a dictionary nor compression is worth its time."""


class TableFiles:
    """Collects rows by table, and uploads a file of each table when left without an error.

    Args:
        folder_uri: where ``<table>.parquet`` are put.
        folder: on this machine's disk, for the files until they are complete.
        schemas: of all tables; one that gets no rows is written without any.
    """

    def __init__(self, objects: Objects, folder_uri: str, folder: Path, schemas: Mapping[str, pa.Schema]) -> None:
        self._objects = objects
        self._folder_uri = folder_uri
        self._folder = folder
        self._schemas = schemas
        self._held: dict[str, list[pa.Table]] = {name: [] for name in schemas}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.nbr_rows: Counter[str] = Counter()

    def write(self, name: str, rows: pa.Table) -> None:
        """Adds rows to a table; of a column, all are dictionary-encoded or none is."""
        self._held[name].append(rows)
        self.nbr_rows[name] += len(rows)
        if sum(map(len, self._held[name])) >= ROWS_IN_GROUP:
            self._flush(name)

    def _flush(self, name: str) -> None:
        rows = pa.concat_tables(self._held[name] or [self._schemas[name].empty_table()]).unify_dictionaries()
        self._held[name].clear()
        if name not in self._writers:
            self._writers[name] = _writer(self._path(name), rows.schema)
        self._writers[name].write_table(rows, row_group_size=max(len(rows), 1))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.made.parquet"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for name in self._schemas:
                if self._held[name] or name not in self._writers:
                    self._flush(name)
        for writer in self._writers.values():
            writer.close()
        if error is None:
            for name in self._schemas:
                self._objects.write_file(f"{self._folder_uri}/{name}.parquet", self._path(name))


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of rows that are read once or twice, laid out for speed.

    Measured on a drive's ``sample_data`` (ns a row, bytes a row): everything zstd with dictionaries 620 and 46, as here
    210 and 47, with ids in zstd as well 290 and 28. The file has plain strings whatever the rows came as: their Arrow
    schema is left out of it.
    """
    texts = [f.name for f in schema if pa.types.is_dictionary(f.type) or pa.types.is_string(f.type)]
    return pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        store_schema=False,
        compression={f.name: "none" if f.name == _DISTINCT else "zstd" for f in schema},
        use_dictionary=[name for name in texts if name != _DISTINCT],
        column_encoding={f.name: "DELTA_BINARY_PACKED" for f in schema if pa.types.is_integer(f.type)},
    )
