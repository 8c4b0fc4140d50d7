"""Compares the landing bucket with the ledger and the ledger with gold, and mends what is safe to mend.

It registers what no event announced, through the function that takes S3's events, and rings the doorbell for
batches whose lease lapsed: the next claim takes those over, so nothing else needs doing. Everything else is
reported. Landing is listed before the ledger is read and the ledger before gold, so what a later reading lacks was
there first; what still looks wrong is read once more, alone.
"""

import argparse
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from scenelake.adapters.aws import aws_client
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.gold_reader import NewestRelease
from scenelake.adapters.landing import versions
from scenelake.adapters.objects import S3Objects, write_json
from scenelake.adapters.queues import dead_letter_queues
from scenelake.adapters.scratch_database import ScratchDatabase
from scenelake.contracts import ids
from scenelake.contracts.drops import Batch, BatchState, DropState
from scenelake.contracts.paths import LakePaths
from scenelake.ledger.new_drop import ObjectVersion
from scenelake.ledger.reconcile import Difference, Findings, announcement, to_markdown, why_lapsed, why_waiting
from scenelake.ledger.redrive import question_id
from scenelake.ledger.redrive_job import look
from scenelake.ledger.register_drop import handler
from scenelake.ledger.transitions import utc_text
from scenelake.runtime.command import claim_limits, run_command
from scenelake.runtime.faults import durable_write, now_ns
from scenelake.runtime.logs import configure_logging
from scenelake.runtime.settings import Settings

log = logging.getLogger(__name__)

_SECOND_NS = 1_000_000_000
_REGISTER_AT_ONCE = 100
_LANDING = {
    "drop_id": pa.string(), "key": pa.string(), "version_id": pa.string(), "size_bytes": pa.int64(),
    "etag": pa.string(), "modified_at_ns": pa.int64(),
}  # fmt: skip
_LEDGER = {
    "drop_id": pa.string(), "key": pa.string(), "version_id": pa.string(), "state": pa.string(),
    "reason": pa.string(), "release_id": pa.string(), "messages": pa.int64(),
}  # fmt: skip
_GOLD = {"drop_id": pa.string()}


def main(argv: Sequence[str] | None = None) -> int:
    """Answers counts, up to 20 examples per difference, and where the whole report lies."""
    parser = argparse.ArgumentParser(prog="scenelake-reconcile", description="Compares landing, ledger and gold.")
    add_options(parser)
    return run_command("reconcile", parser, _reconcile, argv)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What a person may choose, here and in the ``scenelake`` command."""
    parser.add_argument("--bucket", help="landing bucket (default: the configured one)")
    parser.add_argument("--prefix", default="", help="only object versions whose key starts with this")
    parser.add_argument(
        "--since-hours", type=float, help="only object versions stored in the last hours (default: all, and all drops)"
    )
    parser.add_argument(
        "--grace-seconds", type=int, default=300,
        help="age below which an event may still be on its way, and a lapsed batch about to be claimed (default 300)",
    )  # fmt: skip
    parser.add_argument(
        "--stuck-seconds", type=int, default=3600, help="age from which a waiting drop is reported (default 3600)"
    )


def _reconcile(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    report = reconcile(arguments, settings)
    for kind, examples in report["examples"].items():
        for example in examples:
            log.warning("%s", kind, extra=example)
    return report


def reconcile(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Runs the comparison and keeps its report under ``work/reconcile/<run>`` of the lake."""
    started_at_ns = now_ns()
    run = arguments.dag_run_id or utc_text(started_at_ns, "%Y%m%dT%H%M%SZ")
    folder_uri = LakePaths(settings.lake_uri).reconciliation(run)
    s3 = aws_client("s3", settings)
    objects = S3Objects(s3)
    with tempfile.TemporaryDirectory(prefix="scenelake-reconcile-") as folder:
        lines = Path(folder) / "differences.jsonl"
        with ScratchDatabase(Path(folder)) as scratch, lines.open("w") as file:
            findings = Findings(file)
            comparison = Comparison(arguments, settings, s3, scratch, findings, started_at_ns)
            counts, states = comparison.run()
        objects.write_file(f"{folder_uri}/differences.jsonl", lines)
    dead_letters = look(dead_letter_queues(settings))
    report = {
        "run": run,
        "at": utc_text(started_at_ns),
        "scope": comparison.scope,
        "counts": counts,
        "states": states,
        "differences": {str(kind): findings.counts[kind] for kind in Difference},
        "examples": dict(findings.examples),
        "dead_letters": dead_letters,
        "question_id": question_id(dead_letters),
        "nbr_dead_letters": sum(queue["nbr_messages"] for queue in dead_letters.values()),
        "report_uri": f"{folder_uri}/report.json",
    }
    write_json(objects, f"{folder_uri}/report.json", report)
    objects.write(f"{folder_uri}/report.md", to_markdown(report).encode())
    return report


class Comparison:
    """One comparison of landing, ledger and gold.

    Both sides go through a database on disk, so that memory does not grow with the bucket.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        settings: Settings,
        s3: Any,
        scratch: ScratchDatabase,
        findings: Findings,
        at_ns: int,
    ) -> None:
        self._arguments, self._settings, self._scratch, self._findings = arguments, settings, scratch, findings
        self._at_ns = at_ns
        self._grace_ns = arguments.grace_seconds * _SECOND_NS
        self._since_ns = (
            None if arguments.since_hours is None else at_ns - int(arguments.since_hours * 3600) * _SECOND_NS
        )
        self._bucket: str = arguments.bucket or settings.landing_bucket
        self._ledger = DynamoLedger.from_settings(settings)
        self._s3, self._objects = s3, S3Objects(s3)
        self._drops_of = lru_cache(maxsize=64)(lambda drive_id: tuple(self._ledger.drops(drive_id=drive_id)))
        # All drops of a recording wait for the same, and a manifest may list 20,000 of them.
        self._why_waiting = lru_cache(maxsize=1024)(self._find_why_waiting)

    @property
    def scope(self) -> str:
        """What is compared, in words."""
        since = "" if self._since_ns is None else f" stored since {utc_text(self._since_ns)}"
        return f"object versions of s3://{self._bucket}/{self._arguments.prefix}*{since}"

    def run(self) -> tuple[dict[str, int], dict[str, int]]:
        """Finds every difference; returns counts, and how many drops there are per state that was read."""
        self._scratch.create("landing", _LANDING)
        self._scratch.create("ledger", _LEDGER)
        self._scratch.insert("landing", _LANDING, self._landing_rows())
        self._scratch.insert("ledger", _LEDGER, self._ledger_rows())
        nbr_versions, nbr_drops = (self._count(f"scratch.{side}") for side in ("landing", "ledger"))
        nbr_registered = self._register()
        self._find_not_in_gold()
        if self._since_ns is None:
            self._find_gone()
        states = self._states()
        states |= {str(DropState.CLAIMED): self._find_lapsed(), str(DropState.PENDING): self._find_stuck()}
        if self._findings.counts[Difference.LAPSED] or self._findings.counts[Difference.STUCK]:
            self._ring()
        counts = {"object versions": nbr_versions, "drops compared": nbr_drops, "registered": nbr_registered}
        return counts, dict(sorted(states.items()))

    def _landing_rows(self) -> Iterator[tuple[Any, ...]]:
        for found in versions(self._s3, self._bucket, self._arguments.prefix):
            if self._since_ns is None or (found.modified_at_ns or 0) >= self._since_ns:
                drop_id = ids.drop_id(found.bucket, found.key, found.version_id)
                yield drop_id, found.key, found.version_id, found.size_bytes, found.etag, found.modified_at_ns

    def _ledger_rows(self) -> Iterator[tuple[Any, ...]]:
        """Every drop, or those of the versions that were just listed."""
        if self._since_ns is None:
            drops = self._ledger.drops()
        else:
            drops = (d for (i,) in self._scratch.rows("SELECT drop_id FROM landing") if (d := self._ledger.get(i)))
        for drop in drops:
            if drop.bucket == self._bucket and drop.key.startswith(self._arguments.prefix):
                release_id, messages = drop.outcome.get("release_id"), drop.outcome.get("messages")
                yield drop.drop_id, drop.key, drop.version_id, str(drop.state), drop.reason, release_id, messages

    def _count(self, table: str) -> int:
        return int(next(self._scratch.rows(f"SELECT count(*) FROM {table}"))[0])

    def _states(self) -> dict[str, int]:
        if self._since_ns is not None:
            return {}
        return dict(self._scratch.rows("SELECT state, count(*) FROM ledger GROUP BY 1"))

    def _register(self) -> int:
        """Announces what the ledger lacks; returns how many drops were new."""
        sql = f"""
            SELECT * FROM landing ANTI JOIN ledger USING (drop_id)
            WHERE modified_at_ns <= {self._at_ns - self._grace_ns} ORDER BY key, modified_at_ns
        """
        nbr_registered = 0
        batch: dict[str, ObjectVersion] = {}
        for drop_id, key, version_id, size_bytes, etag, modified_at_ns in self._scratch.rows(sql):
            if self._ledger.get(drop_id) is None:
                found = ObjectVersion(self._bucket, key, version_id, size_bytes, etag, modified_at_ns=modified_at_ns)
                batch[drop_id] = found
            if len(batch) >= _REGISTER_AT_ONCE:
                nbr_registered += self._announce(batch)
                batch = {}
        return nbr_registered + (self._announce(batch) if batch else 0)

    def _announce(self, batch: dict[str, ObjectVersion]) -> int:
        records = [
            {"eventSource": "aws:sqs", "messageId": drop_id, "body": json.dumps(announcement(found))}
            for drop_id, found in batch.items()
        ]
        answer = handler({"Records": records}, None)
        # The function says what it runs as; from here on the reconciler runs again.
        configure_logging(stage="reconcile")
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for drop_id, found in batch.items():
            self._findings.add(
                Difference.UNREGISTERED,
                drop_id=drop_id,
                key=found.key,
                version_id=found.version_id,
                stored_at=utc_text(found.modified_at_ns or 0),
                outcome="could not be registered, see the log" if drop_id in failed else "registered",
            )
        return int(answer["registered"])

    def _find_not_in_gold(self) -> None:
        newest = NewestRelease.open(self._settings, self._objects)
        self._scratch.create("gold", _GOLD)
        self._scratch.insert("gold", _GOLD, ((drop_id,) for drop_id in newest.drop_ids()))
        sql = f"""
            SELECT drop_id, key, release_id, messages FROM ledger WHERE state = '{DropState.BUILT}' AND messages > 0
            AND (release_id > '{newest.release_id or ""}' OR drop_id NOT IN (SELECT drop_id FROM gold))
        """
        for drop_id, key, release_id, messages in self._scratch.rows(sql):
            if self._is_still(drop_id, DropState.BUILT):
                self._findings.add(
                    Difference.NOT_IN_GOLD,
                    drop_id=drop_id,
                    key=key,
                    built_in=release_id,
                    messages=messages,
                    newest_release=newest.release_id or "none",
                )

    def _find_gone(self) -> None:
        sql = f"""
            SELECT drop_id, key, version_id, state FROM ledger ANTI JOIN landing USING (drop_id)
            WHERE state <> '{DropState.FORGOTTEN}' AND NOT starts_with(coalesce(reason, ''), 'object_missing')
        """
        for drop_id, key, version_id, state in self._scratch.rows(sql):
            try:
                self._objects.head(f"s3://{self._bucket}/{key}", version_id=version_id)
            except FileNotFoundError:
                self._findings.add(
                    Difference.VERSION_GONE, drop_id=drop_id, key=key, version_id=version_id, state=state
                )

    def _find_lapsed(self) -> int:
        """Looks at every claim; returns the number of claimed drops."""
        batches: dict[str, Batch | None] = {}
        lapsed: Counter[str] = Counter()
        nbr_claimed = 0
        for drop in self._ledger.drops(state=DropState.CLAIMED):
            nbr_claimed += 1
            batch_id = drop.batch_id or ""
            if batch_id not in batches:
                batches[batch_id] = self._ledger.batch(batch_id)
            if self._is_lapsed(batches[batch_id]) and self._is_still(drop.drop_id, DropState.CLAIMED):
                lapsed[batch_id] += 1
        for batch_id, nbr_drops in sorted(lapsed.items()):
            why = why_lapsed(batches[batch_id])
            self._findings.add(Difference.LAPSED, batch_id=batch_id, nbr_drops=nbr_drops, why=why)
        return nbr_claimed

    def _is_lapsed(self, batch: Batch | None) -> bool:
        return batch is None or batch.state is BatchState.CLOSED or batch.lease_until_ns + self._grace_ns <= self._at_ns

    def _find_stuck(self) -> int:
        """Looks at every waiting drop; returns their number."""
        nbr_pending = 0
        oldest_ns = self._at_ns - self._arguments.stuck_seconds * _SECOND_NS
        for drop in self._ledger.drops(state=DropState.PENDING):
            nbr_pending += 1
            if drop.received_at_ns <= oldest_ns:
                since = utc_text(drop.received_at_ns)
                why = self._why_waiting(drop.drive_id, drop.recording)
                self._findings.add(Difference.STUCK, drop_id=drop.drop_id, key=drop.key, received_at=since, why=why)
        return nbr_pending

    def _find_why_waiting(self, drive_id: str, recording: str) -> str:
        known = self._drops_of(drive_id)
        holders = {d.batch_id for d in known if d.state is DropState.CLAIMED and d.batch_id}
        parts = self._ledger.parts_of(drive_id, sorted({"", recording}))
        return why_waiting(recording, holders, known, parts, claim_limits(self._settings).quiet_ns, self._at_ns)

    def _is_still(self, drop_id: str, state: DropState) -> bool:
        now = self._ledger.get(drop_id)
        return now is not None and now.state is state

    def _ring(self) -> None:
        ring = json.dumps({"from": "reconcile"})
        sqs = aws_client("sqs", self._settings)
        with durable_write("reconcile.ring"):
            sqs.send_message(QueueUrl=self._settings.doorbell_queue_url, MessageBody=ring)


if __name__ == "__main__":
    raise SystemExit(main())
