"""I1: every object version in landing is in exactly one state of the ledger.

The landing bucket is listed before the ledger is read, so an object that the ledger lacks was there first. The
stack may be at work meanwhile: what looks wrong is read again, together and at once, before it is called wrong.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from scenelake_audit.aws import Aws, Item
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.report import Report

TERMINAL = frozenset({"BUILT", "REJECTED", "DUPLICATE", "FORGOTTEN"})
STATES = TERMINAL | {"PENDING", "CLAIMED"}
_ITEMS_AT_ONCE = 5000
OBJECT_MISSING = "object_missing"
"""Reason with which decode rejects a version that was gone before it could be read."""

LANDING = {
    "drop_id": "VARCHAR", "key": "VARCHAR", "version_id": "VARCHAR", "size_bytes": "BIGINT", "etag": "VARCHAR",
    "modified_at_s": "DOUBLE", "is_marker": "BOOLEAN",
}  # fmt: skip
DROPS = {
    "drop_id": "VARCHAR", "bucket": "VARCHAR", "key": "VARCHAR", "version_id": "VARCHAR", "size_bytes": "BIGINT",
    "etag": "VARCHAR", "drive_id": "VARCHAR", "state": "VARCHAR", "state_key": "VARCHAR", "last_state": "VARCHAR",
    "batch_id": "VARCHAR", "attempt": "BIGINT", "reason": "VARCHAR", "object_sha256": "VARCHAR",
    "decoded_uri": "VARCHAR", "duplicate_of": "VARCHAR", "release_id": "VARCHAR", "messages": "BIGINT",
}  # fmt: skip
BATCHES = {
    "batch_id": "VARCHAR", "state": "VARCHAR", "attempt": "BIGINT", "lease_until_ns": "BIGINT", "drop_ids": "VARCHAR",
}  # fmt: skip
LOCKS = {"drive_id": "VARCHAR", "batch_id": "VARCHAR"}


def drop_id_of(bucket: str, key: str, version_id: str) -> str:
    """Identity of an object version: SHA-256 over bucket, key and version id with unit separators between."""
    return hashlib.sha256("\x1f".join((bucket, key, version_id)).encode()).hexdigest()


class LandingAudit:
    """Reads landing and ledger into the database, then compares them.

    Args:
        database: receives the tables ``landing``, ``drops``, ``batches`` and ``locks``.
    """

    def __init__(self, aws: Aws, lake: Lake, depth: Depth, database: Database, report: Report) -> None:
        self._aws, self._lake, self._depth, self._db, self._report = aws, lake, depth, database, report

    def load(self) -> None:
        for name, columns in (("landing", LANDING), ("drops", DROPS), ("batches", BATCHES), ("locks", LOCKS)):
            self._db.create(name, columns)
        self._db.insert("landing", LANDING, self._landing_rows())
        items = self._aws.items(self._lake.ledger)
        while page := list(islice(items, _ITEMS_AT_ONCE)):
            named = [(*item["pk"].partition("#")[::2], item) for item in page]
            self._db.insert("drops", DROPS, (_drop_row(n, i) for kind, n, i in named if kind == "DROP"))
            self._db.insert("batches", BATCHES, (_batch_row(n, i) for kind, n, i in named if kind == "BATCH"))
            self._db.insert("locks", LOCKS, ((n, i.get("batch_id")) for kind, n, i in named if kind == "DRIVE"))

    def _landing_rows(self) -> Iterator[tuple[Any, ...]]:
        for v in self._aws.versions(self._lake.landing):
            if v.is_delete_marker:
                continue
            is_marker = v.key.endswith("/") and v.size_bytes == 0
            drop_id = drop_id_of(self._lake.landing, v.key, v.version_id)
            yield drop_id, v.key, v.version_id, v.size_bytes, v.etag, v.modified_at_s, is_marker

    def check(self) -> None:
        self._check_registered()
        self._check_identity()
        self._check_states()
        self._check_claims()
        self._check_batches()
        self._check_duplicates()

    def _check_registered(self) -> None:
        self._report.examine("I1.registered", self._db.value("SELECT count(*) FROM landing WHERE NOT is_marker"))
        sql = """
            SELECT l.key, l.version_id, l.drop_id FROM landing l ANTI JOIN drops d USING (drop_id)
            WHERE NOT l.is_marker AND l.modified_at_s < ?
        """
        for key, version_id, drop_id in self._db.rows(sql, [time.time() - self._depth.event_grace_seconds]):
            if self._now(drop_id) is None:
                subject = f"s3://{self._lake.landing}/{key} version {version_id}"
                self._report.violate("I1.registered", subject, f"a ledger row DROP#{drop_id}", "none")
        sql = """
            SELECT d.drop_id, d.key, d.version_id, d.state, d.reason FROM drops d ANTI JOIN landing l USING (drop_id)
            WHERE d.bucket = ?
        """
        self._report.examine("I4.tombstone", self._db.value("SELECT count(*) FROM drops"))
        for drop_id, key, version_id, state, reason in self._db.rows(sql, [self._lake.landing]):
            has_tombstone = state == "FORGOTTEN" or (state == "REJECTED" and OBJECT_MISSING in (reason or ""))
            if not has_tombstone and not self._aws.exists(self._lake.landing, key, version_id):
                self._report.violate(
                    "I4.tombstone",
                    f"s3://{self._lake.landing}/{key} version {version_id}",
                    f"the object version, or drop {drop_id} FORGOTTEN or rejected as {OBJECT_MISSING}",
                    f"no such version, and the drop is {state}",
                )

    def _check_identity(self) -> None:
        self._report.examine("I1.identity", self._db.value("SELECT count(*) FROM drops"))
        for drop_id, bucket, key, version_id in self._db.rows("SELECT drop_id, bucket, key, version_id FROM drops"):
            expected = drop_id_of(bucket or "", key or "", version_id or "")
            if drop_id != expected:
                self._report.violate("I1.identity", f"s3://{bucket}/{key} version {version_id}", expected, drop_id)
        sql = """
            SELECT d.drop_id, l.key, l.size_bytes, l.etag, d.size_bytes, d.etag FROM drops d JOIN landing l
            USING (drop_id) WHERE (l.size_bytes, l.etag) IS DISTINCT FROM (d.size_bytes, d.etag)
        """
        for drop_id, key, size, etag, said_size, said_etag in self._db.rows(sql):
            expected = f"{size} bytes, ETag {etag}, as S3 lists it"
            self._report.violate("I1.identity", f"drop {drop_id} ({key})", expected, f"{said_size} bytes, {said_etag}")

    def _check_states(self) -> None:
        self._report.examine("I1.state", self._db.value("SELECT count(*) FROM drops"))
        sql = "SELECT drop_id, key, state, state_key, last_state, reason FROM drops"
        for drop_id, key, state, state_key, last_state, reason in self._db.rows(sql):
            subject = f"drop {drop_id} ({key})"
            if state not in STATES:
                self._report.violate("I1.state", subject, f"one of {', '.join(sorted(STATES))}", state)
            elif state_key != f"DROP#{state}" or last_state not in (None, state):
                found = f"state {state}, indexed as {state_key}, history ends in {last_state}"
                self._report.violate("I1.state", subject, "one state", found)
            elif state in ("REJECTED", "DUPLICATE") and not reason:
                self._report.violate("I1.state", subject, f"a reason for {state}", "none")

    def _check_claims(self) -> None:
        sql = """
            SELECT d.drop_id, d.batch_id FROM drops d LEFT JOIN batches b USING (batch_id)
            WHERE d.state = 'CLAIMED' AND NOT coalesce(
                b.state = 'OPEN' AND b.attempt = d.attempt AND contains(b.drop_ids, d.drop_id), false)
        """
        self._report.examine("I1.claim", self._db.value("SELECT count(*) FROM drops WHERE state = 'CLAIMED'"))
        for drop_id, batch_id in self._db.rows(sql):
            drop, batch = self._together(drop_id, batch_id)
            if drop is None or drop["state"] != "CLAIMED":
                continue
            expected = f"an open batch at attempt {drop['attempt']} that lists it"
            if batch is None:
                self._report.violate("I1.claim", f"drop {drop_id} ({drop['key']})", expected, f"no batch {batch_id}")
            elif batch["state"] != "OPEN" or batch["attempt"] != drop["attempt"] or drop_id not in batch["drop_ids"]:
                lists = "lists it" if drop_id in batch["drop_ids"] else "does not list it"
                found = f"batch {batch_id} is {batch['state']} at attempt {batch['attempt']} and {lists}"
                self._report.violate("I1.claim", f"drop {drop_id} ({drop['key']})", expected, found)

    def _check_batches(self) -> None:
        now_ns = time.time_ns() - int(self._depth.event_grace_seconds * 1e9)
        nbr_open = self._db.value("SELECT count(*) FROM batches WHERE state = 'OPEN'")
        self._report.examine("I1.lease", nbr_open)
        self._report.examine("I1.batch", nbr_open + self._db.value("SELECT count(*) FROM locks"))
        for batch_id, lease in self._db.rows(
            "SELECT batch_id, lease_until_ns FROM batches WHERE state = 'OPEN' AND lease_until_ns <= ?", [now_ns]
        ):
            batch = self._now_batch(batch_id)
            if batch and batch["state"] == "OPEN" and batch["lease_until_ns"] <= now_ns:
                late = (time.time_ns() - lease) / 1e9
                found = f"lapsed {late:.1f} s ago at attempt {batch['attempt']}, and nobody has claimed it since"
                self._report.violate("I1.lease", f"batch {batch_id}", "a lease that lasts, or a later claim", found)
        sql = """
            SELECT batch_id FROM batches b WHERE state = 'OPEN' AND NOT EXISTS
                (SELECT 1 FROM drops d WHERE d.batch_id = b.batch_id AND d.state = 'CLAIMED')
        """
        for (batch_id,) in self._db.rows(sql):
            batch = self._now_batch(batch_id)
            if batch and batch["state"] == "OPEN" and not self._holds(batch_id, batch):
                self._report.violate("I1.batch", f"batch {batch_id}", "CLOSED, as it holds no drop", batch["state"])
        sql = """
            SELECT drive_id, batch_id FROM locks k WHERE NOT EXISTS
                (SELECT 1 FROM batches b WHERE b.batch_id = k.batch_id AND b.state = 'OPEN')
        """
        for drive_id, batch_id in self._db.rows(sql):
            lock, batch = self._aws.items_now(self._lake.ledger, [f"DRIVE#{drive_id}", f"BATCH#{batch_id}"])
            if lock and lock.get("batch_id") == batch_id and (batch is None or batch["state"] != "OPEN"):
                found = f"batch {batch_id} is {batch['state'] if batch else 'unknown'}"
                self._report.violate("I1.batch", f"lock of drive {drive_id}", "an open batch that holds it", found)

    def _holds(self, batch_id: str, batch: Item) -> bool:
        drops = (self._now(drop_id) for drop_id in batch["drop_ids"])
        return any(d and d["state"] == "CLAIMED" and d.get("batch_id") == batch_id for d in drops)

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

    def check_releases(self, numbers: set[int]) -> None:
        """Drops name releases that exist."""
        self._report.examine("I1.release", self._db.value("SELECT count(release_id) FROM drops"))
        sql = "SELECT drop_id, key, release_id FROM drops WHERE release_id IS NOT NULL"
        known = {f"r{number:08d}" for number in numbers}
        for drop_id, key, release_id in self._db.rows(sql):
            if release_id not in known:
                expected, subject = f"release {release_id} under releases/", f"drop {drop_id} ({key})"
                self._report.violate("I1.release", subject, expected, "no such release")

    def _now(self, drop_id: str) -> Item | None:
        return self._aws.items_now(self._lake.ledger, [f"DROP#{drop_id}"])[0]

    def _now_batch(self, batch_id: str) -> Item | None:
        return self._aws.items_now(self._lake.ledger, [f"BATCH#{batch_id}"])[0]

    def _together(self, drop_id: str, batch_id: str | None) -> tuple[Item | None, Item | None]:
        if batch_id is None:
            return self._now(drop_id), None
        drop, batch = self._aws.items_now(self._lake.ledger, [f"DROP#{drop_id}", f"BATCH#{batch_id}"])
        return drop, batch


def _drop_row(drop_id: str, item: Item) -> tuple[Any, ...]:
    try:
        outcome = json.loads(item.get("outcome") or "{}")
    except ValueError:
        outcome = {}
    history = item.get("history") or []
    return (
        drop_id, item.get("bucket"), item.get("key"), item.get("version_id"), item.get("size_bytes"),
        item.get("etag"), item.get("drive_id"), item.get("state"), item.get("state_key"),
        history[-1].get("state") if history else None, item.get("batch_id"), item.get("attempt"),
        item.get("reason"), outcome.get("object_sha256"), outcome.get("decoded_uri"), outcome.get("duplicate_of"),
        outcome.get("release_id"), outcome.get("messages"),
    )  # fmt: skip


def _batch_row(batch_id: str, item: Item) -> tuple[Any, ...]:
    drop_ids = ",".join(item.get("drop_ids") or ())
    return batch_id, item.get("state"), item.get("attempt"), item.get("lease_until_ns"), drop_ids
