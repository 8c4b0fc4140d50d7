"""Ends every drop of a batch in the ledger, from what decode, synchronise and serialise found."""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.objects import Objects, read_json, s3_objects
from scenelake.contracts.drops import BatchState
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DecodedDrop, Stage
from scenelake.ledger.verdicts import settlements
from scenelake.runtime.command import run_command
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
    batch_id, attempt = arguments.batch_id, arguments.attempt

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
        ends = settlements(held, {d.drop_id: d for d in decoded}, duplicates, figures, release_id)
        ledger.settle(batch_id, attempt, ends, time.time_ns())
    ended = [ledger.get(drop_id) for drop_id in (batch.drop_ids if batch else ())]
    return {
        "batch_id": batch_id,
        "attempt": attempt,
        "release_id": release_id,
        "drops": dict(Counter(str(drop.state) for drop in ended if drop)),
    }


def _release_id(objects: Objects, paths: LakePaths, batch_id: str, attempt: int) -> str | None:
    release = read_json(objects, f"{paths.stage(batch_id, attempt, Stage.SERIALISE)}/release.json")
    release_id: str | None = release.get("release_id")
    return release_id


if __name__ == "__main__":
    raise SystemExit(main())
