"""A SQLite file from a stranger, opened so that it can be read and can do nothing else."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scenelake.contracts.errors import BadInputError

_STEPS_PER_CALL = 10_000
_MAX_CALLS = 5_000
"""Fifty million steps of SQLite's machine for one statement; the largest honest one takes a few million."""
_LIMITS = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 4,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 8,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""The second comes where SQLite's message quotes a damaged name: it is decoded whatever ``text_factory`` says."""
_PRAGMAS = ("trusted_schema=OFF", "query_only=ON", "mmap_size=0", "cache_size=-8192", "cell_size_check=ON")


class Database:
    """A read-only connection; ``opened`` makes one.

    Attributes:
        tables: names of the plain tables with the names of their columns, both lower case.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._calls = 0
        connection.set_progress_handler(self._is_over, _STEPS_PER_CALL)
        self.tables: dict[str, list[str]] = {}

    def _is_over(self) -> bool:
        self._calls += 1
        return self._calls > _MAX_CALLS

    def read_tables(self) -> None:
        """Finds the tables; views, virtual tables and tables with computed columns are left out.

        Raises:
            sqlite3.Error, UnicodeDecodeError: the schema cannot be read.
        """
        sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
        found, error = self.rows(sql, max_rows=1000, max_bytes=16_000_000)
        if error is not None:
            raise error
        for name, created in found:
            if not str(created, errors="replace").upper().startswith("CREATE TABLE"):
                continue
            columns, error = self.rows("SELECT name, hidden FROM pragma_table_xinfo(?)", str(name, errors="replace"))
            if error is None and not any(hidden for _, hidden in columns):
                self.tables[str(name, errors="replace").lower()] = [
                    str(c, errors="replace").lower() for c, _ in columns
                ]

    def rows(
        self, sql: str, *values: Any, max_rows: int = 1000, max_bytes: int = 1_000_000
    ) -> tuple[list[tuple[Any, ...]], Exception | None]:
        """Rows of a statement until it ends or fails, and how it failed; texts come as bytes.

        The row before a failure may be missing: ``sqlite3`` takes the step behind a row before it gives it away.

        Args:
            max_bytes: of texts and blobs together; more is a failure.
        """
        self._calls = 0
        found: list[tuple[Any, ...]] = []
        left = max_bytes
        try:
            for row in self._connection.execute(sql, values):
                left -= sum(len(value) for value in row if isinstance(value, bytes))
                if left < 0:
                    return found, sqlite3.DataError(f"more than {max_bytes} bytes")
                found.append(row)
                if len(found) >= max_rows:
                    break
        except FAILURES as error:
            return found, error
        return found, None


@contextmanager
def opened(path: Path, max_value_bytes: int) -> Iterator[Database]:
    """The database at ``path``; journals beside it are not looked at.

    Args:
        max_value_bytes: SQLite itself refuses larger rows.

    Raises:
        BadInputError: reason ``database_unreadable``.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    try:
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_value_bytes)
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        database = Database(connection)
        try:
            _prepare(connection, database)
        except FAILURES as error:
            raise BadInputError(f"SQLite cannot read it: {error}", reason="database_unreadable") from error
        yield database
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, database: Database) -> None:
    # A file that is shorter than its header says is read only with the second; the connection stays read-only.
    for extra in ((), ("writable_schema=ON",)):
        try:
            for pragma in (*extra, *_PRAGMAS):
                connection.execute(f"PRAGMA {pragma}")
            database.read_tables()
        except FAILURES:
            if extra:
                raise
        else:
            return


def text_of(value: object) -> str:
    """A column's value as text; what is not UTF-8 in it is replaced."""
    return str(value, errors="replace") if isinstance(value, bytes) else str(value)
