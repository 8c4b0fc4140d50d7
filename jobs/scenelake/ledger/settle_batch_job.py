"""Ends every drop of a batch in the ledger, from what decode, synchronise and serialise found."""

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.objects import Objects, read_json, s3_objects
from scenelake.contracts.drops import BatchState, Drop
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DecodedDrop, DropVerdict, Stage
from scenelake.ledger.protocol import Ledger
from scenelake.ledger.verdicts import manifest_remarks, settlements
from scenelake.runtime.command import run_command
from scenelake.runtime.faults import now_ns
from scenelake.runtime.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{batch_id, attempt, release_id, drops: {state: count}}``; repeating it changes nothing."""
    parser = argparse.ArgumentParser(prog="scenelake-settle-batch", description="Ends the drops of one batch.")
    parser.add_argument("--batch-id", required=True, help="batch to end")
    parser.add_argument("--attempt", required=True, type=int, help="attempt number; a stale one is fenced off")
    return run_command("settle_batch", parser, _settle, argv)


def _settle(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    ledger = DynamoLedger.from_settings(settings)
    objects, paths = s3_objects(settings), LakePaths(settings.lake_uri)
    return settle_batch(ledger, objects, paths, arguments.batch_id, arguments.attempt)


def settle_batch(ledger: Ledger, objects: Objects, paths: LakePaths, batch_id: str, attempt: int) -> dict[str, Any]:
    """Ends the drops that this attempt still holds, from the documents that its stages left."""

    def document(stage: Stage, name: str) -> Any:
        return read_json(objects, f"{paths.stage(batch_id, attempt, stage)}/{name}")

    batch = ledger.batch(batch_id)
    is_done = batch is not None and (batch.state, batch.attempt) == (BatchState.CLOSED, attempt)
    release_id = _release_id(objects, paths, batch_id, attempt)
    if not is_done:
        held = ledger.drops_of(batch_id, attempt)
        decoded = [DecodedDrop(**line) for line in document(Stage.DECODE, "drops.json")]
        duplicates: dict[str, str] = {}
        for plan in document(Stage.SYNCHRONISE, "drives.json"):
            duplicates.update(plan.get("duplicates", {}))
        figures = document(Stage.SERIALISE, "outcomes.json")
        remarks = _manifest_remarks(ledger, held, decoded)
        ends = settlements(held, {d.drop_id: d for d in decoded}, duplicates, figures, release_id, remarks)
        ledger.settle(batch_id, attempt, ends, now_ns())
    ended = [ledger.get(drop_id) for drop_id in (batch.drop_ids if batch else ())]
    return {
        "batch_id": batch_id,
        "attempt": attempt,
        "release_id": release_id,
        "drops": dict(Counter(str(drop.state) for drop in ended if drop)),
    }


def _manifest_remarks(ledger: Ledger, held: Sequence[Drop], decoded: Sequence[DecodedDrop]) -> dict[str, str]:
    rejected = {line.drop_id for line in decoded if line.verdict == DropVerdict.REJECTED}
    by_drive: defaultdict[str, list[Drop]] = defaultdict(list)
    for drop in held:
        if drop.is_manifest:
            by_drive[drop.drive_id].append(drop)
    remarks: dict[str, str] = {}
    for drive_id, manifests in by_drive.items():
        parts = ledger.parts_of(drive_id, sorted({m.recording for m in manifests}))
        remarks |= manifest_remarks(manifests, parts, list(ledger.drops(drive_id=drive_id)), rejected)
    return remarks


def _release_id(objects: Objects, paths: LakePaths, batch_id: str, attempt: int) -> str | None:
    release = read_json(objects, f"{paths.stage(batch_id, attempt, Stage.SERIALISE)}/release.json")
    release_id: str | None = release.get("release_id")
    return release_id


if __name__ == "__main__":
    raise SystemExit(main())
