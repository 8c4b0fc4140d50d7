"""When a recording of many objects is built: as soon as its manifest is complete, else once it was quiet."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scenelake.contracts.drops import Drop, RecordingParts


@dataclass(frozen=True, slots=True)
class Gate:
    """Why a drop waits for the rest of its recording, and until when at most.

    Attributes:
        missing: keys that the manifest lists and that have not landed with their size; empty without a manifest.
        quiet_at_ns: when the recording is built as it is, unless another part lands before.
    """

    missing: tuple[str, ...]
    quiet_at_ns: int

    def is_open(self, now_ns: int) -> bool:
        return now_ns >= self.quiet_at_ns


def ready(
    pending: Sequence[Drop], known: Collection[Drop], parts: Sequence[RecordingParts], quiet_ns: int, now_ns: int
) -> list[Drop]:
    """The pending drops of a drive that need not wait.

    Args:
        known: every drop of the drive, whatever its state.
        parts: what the drive's manifests list.
    """
    gates: dict[str, Gate | None] = {}
    for recording in {drop.recording for drop in pending}:
        gates[recording] = gate(recording, known, parts, quiet_ns)
    return [drop for drop in pending if (g := gates[drop.recording]) is None or g.is_open(now_ns)]


def gate(recording: str, known: Collection[Drop], parts: Sequence[RecordingParts], quiet_ns: int) -> Gate | None:
    """What a recording's drops wait for; None when they need not wait.

    A recording's own manifest rules, else the drive's. A drop in the drive itself without a manifest waits for
    nothing: it is a recording alone.
    """
    by_recording = {p.recording: p for p in parts}
    manifest = by_recording.get(recording) or by_recording.get("")
    if manifest is None and not recording:
        return None
    missing = missing_parts(manifest, known) if manifest else ()
    if manifest and not missing:
        return None
    scope = manifest.recording if manifest else recording
    arrivals = [drop.received_at_ns for drop in known if not scope or drop.recording == scope]
    return Gate(missing, max(arrivals, default=0) + quiet_ns)


def missing_parts(manifest: RecordingParts, known: Collection[Drop]) -> tuple[str, ...]:
    """Keys that a manifest lists and that no drop has with the listed size, sorted."""
    landed = {(drop.key, drop.size_bytes) for drop in known}
    return tuple(sorted(key for key, size in manifest.sizes_bytes.items() if (key, size) not in landed))
