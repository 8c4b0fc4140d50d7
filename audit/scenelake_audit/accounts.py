"""I2: where every message of every object went, counted by the auditor itself."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scenelake_audit.aws import Aws, Fetched, Wanted
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.recordings import count_messages
from scenelake_audit.report import Report

FATES = ("accepted", "quarantined", "rejected", "duplicate", "unassigned", "undecodable")


class AccountAudit:
    """Compares ``message_account`` with the ledger, with the rows of ``sample_data`` and with the raw objects.

    Args:
        release_id: the audited release.
        is_newest: no later release can hold what this one lacks.
    """

    def __init__(
        self, aws: Aws, lake: Lake, depth: Depth, database: Database, report: Report, release_id: str, is_newest: bool
    ) -> None:
        self._aws, self._lake, self._depth, self._db, self._report = aws, lake, depth, database, report
        self._release_id, self._is_newest = release_id, is_newest

    def check(self) -> None:
        self._check_accounts()
        self._check_balance()
        self._check_gold()
        self._check_reasons()
        self._check_recordings()

    def _check_accounts(self) -> None:
        due = "coalesce(d.release_id <= $1, $2) AND d.state IN ('BUILT', 'DUPLICATE')"
        parameters = [self._release_id, self._is_newest]
        counted = "SELECT drop_id, sum(nbr_messages) AS n, sum(nbr_duplicate) AS copies FROM message_account GROUP BY 1"
        self._report.examine("I2.account", self._db.value(f"SELECT count(*) FROM drops d WHERE {due}", parameters))
        sql = f"""
            SELECT d.drop_id, d.key, d.messages, a.n FROM drops d LEFT JOIN ({counted}) a USING (drop_id)
            WHERE {due} AND coalesce(d.messages, 1) <> coalesce(a.n, 0)
        """
        for drop_id, key, messages, found in self._db.rows(sql, parameters):
            expected = "an account" if messages is None else f"an account of {messages} messages, as the ledger says"
            shown = "none" if found is None else f"{found} messages"
            self._report.violate("I2.account", f"drop {drop_id} ({key})", expected, shown)
        sql = f"""
            SELECT a.drop_id, d.state FROM ({counted}) a LEFT JOIN drops d USING (drop_id)
            WHERE d.state IS NULL OR (d.state IN ('BUILT', 'DUPLICATE') AND (d.state = 'DUPLICATE') <> (a.copies > 0)
                AND a.n > 0)
        """
        for drop_id, state in self._db.rows(sql):
            if state is None and self._aws.items_now(self._lake.ledger, [f"DROP#{drop_id}"])[0] is not None:
                continue
            expected = "a ledger row that is DUPLICATE exactly if its messages count as duplicates"
            self._report.violate("I2.account", f"account of drop {drop_id}", expected, state or "no ledger row")
        if self._is_newest:
            self._check_rejected()

    def _check_rejected(self) -> None:
        """What the ledger calls rejected, gold does not hold: only the newest release is of the ledger's time."""
        sql = """
            SELECT drop_id, d.key, sum(nbr_accepted) AS n FROM message_account JOIN drops d USING (drop_id)
            WHERE d.state = 'REJECTED' GROUP BY ALL HAVING n > 0
        """
        for drop_id, key, number in self._db.rows(sql):
            now = self._aws.items_now(self._lake.ledger, [f"DROP#{drop_id}"])[0]
            if now and now["state"] == "REJECTED":
                found = f"{number} accepted messages"
                self._report.violate(
                    "I2.account", f"drop {drop_id} ({key})", "nothing in gold, as it is REJECTED", found
                )

    def _check_balance(self) -> None:
        self._report.examine("I2.balance", self._db.value("SELECT count(*) FROM message_account"))
        total = " + ".join(f"nbr_{fate}" for fate in FATES)
        fates = ", ".join(f"nbr_{fate}" for fate in FATES)
        least = f"least({fates})"
        sql = f"""
            SELECT drop_id, channel, nbr_messages, {fates} FROM message_account
            WHERE nbr_messages IS DISTINCT FROM {total} OR {least} < 0
        """
        for drop_id, channel, messages, *counts in self._db.rows(sql):
            shown = ", ".join(f"{count} {fate}" for fate, count in zip(FATES, counts, strict=True) if count)
            self._report.violate("I2.balance", f"drop {drop_id}, {channel}", f"{messages} messages", shown or "none")

    def _check_gold(self) -> None:
        sql = """
            WITH told AS (
                SELECT drive_id, object_sha256, channel, sum(nbr_accepted) AS n FROM message_account
                WHERE nbr_duplicate = 0 GROUP BY ALL),
            held AS (
                SELECT drive_id, object_sha256, channel, count(*) AS n FROM sample_data
                WHERE status IS DISTINCT FROM 'undecodable' GROUP BY ALL)
            SELECT drive_id, object_sha256, channel, coalesce(told.n, 0), coalesce(held.n, 0)
            FROM told FULL JOIN held USING (drive_id, object_sha256, channel)
        """
        for drive_id, sha, channel, told, held in self._db.rows(sql):
            self._report.examine("I2.gold")
            if told != held:
                subject = f"object {sha}, {channel}, drive {drive_id}"
                self._report.violate("I2.gold", subject, f"{told} accepted messages", f"{held} rows in sample_data")

    def _check_reasons(self) -> None:
        self._report.examine("I2.reason", self._db.value("SELECT count(*) FROM message_account"))
        sql = """
            SELECT drop_id, channel, nbr_unassigned FROM message_account
            WHERE nbr_unassigned > 0 AND unassigned_reason IS NULL
        """
        for drop_id, channel, number in self._db.rows(sql):
            self._report.violate("I2.reason", f"drop {drop_id}, {channel}", f"why {number} are unassigned", "no reason")
        for fate, states in (("quarantined", "('QUARANTINED')"), ("rejected", "('REJECTED')")):
            sql = f"""
                SELECT drive_id, sum(nbr_{fate}) FROM message_account a GROUP BY 1 HAVING sum(nbr_{fate}) > 0
                AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.drive_id = a.drive_id AND q.state IN {states})
            """
            for drive_id, number in self._db.rows(sql):
                expected = f"a quarantine record for {number} {fate} messages"
                self._report.violate("I2.reason", f"drive {drive_id}", expected, "none")

    def _check_recordings(self) -> None:
        sql = """
            SELECT d.drop_id, d.key, d.version_id, d.size_bytes, d.object_sha256, a.told FROM drops d JOIN (
                SELECT drop_id, list((channel, n)) AS told FROM (
                    SELECT drop_id, channel, sum(nbr_messages)::BIGINT AS n FROM message_account GROUP BY ALL)
                GROUP BY ALL) a USING (drop_id)
            WHERE d.bucket = ? ORDER BY md5(d.drop_id || ?)
        """
        rows = self._db.rows(sql, [self._lake.landing, self._depth.seed])
        with tempfile.TemporaryDirectory(prefix="scenelake-audit-") as folder:
            for wanted, fetched, path in self._aws.fetch_all(self._chosen(rows), Path(folder)):
                if fetched is not None:
                    subject, sha, told = wanted.tag
                    self._check_recording(subject, sha, told, fetched, path)

    def _chosen(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Wanted]:
        """Raw objects up to the bounds."""
        number, left, skipped = self._depth.recordings, self._depth.recording_bytes, 0
        for drop_id, key, version_id, size, sha, told in rows:
            if not self._depth.is_deep and (size > left or not number):
                skipped += 1
                continue
            number, left = number - 1, left - size
            counts = dict(told)
            yield Wanted(f"s3://{self._lake.landing}/{key}", size, (f"drop {drop_id} ({key})", sha, counts), version_id)
        if skipped:
            bound = f"{self._depth.recordings:,} objects or {self._depth.recording_bytes:,} bytes"
            self._report.note(f"{skipped:,} raw objects were not read (bound {bound})")

    def _check_recording(self, subject: str, sha: str, told: dict[str, int], fetched: Fetched, path: Path) -> None:
        self._report.examine("I2.recording")
        if fetched.block_root != sha:
            found = f"{sha} in the ledger"
            self._report.violate("I2.recording", subject, f"object_sha256 {fetched.block_root}", found)
        recording = count_messages(path)
        for channel in sorted({*told, *recording.counts}):
            counted, number = recording.counts.get(channel, 0), told.get(channel, 0)
            if recording.problem is None and counted != number:
                expected = f"{counted} messages, as the recording holds"
            elif counted > number:
                expected = f"at least the {counted} messages before the damage ({recording.problem})"
            else:
                continue
            self._report.violate("I2.recording", f"{subject}, {channel}", expected, f"{number} in the account")
