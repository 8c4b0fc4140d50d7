"""Tables too large for memory, for one run: written to disk as they come in, joined, and read back."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

_ROWS_AT_ONCE = 20_000
_MEMORY_LIMIT = "512MB"


class ScratchDatabase:
    """A DuckDB database file.

    Args:
        folder: receives the file, and what queries spill; it belongs to the caller.
    """

    def __init__(self, folder: Path) -> None:
        config = {"autoinstall_known_extensions": "false", "memory_limit": _MEMORY_LIMIT}
        self._connection = duckdb.connect(str(folder / "scratch.duckdb"), config=config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def create(self, table: str, columns: Mapping[str, pa.DataType]) -> None:
        """Makes an empty table."""
        self._connection.register("empty", pa.schema(list(columns.items())).empty_table())
        self._connection.execute(f"CREATE TABLE {table} AS SELECT * FROM empty")

    def insert(self, table: str, columns: Mapping[str, pa.DataType], rows: Iterable[tuple[Any, ...]]) -> None:
        """Adds rows as they come, with no more than a batch of them in memory."""
        left = iter(rows)
        while batch := list(islice(left, _ROWS_AT_ONCE)):
            values = zip(*batch, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(values, columns.values(), strict=True)]
            self._connection.register("incoming", pa.table(arrays, names=list(columns)))
            self._connection.execute(f"INSERT INTO {table} SELECT * FROM incoming")
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
