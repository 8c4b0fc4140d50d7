"""The drop's small tables and its message index, each one Parquet file written in pieces."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scenelake.contracts.tables import CALIBRATION, GOLD, MESSAGE_INDEX, decoded_schema
from scenelake.decode.row_columns import Row, rows_to_batch
from scenelake.decode.sinks import Sink


class SmallTables:
    """Collects rows by table name and uploads ``<folder>/<table>.parquet`` at the end."""

    def __init__(self, folder_uri: str, max_rows: int, max_bytes: int, sink: Sink, scratch: Path) -> None:
        self._folder_uri = folder_uri
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._sink = sink
        self._scratch = scratch
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rows: dict[str, list[Row]] = {}
        self._counts: dict[str, int] = {}
        self._buffered_bytes: dict[str, int] = {}

    def uri(self, table: str) -> str:
        return f"{self._folder_uri}/{table}.parquet"

    def append(self, table: str, rows: list[Row], message_bytes: int = 0) -> int:
        """Adds the rows of a message and returns the number that the first of them has in the file.

        Args:
            message_bytes: size of the message; a row of long lists fills memory long before ``max_rows`` do.
        """
        first = self._counts.get(table, 0)
        buffered = self._rows.setdefault(table, [])
        buffered.extend(rows)
        self._counts[table] = first + len(rows)
        self._buffered_bytes[table] = self._buffered_bytes.get(table, 0) + message_bytes
        if len(buffered) >= self._max_rows or self._buffered_bytes[table] >= self._max_bytes:
            self._flush(table)
        return first

    def close(self, *, always: tuple[str, ...]) -> tuple[str, ...]:
        """Uploads every table that has rows, and ``always`` whether they have or not; returns their names."""
        names = sorted({name for name, count in self._counts.items() if count} | set(always))
        for name in names:
            self._flush(name)
            self._writers[name].close()
            self._sink.write_file(self.uri(name), self._path(name))
            self._path(name).unlink()
        return tuple(names)

    def abandon(self) -> None:
        """Closes open files without uploading them."""
        for writer in self._writers.values():
            writer.close()

    def _path(self, table: str) -> Path:
        return self._scratch / f"{table}.parquet"

    def _flush(self, table: str) -> None:
        schema = small_schema(table)
        if table not in self._writers:
            self._writers[table] = pq.ParquetWriter(self._path(table), schema, version="2.6", compression="zstd")
        rows = self._rows.pop(table, [])
        self._buffered_bytes.pop(table, None)
        if rows:
            self._writers[table].write_batch(rows_to_batch(rows, schema))


def small_schema(table: str) -> pa.Schema:
    """Schema of a table as decode leaves it in the drop's folder."""
    if table == MESSAGE_INDEX.name:
        return MESSAGE_INDEX.schema
    if table == CALIBRATION.name:
        return CALIBRATION.schema
    if table not in GOLD:
        raise ValueError(f"{table!r} is not a table")
    return decoded_schema(table)
