"""How far a drive is, from its drops and manifests alone."""

from dataclasses import replace

import pytest

from scenelake.contracts.drops import Drop, DropState, RecordingParts
from scenelake.ledger.drive_status import DriveState, drive_status

QUIET_NS = 60
NOW_NS = 1_000


def drop(name: str, state: DropState = DropState.PENDING, *, at_ns: int = NOW_NS, recording: str = "rec") -> Drop:
    key = f"f/v/d/{recording}/{name}" if recording else f"f/v/d/{name}"
    made = Drop(name, "landing", key, "1", 5, "e", at_ns, "f", "v", "d", "drive", state, recording=recording)
    return replace(made, batch_id="b1", attempt=2) if state is DropState.CLAIMED else made


def listed(*names: str) -> RecordingParts:
    return RecordingParts("drive", "rec", "manifest", 1, {f"f/v/d/rec/{name}": 5 for name in names})


@pytest.mark.parametrize(
    ("drops", "parts", "state"),
    [
        ([drop("a")], [], DriveState.OPEN),
        ([drop("a", at_ns=NOW_NS - QUIET_NS)], [], DriveState.READY),
        ([drop("a")], [listed("a")], DriveState.READY),
        ([drop("a")], [listed("a", "b")], DriveState.OPEN),
        ([drop("a", recording="")], [], DriveState.READY),
        ([drop("a"), drop("x", recording="")], [], DriveState.READY),
        ([drop("a", DropState.CLAIMED), drop("b")], [], DriveState.BUILDING),
        ([drop("a", DropState.BUILT), drop("b", DropState.REJECTED)], [], DriveState.BUILT),
        ([drop("a", DropState.BUILT), drop("b")], [], DriveState.OPEN),
        ([drop("a", DropState.REJECTED)], [], DriveState.REJECTED),
    ],
)
def test_the_state_follows_from_the_drops(drops: list[Drop], parts: list[RecordingParts], state: DriveState) -> None:
    assert drive_status(drops, parts, QUIET_NS, NOW_NS).state is state


def test_an_open_drive_says_what_it_waits_for_and_until_when() -> None:
    built = replace(drop("a", DropState.BUILT), outcome={"release_id": "r00000002"})
    older = replace(drop("b", DropState.BUILT), outcome={"release_id": "r00000001"})
    found = drive_status([built, older, drop("c")], [listed("a", "b", "c", "d")], QUIET_NS, NOW_NS)
    assert (found.name, found.release_id, found.batch) == ("f/v/d", "r00000002", None)
    (recording,) = found.recordings
    assert (recording.nbr_objects, recording.nbr_listed) == (3, 4)
    assert recording.missing == ("f/v/d/rec/d",)
    assert recording.waits is not None
    assert recording.waits.quiet_at_ns == NOW_NS + QUIET_NS


def test_a_building_drive_names_its_batch_and_manifests_are_no_parts() -> None:
    found = drive_status([drop("a", DropState.CLAIMED), drop("_MANIFEST.json")], [], QUIET_NS, NOW_NS)
    assert found.batch == "b1.2"
    assert found.recordings[0].nbr_objects == 1
