"""Where every message of an object went (invariant I2), channel by channel."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.modalities import MessageStatus
from scenelake.contracts.stages import ChannelCount, DrivePlan, DropOutcome
from scenelake.contracts.tables import GOLD

ACCEPTED_VERDICTS = frozenset({"pass", "warn"})
FATES = ("accepted", "quarantined", "rejected", "duplicate", "unassigned", "undecodable")
_FATE_OF_VERDICT = {"pass": "accepted", "warn": "accepted", "quarantine": "quarantined", "reject": "rejected"}

_Counts = dict[tuple[str, str], dict[str, int]]


@dataclass(frozen=True, slots=True)
class Accounts:
    """Rows of ``message_account``, and remarks per drop for a person."""

    rows: pa.Table
    notes: dict[str, list[str]]


def message_accounts(
    plan: DrivePlan,
    outcomes: Mapping[str, DropOutcome],
    sample_data: pa.Table,
    unassigned: pa.Table,
    verdicts: Mapping[str, str],
    undecodable_ids: pa.Array,
    dates: Mapping[str, date | None],
) -> Accounts:
    """Accounts for every message of every drop of a drive.

    The account starts from the recording's own count. Messages that it counts and that could not be read are
    undecodable; where the recording counts fewer than were read, what was read rules and a note says so.

    Args:
        outcomes: decode's answers by drop id, for the plan's drops.
        sample_data, unassigned: all rows of the drive, whatever the verdict.
        verdicts: ``{scene_id: pass | warn | quarantine | reject}``.
        undecodable_ids: ``sample_data_id`` of messages that were read and contradict their schema.
        dates: partition per drop.

    Raises:
        ScenelakeError: an account does not balance, which is a bug in one of the stages.
    """
    counts, reasons = _fates(sample_data, unassigned, verdicts, undecodable_ids)
    rows: list[dict[str, Any]] = []
    notes: dict[str, list[str]] = defaultdict(list)
    for drop_id in sorted({*plan.decoded, *plan.duplicates}):
        survivor = plan.duplicates.get(drop_id)
        outcome = outcomes.get(drop_id) or outcomes[survivor or drop_id]
        for channel in sorted(outcome.channels, key=lambda c: c.channel):
            key = (outcome.object_sha256 or "", channel.channel)
            total = max(channel.recorded, channel.read)
            fates = {"duplicate": total} if survivor else _balanced(drop_id, channel, counts.pop(key, {}))
            if channel.recorded < channel.read:
                notes[drop_id].append(
                    f"{channel.channel}: the recording counts {channel.recorded} messages, {channel.read} were read"
                )
            rows.append(
                _row(plan.drive_id, drop_id, outcome, channel, total)
                | {f"nbr_{fate}": fates.get(fate, 0) for fate in FATES}
                | {"unassigned_reason": None if survivor else reasons.get(key), "drive_date": dates.get(drop_id)}
            )
    if counts:
        raise ScenelakeError(f"drive {plan.drive_id}: messages that no drop's outcome knows: {sorted(counts)[:5]}")
    return Accounts(pa.Table.from_pylist(rows, GOLD["message_account"].schema), dict(notes))


def _row(drive_id: str, drop_id: str, outcome: DropOutcome, channel: ChannelCount, total: int) -> dict[str, Any]:
    return {
        "drop_id": drop_id,
        "object_sha256": outcome.object_sha256,
        "drive_id": drive_id,
        "channel": channel.channel,
        "modality": channel.modality,
        "schema_name": channel.schema_name,
        "nbr_messages": total,
        "payload_bytes": channel.payload_bytes,
    }


def _balanced(drop_id: str, channel: ChannelCount, fates: Mapping[str, int]) -> dict[str, int]:
    total = max(channel.recorded, channel.read)
    lost = total - channel.read
    found = {**fates, "undecodable": channel.undecodable + lost}
    if sum(found.values()) != total:
        raise ScenelakeError(
            f"drop {drop_id}, channel {channel.channel}: the account does not balance, "
            f"expected {total} messages, got {sum(found.values())} ({found})"
        )
    return found


def _fates(
    sample_data: pa.Table, unassigned: pa.Table, verdicts: Mapping[str, str], undecodable_ids: pa.Array
) -> tuple[_Counts, dict[tuple[str, str], str]]:
    counts: _Counts = defaultdict(lambda: defaultdict(int))
    in_scenes = _without(sample_data, undecodable_ids)
    if "status" in in_scenes.column_names:
        in_scenes = in_scenes.filter(pc.fill_null(pc.not_equal(in_scenes["status"], MessageStatus.UNDECODABLE), True))
    grouped = in_scenes.group_by(["object_sha256", "channel", "scene_id"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        verdict = verdicts.get(row["scene_id"])
        if verdict not in _FATE_OF_VERDICT:
            raise ScenelakeError(f"scene {row['scene_id']}: expected a verdict of quality, got {verdict!r}")
        counts[row["object_sha256"], row["channel"]][_FATE_OF_VERDICT[verdict]] += row["count_all"]
    outside = _without(unassigned, undecodable_ids)
    reasons: dict[tuple[str, str], set[str]] = defaultdict(set)
    grouped = outside.group_by(["object_sha256", "channel", "reason"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        key = (row["object_sha256"], row["channel"])
        counts[key]["unassigned"] += row["count_all"]
        reasons[key].add(row["reason"] or "unknown")
    return {k: dict(v) for k, v in counts.items()}, {k: "; ".join(sorted(v)) for k, v in reasons.items()}


def _without(rows: pa.Table, undecodable_ids: pa.Array) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows["sample_data_id"], value_set=undecodable_ids)))
