"""I1: every drop is in one state, and whoever holds it holds it rightly.

What looks wrong is read again, together and at once, before it is called wrong: the stack may be at work.
"""

import time
from collections.abc import Iterable

from scenelake_audit.aws import Aws, Item
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.histories import STATES
from scenelake_audit.releases import Release
from scenelake_audit.report import Report


class LedgerAudit:
    """Checks the ledger's rows against one another.

    Args:
        database: with the tables of ``landing.TABLES``.
    """

    def __init__(self, aws: Aws, lake: Lake, depth: Depth, database: Database, report: Report) -> None:
        self._aws, self._lake, self._depth, self._db, self._report = aws, lake, depth, database, report

    def check(self) -> None:
        """All but the releases."""
        self._check_states()
        self._check_claims()
        self._check_leases()
        self._check_batches()
        self._check_locks()
        self._check_waiting()
        self._check_duplicates()

    def _check_states(self) -> None:
        self._report.examine("I1.state", self._db.value("SELECT count(*) FROM drops"))
        sql = """
            SELECT drop_id, key, state, state_key, last_state, reason, batch_id, attempt, last_batch_id, last_attempt
            FROM drops
        """
        for drop_id, key, state, state_key, last_state, reason, *held in self._db.rows(sql):
            subject = f"drop {drop_id} ({key})"
            if state not in STATES:
                self._report.violate("I1.state", subject, f"one of {', '.join(sorted(STATES))}", state)
            elif state_key != f"DROP#{state}" or last_state != state:
                found = f"state {state}, indexed as {state_key}, history ends in {last_state}"
                self._report.violate("I1.state", subject, "one state", found)
            elif (held[0], held[1] or 0) != (held[2], held[3] or 0):
                found = "batch {}, attempt {}; its history says batch {}, attempt {}".format(*held)
                self._report.violate("I1.state", subject, "one holder", found)
            elif state in ("REJECTED", "DUPLICATE") and not reason:
                self._report.violate("I1.state", subject, f"a reason for {state}", "none")

    def _check_claims(self) -> None:
        """An attempt that died between two transactions leaves drops behind at an earlier attempt than its batch."""
        self._report.examine("I1.claim", self._db.value("SELECT count(*) FROM drops WHERE state = 'CLAIMED'"))
        sql = """
            SELECT d.drop_id, d.batch_id, d.drive_id FROM drops d LEFT JOIN batches b USING (batch_id)
            LEFT JOIN batch_drops m USING (batch_id, drop_id) LEFT JOIN locks k ON k.drive_id = d.drive_id
            WHERE d.state = 'CLAIMED' AND NOT coalesce(
                b.state = 'OPEN' AND d.attempt <= b.attempt AND m.drop_id IS NOT NULL AND k.batch_id = d.batch_id,
                false)
        """
        for drop_id, batch_id, drive_id in self._db.rows(sql):
            drop, batch, lock = self._now(f"DROP#{drop_id}", f"BATCH#{batch_id}", f"DRIVE#{drive_id}")
            if drop and drop["state"] == "CLAIMED" and drop.get("batch_id") == batch_id:
                wrong = _wrong_holder(drop, batch, lock)
                if wrong:
                    expected = f"an open batch at attempt {drop['attempt']} or later that lists it and holds its drive"
                    self._report.violate("I1.claim", f"drop {drop_id} ({drop['key']})", expected, wrong)

    def _check_leases(self) -> None:
        self._report.examine("I1.lease", self._db.value("SELECT count(*) FROM batches WHERE state = 'OPEN'"))
        before_ns = time.time_ns() - int(self._depth.event_grace_seconds * 1e9)
        sql = "SELECT batch_id FROM batches WHERE state = 'OPEN' AND lease_until_ns <= ?"
        for (batch_id,) in self._db.rows(sql, [before_ns]):
            (batch,) = self._now(f"BATCH#{batch_id}")
            if batch and batch["state"] == "OPEN" and batch["lease_until_ns"] <= before_ns:
                late = (time.time_ns() - batch["lease_until_ns"]) / 1e9
                found = f"lapsed {late:.1f} s ago at attempt {batch['attempt']}, and nobody has claimed it since"
                self._report.violate("I1.lease", f"batch {batch_id}", "a lease that lasts, or a later claim", found)

    def _check_batches(self) -> None:
        """A batch may list drops that it never got, but not hold none at all."""
        self._report.examine("I1.batch", self._db.value("SELECT count(*) FROM batches"))
        sql = """
            SELECT batch_id FROM batches b WHERE state = 'OPEN' AND NOT EXISTS
                (SELECT 1 FROM drops d WHERE d.batch_id = b.batch_id AND d.state = 'CLAIMED')
        """
        for (batch_id,) in self._db.rows(sql):
            (batch,) = self._now(f"BATCH#{batch_id}")
            if batch and batch["state"] == "OPEN" and not self._holds(batch_id, batch["drop_ids"]):
                self._report.violate("I1.batch", f"batch {batch_id}", "CLOSED, as it holds no drop", batch["state"])
        sql = """
            SELECT d.drop_id, d.key, d.batch_id FROM drops d ANTI JOIN batches b USING (batch_id)
            WHERE d.batch_id IS NOT NULL AND d.state <> 'CLAIMED'
        """
        for drop_id, key, batch_id in self._db.rows(sql):
            if self._now(f"BATCH#{batch_id}") == [None]:
                self._report.violate("I1.batch", f"drop {drop_id} ({key})", f"a batch {batch_id}", "none")

    def _check_locks(self) -> None:
        self._report.examine("I1.lock", self._db.value("SELECT count(*) FROM locks"))
        sql = """
            SELECT drive_id, batch_id FROM locks k LEFT JOIN batches b USING (batch_id)
            WHERE b.state IS DISTINCT FROM 'OPEN' OR NOT EXISTS (SELECT 1 FROM drops d
                WHERE d.batch_id = k.batch_id AND d.drive_id = k.drive_id AND d.state = 'CLAIMED')
        """
        for drive_id, batch_id in self._db.rows(sql):
            lock, batch = self._now(f"DRIVE#{drive_id}", f"BATCH#{batch_id}")
            if not lock or lock.get("batch_id") != batch_id:
                continue
            subject, expected = f"lock of drive {drive_id}", "an open batch that holds a drop of the drive"
            if batch is None or batch["state"] != "OPEN":
                found = f"batch {batch_id} is {batch['state'] if batch else 'unknown'}"
                self._report.violate("I1.lock", subject, expected, found)
            elif not self._holds(batch_id, batch["drop_ids"], drive_id):
                self._report.violate("I1.lock", subject, expected, f"batch {batch_id} holds none of its drops")

    def _check_waiting(self) -> None:
        """No drop waits for long unless its drive is held, or its recording still grows.

        Of a drive that has a manifest of its own, all objects are one recording.
        """
        self._report.examine("I1.waiting", self._db.value("SELECT count(*) FROM drops WHERE state = 'PENDING'"))
        before_ns = time.time_ns() - int(self._depth.pending_seconds * 1e9)
        sql = """
            WITH scoped AS (
                SELECT drops.*, CASE WHEN drive_id IN (SELECT drive_id FROM parts WHERE recording = '') THEN drive_id
                    WHEN recording <> '' THEN drive_id || '/' || recording ELSE drop_id END AS scope FROM drops)
            SELECT d.drop_id, d.key, d.drive_id, greatest(d.last_at_ns, s.newest_ns) FROM scoped d
            JOIN (SELECT scope, max(received_at_ns) AS newest_ns FROM scoped GROUP BY 1) s USING (scope)
            ANTI JOIN locks k USING (drive_id)
            WHERE d.state = 'PENDING' AND greatest(d.last_at_ns, s.newest_ns) < ?
        """
        for drop_id, key, drive_id, since_ns in self._db.rows(sql, [before_ns]):
            drop, lock = self._now(f"DROP#{drop_id}", f"DRIVE#{drive_id}")
            if drop and drop["state"] == "PENDING" and not lock:
                expected = f"a claim within {self._depth.pending_seconds:,.0f} s, as nothing holds it up"
                found = f"PENDING for {(time.time_ns() - since_ns) / 1e9:,.0f} s"
                self._report.violate("I1.waiting", f"drop {drop_id} ({key})", expected, found)

    def _check_duplicates(self) -> None:
        self._report.examine("I1.duplicate", self._db.value("SELECT count(*) FROM drops WHERE state = 'DUPLICATE'"))
        sql = """
            SELECT d.drop_id, d.key, d.object_sha256, d.duplicate_of, s.state, s.object_sha256
            FROM drops d LEFT JOIN drops s ON s.drop_id = d.duplicate_of WHERE d.state = 'DUPLICATE'
            AND (coalesce(s.state NOT IN ('BUILT', 'CLAIMED'), true)
                 OR (s.state = 'BUILT' AND s.object_sha256 IS DISTINCT FROM d.object_sha256))
        """
        for drop_id, key, sha, survivor, state, survivor_sha in self._db.rows(sql):
            found = f"duplicate of {survivor}, which is {state or 'unknown'} with content {survivor_sha}"
            expected = f"a surviving drop with content {sha}"
            self._report.violate("I1.duplicate", f"drop {drop_id} ({key})", expected, found)

    def check_releases(self, numbers: Iterable[int]) -> None:
        """Drops name releases that exist."""
        self._report.examine("I1.release", self._db.value("SELECT count(release_id) FROM drops"))
        sql = "SELECT drop_id, key, release_id FROM drops WHERE release_id IS NOT NULL"
        known = {f"r{number:08d}" for number in numbers}
        for drop_id, key, release_id in self._db.rows(sql):
            if release_id not in known:
                expected, subject = f"release {release_id} under releases/", f"drop {drop_id} ({key})"
                self._report.violate("I1.release", subject, expected, "no such release")

    def check_builders(self, releases: Iterable[Release]) -> None:
        """A drop is settled by the attempt that made its batch's release, or by a later one that found it made."""
        for release in releases:
            sql = """
                SELECT drop_id, key, attempt FROM drops WHERE release_id = ? AND batch_id = ? AND state <> 'CLAIMED'
            """
            for drop_id, key, attempt in self._db.rows(sql, [release.release_id, release.batch_id]):
                self._report.examine("I3.built")
                if attempt is None or attempt < release.attempt:
                    expected = (
                        f"attempt {release.attempt} of batch {release.batch_id} or later, as {release.release_id}"
                    )
                    self._report.violate("I3.built", f"drop {drop_id} ({key})", expected, f"attempt {attempt}")

    def _now(self, *keys: str) -> list[Item | None]:
        return self._aws.items_now(self._lake.ledger, list(keys))

    def _holds(self, batch_id: str, drop_ids: list[str], drive_id: str | None = None) -> bool:
        drops = (self._now(f"DROP#{drop_id}")[0] for drop_id in drop_ids)
        return any(
            d and d["state"] == "CLAIMED" and d.get("batch_id") == batch_id and drive_id in (None, d.get("drive_id"))
            for d in drops
        )


def _wrong_holder(drop: Item, batch: Item | None, lock: Item | None) -> str | None:
    """What is wrong with who holds a claimed drop; None when nothing is."""
    if batch is None:
        return f"no batch {drop.get('batch_id')}"
    is_listed = drop["drop_id"] in batch["drop_ids"]
    if batch["state"] != "OPEN" or batch["attempt"] < drop["attempt"] or not is_listed:
        lists = "lists it" if is_listed else "does not list it"
        return f"batch {batch['batch_id']} is {batch['state']} at attempt {batch['attempt']} and {lists}"
    if lock is None or lock.get("batch_id") != drop["batch_id"]:
        return f"its drive is held by {lock.get('batch_id') if lock else 'nobody'}"
    return None
