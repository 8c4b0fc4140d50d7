"""How far a drive is: OPEN, READY, BUILDING or BUILT, worked out from what the ledger holds of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scenelake.contracts.drops import Drop, DropState, RecordingParts
from scenelake.ledger.protocol import Ledger
from scenelake.ledger.recordings import Gate, gate, missing_parts


class DriveState(StrEnum):
    """OPEN waits for parts; READY waits for a claim; REJECTED has nothing that could be built."""

    OPEN = "OPEN"
    READY = "READY"
    BUILDING = "BUILDING"
    BUILT = "BUILT"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """One recording of a drive.

    Attributes:
        recording: see ``Drop.recording``.
        nbr_objects: objects that landed, its manifest apart.
        nbr_listed: parts that its manifest lists; None without one.
        missing: keys of listed parts that have not landed with their size.
        waits: what its pending drops wait for; None when none of them waits.
    """

    recording: str
    nbr_objects: int
    nbr_listed: int | None
    missing: tuple[str, ...]
    waits: Gate | None


@dataclass(frozen=True, slots=True)
class DriveStatus:
    """A drive and its recordings.

    Attributes:
        name: ``<fleet>/<vehicle>/<drive>``.
        batch: ``<batch_id>.<attempt>`` while it is BUILDING.
        release_id: the newest release that one of its drops went into, also while more is to come.
    """

    drive_id: str
    name: str
    state: DriveState
    recordings: tuple[RecordingStatus, ...]
    batch: str | None
    release_id: str | None


def drive_status(drops: Sequence[Drop], parts: Sequence[RecordingParts], quiet_ns: int, now_ns: int) -> DriveStatus:
    """Works out how far a drive is.

    Args:
        drops: every drop of the drive, at least one.
        parts: what its manifests list.
        quiet_ns: see ``Settings.quiet_seconds``.
    """
    recordings = tuple(
        _recording(name, drops, parts, quiet_ns, now_ns) for name in sorted({d.recording for d in drops})
    )
    claimed = next((d for d in drops if d.state is DropState.CLAIMED), None)
    waiting = {r.recording for r in recordings if r.waits}
    pending = [d for d in drops if d.state is DropState.PENDING]
    if claimed:
        state = DriveState.BUILDING
    elif any(d.recording not in waiting for d in pending):
        state = DriveState.READY
    elif pending:
        state = DriveState.OPEN
    else:
        is_built = any(d.state in (DropState.BUILT, DropState.DUPLICATE) for d in drops)
        state = DriveState.BUILT if is_built else DriveState.REJECTED
    releases = [r for d in drops if isinstance(r := d.outcome.get("release_id"), str)]
    first = drops[0]
    return DriveStatus(
        drive_id=first.drive_id,
        name=f"{first.fleet}/{first.vehicle}/{first.drive}",
        state=state,
        recordings=recordings,
        batch=f"{claimed.batch_id}.{claimed.attempt}" if claimed else None,
        release_id=max(releases, default=None),
    )


def read_drive_status(ledger: Ledger, drops: Sequence[Drop], quiet_ns: int, now_ns: int) -> DriveStatus:
    """The same with what the ledger knows of the drive's manifests."""
    parts = ledger.parts_of(drops[0].drive_id, sorted({"", *(d.recording for d in drops)}))
    return drive_status(drops, parts, quiet_ns, now_ns)


def _recording(
    name: str, drops: Sequence[Drop], parts: Sequence[RecordingParts], quiet_ns: int, now_ns: int
) -> RecordingStatus:
    own = [d for d in drops if d.recording == name]
    manifest = next((p for p in parts if p.recording == name), None)
    is_pending = any(d.state is DropState.PENDING for d in own)
    found = gate(name, drops, parts, quiet_ns) if is_pending else None
    return RecordingStatus(
        recording=name,
        nbr_objects=sum(not d.is_manifest for d in own),
        nbr_listed=len(manifest.sizes_bytes) if manifest else None,
        missing=missing_parts(manifest, drops) if manifest else (),
        waits=None if found is None or found.is_open(now_ns) else found,
    )
