"""Drops, batches and their states (DESIGN section 2), as the ledger stores and hands them out."""

from dataclasses import dataclass, field
from enum import StrEnum

from scenelake.contracts.paths import MANIFEST_NAME


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
        recording: folder below the drive whose objects make one recording; empty for an object that lies in the
            drive itself and is a recording alone.
        sensor: folder of the object inside its recording, where there is one.
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
    recording: str = ""
    sensor: str | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_manifest(self) -> bool:
        """Whether it says what a recording consists of (``contracts.manifests``), and holds no message itself."""
        file = self.key.split("/", 3)[-1]
        return bool(self.drive_id) and file in (MANIFEST_NAME, f"{self.recording}/{MANIFEST_NAME}")


@dataclass(frozen=True, slots=True)
class Batch:
    """A persisted claim: drops grouped by drive, with the lease of its current attempt.

    Attributes:
        failure: why the current attempt was handed back, for a person; None while it is not.
        claimant: who claimed the current attempt (a run of ingest_drops), so that its retry gets the batch back.
        is_waiting: the claimant's run that is to work on the current attempt has given no sign of life yet.
        nbr_unbegun: earlier attempts that ended so; they say nothing against the drops.
        release_id: the release that holds the batch already, or that an attempt was about to write when it was last
            heard of. From then on it is tried until it is settled, as rejecting its drops could contradict gold.
    """

    batch_id: str
    attempt: int
    lease_until_ns: int
    drop_ids: tuple[str, ...]
    state: BatchState = BatchState.OPEN
    failure: str | None = None
    claimant: str | None = None
    is_waiting: bool = False
    nbr_unbegun: int = 0
    release_id: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """The terminal state of one drop at the end of its batch."""

    drop_id: str
    state: DropState
    reason: str | None = None
    outcome: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordingParts:
    """What a recording's manifest says that it consists of.

    Attributes:
        recording: see ``Drop.recording``; empty for a manifest that lies in the drive itself, which speaks of the
            whole drive.
        drop_id: the manifest's own drop.
        stored_at_ns: when S3 stored the manifest. The newest one of a recording rules, ties by drop id: the order in
            which events come must not decide it.
        sizes_bytes: ``{key: size}`` of every part, by full key.
    """

    drive_id: str
    recording: str
    drop_id: str
    stored_at_ns: int
    sizes_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class IgnoredEvent:
    """An event that announced no drop, kept with the reason.

    Attributes:
        event: S3's name of the event, for example ``s3:TestEvent`` or ``ObjectRemoved:Delete``.
    """

    event: str
    reason: str
    received_at_ns: int
    bucket: str | None = None
    key: str | None = None
    version_id: str | None = None
