"""What the rest of the house may ask of the ledger."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from scenelake.contracts.drops import Batch, Drop, DropState, IgnoredEvent, RecordingParts, Settlement
from scenelake.contracts.reviews import Question, Review


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """Bounds of one claim, and how long its lease lasts.

    Attributes:
        quiet_ns: see ``Settings.quiet_seconds``.
    """

    max_drops: int
    max_bytes: int
    lease_ns: int
    max_attempts: int
    quiet_ns: int = 0


class Ledger(Protocol):
    """Every method that changes state is a conditional update and is safe to repeat."""

    def register(self, drop: Drop) -> bool:
        """Records a drop (PENDING, or REJECTED with a reason). False when it was there already."""
        ...

    def expect_parts(self, parts: RecordingParts) -> None:
        """Records what a recording's manifest lists; the newest manifest of a recording stays. Raises
        BadInputError for more than the ledger can hold of one manifest."""
        ...

    def parts_of(self, drive_id: str, recordings: Sequence[str]) -> list[RecordingParts]:
        """What the manifests of these recordings of a drive list, as far as there are any."""
        ...

    def record_ignored(self, event: IgnoredEvent) -> None:
        """Keeps an event that announced no drop; told again, it is kept once."""
        ...

    def ignored(self) -> Iterator[IgnoredEvent]:
        """Events that announced no drop, oldest first."""
        ...

    def get(self, drop_id: str) -> Drop | None: ...

    def drops(self, *, state: DropState | None = None, drive_id: str | None = None) -> Iterator[Drop]:
        """Drops by state (oldest first), or by drive (oldest first, each as it is now), or all of them, in no order and
        each once."""
        ...

    def history(self, drop_id: str) -> list[dict[str, object]]:
        """Every transition of a drop, oldest first: state, at_ns, batch_id, attempt, reason."""
        ...

    def claim(self, limits: ClaimLimits, now_ns: int, claimant: str | None = None) -> Batch | None:
        """Hands out the next batch: first one whose lease lapsed (same drops, attempt + 1; past
        ``max_attempts`` a batch of one drive becomes REJECTED as poison, and the drives of a larger one go back to
        PENDING to be tried alone; an attempt claimed for a run that never began it does not count), else a new one
        from the oldest PENDING drops, grouped by drive. A drive that another batch holds waits, and so does a
        recording whose parts are not all there (``ledger.recordings``). None when there is nothing to do."""
        ...

    def claim_drops(
        self,
        drop_ids: Sequence[str],
        limits: ClaimLimits,
        now_ns: int,
        *,
        rebuild: bool,
        claimant: str | None = None,
    ) -> Batch | None:
        """The same for named drops (a person's trigger), complete or not. ``rebuild`` also takes BUILT,
        REJECTED and DUPLICATE ones that belong to a drive."""
        ...

    def batch(self, batch_id: str) -> Batch | None: ...

    def open_batches(self) -> list[Batch]:
        """Batches that are not closed, whether or not their lease lasts, by the end of the lease."""
        ...

    def renew(self, batch_id: str, attempt: int, now_ns: int) -> Batch:
        """Sign of life. Raises FencedError when a later attempt holds the batch or it is closed."""
        ...

    def drops_of(self, batch_id: str, attempt: int) -> tuple[Drop, ...]:
        """The batch's drops that this attempt holds. Raises FencedError like ``renew``."""
        ...

    def settle(self, batch_id: str, attempt: int, settlements: Sequence[Settlement], now_ns: int) -> None:
        """Ends drops of this attempt in a terminal state and, when all have ended, closes the batch and
        frees its drives. Repeating it changes nothing. Raises FencedError for a stale attempt."""
        ...

    def note_release(self, batch_id: str, attempt: int, release_id: str) -> None:
        """Records that a release holds the batch, or is about to. Raises FencedError like ``renew``."""
        ...

    def hand_back(self, batch_id: str, attempt: int, now_ns: int, failure: str | None = None) -> None:
        """Lets the lease lapse now, so that the next claim retries at once; ``failure`` says what went wrong."""
        ...

    def decide(self, review: Review) -> Review:
        """Records a decision unless its question has a final one; returns the one that stands, whose ever it is. Of
        requests to process again the newest is kept."""
        ...

    def reviews(self, questions: Sequence[Question]) -> list[Review]:
        """Decisions and requests about these questions, as far as there are any."""
        ...

    def reviews_since(self, since_ns: int) -> Iterator[Review]:
        """Decisions and requests on record since this time or later, oldest first; one made a moment ago may be
        missing."""
        ...
