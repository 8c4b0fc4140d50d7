"""Tables too large for memory, for one run: written to disk as they come in, joined, and read back."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

_ROWS_AT_ONCE = 20_000
_MEMORY_LIMIT = "512MB"
SCRATCH = "scratch"


class ScratchDatabase:
    """A DuckDB database file. Its tables are named ``scratch.<table>`` in queries.

    Args:
        connection: may know other tables as well, for example a release's (``duckdb_reader.attach_release``).
        folder: receives the file, and what queries spill; it belongs to the caller.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        connection.execute(f"SET temp_directory = '{folder / 'spill'}'")
        connection.execute(f"ATTACH '{folder / 'scratch.duckdb'}' AS {SCRATCH}")

    def create(self, table: str, columns: Mapping[str, pa.DataType]) -> None:
        """Makes an empty table."""
        self._connection.register("empty", pa.schema(list(columns.items())).empty_table())
        self._connection.execute(f"CREATE TABLE {SCRATCH}.{table} AS SELECT * FROM empty")

    def insert(self, table: str, columns: Mapping[str, pa.DataType], rows: Iterable[tuple[Any, ...]]) -> None:
        """Adds rows as they come, with no more than a batch of them in memory."""
        left = iter(rows)
        while batch := list(islice(left, _ROWS_AT_ONCE)):
            values = zip(*batch, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(values, columns.values(), strict=True)]
            self._connection.register("incoming", pa.table(arrays, names=list(columns)))
            self._connection.execute(f"INSERT INTO {SCRATCH}.{table} SELECT * FROM incoming")
            self._connection.unregister("incoming")

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, in batches; other queries may run meanwhile."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql)
            while batch := cursor.fetchmany(_ROWS_AT_ONCE):
                yield from batch
        finally:
            cursor.close()
