"""What people decide about scenes that were held back, as the ledger keeps it."""

from dataclasses import dataclass, field
from enum import StrEnum

MAX_NOTE_CHARACTERS = 2000

Question = tuple[str, str]
"""What a decision is about: ``(scene_id, review_hash)``. Late data makes a new revision, and so a new question."""


class Decision(StrEnum):
    """RELEASE and REJECT are final for a revision of a scene. REPROCESS asks for its drive to be built again (a policy
    or a calibration was put right, say) and decides nothing."""

    RELEASE = "RELEASE"
    REJECT = "REJECT"
    REPROCESS = "REPROCESS"

    @property
    def is_final(self) -> bool:
        return self is not Decision.REPROCESS


class ReviewSource(StrEnum):
    """Where it was decided."""

    PAGE = "page"
    FORM = "form"
    COMMAND = "command"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Review:
    """One decision about one revision of a scene.

    Attributes:
        review_hash: content hash of the scene's own rows, whatever became of its neighbours.
        evidence_uri: the document that the reviewer was shown.
        recorded_at_ns: when it was put on record, where that is known to be later than it was decided: no build before
            that can have followed it. Says nothing about the decision itself, so two that differ in it are the same.
    """

    scene_id: str
    review_hash: str
    drive_id: str
    decision: Decision
    reviewer: str
    note: str
    decided_at_ns: int
    source: ReviewSource
    evidence_uri: str
    recorded_at_ns: int | None = field(default=None, compare=False)

    @property
    def on_record_since_ns(self) -> int:
        return self.decided_at_ns if self.recorded_at_ns is None else self.recorded_at_ns

    @property
    def question(self) -> Question:
        return self.scene_id, self.review_hash
