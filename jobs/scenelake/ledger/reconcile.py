"""What the reconciler looks for, in words: kinds of differences, why a drop waits, and the report."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, TextIO

from scenelake.contracts.drops import Batch, Drop, RecordingParts
from scenelake.ledger.new_drop import ObjectVersion
from scenelake.ledger.recordings import gate
from scenelake.ledger.transitions import utc_text

MAX_EXAMPLES = 20
_MAX_NAMED_PARTS = 5


class Difference(StrEnum):
    """A way in which landing, ledger and gold disagree."""

    UNREGISTERED = "unregistered"
    LAPSED = "lapsed"
    STUCK = "stuck"
    NOT_IN_GOLD = "not_in_gold"
    VERSION_GONE = "version_gone"


MEANINGS: dict[Difference, str] = {
    Difference.UNREGISTERED: "object versions that no event announced; registered now, unless it says otherwise",
    Difference.LAPSED: "batches whose lease lapsed and that nobody has taken over; the doorbell was rung",
    Difference.STUCK: "drops that have waited for long, with what they wait for",
    Difference.NOT_IN_GOLD: "drops that the ledger calls BUILT and that the newest release does not hold",
    Difference.VERSION_GONE: "drops whose object version is no longer in the bucket",
}


class Findings:
    """Differences: all of them go to a file, a line each; counts and a few examples stay in memory.

    Args:
        lines: receives one JSON object per difference.
    """

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def add(self, kind: Difference, **evidence: Any) -> None:
        self.counts[kind] += 1
        self._lines.write(json.dumps({"difference": kind, **evidence}) + "\n")
        if len(self.examples[kind]) < MAX_EXAMPLES:
            self.examples[kind].append(evidence)


def announcement(found: ObjectVersion) -> dict[str, Any]:
    """The event that S3 should have sent, in EventBridge's shape, which names the version."""
    what = {"key": found.key, "version-id": found.version_id, "size": found.size_bytes, "etag": found.etag}
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": found.bucket}, "object": what, "reason": "reconciliation"},
    }


def why_waiting(
    recording: str,
    holders: Collection[str],
    known: Collection[Drop],
    parts: Sequence[RecordingParts],
    quiet_ns: int,
    now_ns: int,
) -> str:
    """What the PENDING drops of a recording wait for.

    Args:
        holders: batches that hold the drive.
        known: every drop of the drive.
        parts: what the manifests of the recording and the drive list.
    """
    if holders:
        return f"its drive is held by batch {', '.join(sorted(holders))}"
    wait = gate(recording, known, parts, quiet_ns)
    if wait is not None and not wait.is_open(now_ns):
        where = f"recording {recording!r}" if recording else "the drive"
        until = f"or until {utc_text(wait.quiet_at_ns)}"
        if not wait.missing:
            return f"{where} has no manifest and waits to be quiet, {until}"
        named = ", ".join(wait.missing[:_MAX_NAMED_PARTS])
        return f"{where} waits for {len(wait.missing)} part(s) that its manifest lists ({named}), {until}"
    return "nothing holds it back: the doorbell was rung; if it stays, look at the runs of ingest_drops"


def why_lapsed(batch: Batch | None) -> str:
    """How a claim stands that does not keep its drops from others any more."""
    if batch is None:
        return "the ledger does not know the batch"
    if batch.failure:
        return f"attempt {batch.attempt} was handed back: {batch.failure}"
    return f"attempt {batch.attempt} is {batch.state}; its lease ended {utc_text(batch.lease_until_ns)}"


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report for a person."""
    lines = [f"# Reconciliation {report['run']}", ""]
    lines += [f"Compared at {report['at']}: {report['scope']}.", "", "| | |", "|---|---:|"]
    lines += [f"| {name} | {count:,} |" for name, count in report["counts"].items()]
    lines += [f"| drops {state} | {count:,} |" for state, count in report["states"].items()]
    lines += ["", "## Differences", ""]
    found = {kind: count for kind, count in report["differences"].items() if count}
    lines += [] if found else ["None.", ""]
    for kind, count in found.items():
        lines += [f"### {kind}: {count:,}", "", f"{MEANINGS[Difference(kind)].capitalize()}.", ""]
        lines += [f"- {_in_words(example)}" for example in report["examples"].get(kind, ())]
        lines += [""]
    lines += ["## Dead letters", ""]
    for name, queue in report["dead_letters"].items():
        lines += [f"- {name}: {queue['nbr_messages']}", *(f"  - {_in_words(m)}" for m in queue["messages"])]
    return "\n".join(lines) + "\n"


def _in_words(evidence: Mapping[str, Any]) -> str:
    words = (f"{name} {value}" for name, value in evidence.items() if value not in (None, ""))
    return ", ".join(words).replace("\n", " ").replace("|", "\\|")
