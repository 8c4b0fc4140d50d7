"""From what the stages found to how each drop of the batch ends."""

from collections.abc import Iterable, Mapping
from typing import Any

from scenelake.contracts.drops import Drop, DropState, Settlement
from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.stages import DecodedDrop, DropVerdict


def settlements(
    drops: Iterable[Drop],
    decoded: Mapping[str, DecodedDrop],
    duplicates: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Any]],
    release_id: str | None,
) -> list[Settlement]:
    """One settlement per drop.

    Args:
        drops: what the attempt still holds.
        decoded: decode's verdicts by drop id.
        duplicates: ``{drop_id: surviving drop_id}``.
        figures: serialise's counts by drop id; they become the drop's outcome.
        release_id: the release that the batch made, if any; a drop whose figures name one keeps that.

    Raises:
        ScenelakeError: when decode left a drop without a verdict; a drop never disappears.
    """
    return [_settlement(drop, decoded, duplicates, figures, release_id) for drop in drops]


def _settlement(
    drop: Drop,
    decoded: Mapping[str, DecodedDrop],
    duplicates: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Any]],
    release_id: str | None,
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
    return Settlement(drop.drop_id, DropState.BUILT, _remarks(verdict, why, outcome), outcome)


def _remarks(verdict: DecodedDrop, why: str, outcome: Mapping[str, Any]) -> str | None:
    """What a person should know of a drop that was built; None when there is nothing."""
    remarks = []
    if why:
        kind = "salvaged" if verdict.verdict == DropVerdict.SALVAGED else "whole, with a remark"
        remarks.append(f"{kind}: {why}")
    if outcome.get("scenes") == 0:
        counts = ", ".join(f"{outcome.get(fate, 0)} {fate}" for fate in ("unassigned", "undecodable"))
        remarks.append(f"no scene: of {outcome.get('messages', 0)} messages {counts}")
    return "; ".join(remarks) or None
