"""From what the stages found to how each drop of the batch ends."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from scenelake.contracts.drops import Drop, DropState, RecordingParts, Settlement
from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.stages import DecodedDrop, DropVerdict
from scenelake.ledger.recordings import missing_parts

_SHOWN_PARTS = 5


def settlements(
    drops: Iterable[Drop],
    decoded: Mapping[str, DecodedDrop],
    duplicates: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Any]],
    release_id: str | None,
    remarks: Mapping[str, str] | None = None,
) -> list[Settlement]:
    """One settlement per drop.

    Args:
        drops: what the attempt still holds.
        decoded: decode's verdicts by drop id.
        duplicates: ``{drop_id: surviving drop_id}``.
        figures: serialise's counts by drop id; they become the drop's outcome.
        release_id: the release that the batch made, if any; a drop whose figures name one keeps that.
        remarks: what else a person should know of a drop that is built, by drop id (``manifest_remarks``).

    Raises:
        ScenelakeError: when decode left a drop without a verdict; a drop never disappears.
    """
    said = remarks or {}
    return [_settlement(drop, decoded, duplicates, figures, release_id, said.get(drop.drop_id)) for drop in drops]


def manifest_remarks(
    manifests: Iterable[Drop], parts: Iterable[RecordingParts], known: Collection[Drop], rejected: Collection[str]
) -> dict[str, str]:
    """What to say of the manifests of a drive when its batch ends, by drop id.

    A recording that was quiet for long enough is built without the parts that are missing. They may come later, so
    the remark tells how it was at this moment.

    Args:
        parts: what the drive's newest manifests list.
        known: every drop of the drive.
        rejected: ids of those that this batch rejects.
    """
    by_recording = {p.recording: p for p in parts}
    usable = [d for d in known if d.state is not DropState.REJECTED and d.drop_id not in rejected]
    remarks = {}
    for manifest in manifests:
        ruling = by_recording.get(manifest.recording)
        if ruling is None:
            continue
        missing = missing_parts(ruling, usable)
        if ruling.drop_id != manifest.drop_id:
            remarks[manifest.drop_id] = f"a newer manifest rules this recording: drop {ruling.drop_id}"
        elif missing:
            names = ", ".join("/".join(key.split("/")[3:]) for key in missing[:_SHOWN_PARTS])
            more = ", …" if len(missing) > _SHOWN_PARTS else ""
            share = f"{len(missing)} of {len(ruling.sizes_bytes)} parts missing"
            remarks[manifest.drop_id] = f"incomplete when it was built: {share}: {names}{more}"
    return remarks


def _settlement(
    drop: Drop,
    decoded: Mapping[str, DecodedDrop],
    duplicates: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Any]],
    release_id: str | None,
    remark: str | None,
) -> Settlement:
    verdict = decoded.get(drop.drop_id)
    if verdict is None:
        raise ScenelakeError(f"{drop.uri}: expected a verdict from decode for drop {drop.drop_id}, got none")
    outcome: dict[str, object] = dict(figures.get(drop.drop_id, {}))
    if verdict.object_sha256:
        outcome["object_sha256"] = verdict.object_sha256
    why = ": ".join(part for part in (verdict.reason, verdict.detail) if part)
    if verdict.verdict == DropVerdict.REJECTED:
        return Settlement(drop.drop_id, DropState.REJECTED, why or f"{drop.uri}: rejected by decode", outcome)
    if drop.drop_id in duplicates:
        survivor = duplicates[drop.drop_id]
        outcome["duplicate_of"] = survivor
        return Settlement(drop.drop_id, DropState.DUPLICATE, f"same content as drop {survivor}", outcome)
    outcome.setdefault("release_id", release_id)
    outcome.setdefault("verdict", verdict.verdict)
    return Settlement(drop.drop_id, DropState.BUILT, _remarks(drop, verdict, why, outcome, remark), outcome)


def _remarks(drop: Drop, verdict: DecodedDrop, why: str, outcome: Mapping[str, Any], remark: str | None) -> str | None:
    """What a person should know of a drop that was built; None when there is nothing."""
    remarks = [remark] if remark else []
    if why:
        kind = "salvaged" if verdict.verdict == DropVerdict.SALVAGED else "whole, with a remark"
        remarks.append(f"{kind}: {why}")
    if outcome.get("scenes") == 0 and not drop.is_manifest:
        counts = ", ".join(f"{outcome.get(fate, 0)} {fate}" for fate in ("unassigned", "undecodable"))
        remarks.append(f"no scene: of {outcome.get('messages', 0)} messages {counts}")
    return "; ".join(remarks) or None
