"""A drop as it enters the ledger: PENDING, or REJECTED at the door with a reason that names the key."""

from dataclasses import dataclass

from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import parse_drop_key


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One object version as an event or a listing describes it."""

    bucket: str
    key: str
    version_id: str
    size_bytes: int
    etag: str
    sequencer: str | None = None
    event_at_ns: int | None = None


def is_folder_marker(key: str, size_bytes: int) -> bool:
    """The empty ``folder/`` objects that consoles and tools leave behind: no drop, never data."""
    return key.endswith("/") and size_bytes == 0


def new_drop(found: ObjectVersion, received_at_ns: int) -> Drop:
    """The ledger's first record of an object version.

    A key outside the layout and an empty object are REJECTED at once: no build could change that verdict.
    """
    fleet = vehicle = drive = drive_id = ""
    reason = None
    try:
        key = parse_drop_key(found.key)
        fleet, vehicle, drive = key.fleet, key.vehicle, key.drive
        drive_id = ids.drive_id(fleet, vehicle, drive)
    except BadInputError as error:
        reason = f"{error.reason}: {error}"
    if reason is None and found.size_bytes == 0:
        reason = f"empty_object: {found.key!r} ends at byte 0; expected a recording"
    return Drop(
        drop_id=ids.drop_id(found.bucket, found.key, found.version_id),
        bucket=found.bucket,
        key=found.key,
        version_id=found.version_id,
        size_bytes=found.size_bytes,
        etag=found.etag,
        received_at_ns=received_at_ns,
        fleet=fleet,
        vehicle=vehicle,
        drive=drive,
        drive_id=drive_id,
        state=DropState.PENDING if reason is None else DropState.REJECTED,
        reason=reason,
        sequencer=found.sequencer,
        event_at_ns=found.event_at_ns,
    )
