"""A temporary database on disk: what was read, so that memory does not grow with the lake."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

_ROWS_AT_ONCE = 5000
_TYPES = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}


class Database:
    """DuckDB in a file, with bounded memory.

    Args:
        folder: an empty folder for the file and what does not fit in memory.
    """

    def __init__(self, folder: Path, memory: str = "512MB") -> None:
        self._connection = duckdb.connect(str(folder / "audit.duckdb"))
        self._connection.execute(f"SET memory_limit = '{memory}'")
        self._connection.execute(f"SET temp_directory = '{folder / 'spill'}'")
        self._connection.execute("SET autoinstall_known_extensions = false")
        self._connection.execute("SET enable_progress_bar = false")

    def close(self) -> None:
        self._connection.close()

    def create(self, table: str, columns: dict[str, str]) -> None:
        self._connection.execute(f"CREATE TABLE {table} ({', '.join(f'{n} {t}' for n, t in columns.items())})")

    def insert(self, table: str, columns: dict[str, str], rows: Iterable[Sequence[Any]]) -> int:
        """Adds rows a few thousand at a time; returns their number."""
        schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
        remaining, nbr_rows = iter(rows), 0
        while batch := list(islice(remaining, _ROWS_AT_ONCE)):
            arrays = [pa.array(values, f.type) for values, f in zip(zip(*batch, strict=True), schema, strict=True)]
            incoming = pa.Table.from_arrays(arrays, schema=schema)
            self._connection.register("incoming", incoming)
            self._connection.execute(f"INSERT INTO {table} SELECT * FROM incoming")
            self._connection.unregister("incoming")
            nbr_rows += len(batch)
        return nbr_rows

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._connection.execute(sql, list(parameters))

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, streamed; other queries may run meanwhile."""
        cursor = self._connection.cursor().execute(sql, list(parameters))
        while batch := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from batch

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        row = self._connection.cursor().execute(sql, list(parameters)).fetchone()
        return row[0] if row else None
