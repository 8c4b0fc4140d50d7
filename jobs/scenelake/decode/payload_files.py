"""Payload files: one Parquet file per (table, 20 s slot of log time), written row group by row group.

Image and raw bytes are stored as they are (they do not compress, and a reader wants them back byte for
byte); point columns are compressed. The number of open files and the bytes they buffer are bounded, so a
slot that is closed early and met again continues in a further part.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import PayloadFile
from scenelake.contracts.tables import GOLD
from scenelake.decode.config import DecodeConfig
from scenelake.decode.row_columns import Row, payload_bytes, rows_to_batch
from scenelake.decode.sinks import Sink

_BLOB_COLUMNS = frozenset(("image", "data"))
_HASH_BLOCK_BYTES = 1024 * 1024


@dataclass(slots=True)
class _OpenFile:
    table: str
    slot: int
    uri: str
    drive_date: date
    path: Path
    writer: pq.ParquetWriter
    rows: list[Row] = field(default_factory=list)
    nbr_rows: int = 0
    buffered_bytes: int = 0


class PayloadFiles:
    """Writes rows of the slotted tables of one object.

    Attributes:
        written: finished files, by URI once ``close`` has run.
    """

    def __init__(
        self, object_sha256: str, recipe: str, config: DecodeConfig, paths: LakePaths, sink: Sink, scratch: Path
    ) -> None:
        self._object_sha256 = object_sha256
        self._recipe = recipe
        self._config = config
        self._paths = paths
        self._sink = sink
        self._scratch = scratch
        self._open: OrderedDict[tuple[str, int], _OpenFile] = OrderedDict()
        self._parts: dict[tuple[str, int], int] = {}
        self._nbr_files = 0
        self._buffered_bytes = 0
        self.written: list[PayloadFile] = []

    def append(self, table: str, log_time_ns: int, row: Row) -> tuple[str, int]:
        """Adds a row and returns where it will lie: the file's URI and the row's number in it.

        Raises:
            BadInputError: reason ``log_times_scattered`` when the log times need too many files.
        """
        slot = log_time_ns // self._config.slot_ns
        file = self._file(table, slot)
        row["object_sha256"] = self._object_sha256
        row["drive_date"] = file.drive_date
        file.rows.append(row)
        row_index = file.nbr_rows
        file.nbr_rows += 1
        grown = payload_bytes(row) + 256
        file.buffered_bytes += grown
        self._buffered_bytes += grown
        if file.buffered_bytes >= self._config.row_group_bytes:
            self._flush(file)
        elif self._buffered_bytes >= self._config.buffer_bytes:
            self._flush(max(self._open.values(), key=lambda f: f.buffered_bytes))
        return file.uri, row_index

    def close(self) -> tuple[PayloadFile, ...]:
        """Finishes every open file; returns all files, sorted by URI."""
        while self._open:
            self._finish(self._open.popitem(last=False)[1])
        self.written.sort(key=lambda f: f.uri)
        return tuple(self.written)

    def abandon(self) -> None:
        """Closes open files without uploading them."""
        for file in self._open.values():
            file.writer.close()
        self._open.clear()

    def _file(self, table: str, slot: int) -> _OpenFile:
        key = (table, slot)
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key]
        if len(self._open) >= self._config.max_open_files:
            self._finish(self._open.popitem(last=False)[1])
        self._nbr_files += 1
        if self._nbr_files > self._config.max_payload_files:
            raise BadInputError(
                f"the log times need more than {self._config.max_payload_files} payload files",
                reason="log_times_scattered",
            )
        part = self._parts.get(key, 0)
        self._parts[key] = part + 1
        day = datetime.fromtimestamp(slot * self._config.slot_ns // 1_000_000_000, UTC).date()
        uri = self._paths.payload_file(table, day.isoformat(), self._object_sha256, slot, part, self._recipe)
        path = self._scratch / f"{table}-{slot}-{part}.parquet"
        self._open[key] = _OpenFile(table, slot, uri, day, path, payload_writer(path, table))
        return self._open[key]

    def _flush(self, file: _OpenFile) -> None:
        if file.rows:
            file.writer.write_batch(rows_to_batch(file.rows, GOLD[file.table].schema))
        self._buffered_bytes -= file.buffered_bytes
        file.rows, file.buffered_bytes = [], 0

    def _finish(self, file: _OpenFile) -> None:
        self._flush(file)
        file.writer.close()
        self._sink.write_file(file.uri, file.path)
        self.written.append(
            PayloadFile(
                table=file.table,
                uri=file.uri,
                drive_date=file.drive_date.isoformat(),
                slot=file.slot,
                nbr_rows=file.nbr_rows,
                size_bytes=file.path.stat().st_size,
                sha256=_sha256(file.path),
            )
        )
        file.path.unlink()


def payload_writer(path: Path, table: str) -> pq.ParquetWriter:
    """A Parquet writer with the layout of payload tables.

    Measured on 40 real LiDAR scans: zstd level 1 alone stores points at 0.59 of their size, with the bytes
    of floats split by significance at 0.50, both at about 265 MB per CPU second.
    """
    schema: pa.Schema = GOLD[table].schema
    leaves = [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema]
    large = {
        f.name: leaf
        for f, leaf in zip(schema, leaves, strict=True)
        if pa.types.is_list(f.type) or f.name in _BLOB_COLUMNS
    }
    return pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression={leaf: "none" if leaf in _BLOB_COLUMNS else "zstd" for leaf in leaves},
        compression_level={leaf: 1 for leaf in leaves if leaf not in _BLOB_COLUMNS},
        use_dictionary=[leaf for leaf in leaves if leaf not in large.values()],
        use_byte_stream_split=[
            leaf
            for f, leaf in zip(schema, leaves, strict=True)
            if pa.types.is_list(f.type) and pa.types.is_floating(f.type.value_type)
        ],
        write_statistics=[leaf for leaf in leaves if leaf not in large.values()],
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
