"""I4: data files exist, are what was recorded, and none lies there for nothing. What is read goes into the database."""

import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from scenelake_audit.aws import Aws, Fetched, split_uri
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.report import Report
from scenelake_audit.tables import DataFile, PinnedTable

T = TypeVar("T")

PAYLOAD_TABLES = frozenset({"camera_frame", "lidar_sweep", "radar_sweep", "raw_message"})
"""Tables whose files decode wrote: one per object and slot, recorded in its outcome."""

_NAMED_BY_CONTENT = re.compile(r"-([0-9a-f]{16})\.parquet$")

COLUMNS: dict[str, dict[str, str]] = {
    "scene": {
        "scene_id": "VARCHAR", "drive_id": "VARCHAR", "content_hash": "VARCHAR", "nbr_samples": "BIGINT",
    },
    "release_scene": {
        "release_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR", "revision": "VARCHAR",
        "verdict": "VARCHAR",
    },
    "sample": {
        "sample_id": "VARCHAR", "scene_id": "VARCHAR", "frame_index": "BIGINT", "timestamp_ns": "BIGINT",
        "prev_sample_id": "VARCHAR", "next_sample_id": "VARCHAR",
    },
    "sample_data": {
        "sample_data_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR", "channel": "VARCHAR",
        "status": "VARCHAR", "object_sha256": "VARCHAR", "payload_table": "VARCHAR", "payload_file": "VARCHAR",
        "row_index": "BIGINT",
    },
    "sync_index": {
        "sample_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR", "channel": "VARCHAR",
        "sample_data_id": "VARCHAR", "is_match": "BOOLEAN",
    },
    "message_account": {
        "drop_id": "VARCHAR", "object_sha256": "VARCHAR", "drive_id": "VARCHAR", "channel": "VARCHAR",
        "nbr_messages": "BIGINT", "nbr_accepted": "BIGINT", "nbr_quarantined": "BIGINT", "nbr_rejected": "BIGINT",
        "nbr_duplicate": "BIGINT", "nbr_unassigned": "BIGINT", "nbr_undecodable": "BIGINT",
        "unassigned_reason": "VARCHAR",
    },
    "quarantine": {
        "scene_id": "VARCHAR", "drive_id": "VARCHAR", "state": "VARCHAR", "reason": "VARCHAR",
        "evidence_uri": "VARCHAR",
    },
    "raw_object": {
        "drop_id": "VARCHAR", "object_sha256": "VARCHAR", "drive_id": "VARCHAR",
    },
}  # fmt: skip
"""Columns that the checks need, by table."""

BATCHED = (
    "imu", "gnss", "ego_pose", "robot_state", "action", "language", "episode", "can_frame", "radar_track",
    "annotation", "transform",
)  # fmt: skip
"""Payload tables whose rows lie in one file per batch."""

_BATCHED_COLUMNS = {"sample_data_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR"}
_FILES = {
    "table_name": "VARCHAR", "uri": "VARCHAR", "size_bytes": "BIGINT", "nbr_rows": "BIGINT",
    "is_read": "BOOLEAN",
}  # fmt: skip
_LISTED = {"uri": "VARCHAR", "size_bytes": "BIGINT", "modified_at_s": "DOUBLE"}
_OUTCOME_FILES = {"uri": "VARCHAR", "sha256": "VARCHAR", "drop_id": "VARCHAR"}
_PAYLOAD_ROWS = {"uri": "VARCHAR", "row_index": "BIGINT", "sample_data_id": "VARCHAR"}


def columns_of(table: str) -> dict[str, str]:
    return _BATCHED_COLUMNS if table in BATCHED else COLUMNS.get(table, {})


class FileAudit:
    """Reads every data file that it may, once: its hash, its number of rows, and the columns that checks need.

    Args:
        database: receives ``data_files``, ``listed``, ``outcome_files``, ``payload_rows``, ``scene_files`` and
            one table per gold table.
        tables: of the audited release.
    """

    def __init__(
        self, aws: Aws, lake: Lake, depth: Depth, database: Database, report: Report, tables: Mapping[str, PinnedTable]
    ) -> None:
        self._aws, self._lake, self._depth, self._db, self._report = aws, lake, depth, database, report
        self._tables = tables

    def load(self) -> None:
        """Reads the listing of gold, decode's outcomes, and the data files."""
        self._db.create("data_files", _FILES)
        self._db.create("listed", _LISTED)
        self._db.create("outcome_files", _OUTCOME_FILES)
        self._db.create("payload_rows", _PAYLOAD_ROWS)
        self._db.create("scene_files", {"table_name": "VARCHAR", "scene_id": "VARCHAR", "uri": "VARCHAR"})
        for small in (*COLUMNS, *BATCHED):
            self._db.create(small, columns_of(small))
        for name, table in self._tables.items():
            self._db.insert("data_files", _FILES, self._file_rows(name, table))
        listing = self._aws.objects(self._lake.lake, "gold/")
        self._db.insert("listed", _LISTED, ((f"s3://{self._lake.lake}/{k}", size, at) for k, size, at in listing))
        self._db.insert("outcome_files", _OUTCOME_FILES, self._outcome_rows())
        with tempfile.TemporaryDirectory(prefix="scenelake-audit-") as folder:
            for file in self._readable():
                self._read(file, Path(folder) / "file.parquet")

    def _file_rows(self, name: str, table: PinnedTable) -> Iterator[tuple[Any, ...]]:
        nbr_rows = 0
        for file in self._guarded(name, table.files()):
            nbr_rows += file.nbr_rows
            yield name, file.uri, file.size_bytes, file.nbr_rows, False
        self._report.examine("I4.rows")
        if nbr_rows != table.pin.nbr_rows:
            expected = f"{table.pin.nbr_rows} rows, as the release says"
            self._report.violate("I4.rows", f"table {name}", expected, f"{nbr_rows} rows in its data files")

    def _guarded(self, name: str, found: Iterator[T]) -> Iterator[T]:
        """What a table's manifests say, up to one that does not read."""
        try:
            yield from found
        except (OSError, ValueError) as error:
            self._report.violate("I4.exists", f"table {name}", "manifests that read", str(error)[:500])

    def _outcome_rows(self) -> Iterator[tuple[str, str, str]]:
        """Payload files of decode's outcomes: of the recipe that the ledger names, and of every other one.

        An earlier release may pin what an earlier recipe wrote.
        """
        recipes = list(self._aws.folders(self._lake.lake, "work/decoded/"))
        sql = "SELECT drop_id, decoded_uri, state FROM drops WHERE decoded_uri IS NOT NULL OR state = 'CLAIMED'"
        for drop_id, named, state in self._db.rows(sql):
            others = {f"s3://{self._lake.lake}/{recipe}{drop_id}" for recipe in recipes}
            for uri in sorted({named or "", *others} - {""}):
                files = self._payload_files(uri)
                if files is not None:
                    yield from ((file["uri"], file["sha256"], drop_id) for file in files)
                elif uri == named and state in ("BUILT", "DUPLICATE"):
                    expected = f"decode's outcome at {uri}"
                    self._report.violate("I4.tombstone", f"drop {drop_id}", expected, "none that reads")

    def _payload_files(self, decoded_uri: str) -> list[dict[str, Any]] | None:
        bucket, key = split_uri(decoded_uri)
        data = self._aws.read(bucket, f"{key}/outcome.json") if bucket else None
        try:
            found: list[dict[str, Any]] | None = json.loads(data)["payload_files"] if data is not None else None
        except (ValueError, KeyError):
            return None
        return found

    def _readable(self) -> list[DataFile]:
        """Every small table's files, and payload files up to the bound: those with the smallest hash of their name."""
        sql = "SELECT table_name, uri, size_bytes, nbr_rows FROM data_files ORDER BY md5(uri)"
        chosen, left, skipped = [], self._depth.payload_bytes, 0
        for table, uri, size, nbr_rows in self._db.rows(sql):
            if table in PAYLOAD_TABLES and not self._depth.is_deep:
                if size > left:
                    skipped += 1
                    continue
                left -= size
            chosen.append(DataFile(table, uri, size, nbr_rows))
        if skipped:
            self._report.note(f"{skipped:,} payload files were not hashed (bound {self._depth.payload_bytes:,} bytes)")
        return chosen

    def _read(self, file: DataFile, path: Path) -> None:
        bucket, key = split_uri(file.uri)
        fetched = self._aws.fetch(bucket, key, path)
        self._report.examine("I4.exists")
        if fetched is None or fetched.size_bytes != file.size_bytes:
            found = "nothing" if fetched is None else f"{fetched.size_bytes} bytes"
            self._report.violate("I4.exists", file.uri, f"a file of {file.size_bytes} bytes", found)
            return
        if not self._is_as_recorded(file, fetched):
            return
        try:
            self._take(file, path)
        except duckdb.Error as error:
            self._report.violate("I4.rows", file.uri, "a Parquet file that reads", str(error)[:300])

    def _is_as_recorded(self, file: DataFile, fetched: Fetched) -> bool:
        self._report.examine("I4.sha256")
        if file.table in PAYLOAD_TABLES:
            sql = "SELECT DISTINCT sha256 FROM outcome_files WHERE uri = ?"
            recorded = [sha256 for (sha256,) in self._db.rows(sql, [file.uri])]
            if fetched.sha256 in recorded:
                return True
            expected = " or ".join(recorded) or "a SHA-256 in the outcome of a drop, and there is none"
        else:
            named = _NAMED_BY_CONTENT.search(file.uri)
            if named and fetched.sha256.startswith(named.group(1)):
                return True
            expected = f"{named.group(1)}…, as its name says" if named else "a name made of its SHA-256"
        self._report.violate("I4.sha256", file.uri, expected, fetched.sha256)
        return False

    def _take(self, file: DataFile, path: Path) -> None:
        source = f"read_parquet('{path}', file_row_number = true, hive_partitioning = false)"
        nbr_rows = self._db.value(f"SELECT count(*) FROM {source}")
        self._report.examine("I4.rows")
        if nbr_rows != file.nbr_rows:
            self._report.violate("I4.rows", file.uri, f"{file.nbr_rows} rows, as its manifest says", f"{nbr_rows} rows")
        self._db.run("UPDATE data_files SET is_read = true WHERE uri = ?", [file.uri])
        if file.table in PAYLOAD_TABLES:
            rows = f"SELECT ?, file_row_number, sample_data_id FROM {source}"
            self._db.run(f"INSERT INTO payload_rows {rows}", [file.uri])
            return
        columns = columns_of(file.table)
        if not columns:
            return
        present = {name for name, *_ in self._db.rows(f"DESCRIBE SELECT * FROM {source}")}
        picked = ", ".join(name if name in present else f"NULL AS {name}" for name in columns)
        self._db.run(f"INSERT INTO {file.table} SELECT {picked} FROM {source}")
        if "scene_id" in columns:
            scenes = f"SELECT DISTINCT ?, scene_id, ? FROM {source}"
            self._db.run(f"INSERT INTO scene_files {scenes}", [file.table, file.uri])

    def check(self, releases: Iterable[Mapping[str, PinnedTable]]) -> None:
        """Checks files that were not read, and looks for orphans.

        Args:
            releases: tables of every release that was read, newest first.
        """
        sql = (
            """
            SELECT f.uri, f.size_bytes, l.size_bytes FROM data_files f LEFT JOIN listed l USING (uri)
            WHERE NOT f.is_read AND f.size_bytes IS DISTINCT FROM l.size_bytes AND f.table_name IN
        """
            + f"({', '.join(repr(t) for t in sorted(PAYLOAD_TABLES))})"
        )
        if not self._depth.is_deep:
            known = {v.subject for v in self._report.kept.get("I4.exists", ())}
            for uri, size, found in self._db.rows(sql):
                if uri not in known:
                    self._report.violate("I4.exists", uri, f"a file of {size} bytes", f"{found} bytes")
        self._check_orphans(releases)
        self._check_evidence()

    def _check_orphans(self, releases: Iterable[Mapping[str, PinnedTable]]) -> None:
        self._db.create("referenced", {"uri": "VARCHAR"})
        seen: set[str] = set()
        for tables in releases:
            for name, table in tables.items():
                ever = self._guarded(name, table.files_ever(seen))
                self._db.insert("referenced", {"uri": "VARCHAR"}, ((uri,) for uri in ever))
        self._db.run("INSERT INTO referenced SELECT uri FROM outcome_files")
        sql = """
            SELECT l.uri, l.size_bytes, l.modified_at_s FROM listed l ANTI JOIN referenced r USING (uri)
            WHERE l.uri NOT LIKE '%/metadata/%' AND l.modified_at_s <= ?
            AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.state = 'OPEN' AND contains(l.uri, b.batch_id))
        """
        nbr_data = self._db.value("SELECT count(*) FROM listed WHERE uri NOT LIKE '%/metadata/%'")
        self._report.examine("I4.orphan", nbr_data)
        now = time.time()
        for uri, size, modified_at_s in self._db.rows(sql, [now - self._depth.grace_seconds]):
            found = f"{size} bytes, {now - modified_at_s:.0f} s old, in no snapshot of a release and no drop's outcome"
            self._report.violate("I4.orphan", uri, "a release or a drop that refers to it", found)

    def _check_evidence(self) -> None:
        sql = "SELECT scene_id, state, reason, evidence_uri FROM quarantine"
        for scene_id, state, reason, uri in self._db.rows(sql):
            self._report.examine("I4.tombstone")
            bucket, key = split_uri(uri or "")
            if not reason or not bucket or not self._aws.exists(bucket, key):
                found = f"reason {reason!r}, nothing at {uri}"
                expected = "a reason and an evidence document"
                self._report.violate("I4.tombstone", f"scene {scene_id}, {state}", expected, found)
