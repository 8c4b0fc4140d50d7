"""Figures per drop for the ledger, taken from the accounts that balanced."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from scenelake.contracts.stages import DecodedDrop
from scenelake.serialise.accounts import ACCEPTED_VERDICTS, FATES
from scenelake.serialise.drives import DriveInput, DriveRows


def drop_outcomes(
    drops: Sequence[DecodedDrop], inputs: Sequence[DriveInput], drives: Sequence[DriveRows], release_id: str | None
) -> dict[str, dict[str, Any]]:
    """``outcomes.json``: per drop of the batch, where its messages went.

    Keys per drop: verdict, reason, detail (decode's), decoded_uri, object_sha256, duplicate_of, messages, one
    count per fate (accepted, quarantined, …), scenes and accepted_scenes (numbers that hold a message of it),
    release_id (None when none of its messages is in the lake), notes.
    """
    accounts: dict[str, Counter[str]] = defaultdict(Counter)
    scenes: dict[str, tuple[int, int]] = {}
    notes: dict[str, list[str]] = {}
    duplicates: dict[str, str] = {}
    for given, drive in zip(inputs, drives, strict=True):
        duplicates |= given.plan.duplicates
        notes |= drive.notes
        for row in drive.rows["message_account"].to_pylist():
            accounts[row["drop_id"]].update({f: row[f"nbr_{f}"] for f in (*FATES, "messages")})
        scenes |= _scenes_per_object(given, drive)
    return {
        drop.drop_id: {
            "verdict": drop.verdict,
            "reason": drop.reason,
            "detail": drop.detail,
            "decoded_uri": drop.decoded_uri,
            "object_sha256": drop.object_sha256,
            "duplicate_of": duplicates.get(drop.drop_id),
            "messages": accounts[drop.drop_id]["messages"],
            **{fate: accounts[drop.drop_id][fate] for fate in FATES},
            "scenes": scenes.get(drop.object_sha256 or "", (0, 0))[0],
            "accepted_scenes": scenes.get(drop.object_sha256 or "", (0, 0))[1],
            "release_id": release_id if _is_in_lake(accounts[drop.drop_id]) else None,
            "notes": notes.get(drop.drop_id, []),
        }
        for drop in drops
    }


def _is_in_lake(account: Counter[str]) -> bool:
    return bool(account["accepted"] or account["quarantined"] or account["duplicate"] or account["unassigned"])


def _scenes_per_object(given: DriveInput, drive: DriveRows) -> dict[str, tuple[int, int]]:
    if "sample_data" not in given.tables:
        return {}
    pairs = given.tables["sample_data"].select(["object_sha256", "scene_id"]).group_by(["object_sha256", "scene_id"])
    found: dict[str, set[str]] = defaultdict(set)
    for row in pairs.aggregate([]).to_pylist():
        found[row["object_sha256"]].add(row["scene_id"])
    return {
        sha: (len(ids), sum(1 for i in ids if drive.verdicts[i] in ACCEPTED_VERDICTS)) for sha, ids in found.items()
    }


def scene_counts(drives: Sequence[DriveRows]) -> dict[str, int]:
    """Numbers of scenes by verdict, and of messages by fate, over the batch's drives."""
    verdicts = Counter(v for d in drives for v in d.verdicts.values())
    messages: Counter[str] = Counter()
    for drive in drives:
        for row in drive.rows["message_account"].to_pylist():
            messages.update({f: row[f"nbr_{f}"] for f in FATES})
    return {
        "nbr_scenes": sum(verdicts.values()),
        "nbr_accepted_scenes": sum(n for v, n in verdicts.items() if v in ACCEPTED_VERDICTS),
        **{f"nbr_{fate}_messages": messages[fate] for fate in FATES},
    }
