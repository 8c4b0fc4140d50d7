"""Reads one pinned release from the lake, for exports, views and the loader (``contracts.release_reader``).

Index tables are read by DuckDB at the snapshots that the release pins; payload rows from the files that
``sample_data`` points to, by row group and column. A row is believed only where its ``sample_data_id`` is the one
asked for; others are searched in the table's files of the release.
"""

import os
from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.adapters.duckdb_reader import attach_table, connect
from scenelake.adapters.objects import Objects, s3_objects
from scenelake.adapters.payload_rows import PayloadRows, in_order
from scenelake.contracts.columns import field
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import SLOTTED_TABLES
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release
from scenelake.contracts.tables import GOLD
from scenelake.runtime.settings import Settings
from scenelake.serialise.releases import latest_release, load_release

LATEST = "latest"
_ID = "sample_data_id"
_ORDER = ("drive_id", "scene_id", "timestamp_ns", "frame_index", "start_ns")
_SHOWN = 3
_OTHERS: list[Any] = []
"""Connections of the process that this one was forked from."""


class LakeReleaseReader:
    """``contracts.release_reader.ReleaseReader`` on the lake of some settings.

    Can be pickled and used after a fork: doors are opened in the process that uses them.

    Args:
        objects: storage with the payload files; the settings' S3 where None.
    """

    def __init__(self, settings: Settings, release: Release, objects: Objects | None = None) -> None:
        self.settings = settings
        self.release = release
        self._given_objects = objects
        self._process: int | None = None
        self._lock = RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return LakeReleaseReader, (self.settings, self.release, self._given_objects)

    def scenes(self) -> pa.Table:
        """See ``ReleaseReader.scenes``."""
        scene, kept = GOLD["scene"].columns, GOLD["release_scene"].columns
        columns = [f"s.{c}" for c in scene] + [f"r.{c}" for c in kept if c not in scene]
        sql = (
            f"SELECT {', '.join(columns)} FROM scene s JOIN release_scene r USING (scene_id)"
            " WHERE r.is_kept ORDER BY s.drive_id, s.start_ns, s.scene_id"
        )
        for table in ("scene", "release_scene"):
            self._present(table)
        return self._query(sql, [], [c.partition(".")[2] for c in columns])

    def rows(
        self,
        table: str,
        scene_ids: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
    ) -> pa.Table:
        """See ``ReleaseReader.rows``. Rows come by drive, scene, time and key.

        Args:
            channels: only rows of these, of a table with ``channel``.
        """
        if table not in GOLD or table in SLOTTED_TABLES:
            raise ValueError(f"{table!r}: expected a gold table that is not read by payloads, of {_readable()}")
        definition = GOLD[table]
        wanted = list(definition.columns if columns is None else columns)
        unknown = sorted(set(wanted) - set(definition.columns))
        if unknown:
            raise ValueError(f"{table} has no column {', '.join(unknown)}; it has {', '.join(definition.columns)}")
        present = self._present(table)
        where, parameters = self._where(table, scene_ids, channels)
        order = [c for c in (*_ORDER, *definition.key) if c in definition.columns and c in present]
        found = [c for c in wanted if c in present]
        names = ", ".join(found) or definition.key[0]
        sql = f"SELECT {names} FROM {table}{where} ORDER BY {', '.join(dict.fromkeys(order))}"
        return self._query(sql, parameters, wanted)

    def payloads(self, sample_data: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
        """See ``ReleaseReader.payloads``."""
        tables = pc.unique(sample_data["payload_table"]).to_pylist()
        if not len(sample_data):
            raise ValueError("sample_data has no row, so that the payload table is not known")
        if len(tables) != 1 or tables[0] not in SLOTTED_TABLES:
            raise ValueError(f"payload_table: expected one of {', '.join(SLOTTED_TABLES)}, got {tables}")
        wanted = list(GOLD[tables[0]].columns if columns is None else columns)
        read = list(dict.fromkeys([_ID, *wanted]))
        schema = pa.schema([field(c) for c in read])
        ids = sample_data[_ID].combine_chunks()
        parts, places, lost = [], [], []
        for uri, at in by_file(sample_data):
            rows = self._hinted(uri, sample_data["row_index"].take(at), read)
            is_right = np.zeros(len(at), bool)
            if rows is not None:
                rows = conformed(rows, schema)
                is_right = np.asarray(pc.fill_null(pc.equal(rows[_ID], ids.take(at)), False))
                parts.append(rows if is_right.all() else rows.filter(pa.array(is_right)))
                places.append(np.asarray(at)[is_right])
            lost.append(np.asarray(at)[~is_right])
        missing = np.concatenate(lost)
        if len(missing):
            parts.append(self._searched(tables[0], sample_data.take(pa.array(missing)), read))
            places.append(missing)
        return in_order(parts, np.concatenate(places)).select(wanted)

    def _hinted(self, uri: str | None, row_index: pa.ChunkedArray, columns: list[str]) -> pa.Table | None:
        """Rows at the hinted places; None where the file is gone or shorter than the hints say."""
        if uri is None or row_index.null_count:
            return None
        try:
            return self._payload_rows.take(uri, np.asarray(row_index, np.int64), columns)
        except (FileNotFoundError, IndexError):
            return None

    def _searched(self, table: str, wanted: pa.Table, columns: list[str]) -> pa.Table:
        """Rows by id from the table's files of the release, in the order of ``wanted``."""
        ids = wanted[_ID].combine_chunks()
        present = self._present(table)
        marks = ", ".join("?" * len(ids))
        sql = f"SELECT {', '.join(c for c in columns if c in present)} FROM {table} WHERE {_ID} IN ({marks})"
        found = self._query(sql, ids.to_pylist(), columns)
        places = pc.index_in(ids, value_set=found[_ID].combine_chunks())
        if places.null_count:
            gone = wanted.filter(pc.is_null(places)).select([_ID, "payload_file"]).slice(0, _SHOWN).to_pylist()
            shown = "; ".join(f"message {g[_ID]} is not in {g['payload_file']}" for g in gone)
            raise BadInputError(
                f"release {self.release.release_id}: {shown}, nor in any other file of {table}: {places.null_count} of"
                f" {len(ids)} messages have no payload; erased, or the lake is damaged (`scenelake audit` tells)",
                reason="payload_missing",
            )
        return found.take(places)

    def _where(
        self, table: str, scene_ids: Sequence[str] | None, channels: Sequence[str] | None
    ) -> tuple[str, list[str]]:
        wanted = {}
        if scene_ids is not None and "scene_id" in GOLD[table].columns:
            wanted["scene_id"] = list(scene_ids)
        elif scene_ids is not None:
            known = self.release.scenes
            wanted["drive_id"] = sorted({known[s][0] for s in scene_ids if s in known})
        if channels is not None:
            wanted["channel"] = list(channels)
        if not all(wanted.values()):
            return " WHERE false", []
        terms = [f"{column} IN ({', '.join('?' * len(values))})" for column, values in wanted.items()]
        return f" WHERE {' AND '.join(terms)}" if terms else "", [v for values in wanted.values() for v in values]

    def _query(self, sql: str, parameters: list[str], columns: Sequence[str]) -> pa.Table:
        """The answer under the contract's types; columns that the release's tables lack are null."""
        found = self._connection.cursor().execute(sql, parameters).to_arrow_table()
        return conformed(found, pa.schema([field(c) for c in columns]))

    def _present(self, table: str) -> frozenset[str]:
        """Columns that the table had when the release was made. Attaches the table on its first use."""
        connection = self._connection
        with self._lock:
            if table not in self._attached:
                attach_table(connection, self.release, table)
                sql = "SELECT column_name FROM duckdb_columns() WHERE table_name = ?"
                self._attached[table] = frozenset(row[0] for row in connection.execute(sql, [table]).fetchall())
            return self._attached[table]

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        self._leave_other_process()
        return self._open_connection

    @cached_property
    def _open_connection(self) -> duckdb.DuckDBPyConnection:
        self._attached: dict[str, frozenset[str]] = {}
        return connect(self.settings)

    @property
    def _payload_rows(self) -> PayloadRows:
        self._leave_other_process()
        return self._open_payload_rows

    @cached_property
    def _open_payload_rows(self) -> PayloadRows:
        return PayloadRows(self._given_objects or s3_objects(self.settings))

    def _leave_other_process(self) -> None:
        with self._lock:
            if self._process != os.getpid():
                # Never closed: DuckDB would wait for threads that a fork did not bring along.
                _OTHERS.append(self.__dict__.pop("_open_connection", None))
                self.__dict__.pop("_open_payload_rows", None)
                self._process = os.getpid()


def open_release(settings: Settings, release_id: str = LATEST) -> LakeReleaseReader:
    """A reader of one release of the settings' lake.

    Args:
        release_id: ``r`` and eight digits, or ``latest``, which is looked up now and then stays as it is.

    Raises:
        BadInputError: reason ``not_found`` when there is no such release.
    """
    objects, paths = s3_objects(settings), LakePaths(settings.lake_uri)
    if release_id != LATEST:
        return LakeReleaseReader(settings, load_release(objects, paths, release_id))
    newest = latest_release(objects, paths)
    if newest is None:
        raise BadInputError(f"{settings.lake_uri}: it has no release yet; build one first", reason="not_found")
    return LakeReleaseReader(settings, newest)


def by_file(sample_data: pa.Table) -> list[tuple[str | None, pa.Array]]:
    """Each payload file with the positions of its rows, ascending; files in the order of their first row."""
    encoded = sample_data["payload_file"].combine_chunks().dictionary_encode(null_encoding="encode")
    codes = np.asarray(encoded.indices)
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order])) + 1
    return [(encoded.dictionary[int(codes[at[0]])].as_py(), pa.array(at)) for at in np.split(order, bounds)]


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The schema's columns in its types; null where the rows do not have them."""
    columns = [
        rows[f.name].cast(f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema
    ]
    return pa.table(columns, schema=schema)


def _readable() -> str:
    return ", ".join(t for t in GOLD if t not in SLOTTED_TABLES)
