"""I5: two lakes that were given the same drops hold the same payload bytes and the same rows."""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from scenelake_audit.audit import open_tables
from scenelake_audit.aws import Aws, Wanted, split_uri
from scenelake_audit.canonical import KEYS, row_text
from scenelake_audit.columns import PAYLOAD_TABLES
from scenelake_audit.config import AuditError, Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.releases import Release, ReleaseAudit
from scenelake_audit.report import Report
from scenelake_audit.tables import PinnedTable

IGNORED_TABLES = frozenset({"raw_object", "lineage_run", "lineage_edge"})
IGNORED_COLUMNS = frozenset(
    {"drop_id", "received_at_ns", "release_id", "decided_at_ns", "run_id", "batch_id", "attempt", "dag_run_id"}
)
"""What differs between two runs by nature: identities of object versions, times of processing, numbers of releases."""

ROW_KEYS: dict[str, tuple[str, ...]] = KEYS | {
    "drive": ("drive_id",),
    "calibrated_sensor": ("calibrated_sensor_id",),
    "message_account": ("drive_id", "object_sha256", "channel"),
    "qc_measurement": ("scene_id", "channel", "check_name"),
    "qc_result": ("scene_id", "channel", "check_name"),
    "quarantine": ("scene_id",),
    "release_scene": ("scene_id",),
    "clock_fault": ("drive_id", "channel", "fault_kind", "start_ns"),
}
"""What tells which row of one lake stands for which of the other; rows of any other table are matched whole."""

_ROWS = {
    "side": "BIGINT", "table_name": "VARCHAR", "row_key": "VARCHAR", "digest": "VARCHAR", "row_text": "VARCHAR",
}  # fmt: skip
_PAYLOAD = {"side": "BIGINT", "name": "VARCHAR", "sha256": "VARCHAR"}
_DECODED = re.compile(r"^work/decoded/[^/]+/[^/]+/")
_BATCH_ROWS = 2000
_SHOWN = 300


class Comparison:
    """Reads a release of each of two lakes into a database, and tells the difference.

    Args:
        prefix: only the drives whose objects' keys begin so; everything when empty.
    """

    def __init__(self, folder: Path, database: Database, report: Report, prefix: str = "") -> None:
        self._folder, self._db, self._report, self._prefix = folder, database, report, prefix
        self._db.create("lake_rows", _ROWS)
        self._db.create("payload", _PAYLOAD)
        self._roots: list[str] = []
        self._drive_of: dict[str, str] = {}

    def load(self, side: int, lake: Lake, release_id: str | None) -> None:
        """Reads one lake's release.

        Raises:
            AuditError: there is no such release, or a table cannot be read.
        """
        aws, problems = Aws(lake), Report()
        release: Release | None = ReleaseAudit(aws, lake, Depth(release=release_id), Report()).chosen()
        if release is None:
            raise AuditError(f"s3://{lake.lake}: there is no release to compare")
        self._roots.append(release.merkle_root)
        name = "first" if side > 0 else "second"
        self._report.note(f"{name}: s3://{lake.lake}, {release.release_id}, {release.merkle_root}")
        tables = open_tables(release, lake, problems)
        if not problems.is_clean:
            raise AuditError(problems.to_text())
        drives = self._drives(aws, lake)
        for table in tables.values():
            if table.name not in PAYLOAD_TABLES | IGNORED_TABLES:
                self._db.insert("lake_rows", _ROWS, self._lake_rows(aws, side, table, drives))
        for table in tables.values():
            if table.name in PAYLOAD_TABLES:
                self._db.insert("payload", _PAYLOAD, self._payload(aws, side, table))

    def _drives(self, aws: Aws, lake: Lake) -> set[str] | None:
        """The drives to look at; None for all."""
        if not self._prefix:
            return None
        items = (item for item in aws.items(lake.ledger) if item["pk"].startswith("DROP#"))
        found = {item["drive_id"] for item in items if item["key"].startswith(self._prefix) and item.get("drive_id")}
        if not found:
            raise AuditError(f"{lake.ledger}: no drop has a key that begins with {self._prefix}")
        return found

    def _lake_rows(
        self, aws: Aws, side: int, table: PinnedTable, drives: set[str] | None
    ) -> Iterator[tuple[int, str, str, str, str]]:
        key = ROW_KEYS.get(table.name)
        for row in self._rows(aws, table):
            drive_id = row.get("drive_id")
            if drives is not None and drive_id not in drives:
                continue
            if row.get("payload_file") and drive_id:
                self._drive_of[_placeless(row["payload_file"])] = drive_id
            text = comparable(row)
            digest = hashlib.sha256(text.encode()).hexdigest()
            yield side, table.name, ", ".join(str(row.get(name)) for name in key) if key else digest, digest, text

    def _rows(self, aws: Aws, table: PinnedTable) -> Iterator[dict[str, Any]]:
        files = (Wanted(file.uri, file.size_bytes, tag=None) for file in table.files())
        for wanted, fetched, path in aws.fetch_all(files, self._folder):
            if fetched is None:
                raise AuditError(f"{wanted.uri}: the file is missing")
            with pq.ParquetFile(path) as parquet:
                for batch in parquet.iter_batches(_BATCH_ROWS):
                    yield from batch.to_pylist()

    def _payload(self, aws: Aws, side: int, table: PinnedTable) -> Iterator[tuple[int, str, str]]:
        """SHA-256 of every payload file; with a prefix, of those that a row of its drives points to."""
        files = (Wanted(f.uri, f.size_bytes, tag=split_uri(f.uri)[1]) for f in table.files())
        wanted = (file for file in files if not self._prefix or file.tag in self._drive_of)
        for file, fetched, _ in aws.fetch_all(wanted, self._folder):
            yield side, file.tag, fetched.sha256 if fetched else "missing"

    def tell(self) -> None:
        """Reports what differs."""
        self._tell_payload()
        self._tell_rows()
        if not self._prefix:
            self._report.examine("I5.root")
            # Where rows differ, the root says nothing more, and it cannot say of which drive.
            if self._report.is_clean and len(set(self._roots)) > 1:
                self._report.violate("I5.root", "the releases", *(f"Merkle root {root}" for root in self._roots))

    def _tell_payload(self) -> None:
        sql = """
            SELECT coalesce(a.name, b.name), a.sha256, b.sha256 FROM (SELECT * FROM payload WHERE side = 1) a
            FULL JOIN (SELECT * FROM payload WHERE side = -1) b USING (name) ORDER BY 1
        """
        for name, first, second in self._db.rows(sql):
            self._report.examine("I5.payload")
            if first != second or first == "missing":
                shown = [f"SHA-256 {sha256}" if sha256 else "no such file" for sha256 in (first, second)]
                subject = f"{name} of drive {self._drive_of.get(name)}"
                self._report.violate("I5.payload", subject, f"{shown[0]} in the first", f"{shown[1]} in the second")

    def _tell_rows(self) -> None:
        self._report.examine("I5.rows", self._db.value("SELECT count(*) FROM lake_rows WHERE side = 1"))
        sql = """
            WITH differing AS (
                SELECT table_name, row_key, digest, sum(side) AS surplus FROM lake_rows GROUP BY ALL
                HAVING surplus <> 0)
            SELECT table_name, row_key, surplus, any_value(row_text) FROM differing
            JOIN lake_rows USING (table_name, row_key, digest) GROUP BY table_name, row_key, digest, surplus
            ORDER BY table_name, row_key, digest
        """
        counts: dict[str, int] = {}
        for (table, key), group in groupby(self._db.rows(sql), key=lambda row: row[:2]):
            found = [(int(surplus), json.loads(text)) for _, _, surplus, text in group]
            counts[table] = counts.get(table, 0) + 1
            drives = sorted({str(row.get("drive_id")) for _, row in found})
            self._report.violate("I5.rows", f"{table} {key} of drive {', '.join(drives)}", *_difference(found))
        for table, number in sorted(counts.items()):
            self._report.note(f"{table}: {number:,} row(s) differ")


def compare(first: tuple[Lake, str | None], second: tuple[Lake, str | None], prefix: str = "") -> Report:
    """Compares a release of one lake (the newest unless named) with one of another.

    Args:
        prefix: only the drives whose objects' keys begin so.

    Raises:
        AuditError: a lake has no such release, or a table cannot be read.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="scenelake-audit-") as folder:
        database = Database(Path(folder))
        try:
            comparison = Comparison(Path(folder), database, report, prefix)
            for side, (lake, release_id) in ((1, first), (-1, second)):
                comparison.load(side, lake, release_id)
            comparison.tell()
        finally:
            database.close()
    return report


def comparable(row: Mapping[str, Any]) -> str:
    """A row as text, without what differs between two runs by nature and without columns that are null."""
    kept = {k: _placeless(v) for k, v in row.items() if k not in IGNORED_COLUMNS and v is not None}
    return row_text(kept)


def _placeless(value: Any) -> Any:
    """A URI without its bucket, and without the drop that decoded it."""
    if isinstance(value, str) and value.startswith("s3://"):
        return _DECODED.sub("work/decoded/", split_uri(value)[1])
    return value.isoformat() if isinstance(value, date) else value


def _difference(found: Sequence[tuple[int, dict[str, Any]]]) -> tuple[str, str]:
    """What each lake says of a row: the columns that differ, if it is once in both; else how often it is there."""
    if [surplus for surplus, _ in sorted(found, key=lambda one: -one[0])] == [1, -1]:
        first, second = (row for _, row in sorted(found, key=lambda one: -one[0]))
        names = sorted(n for n in {*first, *second} if first.get(n) != second.get(n))
        shown = [", ".join(f"{n} = {json.dumps(row.get(n))[:_SHOWN]}" for n in names) for row in (first, second)]
        return f"in the first: {shown[0]}", f"in the second: {shown[1]}"
    sides = [[(abs(s), row) for s, row in found if s * sign > 0] for sign in (1, -1)]
    shown = [" and ".join(f"{number} x {json.dumps(row)[:_SHOWN]}" for number, row in side) for side in sides]
    return f"only in the first: {shown[0] or 'nothing'}", f"only in the second: {shown[1] or 'nothing'}"
