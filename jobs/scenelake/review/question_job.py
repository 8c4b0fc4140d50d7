"""Asks about scenes that wait for a person: the texts for Airflow's form."""

import argparse
from collections.abc import Sequence
from typing import Any

from scenelake.review.desk import ReviewDesk
from scenelake.review.filters import Filters
from scenelake.review.questions import Status, question_words
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings

PAGE = "/scenelake"
"""Where the plugin mounts the review page."""
MAX_FINDINGS = 12


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{questions: [{scene_id, review_hash, subject, body}], nbr_questions}``, or the ``reason`` for none."""
    parser = argparse.ArgumentParser(prog="scenelake-review-question", description="Lists scenes that wait.")
    parser.add_argument("--max-questions", type=int, default=20, help="scenes to ask about at most (default 20)")
    return run_command("review_question", parser, _ask, argv)


def _ask(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    desk = ReviewDesk.open(settings)
    found: list[dict[str, str]] = []
    page, has_more = 1, True
    while has_more and len(found) < arguments.max_questions:
        listing = desk.listing(Filters(page=page))
        for scene in listing.scenes:
            if scene.status is Status.WAITING and scene.review_hash:
                checks = desk.document(scene)["checks"]
                bad = [c for c in checks if c["verdict"] not in ("pass", "unknown")][:MAX_FINDINGS]
                subject, body = question_words(scene, settings.airflow_url + PAGE, bad)
                found.append(
                    {"scene_id": scene.scene_id, "review_hash": scene.review_hash, "subject": subject, "body": body}
                )
        page, has_more = page + 1, listing.has_more
    asked = found[: arguments.max_questions]
    return {
        "questions": asked,
        "nbr_questions": len(asked),
        "reason": None if asked else "no scene waits for a person",
    }


if __name__ == "__main__":
    raise SystemExit(main())
