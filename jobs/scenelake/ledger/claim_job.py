"""Claims batches until none is left, or as many as asked for."""

import argparse
from collections.abc import Sequence
from typing import Any

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.contracts import ids
from scenelake.contracts.drops import Batch
from scenelake.ledger.protocol import Ledger
from scenelake.runtime.command import claim_limits, run_command
from scenelake.runtime.faults import now_ns
from scenelake.runtime.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{"batches": [{batch_id, attempt, run_id, nbr_drops, bytes}]}``, with a ``reason`` when empty."""
    parser = argparse.ArgumentParser(prog="scenelake-claim", description="Claims the next batches of waiting drops.")
    parser.add_argument("--max-batches", type=int, default=1, help="batches to claim at most (default 1)")
    return run_command("claim", parser, _claim, argv)


def _claim(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    ledger = DynamoLedger.from_settings(settings)
    limits = claim_limits(settings)
    batches: list[dict[str, Any]] = []
    while len(batches) < arguments.max_batches:
        batch = ledger.claim(limits, now_ns())
        if batch is None:
            break
        batches.append(describe(ledger, batch))
    return {"batches": batches, "reason": None if batches else "no drop waits, or their drives are being built"}


def describe(ledger: Ledger, batch: Batch) -> dict[str, Any]:
    """What a run needs to know of its batch: ids and counts."""
    drops = ledger.drops_of(batch.batch_id, batch.attempt)
    return {
        "batch_id": batch.batch_id,
        "attempt": batch.attempt,
        "run_id": ids.run_id(batch.batch_id, batch.attempt),
        "nbr_drops": len(drops),
        "bytes": sum(drop.size_bytes for drop in drops),
    }


if __name__ == "__main__":
    raise SystemExit(main())
