"""Hands a batch back after its run failed, so that the next claim tries again without waiting for the lease.

Only a batch that a release may hold already is tried more often than ``max_attempts`` times; it waits for a lease's
time between two tries, as what keeps it from being settled has to be mended first.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.contracts.errors import FencedError
from scenelake.runtime.command import run_command
from scenelake.runtime.faults import now_ns
from scenelake.runtime.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{batch_id, attempt, handed_back}``; a batch that has closed or moved on is left alone."""
    parser = argparse.ArgumentParser(prog="scenelake-hand-back", description="Lets the lease of one attempt lapse now.")
    parser.add_argument("--batch-id", required=True, help="batch to hand back")
    parser.add_argument("--attempt", required=True, type=int, help="attempt that failed")
    parser.add_argument("--failure", help="what went wrong, for the history of the drops")
    return run_command("hand_back", parser, _hand_back, argv)


def _hand_back(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    ledger = DynamoLedger.from_settings(settings)
    answer = {"batch_id": arguments.batch_id, "attempt": arguments.attempt}
    try:
        pause_ns = 0 if arguments.attempt < settings.max_attempts else settings.lease_seconds * 1_000_000_000
        ledger.hand_back(arguments.batch_id, arguments.attempt, now_ns() + pause_ns, arguments.failure)
    except FencedError as error:
        return {**answer, "handed_back": False, "reason": str(error)}
    return {**answer, "handed_back": True}


if __name__ == "__main__":
    raise SystemExit(main())
