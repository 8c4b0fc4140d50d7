"""A drop as it enters the ledger: PENDING, or REJECTED at the door with a reason that names the key."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, DropState, RecordingParts
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.manifests import MAX_BYTES, read_manifest
from scenelake.contracts.paths import parse_drop_key
from scenelake.ledger.protocol import Ledger


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One object version as an event or a listing describes it.

    Attributes:
        modified_at_ns: when S3 stored it, by its own clock, to the second; None where only an event told of it.
    """

    bucket: str
    key: str
    version_id: str
    size_bytes: int
    etag: str
    sequencer: str | None = None
    event_at_ns: int | None = None
    modified_at_ns: int | None = None


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes of an object version.

    Attributes:
        modified_at_ns: when S3 stored the version, by its own clock, to the second.
    """

    content: bytes
    modified_at_ns: int


ReadVersion = Callable[[ObjectVersion, int], StoredBytes]
"""Reads a version up to a number of bytes; FileNotFoundError when it is gone, TransientError to try again."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A drop at the door: as it is first recorded, and whether this was the first time."""

    drop: Drop
    is_new: bool


def admit(ledger: Ledger, found: ObjectVersion, received_at_ns: int, read: ReadVersion) -> Admission:
    """Registers an object version; repeating it, from whichever source, changes nothing.

    What a manifest lists is recorded before its drop, so that no claim ever sees the one without the other.
    """
    drop = new_drop(found, received_at_ns)
    if drop.state is DropState.PENDING and parse_drop_key(drop.key).is_manifest:
        try:
            ledger.expect_parts(_listed_parts(drop, read(found, MAX_BYTES + 1)))
        except BadInputError as error:
            drop = _rejected(drop, f"{error.reason}: {error}")
        except FileNotFoundError:
            drop = _rejected(drop, f"object_missing: version {drop.version_id} is not in the bucket")
    return Admission(drop, ledger.register(drop))


def new_drop(found: ObjectVersion, received_at_ns: int) -> Drop:
    """The ledger's first record of an object version.

    A folder marker (the empty ``folder/`` objects that consoles and tools leave behind), a key outside the layout
    and an empty object are REJECTED at once: no build could change that verdict.
    """
    drop = Drop(
        drop_id=ids.drop_id(found.bucket, found.key, found.version_id),
        bucket=found.bucket,
        key=found.key,
        version_id=found.version_id,
        size_bytes=found.size_bytes,
        etag=found.etag,
        received_at_ns=received_at_ns,
        fleet="",
        vehicle="",
        drive="",
        drive_id="",
        sequencer=found.sequencer,
        event_at_ns=found.event_at_ns,
    )
    if is_folder_marker(found.key, found.size_bytes):
        return _rejected(drop, f"folder_marker: {found.key!r} is empty and stands for a folder; it holds no data")
    try:
        key = parse_drop_key(found.key)
    except BadInputError as error:
        return _rejected(drop, f"{error.reason}: {error}")
    drop = replace(
        drop,
        fleet=key.fleet,
        vehicle=key.vehicle,
        drive=key.drive,
        drive_id=ids.drive_id(key.fleet, key.vehicle, key.drive),
        recording=key.recording,
        sensor=key.sensor,
    )
    if found.size_bytes == 0:
        return _rejected(drop, f"empty_object: {found.key!r} ends at byte 0; expected a recording")
    return drop


def is_folder_marker(key: str, size_bytes: int) -> bool:
    """Whether an object only stands for a folder."""
    return key.endswith("/") and size_bytes == 0


def _listed_parts(drop: Drop, stored: StoredBytes) -> RecordingParts:
    """What a manifest lists, by full key.

    Of several manifests the newest rules, and S3's own clock says which that is: the order in which events come
    must not decide it.
    """
    folder = drop.key.rsplit("/", 1)[0]
    files = read_manifest(stored.content, drop.uri)
    return RecordingParts(
        drive_id=drop.drive_id,
        recording=drop.recording,
        drop_id=drop.drop_id,
        stored_at_ns=stored.modified_at_ns,
        sizes_bytes={f"{folder}/{file.path}": file.size_bytes for file in files},
    )


def _rejected(drop: Drop, reason: str) -> Drop:
    return replace(drop, state=DropState.REJECTED, reason=reason)
