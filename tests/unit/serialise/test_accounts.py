"""Every message is in one place, and an account that says otherwise stops the batch."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.stages import ChannelCount
from scenelake.serialise.accounts import FATES, Accounts, message_accounts
from scenelake.serialise.drives import DriveInput

from .synthetic import FRAMES, DriveMaker, replace_value

NOBODY = pa.array([], pa.string())


def accounts(given: DriveInput, **changes: Any) -> Accounts:
    verdicts = dict(zip(*(given.tables["scene_verdict"][c].to_pylist() for c in ("scene_id", "verdict")), strict=True))
    arguments = {
        "plan": given.plan,
        "outcomes": given.outcomes,
        "sample_data": given.tables["sample_data"],
        "unassigned": given.tables["unassigned"],
        "verdicts": verdicts,
        "undecodable_ids": NOBODY,
        "dates": {},
        **changes,
    }
    return message_accounts(**arguments)


def by_channel(found: Accounts) -> dict[str, dict[str, Any]]:
    return {r["channel"]: r for r in found.rows.to_pylist() if not r["nbr_duplicate"]}


def with_count(given: DriveInput, channel: str, **changes: int) -> dict[str, Any]:
    (drop_id, outcome), = given.outcomes.items()  # fmt: skip
    channels = tuple(replace(c, **changes) if c.channel == channel else c for c in outcome.channels)
    return {"outcomes": {drop_id: replace(outcome, channels=channels)}}


def test_messages_are_counted_by_the_fate_of_their_scene(maker: DriveMaker) -> None:
    found = by_channel(
        accounts(maker.drive(scenes=4, verdicts=("pass", "warn", "quarantine", "reject"), unassigned=3, lost=2))
    )
    assert {f: found["/imu"][f"nbr_{f}"] for f in FATES} == {
        "accepted": 2 * FRAMES, "quarantined": FRAMES, "rejected": FRAMES, "duplicate": 0, "unassigned": 3,
        "undecodable": 2,
    }  # fmt: skip
    assert found["/imu"]["nbr_messages"] == 4 * FRAMES + 5
    assert found["/imu"]["unassigned_reason"] == "no_reference"
    assert found["/camera"]["unassigned_reason"] is None


def test_a_copy_counts_all_of_its_messages_as_duplicates(maker: DriveMaker) -> None:
    given = maker.drive(duplicate=True)
    found = accounts(given).rows.to_pylist()
    (copy,) = given.plan.duplicates
    rows = [r for r in found if r["drop_id"] == copy]
    assert len(rows) == 2
    for row in rows:
        assert row["nbr_duplicate"] == row["nbr_messages"] > 0
        assert sum(row[f"nbr_{f}"] for f in FATES) == row["nbr_messages"]


def test_where_the_recording_counts_too_few_what_was_read_rules(maker: DriveMaker) -> None:
    given = maker.drive(unassigned=1)
    found = accounts(given, **with_count(given, "/imu", recorded=1))
    assert by_channel(found)["/imu"]["nbr_messages"] == 2 * FRAMES + 1
    assert by_channel(found)["/imu"]["nbr_undecodable"] == 0
    assert list(found.notes.values()) == [["/imu: the recording counts 1 messages, 9 were read"]]


@pytest.mark.parametrize("table", ["sample_data", "unassigned"])
def test_undecodable_messages_are_counted_once_wherever_their_rows_are(maker: DriveMaker, table: str) -> None:
    given = maker.drive(unassigned=2)
    rows = given.tables[table]
    broken = [
        i for i, c in zip(*(rows[n].to_pylist() for n in ("sample_data_id", "channel")), strict=True) if c == "/imu"
    ]
    counts = with_count(given, "/imu", undecodable=len(broken))
    found = by_channel(accounts(given, undecodable_ids=pa.array(broken), **counts))["/imu"]
    assert found["nbr_undecodable"] == len(broken) + 2
    assert sum(found[f"nbr_{f}"] for f in FATES) == found["nbr_messages"]


def test_undecodable_rows_of_sample_data_are_not_accepted(maker: DriveMaker) -> None:
    given = maker.drive()
    sample_data = replace_value(given.tables["sample_data"], "status", "undecodable")
    channel = sample_data["channel"][0].as_py()
    found = by_channel(accounts(given, sample_data=sample_data, **with_count(given, channel, undecodable=1)))
    assert found[channel]["nbr_accepted"] == 2 * FRAMES - 1


def test_an_imbalance_is_a_bug(maker: DriveMaker) -> None:
    given = maker.drive()
    with pytest.raises(ScenelakeError, match=r"/camera.*expected 10 messages, got 9"):
        accounts(given, sample_data=given.tables["sample_data"].slice(1))
    with pytest.raises(ScenelakeError, match="does not balance"):
        accounts(given, unassigned=pa.concat_tables([given.tables["unassigned"]] * 2))
    with pytest.raises(ScenelakeError, match="does not balance"):
        accounts(given, **with_count(given, "/imu", undecodable=1))


def test_a_channel_that_no_outcome_knows_is_a_bug(maker: DriveMaker) -> None:
    given = maker.drive()
    (drop_id, outcome), = given.outcomes.items()  # fmt: skip
    fewer: tuple[ChannelCount, ...] = outcome.channels[:1]
    with pytest.raises(ScenelakeError, match="no drop's outcome knows"):
        accounts(given, outcomes={drop_id: replace(outcome, channels=fewer)})


def test_a_scene_without_a_verdict_is_a_bug(maker: DriveMaker) -> None:
    with pytest.raises(ScenelakeError, match="verdict"):
        accounts(maker.drive(), verdicts={})
