"""Which histories of a drop are a way through its states."""

from typing import Any

import pytest

from scenelake.contracts.drops import DropState
from scenelake_audit.histories import STATES, TERMINAL, breaks

Entry = dict[str, Any]


def at(state: str, batch_id: str | None = None, attempt: int = 0, reason: str | None = None) -> Entry:
    return {"state": state, "batch_id": batch_id, "attempt": attempt, "reason": reason}


BORN = at("PENDING")
CLAIMED = at("CLAIMED", "b1", 1)
BUILT = at("BUILT", "b1", 1)
REBUILD = at("CLAIMED", "b2", 1, "rebuild")

LEGAL = {
    "waits": [BORN],
    "rejected at the door": [at("REJECTED", reason="folder_marker")],
    "built": [BORN, CLAIMED, BUILT],
    "built at the second attempt": [BORN, CLAIMED, at("CLAIMED", "b1", 2), at("BUILT", "b1", 2)],
    "built at a later attempt than it was claimed": [BORN, CLAIMED, at("DUPLICATE", "b1", 3)],
    "an attempt that passed it by": [BORN, CLAIMED, at("CLAIMED", "b1", 3), at("BUILT", "b1", 3)],
    "given up and tried alone": [
        BORN, CLAIMED, at("PENDING", "b1", 3, "tried alone"), at("CLAIMED", "b2", 1), at("REJECTED", "b2", 3, "poison"),
    ],
    "rebuilt": [BORN, CLAIMED, BUILT, REBUILD, at("BUILT", "b2", 1)],
    "rebuilt twice": [BORN, CLAIMED, BUILT, REBUILD, at("BUILT", "b2", 1), at("CLAIMED", "b3", 1, "rebuild")],
    "forgotten": [BORN, CLAIMED, BUILT, at("FORGOTTEN", reason="erased")],
}  # fmt: skip

ILLEGAL = {
    "begins built": [BUILT],
    "begins claimed": [CLAIMED, BUILT],
    "begins pending in a batch": [at("PENDING", "b1", 1, "tried alone")],
    "begins rejected without a reason": [at("REJECTED")],
    "built unclaimed": [BORN, BUILT],
    "built by another batch": [BORN, CLAIMED, at("BUILT", "b2", 1)],
    "built by an earlier attempt": [BORN, CLAIMED, at("CLAIMED", "b1", 2), BUILT],
    "built twice": [BORN, CLAIMED, BUILT, BUILT],
    "built, then rejected": [BORN, CLAIMED, BUILT, at("REJECTED", "b1", 1, "poison")],
    "built, then pending": [BORN, CLAIMED, BUILT, at("PENDING", "b1", 1, "tried alone")],
    "claimed twice by one attempt": [BORN, CLAIMED, CLAIMED],
    "claimed by an earlier attempt": [BORN, CLAIMED, at("CLAIMED", "b1", 2), CLAIMED],
    "claimed by two batches": [BORN, CLAIMED, at("CLAIMED", "b2", 2)],
    "claimed anew without being asked": [BORN, CLAIMED, BUILT, at("CLAIMED", "b2", 1)],
    "claimed by its old batch": [BORN, CLAIMED, BUILT, at("CLAIMED", "b1", 1, "rebuild")],
    "claimed first at the second attempt": [BORN, at("CLAIMED", "b1", 2)],
    "claimed by nobody": [BORN, at("CLAIMED", None, 1)],
    "pending twice": [BORN, BORN],
    "given up without a reason": [BORN, CLAIMED, at("PENDING", "b1", 1)],
    "forgotten without a reason": [BORN, at("FORGOTTEN")],
    "forgotten twice": [BORN, at("FORGOTTEN", reason="a"), at("FORGOTTEN", reason="b")],
    "rebuilt once forgotten": [BORN, at("FORGOTTEN", reason="erased"), REBUILD],
    "an unknown state": [BORN, at("DONE")],
}


@pytest.mark.parametrize("name", LEGAL)
def test_a_way_through_the_states(name: str) -> None:
    assert list(breaks(LEGAL[name])) == []


@pytest.mark.parametrize("name", ILLEGAL)
def test_no_way_through_the_states(name: str) -> None:
    assert len(list(breaks(ILLEGAL[name]))) == 1


def test_the_states_are_those_of_the_contracts() -> None:
    assert {str(state) for state in DropState} == STATES
    assert {str(state) for state in DropState if state.is_terminal} == TERMINAL
