"""Asks about scenes that wait for a person: the texts for Airflow's form."""

import argparse
import logging
from collections.abc import Sequence
from typing import Any

from scenelake.contracts.errors import BadInputError
from scenelake.review.desk import ReviewDesk
from scenelake.review.filters import Filters
from scenelake.review.questions import HeldScene, Status, question_words
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings

log = logging.getLogger(__name__)

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
                subject, body = question_words(scene, settings.airflow_url + PAGE, _findings(desk, scene))
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


def _findings(desk: ReviewDesk, scene: HeldScene) -> list[dict[str, Any]]:
    try:
        checks = desk.document(scene)["checks"]
    except BadInputError as error:
        # The question is asked without: the answer may be to process the scene again, which writes them anew.
        log.warning("%s", error, extra={"scene_id": scene.scene_id})
        return []
    return [check for check in checks if check["verdict"] not in ("pass", "unknown")][:MAX_FINDINGS]


if __name__ == "__main__":
    raise SystemExit(main())
