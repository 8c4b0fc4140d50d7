"""Claims batches: those that a try of the same run claimed before, then new ones, as far as there are places."""

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
    parser.add_argument(
        "--max-places", type=int, help="batches that may be under way at once, whoever claimed them (default: no limit)"
    )
    return run_command("claim", parser, _claim, argv)


def _claim(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    ledger = DynamoLedger.from_settings(settings)
    limits = claim_limits(settings)
    claimant: str | None = arguments.dag_run_id
    # A batch whose lease has ended takes no place: it is the first that a claim takes over.
    held = [batch for batch in ledger.open_batches() if batch.lease_until_ns > now_ns()]
    batches = claimed_by(claimant, held)
    nbr_free = arguments.max_batches - len(batches)
    if arguments.max_places is not None:
        nbr_free = min(nbr_free, arguments.max_places - len(held))
    while nbr_free > 0 and (batch := ledger.claim(limits, now_ns(), claimant)) is not None:
        batches.append(batch)
        nbr_free -= 1
    return {"batches": [describe(ledger, batch) for batch in batches], "reason": None if batches else _why(len(held))}


def claimed_by(claimant: str | None, held: Sequence[Batch]) -> list[Batch]:
    """Batches that an earlier try of the same run claimed; it died before it could tell."""
    return [batch for batch in held if claimant is not None and batch.claimant == claimant]


def _why(nbr_held: int) -> str:
    under_way = f"{nbr_held} batch(es) are under way, and each rings when it ends" if nbr_held else "none is under way"
    return f"no drop waits that may be built now; {under_way}"


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
