"""Records what a person answered in Airflow's form."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from scenelake.contracts.reviews import ReviewSource
from scenelake.review.desk import ReviewDesk
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{message, decision, reviewer, is_own}``: the decision that stands."""
    parser = argparse.ArgumentParser(prog="scenelake-review-answer", description="Records one answer.")
    parser.add_argument(
        "--answer",
        type=json.loads,
        required=True,
        metavar="JSON",
        help="scene_id, review_hash, decision, note, reviewer, decided_at_ns",
    )
    return run_command("review_answer", parser, _record, argv)


def _record(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    answer = arguments.answer
    words = {name: str(answer[name]) for name in ("scene_id", "review_hash", "decision", "note", "reviewer")}
    # A retry gives the same time, and so finds its own decision.
    at_ns = int(answer["decided_at_ns"])
    ruling = ReviewDesk.open(settings).decide(**words, source=ReviewSource.FORM, at_ns=at_ns)
    review = ruling.review
    return {
        "message": ruling.message,
        "decision": str(review.decision),
        "reviewer": review.reviewer,
        "is_own": ruling.is_own,
    }


if __name__ == "__main__":
    raise SystemExit(main())
