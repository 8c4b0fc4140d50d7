"""Drops, batches and their states (DESIGN section 2), as the ledger stores and hands them out."""

from dataclasses import dataclass, field
from enum import StrEnum


class DropState(StrEnum):
    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    BUILT = "BUILT"
    REJECTED = "REJECTED"
    DUPLICATE = "DUPLICATE"
    FORGOTTEN = "FORGOTTEN"

    @property
    def is_terminal(self) -> bool:
        return self not in (DropState.PENDING, DropState.CLAIMED)


class BatchState(StrEnum):
    OPEN = "OPEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class Drop:
    """One object version as the ledger knows it.

    Attributes:
        drop_id: see ``ids.drop_id``.
        received_at_ns: when the first event (or scan) announced it.
        fleet, vehicle, drive: from the key; empty strings when the key is outside the layout.
        drive_id: see ``ids.drive_id``; empty when the key is outside the layout.
        batch_id, attempt: the claim that holds it, or last held it.
        reason: why it is REJECTED or DUPLICATE, for a person.
        outcome: counts and figures of the build, as JSON-compatible values.
        sequencer: S3's own order of events on the key, where the event carried one.
        event_at_ns: when S3 says the object was created, where an event announced it.
    """

    drop_id: str
    bucket: str
    key: str
    version_id: str
    size_bytes: int
    etag: str
    received_at_ns: int
    fleet: str
    vehicle: str
    drive: str
    drive_id: str
    state: DropState = DropState.PENDING
    batch_id: str | None = None
    attempt: int = 0
    reason: str | None = None
    outcome: dict[str, object] = field(default_factory=dict)
    sequencer: str | None = None
    event_at_ns: int | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Batch:
    """A persisted claim: drops grouped by drive, with the lease of its current attempt.

    Attributes:
        failure: why the current attempt was handed back, for a person; None while it is not.
    """

    batch_id: str
    attempt: int
    lease_until_ns: int
    drop_ids: tuple[str, ...]
    state: BatchState = BatchState.OPEN
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """The terminal state of one drop at the end of its batch."""

    drop_id: str
    state: DropState
    reason: str | None = None
    outcome: dict[str, object] = field(default_factory=dict)
