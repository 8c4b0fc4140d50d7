"""I1 for recordings of many objects: what their manifests list, read by the auditor itself."""

import json
import zlib
from collections.abc import Iterator
from typing import Any

from scenelake_audit.ahead import ahead
from scenelake_audit.aws import Aws, Item
from scenelake_audit.config import Lake
from scenelake_audit.database import Database
from scenelake_audit.report import Report

MANIFEST_NAME = "_MANIFEST.json"
INCOMPLETE = "incomplete"
"""Word in the remark of a manifest whose recording was built without all of its parts."""

_MAX_BYTES = 8 * 1024**2
_SHOWN = 5

PARTS = {"drive_id": "VARCHAR", "recording": "VARCHAR", "drop_id": "VARCHAR", "key": "VARCHAR", "size_bytes": "BIGINT"}


def part_rows(item: Item) -> Iterator[tuple[Any, ...]]:
    """Rows of ``PARTS`` from an item of the ledger, one per listed part.

    Raises:
        ValueError, KeyError, zlib.error: the item is not one.
    """
    sizes = json.loads(zlib.decompress(item["sizes"]))
    for key, size_bytes in sizes.items():
        yield item["of_drive_id"], item["recording"], item["drop_id"], key, size_bytes


class PartsAudit:
    """Holds the manifests in landing against what the ledger kept of them, and against the drops."""

    def __init__(self, aws: Aws, lake: Lake, database: Database, report: Report) -> None:
        self._aws, self._lake, self._db, self._report = aws, lake, database, report

    def check(self, settled_before_s: float) -> None:
        """Compares manifests, and parts that landed before a time, with the ledger."""
        self._check_manifests(settled_before_s)
        self._check_landed(settled_before_s)
        self._check_built()

    def _check_manifests(self, settled_before_s: float) -> None:
        """The newest manifest of each recording, if it is one, is what the ledger kept, word for word.

        Which one is the newest is for S3's clock to say, to the second: events come in any order.
        """
        sql = """
            SELECT d.drop_id, d.key, d.version_id, d.size_bytes, d.state, p.drop_id, p.sizes FROM drops d
            LEFT JOIN (
                SELECT drive_id, recording, drop_id, list((key, size_bytes) ORDER BY key) AS sizes
                FROM parts GROUP BY ALL
            ) p USING (drive_id, recording)
            LEFT JOIN landing l ON l.drop_id = d.drop_id
            WHERE d.bucket = $bucket AND parse_filename(d.key) = $name AND d.state <> 'FORGOTTEN'
            AND d.received_at_ns < $before_ns
            QUALIFY row_number() OVER (
                PARTITION BY d.drive_id, d.recording
                ORDER BY floor(coalesce(l.modified_at_s, d.received_at_ns / 1e9)) DESC, d.drop_id DESC) = 1
        """
        values = {"bucket": self._lake.landing, "name": MANIFEST_NAME, "before_ns": int(settled_before_s * 1e9)}
        for row, listed in ahead(self._db.rows(sql, values), self._read):
            drop_id, key, _, _, state, kept_by, kept = row
            if listed is None or (state == "REJECTED" and kept_by != drop_id):
                continue
            self._report.examine("I1.parts", len(listed))
            found = dict(kept or ())
            if found == listed and kept_by == drop_id:
                continue
            wrong = sorted(set(found.items()) ^ set(listed.items()))[:_SHOWN]
            expected = f"its {len(listed)} parts in the ledger"
            shown = f"those of drop {kept_by}, which differ in {wrong}" if kept_by else "no item of the manifest"
            self._report.violate("I1.parts", f"drop {drop_id} ({key})", expected, shown)

    def _read(self, row: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, int] | None]:
        """``{key: size}`` of what a manifest lists; None where it is gone or is no manifest."""
        _, key, version_id, size, *_ = row
        data = self._aws.read(self._lake.landing, key, version_id) if size <= _MAX_BYTES else None
        folder = key.rpartition("/")[0]
        try:
            files = json.loads(data)["files"] if data is not None else []
            return row, {f"{folder}/{file['path']}": int(file["size_bytes"]) for file in files} or None
        except (ValueError, KeyError, TypeError, AttributeError):
            return row, None

    def _check_landed(self, settled_before_s: float) -> None:
        sql = """
            SELECT DISTINCT p.key, p.drop_id, l.version_id, l.drop_id FROM parts p JOIN landing l USING (key)
            WHERE l.size_bytes = p.size_bytes AND l.modified_at_s < ?
            AND l.drop_id NOT IN (SELECT drop_id FROM drops)
        """
        for key, manifest, version_id, drop_id in self._db.rows(sql, [settled_before_s]):
            if self._aws.items_now(self._lake.ledger, [f"DROP#{drop_id}"])[0] is None:
                subject = f"part s3://{self._lake.landing}/{key} version {version_id} of manifest {manifest}"
                self._report.violate("I1.parts", subject, f"a ledger row DROP#{drop_id}", "none")

    def _check_built(self) -> None:
        sql = """
            SELECT d.drop_id, d.key, d.reason, list(p.key ORDER BY p.key), count(*) FROM parts p
            JOIN drops d USING (drop_id)
            ANTI JOIN (SELECT key, size_bytes FROM drops WHERE state <> 'REJECTED') part
                ON part.key = p.key AND part.size_bytes = p.size_bytes
            WHERE d.state = 'BUILT' AND NOT contains(coalesce(d.reason, ''), ?) GROUP BY ALL
        """
        self._report.examine("I1.incomplete", self._db.value("SELECT count(DISTINCT drop_id) FROM parts"))
        for drop_id, key, reason, missing, number in self._db.rows(sql, [INCOMPLETE]):
            found = f"remark {reason!r}, and {number} missing: {', '.join(missing[:_SHOWN])}"
            expected = f"every listed part, or a remark that says {INCOMPLETE}"
            self._report.violate("I1.incomplete", f"drop {drop_id} ({key})", expected, found)
