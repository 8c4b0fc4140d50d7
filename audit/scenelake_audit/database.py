"""A temporary database on disk: what was read, so that memory does not grow with the lake."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

_ROWS_AT_ONCE = 5000
_TYPES = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}

_ROWS_WAITING = 20_000
Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """DuckDB in a file, with bounded memory.

    Args:
        folder: an empty folder for the file and what does not fit in memory.
    """

    def __init__(self, folder: Path, memory: str = "256MB") -> None:
        self._connection = duckdb.connect(str(folder / "audit.duckdb"))
        self._connection.execute(f"SET memory_limit = '{memory}'")
        self._connection.execute(f"SET temp_directory = '{folder / 'spill'}'")
        self._connection.execute("SET autoinstall_known_extensions = false")
        self._connection.execute("SET enable_progress_bar = false")
        self._waiting: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self._nbr_waiting = 0

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
            self._add(table, pa.Table.from_arrays(arrays, schema=schema))
            nbr_rows += len(batch)
        return nbr_rows

    def append(self, table: str, columns: dict[str, str], found: Mapping[str, Any], nbr_rows: int) -> None:
        """Adds rows by column, missing columns as nulls. They are there for queries after ``flush``."""
        arrays = [
            pa.array(found[name], _TYPES[kind]) if name in found else pa.nulls(nbr_rows, _TYPES[kind])
            for name, kind in columns.items()
        ]
        self._waiting[table].append(pa.Table.from_arrays(arrays, names=list(columns)))
        self._nbr_waiting += nbr_rows
        if self._nbr_waiting >= _ROWS_WAITING:
            self.flush()

    def flush(self) -> None:
        """Writes what was appended."""
        for table, parts in self._waiting.items():
            self._add(table, pa.concat_tables(parts))
        self._waiting.clear()
        self._nbr_waiting = 0

    def _add(self, table: str, incoming: pa.Table) -> None:
        self._connection.register("incoming", incoming)
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM incoming")
        self._connection.unregister("incoming")

    def run(self, sql: str, parameters: Parameters = ()) -> None:
        self._connection.execute(sql, _plain(parameters))

    def rows(self, sql: str, parameters: Parameters = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, streamed; other queries may run meanwhile."""
        cursor = self._connection.cursor().execute(sql, _plain(parameters))
        while batch := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from batch

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        row = self._connection.cursor().execute(sql, _plain(parameters)).fetchone()
        return row[0] if row else None


def _plain(parameters: Parameters) -> list[Any] | dict[str, Any]:
    return dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
