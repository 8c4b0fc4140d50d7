"""I4: data files exist, are what was recorded, and none lies there for nothing. What is read goes into the database."""

import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scenelake_audit.ahead import ahead
from scenelake_audit.aws import Aws, Fetched, Wanted, split_uri
from scenelake_audit.columns import BATCHED, COLUMNS, PAYLOAD_TABLES, columns_of
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.report import Report
from scenelake_audit.tables import DataFile, PinnedTable

T = TypeVar("T")

_NAMED_BY_CONTENT = re.compile(r"-([0-9a-f]{16})\.parquet$")
_SLOTTED = ", ".join(repr(table) for table in sorted(PAYLOAD_TABLES))
_FILES = {"table_name": "VARCHAR", "uri": "VARCHAR", "size_bytes": "BIGINT", "nbr_rows": "BIGINT"}
_TABLES: dict[str, dict[str, str]] = {
    "data_files": _FILES,
    "due": _FILES,
    "read_files": {"uri": "VARCHAR"},
    "listed": {"uri": "VARCHAR", "size_bytes": "BIGINT", "modified_at_s": "DOUBLE"},
    "outcome_files": {"uri": "VARCHAR", "sha256": "VARCHAR", "drop_id": "VARCHAR"},
    "payload_rows": {
        "uri": "VARCHAR",
        "row_index": "BIGINT",
        "sample_data_id": "VARCHAR",
        "is_empty": "BOOLEAN",
    },
    "scene_files": {"table_name": "VARCHAR", "scene_id": "VARCHAR", "uri": "VARCHAR"},
}
_ROWS_AT_ONCE = 20_000
_MESSAGES_BYTES_AT_ONCE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Due:
    """A data file to be read.

    Attributes:
        recorded: SHA-256 values that decode's outcomes give it.
    """

    file: DataFile
    recorded: tuple[str, ...]


class FileAudit:
    """Reads every data file that it may, once: its hash, its number of rows, and the columns that checks need.

    Args:
        database: receives ``data_files``, ``read_files``, ``listed``, ``outcome_files``, ``payload_rows``,
            ``scene_files`` and one table per gold table.
        tables: of the audited release.
    """

    def __init__(
        self, aws: Aws, lake: Lake, depth: Depth, database: Database, report: Report, tables: Mapping[str, PinnedTable]
    ) -> None:
        self._aws, self._lake, self._depth, self._db, self._report = aws, lake, depth, database, report
        self._tables = tables

    def load(self) -> None:
        """Reads the listing of gold, decode's outcomes, and the data files."""
        for name, columns in _TABLES.items():
            self._db.create(name, columns)
        for small in (*COLUMNS, *BATCHED):
            self._db.create(small, columns_of(small))
        for name, table in self._tables.items():
            self._db.insert("data_files", _TABLES["data_files"], self._file_rows(name, table))
        listing = self._aws.objects(self._lake.lake, "gold/")
        self._db.insert(
            "listed", _TABLES["listed"], ((f"s3://{self._lake.lake}/{k}", size, at) for k, size, at in listing)
        )
        self._choose()
        self._db.insert("outcome_files", _TABLES["outcome_files"], self._outcome_rows())
        with tempfile.TemporaryDirectory(prefix="scenelake-audit-") as folder:
            dues = (Wanted(due.file.uri, due.file.size_bytes, tag=due) for due in self._due())
            for wanted, fetched, path in self._aws.fetch_all(dues, Path(folder)):
                self._read(wanted.tag, fetched, path)
        self._db.flush()

    def _file_rows(self, name: str, table: PinnedTable) -> Iterator[tuple[Any, ...]]:
        nbr_rows = 0
        for file in self._guarded(name, table.files()):
            nbr_rows += file.nbr_rows
            yield name, file.uri, file.size_bytes, file.nbr_rows
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

    def _choose(self) -> None:
        """Every small table's files, and payload files up to the bounds, in an order that the seed decides."""
        bounds = "true" if self._depth.is_deep else "nbr <= $nbr AND total <= $total"
        sql = f"""
            INSERT INTO due SELECT table_name, uri, size_bytes, nbr_rows FROM (
                SELECT *, table_name IN ({_SLOTTED}) AS is_payload,
                    row_number() OVER w AS nbr, sum(size_bytes) OVER w AS total
                FROM data_files WINDOW w AS (PARTITION BY is_payload ORDER BY md5(uri || $seed), uri))
            WHERE NOT is_payload OR ({bounds})
        """
        values: dict[str, Any] = {"seed": self._depth.seed}
        if not self._depth.is_deep:
            values |= {"nbr": self._depth.payload_files, "total": self._depth.payload_bytes}
        self._db.run(sql, values)
        skipped = self._db.value("SELECT (SELECT count(*) FROM data_files) - (SELECT count(*) FROM due)")
        if skipped:
            bound = f"{self._depth.payload_files:,} files or {self._depth.payload_bytes:,} bytes"
            self._report.note(f"{skipped:,} payload files were not hashed (bound {bound})")

    def _outcome_rows(self) -> Iterator[tuple[str, str, str]]:
        """Payload files of decode's outcomes: of the recipe that the ledger names, and of every other one.

        An earlier release may pin what an earlier recipe wrote.
        """
        recipes = list(self._aws.folders(self._lake.lake, "work/decoded/"))
        drops = list(self._db.rows(f"SELECT drop_id, decoded_uri, state FROM drops WHERE {self._outcomes_wanted()}"))
        wanted = (
            (drop_id, named, state, uri)
            for drop_id, named, state in drops
            for uri in sorted({named or "", *(f"s3://{self._lake.lake}/{r}{drop_id}" for r in recipes)} - {""})
        )
        for drop_id, uri, is_due, files in ahead(wanted, self._outcome):
            if files is not None:
                yield from ((file["uri"], file["sha256"], drop_id) for file in files)
            elif is_due:
                self._report.violate("I4.tombstone", f"drop {drop_id}", f"decode's outcome at {uri}", "none that reads")

    def _outcomes_wanted(self) -> str:
        """Every drop that was decoded; when not deep, those of the files that are read or that no release pins.

        A payload file's name begins with the hash of its object.
        """
        decoded = "(decoded_uri IS NOT NULL OR state = 'CLAIMED')"
        if self._depth.is_deep:
            return decoded
        return f"""{decoded} AND (state = 'CLAIMED' OR left(object_sha256, 32) IN (
            SELECT regexp_extract(uri, '/([0-9a-f]{{32}})-[^/]*$', 1) FROM (
                SELECT uri FROM due UNION ALL SELECT uri FROM listed ANTI JOIN data_files USING (uri))))"""

    def _outcome(self, wanted: tuple[str, str | None, str, str]) -> tuple[str, str, bool, list[dict[str, Any]] | None]:
        drop_id, named, state, uri = wanted
        is_due = uri == named and state in ("BUILT", "DUPLICATE")
        bucket, key = split_uri(uri)
        data = self._aws.read(bucket, f"{key}/outcome.json") if bucket else None
        try:
            found = json.loads(data)["payload_files"] if data is not None else None
        except (ValueError, KeyError):
            found = None
        return drop_id, uri, is_due, found

    def _due(self) -> Iterator[Due]:
        sql = """
            SELECT table_name, uri, size_bytes, nbr_rows,
                list_sort(list(DISTINCT sha256) FILTER (sha256 IS NOT NULL))
            FROM due LEFT JOIN outcome_files USING (uri) GROUP BY ALL ORDER BY table_name, uri
        """
        for table, uri, size, nbr_rows, recorded in self._db.rows(sql):
            yield Due(DataFile(table, uri, size, nbr_rows), tuple(recorded or ()))

    def _read(self, due: Due, fetched: Fetched | None, path: Path) -> None:
        file = due.file
        self._report.examine("I4.exists")
        if fetched is None or fetched.size_bytes != file.size_bytes:
            found = "nothing" if fetched is None else f"{fetched.size_bytes} bytes"
            self._report.violate("I4.exists", file.uri, f"a file of {file.size_bytes} bytes", found)
            return
        if not self._is_as_recorded(due, fetched):
            return
        try:
            with pq.ParquetFile(path) as parquet:
                self._take(file, parquet)
        except (pa.ArrowException, OSError) as error:
            self._report.violate("I4.rows", file.uri, "a Parquet file that reads", str(error)[:300])

    def _is_as_recorded(self, due: Due, fetched: Fetched) -> bool:
        self._report.examine("I4.sha256")
        uri = due.file.uri
        if due.file.table in PAYLOAD_TABLES:
            if fetched.sha256 in due.recorded:
                return True
            expected = " or ".join(due.recorded) or "a SHA-256 in the outcome of a drop, and there is none"
        else:
            named = _NAMED_BY_CONTENT.search(uri)
            if named and fetched.sha256.startswith(named.group(1)):
                return True
            expected = f"{named.group(1)}…, as its name says" if named else "a name made of its SHA-256"
        self._report.violate("I4.sha256", uri, expected, fetched.sha256)
        return False

    def _take(self, file: DataFile, parquet: pq.ParquetFile) -> None:
        nbr_rows = parquet.metadata.num_rows
        self._report.examine("I4.rows")
        if nbr_rows != file.nbr_rows:
            self._report.violate("I4.rows", file.uri, f"{file.nbr_rows} rows, as its manifest says", f"{nbr_rows} rows")
        self._db.append("read_files", _TABLES["read_files"], {"uri": [file.uri]}, 1)
        is_payload = file.table in PAYLOAD_TABLES
        columns = {"sample_data_id": "VARCHAR"} if is_payload else columns_of(file.table)
        present = [name for name in columns if name in parquet.schema_arrow.names]
        empty = self._empty(file, parquet)
        at = 0
        for rows in parquet.iter_batches(_ROWS_AT_ONCE, columns=present) if present else ():
            found: dict[str, Any] = {name: rows[name] for name in present}
            if is_payload:
                found |= {"uri": [file.uri] * len(rows), "row_index": range(at, at + len(rows))}
                if empty:
                    found["is_empty"] = empty[at : at + len(rows)]
                self._db.append("payload_rows", _TABLES["payload_rows"], found, len(rows))
            else:
                self._db.append(file.table, columns, found, len(rows))
            if "scene_id" in present:
                scenes = pc.unique(rows["scene_id"])
                where = {"table_name": [file.table] * len(scenes), "scene_id": scenes, "uri": [file.uri] * len(scenes)}
                self._db.append("scene_files", _TABLES["scene_files"], where, len(scenes))
            at += len(rows)

    def _empty(self, file: DataFile, parquet: pq.ParquetFile) -> list[bool]:
        """Which raw messages have no bytes; nothing is read for it where nothing was withheld."""
        redactions = self._tables.get("redaction")
        has_data = file.table == "raw_message" and "data" in parquet.schema_arrow.names
        if not has_data or not redactions or not redactions.pin.nbr_rows:
            return []
        found: list[bool] = []
        for number in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(number)
            at_once = max(_MESSAGES_BYTES_AT_ONCE * group.num_rows // max(group.total_byte_size, 1), 1)
            for rows in parquet.iter_batches(min(at_once, _ROWS_AT_ONCE), row_groups=[number], columns=["data"]):
                found += rows["data"].is_null().to_pylist()
        return found

    def check(self, releases: Iterable[Mapping[str, PinnedTable]]) -> None:
        """Checks files that were not read, and looks for orphans.

        Args:
            releases: tables of every release that was read, newest first.
        """
        sql = """
            SELECT f.uri, f.size_bytes, l.size_bytes FROM data_files f ANTI JOIN due USING (uri)
            LEFT JOIN listed l USING (uri) WHERE f.size_bytes IS DISTINCT FROM l.size_bytes
        """
        for uri, size, found in self._db.rows(sql):
            shown = "nothing" if found is None else f"{found} bytes"
            self._report.violate("I4.exists", uri, f"a file of {size} bytes", shown)
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
        def look(row: tuple[Any, ...]) -> tuple[tuple[Any, ...], bool]:
            bucket, key = split_uri(row[3] or "")
            return row, bool(bucket) and self._aws.exists(bucket, key)

        rows = self._db.rows("SELECT scene_id, state, reason, evidence_uri FROM quarantine")
        for (scene_id, state, reason, uri), is_there in ahead(rows, look):
            self._report.examine("I4.tombstone")
            if not reason or not is_there:
                found = f"reason {reason!r}, {'a document' if is_there else 'nothing'} at {uri}"
                expected = "a reason and an evidence document"
                self._report.violate("I4.tombstone", f"scene {scene_id}, {state}", expected, found)
