"""What a recording's manifest says of its parts, held against the bytes that came."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scenelake.contracts.drops import Drop, RecordingParts
from scenelake.contracts.manifests import CHECKSUM_MISMATCH, read_manifest
from scenelake.contracts.stages import DecodedDrop, DropOutcome, DropVerdict
from scenelake.decode.formats.blocks import Source

FORMAT = "manifest"


@dataclass(frozen=True, slots=True)
class Listing:
    """The manifest that rules a recording.

    Attributes:
        drop_id, name: the manifest's own drop, and its URI for messages.
        files: ``{key: (size_bytes, object_sha256)}`` of every part, by full key; the checksum where there is one.
    """

    drop_id: str
    name: str
    files: Mapping[str, tuple[int, str | None]]

    def contradiction(self, drop: Drop, object_sha256: str | None) -> str | None:
        """How an object's bytes differ from what is listed under its key; None where they do not."""
        if drop.key not in self.files:
            return None
        size_bytes, expected = self.files[drop.key]
        if drop.size_bytes != size_bytes:
            return f"{drop.key}: {self.name} says {size_bytes} bytes, got {drop.size_bytes}"
        if None not in (expected, object_sha256) and expected != object_sha256:
            return f"{drop.key}: {self.name} says object_sha256 {expected}, got {object_sha256}"
        return None


Listings = Mapping[tuple[str, str], Listing]
"""By drive id and recording, as ``RecordingParts`` names it."""


def decode_manifest(source: Source, drop: Drop, object_sha256: str, recipe: str) -> DropOutcome:
    """The outcome of a manifest: an object without messages.

    Raises:
        BadInputError: reason ``bad_manifest``, naming the field.
    """
    read_manifest(bytes(source.read(0, source.size_bytes)), drop.uri)
    return DropOutcome(
        drop_id=drop.drop_id,
        verdict=DropVerdict.DECODED,
        reason=None,
        detail=None,
        format=FORMAT,
        object_sha256=object_sha256,
        size_bytes=drop.size_bytes,
        recipe=recipe,
        start_ns=None,
        exclusive_end_ns=None,
    )


def listing(parts: RecordingParts, manifest: Drop | None, content: bytes | None) -> Listing:
    """What the ledger knows of a recording's parts, with the checksums of the manifest where it can be read."""
    name = manifest.uri if manifest else f"the manifest of drop {parts.drop_id}"
    checksums: dict[str, str | None] = {}
    if manifest and content is not None:
        folder = manifest.key.rsplit("/", 1)[0]
        checksums = {f"{folder}/{file.path}": file.object_sha256 for file in read_manifest(content, name)}
    files = {key: (size_bytes, checksums.get(key)) for key, size_bytes in parts.sizes_bytes.items()}
    return Listing(parts.drop_id, name, files)


def judged_by_manifests(
    lines: Sequence[DecodedDrop], drops: Sequence[Drop], listings: Listings, built: Iterable[Drop]
) -> list[DecodedDrop]:
    """Decode's lines, in which parts that differ from their manifest are REJECTED.

    What was built before the manifest came cannot be taken back here: then it is the manifest that is REJECTED, and
    says what a person can do.

    Args:
        lines, drops: the batch's, in the same order.
        built: drops of the batch's drives that earlier batches built.
    """
    before: dict[str, str] = {}
    for drop in built:
        sha = drop.outcome.get("object_sha256")
        rules = _ruling(drop, listings)
        said = rules.contradiction(drop, sha if isinstance(sha, str) else None) if rules else None
        if rules and said:
            before.setdefault(rules.drop_id, said)
    return [_judged(line, drop, listings, before) for line, drop in zip(lines, drops, strict=True)]


def _judged(line: DecodedDrop, drop: Drop, listings: Listings, before: Mapping[str, str]) -> DecodedDrop:
    if drop.is_manifest:
        said = before.get(drop.drop_id) if line.verdict != DropVerdict.REJECTED else None
        where = f"{drop.fleet}/{drop.vehicle}/{drop.drive}/"
        said = said and (
            f"{said}; that file was built before the manifest came: put the right file again, or a manifest that "
            f"fits it, and rebuild the drive (run build_scenes with prefix {where!r} and rebuild)"
        )
    else:
        rules = _ruling(drop, listings)
        said = rules.contradiction(drop, line.object_sha256) if rules else None
    if not said:
        return line
    return replace(line, verdict=DropVerdict.REJECTED, reason=CHECKSUM_MISMATCH, detail=said)


def _ruling(drop: Drop, listings: Listings) -> Listing | None:
    """A recording's own manifest rules its parts, else the drive's."""
    return listings.get((drop.drive_id, drop.recording)) or listings.get((drop.drive_id, ""))
