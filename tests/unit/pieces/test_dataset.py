"""A robot dataset: data files that need the files around them, and files around them that hold no message."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scenelake.contracts.drops import DropState

from .pipeline import QUIET_NS, SECOND_NS, Lake

DATA = "bridge_dataset-train.tfrecord-00000-of-00001"
META = ("dataset_info.json", "features.json")
NBR_EPISODES, NBR_STEPS = 25, 10


@pytest.fixture
def bridge(real_data: Callable[[str], Path]) -> dict[str, bytes]:
    folder = real_data("octo_bridge_rlds")
    return {name: (folder / name).read_bytes() for name in (DATA, *META)}


def _check_gold(lake: Lake) -> None:
    assert {d.state for d in lake.drops()} == {DropState.BUILT}, [d.reason for d in lake.drops()]
    actions = lake.rows("action")
    assert len(actions) == NBR_EPISODES * NBR_STEPS
    assert {len(row["position"]) for row in actions} == {7}
    accounts = {row["channel"]: row["nbr_messages"] for row in lake.rows("message_account")}
    assert accounts["/action"] == NBR_EPISODES * NBR_STEPS


def test_a_dataset_in_a_folder_is_built_when_it_was_quiet(lake: Lake, bridge: dict[str, bytes]) -> None:
    for name, content in bridge.items():
        lake.put(f"fleet/robot/session/bridge/{name}", content)
    assert lake.build_all() == []
    lake.wait(QUIET_NS // SECOND_NS + 1)
    (batch,) = lake.build_all()
    assert len(batch.drop_ids) == len(bridge)
    _check_gold(lake)


def test_what_holds_no_message_is_built_alone(lake: Lake, bridge: dict[str, bytes]) -> None:
    for name in (*META, DATA):
        lake.put(f"fleet/robot/session/{name}", bridge[name])
        lake.build_all()
    _check_gold(lake)
