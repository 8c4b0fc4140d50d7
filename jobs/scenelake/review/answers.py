"""From what a person said to a review that may be recorded."""

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.reviews import MAX_NOTE_CHARACTERS, Decision, Review, ReviewSource
from scenelake.review.questions import HeldScene

MAX_REVIEWER_CHARACTERS = 200


def reviewed(
    scene: HeldScene, review_hash: str, decision: str, note: str, reviewer: str, at_ns: int, source: ReviewSource
) -> Review:
    """The review that an answer comes to.

    Args:
        review_hash: of the revision that the person looked at.

    Raises:
        BadInputError: reason ``bad_review``, or ``stale_review`` when the scene has another revision by now.
    """
    known = {str(d): d for d in Decision}
    if decision.upper() not in known:
        raise BadInputError(f"decision: expected one of {', '.join(known)}, got {decision!r}", reason="bad_review")
    by = _line(reviewer)
    if not by or len(by) > MAX_REVIEWER_CHARACTERS:
        raise BadInputError("reviewer: expected a name, got none or a very long one", reason="bad_review")
    if len(note) > MAX_NOTE_CHARACTERS:
        said = f"note: expected at most {MAX_NOTE_CHARACTERS} characters, got {len(note)}"
        raise BadInputError(said, reason="bad_review")
    if not scene.review_hash:
        said = f"scene {scene.scene_id}: held back before revisions had a name: build its drive again, then decide"
        raise BadInputError(said, reason="bad_review")
    if review_hash != scene.review_hash:
        raise BadInputError(
            f"scene {scene.scene_id}: it has a new revision ({scene.review_hash[:16]}) since you looked at"
            f" {review_hash[:16] or 'none'}: look again",
            reason="stale_review",
        )
    chosen = known[decision.upper()]
    if chosen.is_final and scene.state != "QUARANTINED" and scene.reviewer is None:
        raise BadInputError(
            f"scene {scene.scene_id}: the policy rejects it ({scene.reason}), which nobody can release by hand: change"
            " the policy, then process it again",
            reason="bad_review",
        )
    return Review(
        scene_id=scene.scene_id,
        review_hash=review_hash,
        drive_id=scene.drive_id,
        decision=chosen,
        reviewer=by,
        note=_line(note),
        decided_at_ns=at_ns,
        source=source,
        evidence_uri=scene.evidence_uri,
    )


def _line(text: str) -> str:
    """Text on one line, without characters that no terminal, page or database should get from a stranger."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "□" for c in text).split())
