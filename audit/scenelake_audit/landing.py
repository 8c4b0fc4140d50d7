"""I1: every object version in landing is in the ledger, under its own identity.

The landing bucket is listed before the ledger is read, so an object that the ledger lacks was there first. The
stack may be at work meanwhile: what looks wrong is read again, together and at once, before it is called wrong.
"""

import hashlib
import json
import time
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from scenelake_audit.aws import Aws, Item
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.histories import breaks
from scenelake_audit.parts import PARTS, part_rows
from scenelake_audit.report import Report
from scenelake_audit.reviews import DECISIONS, REVIEWS, review_row

_ITEMS_AT_ONCE = 5000
OBJECT_MISSING = "object_missing"
"""Reason with which decode rejects a version that was gone before it could be read."""

TABLES: dict[str, dict[str, str]] = {
    "landing": {
        "drop_id": "VARCHAR", "key": "VARCHAR", "version_id": "VARCHAR", "size_bytes": "BIGINT", "etag": "VARCHAR",
        "modified_at_s": "DOUBLE",
    },
    "drops": {
        "drop_id": "VARCHAR", "bucket": "VARCHAR", "key": "VARCHAR", "version_id": "VARCHAR", "size_bytes": "BIGINT",
        "etag": "VARCHAR", "drive_id": "VARCHAR", "recording": "VARCHAR", "received_at_ns": "BIGINT",
        "state": "VARCHAR", "state_key": "VARCHAR", "last_state": "VARCHAR", "last_at_ns": "BIGINT",
        "last_batch_id": "VARCHAR", "last_attempt": "BIGINT",
        "batch_id": "VARCHAR", "attempt": "BIGINT", "reason": "VARCHAR", "object_sha256": "VARCHAR",
        "decoded_uri": "VARCHAR", "duplicate_of": "VARCHAR", "release_id": "VARCHAR", "messages": "BIGINT",
    },
    "batches": {
        "batch_id": "VARCHAR", "state": "VARCHAR", "attempt": "BIGINT", "lease_until_ns": "BIGINT",
        "created_at_ns": "BIGINT",
    },
    "batch_drops": {"batch_id": "VARCHAR", "drop_id": "VARCHAR"},
    "locks": {"drive_id": "VARCHAR", "batch_id": "VARCHAR"},
    "parts": PARTS,
    "reviews": REVIEWS,
}  # fmt: skip


def drop_id_of(bucket: str, key: str, version_id: str) -> str:
    """Identity of an object version: SHA-256 over bucket, key and version id with unit separators between."""
    return hashlib.sha256("\x1f".join((bucket, key, version_id)).encode()).hexdigest()


class LandingAudit:
    """Reads landing and ledger into the database, and holds the one against the other.

    Args:
        database: receives ``TABLES``.
    """

    def __init__(self, aws: Aws, lake: Lake, depth: Depth, database: Database, report: Report) -> None:
        self._aws, self._lake, self._depth, self._db, self._report = aws, lake, depth, database, report

    def load(self) -> None:
        """Reads all of both."""
        for name, columns in TABLES.items():
            self._db.create(name, columns)
        self._db.insert("landing", TABLES["landing"], self._landing_rows())
        items = self._aws.items(self._lake.ledger)
        while page := list(islice(items, _ITEMS_AT_ONCE)):
            rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES if name != "landing"}
            for item in page:
                kind, _, name = item["pk"].partition("#")
                self._report.examine("I1.item")
                self._take(kind, name, item, rows)
            for table, found in rows.items():
                self._db.insert(table, TABLES[table], found)

    def _landing_rows(self) -> Iterator[tuple[Any, ...]]:
        for v in self._aws.versions(self._lake.landing):
            if not v.is_delete_marker:
                drop_id = drop_id_of(self._lake.landing, v.key, v.version_id)
                yield drop_id, v.key, v.version_id, v.size_bytes, v.etag, v.modified_at_s

    def _take(self, kind: str, name: str, item: Item, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        if kind == "DROP":
            rows["drops"].append(_drop_row(name, item))
            self._report.examine("I1.history")
            for expected, found in breaks(item.get("history") or ({},)):
                self._report.violate("I1.history", f"drop {name} ({item.get('key')})", expected, found)
        elif kind == "BATCH":
            rows["batches"].append((name, *(item.get(c) for c in TABLES["batches"] if c != "batch_id")))
            rows["batch_drops"] += ((name, drop_id) for drop_id in item.get("drop_ids") or ())
        elif kind == "DRIVE":
            rows["locks"].append((name, item.get("batch_id")))
        elif kind == "PARTS":
            try:
                rows["parts"] += part_rows(item)
            except (ValueError, KeyError, AttributeError, zlib.error) as error:
                self._report.violate(
                    "I1.item", item["pk"], "parts with their sizes", f"{type(error).__name__}: {error}"
                )
        elif kind in DECISIONS:
            rows["reviews"].append(review_row(item))
        elif kind == "EVENT":
            self._report.examine("I1.event")
            if not item.get("event") or not item.get("reason"):
                found = f"event {item.get('event')!r}, reason {item.get('reason')!r}"
                self._report.violate("I1.event", item["pk"], "S3's name of the event, and why it was ignored", found)
        else:
            expected = "a drop, a batch, a drive, the parts of a recording, an event or a review"
            self._report.violate("I1.item", item["pk"], expected, f"an item with {', '.join(sorted(item))}"[:300])

    def check(self) -> None:
        """Object versions and ledger rows belong together one to one."""
        self._check_registered()
        self._check_absent()
        self._check_identity()

    def _check_registered(self) -> None:
        self._report.examine("I1.registered", self._db.value("SELECT count(*) FROM landing"))
        sql = """
            SELECT l.key, l.version_id, l.drop_id FROM landing l ANTI JOIN drops d USING (drop_id)
            WHERE l.modified_at_s < ?
        """
        for key, version_id, drop_id in self._db.rows(sql, [time.time() - self._depth.event_grace_seconds]):
            if self._aws.items_now(self._lake.ledger, [f"DROP#{drop_id}"])[0] is None:
                subject = f"s3://{self._lake.landing}/{key} version {version_id}"
                self._report.violate("I1.registered", subject, f"a ledger row DROP#{drop_id}", "none")

    def _check_absent(self) -> None:
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


def _drop_row(drop_id: str, item: Item) -> tuple[Any, ...]:
    try:
        outcome = json.loads(item.get("outcome") or "{}")
    except ValueError:
        outcome = {}
    last = (item.get("history") or [{}])[-1]
    return (
        drop_id, item.get("bucket"), item.get("key"), item.get("version_id"), item.get("size_bytes"),
        item.get("etag"), item.get("drive_id"), item.get("recording", ""), item.get("received_at_ns"),
        item.get("state"), item.get("state_key"), last.get("state"), last.get("at_ns"), last.get("batch_id"),
        last.get("attempt"), item.get("batch_id"), item.get("attempt"), item.get("reason"),
        outcome.get("object_sha256"), outcome.get("decoded_uri"), outcome.get("duplicate_of"),
        outcome.get("release_id"), outcome.get("messages"),
    )  # fmt: skip
