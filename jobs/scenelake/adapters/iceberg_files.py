"""Data files of an Iceberg table: which rows are there, which files to add and which to drop."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import And, BooleanExpression, In
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.typedef import Record

from scenelake.adapters.objects import table_bytes
from scenelake.contracts.commits import TableChange
from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.paths import LakePaths, payload_slot
from scenelake.contracts.stages import PayloadFile
from scenelake.contracts.tables import Table
from scenelake.runtime.faults import durable_write
from scenelake.serialise.canonical import conform, digest, sorted_rows

_EPOCH = date(1970, 1, 1)
_FOOTER_BYTES = 64 * 1024
_NO_DATE = "none"


@dataclass(frozen=True, slots=True)
class FilePlan:
    """Files that one snapshot adds and drops, and a digest that is equal for equal plans.

    Attributes:
        hashes: SHA-256 of the added files, by URI.
    """

    add: tuple[DataFile, ...]
    remove: tuple[DataFile, ...]
    hashes: dict[str, str]

    @property
    def is_empty(self) -> bool:
        return not self.add and not self.remove

    @property
    def digest(self) -> str:
        text = [f"+{uri} {sha256}" for uri, sha256 in self.hashes.items()] + [f"-{f.file_path}" for f in self.remove]
        return hashlib.sha256("\n".join(sorted(text)).encode()).hexdigest()


class TableFiles:
    """Plans the files of one table at one state of its metadata.

    Args:
        table: as loaded; its metadata must know the snapshot that plans start from.
        definition: the same table in the contracts.
    """

    def __init__(self, table: IcebergTable, definition: Table, paths: LakePaths) -> None:
        self._table = table
        self._definition = definition
        self._paths = paths

    def plan(self, change: TableChange, start: Snapshot, batch_id: str) -> FilePlan:
        """Files to add and drop so that the table is what the change says.

        Data files are written here, under names made of their content, so that planning again writes the
        same files. Rows of other owners that share a file with dropped ones move to the new file.
        """
        if change.payload_files:
            return self._payload_plan(change, start)
        rows = conform(change.rows, self._definition.schema)
        dropped, survivors, gone = [], [], []
        for file, held in self._owned_files(change, start):
            mask = _mask(held, change)
            removed = held.filter(mask)
            if len(removed):
                gone.append(file)
                dropped.append(removed)
                survivors.append(held.filter(pc.invert(mask)))
        if self._same(dropped, rows):
            return FilePlan((), (), {})
        files = [self._write(day, part, batch_id) for day, part in self._by_date([rows, *survivors])]
        return FilePlan(tuple(f for f, _ in files), tuple(gone), {f.file_path: sha256 for f, sha256 in files})

    def _same(self, dropped: Sequence[pa.Table], rows: pa.Table) -> bool:
        old = pa.concat_tables([*dropped, rows.slice(0, 0)])
        if len(old) != len(rows):
            return False
        key = self._definition.key
        return digest(old, key, ("release_id",)) == digest(rows, key, ("release_id",))

    def _owned_files(self, change: TableChange, start: Snapshot) -> Iterator[tuple[DataFile, pa.Table]]:
        if not change.owners:
            return
        for file in self._files(is_in(change.owner_column, change.owners), start):
            with self._table.io.new_input(file.file_path).open() as stream:
                held = pq.read_table(pa.BufferReader(stream.read()))
            yield file, conform(held, self._definition.schema)

    def _files(self, where: BooleanExpression, start: Snapshot) -> list[DataFile]:
        tasks = self._table.scan(row_filter=where, snapshot_id=start.snapshot_id).plan_files()
        return sorted((task.file for task in tasks), key=lambda f: f.file_path)

    def _by_date(self, parts: Sequence[pa.Table]) -> Iterator[tuple[date | None, pa.Table]]:
        rows = pa.concat_tables(parts)
        if not len(rows):
            return
        partition = self._definition.partition
        if partition is None:
            yield None, rows
            return
        for day in sorted(pc.unique(rows.column(partition)).to_pylist(), key=lambda d: d or _EPOCH):
            column = rows.column(partition)
            yield day, rows.filter(pc.is_null(column) if day is None else pc.equal(column, pa.scalar(day)))

    def _write(self, day: date | None, rows: pa.Table, batch_id: str) -> tuple[DataFile, str]:
        columns = self._definition.columns
        lead = [c for c in ("drive_id", "scene_id") if c in columns]
        data = table_bytes(sorted_rows(rows, (*lead, *self._definition.key)))
        sha256 = hashlib.sha256(data).hexdigest()
        name = self._definition.name
        if self._definition.partition is None:
            uri = f"{self._paths.warehouse}/{name}/data/{batch_id}-{sha256[:16]}.parquet"
        else:
            uri = self._paths.batched_file(name, day.isoformat() if day else _NO_DATE, batch_id, sha256)
        with durable_write("iceberg.data_file"), self._table.io.new_output(uri).create(overwrite=True) as stream:
            stream.write(data)
        metadata = pq.read_metadata(io.BytesIO(data))
        return self._data_file(uri, len(data), metadata, day), sha256

    def _payload_plan(self, change: TableChange, start: Snapshot) -> FilePlan:
        wanted = {f.uri: f for f in change.payload_files}
        days = is_in("drive_date", {f.drive_date for f in change.payload_files})
        where = And(days, is_in(change.owner_column, change.owners)) if change.owners else days
        live = {f.file_path: f for f in self._files(where, start)}
        new = [wanted[uri] for uri in sorted(set(wanted) - set(live))]
        slots = {payload_slot(f.uri) for f in new}
        superseded = tuple(f for uri, f in live.items() if uri not in wanted and payload_slot(uri) in slots)
        add = tuple(
            self._data_file(f.uri, f.size_bytes, self._footer(f), date.fromisoformat(f.drive_date)) for f in new
        )
        return FilePlan(add, superseded, {f.uri: f.sha256 for f in new})

    def _footer(self, file: PayloadFile) -> pq.FileMetaData:
        """Parquet metadata from the end of a file, without reading its rows.

        Raises:
            ScenelakeError: the file is not the one that decode described.
        """
        try:
            tail = self._tail(file, _FOOTER_BYTES)
            needed = int.from_bytes(tail[-8:-4], "little") + 8
            if needed > len(tail):
                tail = self._tail(file, needed)
        except FileNotFoundError as error:
            raise ScenelakeError(f"{file.uri}: decode says it is there and it is not") from error
        metadata = pq.read_metadata(pa.BufferReader(tail))
        if metadata.num_rows != file.nbr_rows:
            raise ScenelakeError(f"{file.uri}: expected {file.nbr_rows} rows, found {metadata.num_rows}")
        return metadata

    def _tail(self, file: PayloadFile, length: int) -> bytes:
        source = self._table.io.new_input(file.uri)
        if len(source) != file.size_bytes:
            raise ScenelakeError(f"{file.uri}: expected {file.size_bytes} bytes, found {len(source)}")
        with source.open() as stream:
            stream.seek(max(file.size_bytes - length, 0))
            return bytes(stream.read())

    def _data_file(self, uri: str, size: int, metadata: pq.FileMetaData, day: date | None) -> DataFile:
        schema = self._table.schema()
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=metadata,
            stats_columns=compute_statistics_plan(schema, self._table.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(schema),
        )
        partition = Record() if self._definition.partition is None else Record((day - _EPOCH).days if day else None)
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=uri,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=size,
            sort_order_id=None,
            spec_id=self._table.spec().spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )


def is_in(column: str, values: Iterable[str]) -> BooleanExpression:
    """The condition that a column has one of some values."""
    return In(column, values)  # type: ignore[call-arg,arg-type]


def _mask(held: pa.Table, change: TableChange) -> pa.ChunkedArray:
    """True for the rows that the change replaces."""
    owned = pc.is_in(held.column(change.owner_column), value_set=pa.array(change.owners, pa.string()))
    if not change.kept_scenes:
        return owned
    kept = pc.is_in(held.column("scene_id"), value_set=pa.array(sorted(change.kept_scenes), pa.string()))
    return pc.and_(owned, pc.invert(kept))
