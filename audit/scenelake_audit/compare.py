"""I5: two lakes that were given the same drops hold the same payload bytes and the same rows."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from scenelake_audit.audit import open_tables
from scenelake_audit.aws import Aws, split_uri
from scenelake_audit.canonical import row_text
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

_ROWS = {"side": "BIGINT", "table_name": "VARCHAR", "row_text": "VARCHAR"}
_PAYLOAD = {"side": "BIGINT", "name": "VARCHAR", "sha256": "VARCHAR"}
_DECODED = re.compile(r"^work/decoded/[^/]+/[^/]+/")
_BATCH_ROWS = 2000
_SHOWN = 1500


def compare(first: tuple[Lake, str | None], second: tuple[Lake, str | None]) -> Report:
    """Compares a release of one lake (the newest unless named) with one of another.

    Raises:
        AuditError: a lake has no such release, or a table cannot be read.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="scenelake-audit-") as folder:
        database = Database(Path(folder))
        try:
            database.create("lake_rows", _ROWS)
            database.create("payload", _PAYLOAD)
            for side, (lake, release_id) in ((1, first), (-1, second)):
                _load(database, report, side, lake, release_id, Path(folder) / "file")
            _compare_payload(database, report)
            _compare_rows(database, report)
        finally:
            database.close()
    return report


def _load(database: Database, report: Report, side: int, lake: Lake, release_id: str | None, path: Path) -> None:
    aws = Aws(lake)
    release: Release | None = ReleaseAudit(aws, lake, Depth(release=release_id), Report()).chosen()
    if release is None:
        raise AuditError(f"s3://{lake.lake}: there is no release to compare")
    report.note(f"{'first' if side > 0 else 'second'}: s3://{lake.lake}, {release.release_id}, {release.merkle_root}")
    problems = Report()
    for name, table in open_tables(release, lake, problems).items():
        if name in PAYLOAD_TABLES:
            database.insert("payload", _PAYLOAD, _payload(aws, side, table, path))
        elif name not in IGNORED_TABLES:
            database.insert("lake_rows", _ROWS, _rows(aws, side, table, path))
    if not problems.is_clean:
        raise AuditError(problems.to_text())


def _payload(aws: Aws, side: int, table: PinnedTable, path: Path) -> Iterator[tuple[int, str, str]]:
    for file in table.files():
        bucket, key = split_uri(file.uri)
        fetched = aws.fetch(bucket, key, path)
        yield side, key, fetched.sha256 if fetched else "missing"


def _rows(aws: Aws, side: int, table: PinnedTable, path: Path) -> Iterator[tuple[int, str, str]]:
    for file in table.files():
        bucket, key = split_uri(file.uri)
        if aws.fetch(bucket, key, path) is None:
            raise AuditError(f"{file.uri}: the file is missing")
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS):
                yield from ((side, table.name, comparable(row)) for row in batch.to_pylist())


def comparable(row: Mapping[str, Any]) -> str:
    """A row as text, without what differs between two runs by nature and without columns that are null."""
    kept = {k: _placeless(v) for k, v in row.items() if k not in IGNORED_COLUMNS and v is not None}
    return row_text(kept)


def _placeless(value: Any) -> Any:
    """A URI without its bucket, and without the drop that decoded it."""
    if isinstance(value, str) and value.startswith("s3://"):
        return _DECODED.sub("work/decoded/", split_uri(value)[1])
    return value.isoformat() if isinstance(value, date) else value


def _compare_payload(database: Database, report: Report) -> None:
    sql = """
        SELECT coalesce(a.name, b.name), a.sha256, b.sha256
        FROM (SELECT * FROM payload WHERE side = 1) a FULL JOIN (SELECT * FROM payload WHERE side = -1) b USING (name)
    """
    for name, first, second in database.rows(sql):
        report.examine("I5.payload")
        if first != second or first == "missing":
            report.violate("I5.payload", name, f"SHA-256 {first} in both", f"{second or 'no such file'} in the second")


def _compare_rows(database: Database, report: Report) -> None:
    report.examine("I5.rows", database.value("SELECT count(*) FROM lake_rows WHERE side = 1"))
    sql = """
        SELECT table_name, row_text, sum(side) AS surplus FROM lake_rows GROUP BY ALL HAVING surplus <> 0
        ORDER BY table_name, row_text
    """
    for table, text, surplus in database.rows(sql):
        lacking, having = ("second", "first") if surplus > 0 else ("first", "second")
        found = f"{abs(surplus)} more in the {having} than in the {lacking}"
        report.violate("I5.rows", f"{table} {text[:_SHOWN]}", "as often in both", found)
