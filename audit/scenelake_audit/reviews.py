"""I1 and I3: what people decided about scenes that were held back is on record, and gold follows it."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from scenelake_audit.aws import Aws, Item, split_uri
from scenelake_audit.config import Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.report import Report

DECISIONS = {"REVIEW": frozenset({"RELEASE", "REJECT"}), "REPROCESS": frozenset({"REPROCESS"})}
"""What an item of each kind may say."""

REVIEWS = {
    "pk": "VARCHAR", "scene_id": "VARCHAR", "review_hash": "VARCHAR", "drive_id": "VARCHAR", "decision": "VARCHAR",
    "reviewer": "VARCHAR", "decided_at_ns": "BIGINT", "evidence_uri": "VARCHAR", "received_at_ns": "BIGINT",
}  # fmt: skip
"""Columns of the table ``reviews``."""

_Finding = tuple[str, str, str]


def review_row(item: Item) -> tuple[Any, ...]:
    """A row of ``reviews`` from an item of the ledger, whatever it lacks."""
    return tuple(item.get("of_drive_id" if name == "drive_id" else name) for name in REVIEWS)


class ReviewAudit:
    """Holds reviews against their evidence and against a release.

    Args:
        database: with the tables ``reviews``, ``drops`` and ``batches``, and those of the release.
    """

    def __init__(self, aws: Aws, lake: Lake, depth: Depth, database: Database, report: Report) -> None:
        self._aws, self._lake, self._depth, self._db, self._report = aws, lake, depth, database, report

    def check_records(self) -> None:
        """Each says who decided what and when, under its own key, about a question that was asked."""
        for row in self._db.rows(f"SELECT {', '.join(REVIEWS)} FROM reviews"):
            self._report.examine("I1.review")
            review = dict(zip(REVIEWS, row, strict=True))
            for expected, found in self._wrong(review):
                self._report.violate("I1.review", review["pk"], expected, found)

    def _wrong(self, review: dict[str, Any]) -> Iterator[tuple[str, str]]:
        kind = review["pk"].partition("#")[0]
        key = f"{kind}#{review['scene_id']}#{review['review_hash']}"
        if review["pk"] != key:
            yield "the key of its scene and hash", key
        if review["decision"] not in DECISIONS[kind] or not review["reviewer"] or not review["decided_at_ns"]:
            found = f"{review['decision']} by {review['reviewer'] or 'nobody'} at {review['decided_at_ns']}"
            yield f"one of {', '.join(sorted(DECISIONS[kind]))}, a reviewer and a time", found
        bucket, name = split_uri(review["evidence_uri"] or "")
        if not bucket or not self._aws.exists(bucket, name):
            yield "a quarantine document that it answers", f"nothing at {review['evidence_uri']}"

    def check_release(self, is_newest: bool) -> None:
        """Rows of ``quarantine`` and ``scene`` follow the decisions, and nothing else.

        Args:
            is_newest: no later release can hold what this one lacks.
        """
        number = self._db.value("SELECT (SELECT count(*) FROM quarantine) + (SELECT count(*) FROM reviews)")
        self._report.examine("I3.review", number)
        ignored = self._ignored() if is_newest else ()
        for scene_id, expected, found in chain(self._unfounded(), self._absent(), ignored):
            self._report.violate("I3.review", f"scene {scene_id}", expected, found)

    def _unfounded(self) -> Iterator[_Finding]:
        """Rows that name a reviewer, or that only one can make, without his decision."""
        sql = """
            SELECT q.scene_id, q.review_hash, q.state, q.reviewer, q.decided_at_ns, r.decision, r.reviewer,
                r.decided_at_ns
            FROM quarantine q LEFT JOIN reviews r ON r.pk = 'REVIEW#' || q.scene_id || '#' || q.review_hash
            WHERE (q.state = 'RELEASED' OR q.reviewer IS NOT NULL) AND (q.state, q.reviewer, q.decided_at_ns)
                IS DISTINCT FROM (CASE r.decision WHEN 'RELEASE' THEN 'RELEASED' WHEN 'REJECT' THEN 'REJECTED' END,
                    r.reviewer, r.decided_at_ns)
        """
        for scene_id, review_hash, state, reviewer, at_ns, decision, by, decided_at_ns in self._db.rows(sql):
            if decision is None and self._is_recorded_now(scene_id, review_hash):
                continue
            found = f"{decision} by {by} at {decided_at_ns}" if decision else "no decision in the ledger"
            yield scene_id, f"a decision by {reviewer} at {at_ns} that makes it {state}", found

    def _is_recorded_now(self, scene_id: str, review_hash: str | None) -> bool:
        """Whether a decision was made, and followed by a build, since the ledger was read."""
        return self._aws.items_now(self._lake.ledger, [f"REVIEW#{scene_id}#{review_hash}"])[0] is not None

    def _absent(self) -> Iterator[_Finding]:
        sql = "SELECT scene_id, reviewer FROM quarantine ANTI JOIN scene USING (scene_id) WHERE state = 'RELEASED'"
        for scene_id, reviewer in self._db.rows(sql):
            yield scene_id, f"in gold, as {reviewer} released it", "not in gold"

    def _ignored(self) -> Iterator[_Finding]:
        """Decisions that the drive's last build, which began when they were on record, did not follow."""
        sql = """
            SELECT r.scene_id, r.decision, r.reviewer, q.state, s.scene_id FROM reviews r
            LEFT JOIN quarantine q ON (q.scene_id, q.review_hash) = (r.scene_id, r.review_hash)
            LEFT JOIN scene s ON (s.scene_id, s.content_hash) = (r.scene_id, r.review_hash)
            WHERE r.decision IN ('RELEASE', 'REJECT')
            AND (q.state <> CASE r.decision WHEN 'RELEASE' THEN 'RELEASED' ELSE 'REJECTED' END
                OR (r.decision = 'REJECT' AND s.scene_id IS NOT NULL))
            AND EXISTS (SELECT 1 FROM drops d JOIN batches b USING (batch_id) WHERE d.drive_id = r.drive_id
                AND d.state = 'BUILT' AND b.state = 'CLOSED'
                AND b.created_at_ns > greatest(r.decided_at_ns, r.received_at_ns) + ?)
        """
        grace_ns = int(self._depth.event_grace_seconds * 1e9)
        for scene_id, decision, reviewer, state, in_gold in self._db.rows(sql, [grace_ns]):
            found = f"{state or 'no row'} in quarantine{', and in gold' if in_gold else ''}"
            yield scene_id, f"{decision} by {reviewer}, as the drive was built since", found
