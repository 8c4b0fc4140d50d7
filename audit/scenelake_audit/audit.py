"""One audit from beginning to end."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scenelake_audit.accounts import AccountAudit
from scenelake_audit.aws import Aws
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.files import FileAudit
from scenelake_audit.landing import LandingAudit
from scenelake_audit.ledger import LedgerAudit
from scenelake_audit.parts import PartsAudit
from scenelake_audit.releases import Release, ReleaseAudit
from scenelake_audit.report import Report
from scenelake_audit.reviews import ReviewAudit
from scenelake_audit.scenes import SceneAudit
from scenelake_audit.tables import Catalog, PinnedTable, check_snapshots


def audit(lake: Lake, depth: Depth | None = None) -> Report:
    """Checks I1 to I4 of a lake.

    The ledger is read before the releases, so whatever the ledger calls built is in a release that is read.

    Raises:
        AuditError: a release that was asked for is not there.
        botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: AWS does not answer.
    """
    depth = depth or Depth()
    report, aws = Report(), Aws(lake)
    with tempfile.TemporaryDirectory(prefix="scenelake-audit-") as folder:
        database = Database(Path(folder))
        try:
            started_s = time.time()
            landing = LandingAudit(aws, lake, depth, database, report)
            landing.load()
            chain = ReleaseAudit(aws, lake, depth, report)
            ledger = LedgerAudit(aws, lake, depth, database, report)
            landing.check()
            PartsAudit(aws, lake, database, report).check(started_s - depth.event_grace_seconds)
            ledger.check()
            ReviewAudit(aws, lake, depth, database, report).check_records()
            ledger.check_releases(chain.numbers)
            if depth.is_ledger_only:
                return report
            release = chain.chosen()
            releases = chain.check_chain(database)
            ledger.check_builders(releases)
            if release is None:
                report.note("the lake has no release yet: only the ledger and the landing bucket were audited")
            else:
                _check_release(aws, lake, depth, database, report, release, releases, chain.numbers)
        finally:
            database.close()
    return report


def _check_release(
    aws: Aws,
    lake: Lake,
    depth: Depth,
    database: Database,
    report: Report,
    release: Release,
    releases: list[Release],
    numbers: list[int],
) -> None:
    tables = open_tables(release, lake, report)
    files = FileAudit(aws, lake, depth, database, report, tables)
    files.load()
    # Read anew, and before the catalog: a batch is closed only after main has followed its release.
    batch = aws.items_now(lake.ledger, [f"BATCH#{release.batch_id}"])[0]
    is_open = batch is not None and batch.get("state") == "OPEN"
    check_snapshots(releases, tables, lake, is_open, report)
    is_newest = release.number == numbers[-1]
    AccountAudit(aws, lake, depth, database, report, release.release_id, is_newest).check()
    SceneAudit(aws, depth, database, report, release).check()
    ReviewAudit(aws, lake, depth, database, report).check_release(is_newest)
    files.check(_tables_of(releases, tables, release, lake))


def open_tables(release: Release, lake: Lake, report: Report) -> dict[str, PinnedTable]:
    """Tables of a release by name; those that cannot be opened are reported and left out."""
    opened = {name: PinnedTable(name, pin, lake) for name, pin in sorted(release.pins.items())}
    for name, table in opened.items():
        if table.problem:
            report.violate("I3.ancestry", f"{release.release_id}, table {name}", "a snapshot that reads", table.problem)
    return {name: table for name, table in opened.items() if not table.problem}


def _tables_of(
    releases: list[Release], newest: dict[str, PinnedTable], audited: Release, lake: Lake
) -> Iterator[dict[str, PinnedTable]]:
    """Tables of every release, newest first, then of none; a pin that an opened table knows is not opened again."""
    known = {s.snapshot_id for t in newest.values() for s in t.ancestors}
    yield newest
    in_release = {name for release in releases for name in release.pins}
    yield {name: PinnedTable(name, pin, lake) for name, pin in Catalog(lake).beside(in_release)}
    for release in reversed(releases):
        if release.number == audited.number:
            continue
        missing = {n: p for n, p in release.pins.items() if p.snapshot_id not in known}
        known |= {p.snapshot_id for p in missing.values()}
        yield {n: PinnedTable(n, p, lake) for n, p in missing.items()}
