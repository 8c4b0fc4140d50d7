"""Which objects make a drive, and reading them."""

from dataclasses import asdict, replace

import pytest

from scenelake.adapters.objects import LocalObjects, write_json, write_table
from scenelake.contracts.drops import DropState
from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.stages import DecodedDrop
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import drive_metadata, plan_drive
from scenelake.synchronise.job import drives_of, read_drive
from scenelake.synchronise.row_sources import read_all

START = 85_000_000 * 20_000_000_000
A, B = "aa" * 32, "bb" * 32


def test_the_earliest_of_equal_objects_survives(drive_object):
    # The late one has the smaller id, which decides between drops that were received at once.
    first, second = sorted(("x", "y"), key=lambda n: drive_object(A, name=n).drop.drop_id)
    late = drive_object(A, name=first, received_at_ns=3)
    early = drive_object(A, name=second, received_at_ns=1)
    other = drive_object(B, name="other", received_at_ns=2)
    plan = plan_drive([late, other, early])
    assert plan.decoded == {o.drop.drop_id: o.decoded_uri for o in (early, other)}
    assert plan.duplicates == {late.drop.drop_id: early.drop.drop_id}
    assert plan_drive([early, late, other]) == plan


def test_equal_objects_received_at_once_are_told_apart_by_id(drive_object):
    twins = sorted((drive_object(A, name=n) for n in "xyz"), key=lambda o: o.drop.drop_id)
    plan = plan_drive(twins[::-1])
    assert list(plan.decoded) == [twins[0].drop.drop_id]
    assert plan.duplicates == {t.drop.drop_id: twins[0].drop.drop_id for t in twins[1:]}


def test_what_an_earlier_batch_built_stays_the_survivor_and_its_copies_stay_copies(drive_object):
    """The ledger has said so; a copy that was announced earlier and claimed later must not turn it round."""
    built, announced_first, known_copy = (
        drive_object(A, name=n, received_at_ns=t) for n, t in (("x", 3), ("y", 2), ("z", 1))
    )
    built = replace(built, drop=replace(built.drop, state=DropState.BUILT))
    known_copy = replace(known_copy, drop=replace(known_copy.drop, state=DropState.DUPLICATE))
    members = [known_copy, announced_first, built]
    assert list(plan_drive(members).decoded) == [built.drop.drop_id]
    again = [known_copy, announced_first, replace(built, drop=replace(built.drop, state=DropState.CLAIMED))]
    assert list(plan_drive(again).decoded) == [announced_first.drop.drop_id]


def test_metadata_of_several_objects_is_merged(drive_object):
    first = drive_object(A, metadata={"location": "Ulm", "task": ""})
    second = drive_object(B, metadata={"location": "Bonn", "task": "park"})
    merged = drive_metadata([first, second])
    assert merged == {"location": "Ulm", "task": "park", "software_version": "recorder 1"}


class Siblings:
    """The one question that the stage asks of a ledger."""

    def __init__(self, drops):
        self._drops = drops

    def drops(self, *, state=None, drive_id=None):
        return iter([d for d in self._drops if d.drive_id == drive_id])


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path)


def store(objects, item, recording):
    drive = recording.drive()
    index = read_all(drive.index)
    index = index.filter([sha == item.outcome.object_sha256 for sha in index["object_sha256"].to_pylist()])
    tables = {n: read_all(t) for n, t in drive.tables.items() if len(read_all(t))}
    outcome = replace(item.outcome, tables=tuple(tables))
    write_json(objects, f"{item.decoded_uri}/outcome.json", outcome.to_json())
    write_table(objects, f"{item.decoded_uri}/message_index.parquet", index)
    for name, table in tables.items():
        write_table(objects, f"{item.decoded_uri}/{name}.parquet", table)


def line(item, verdict="decoded"):
    drop = item.drop
    return DecodedDrop(drop.drop_id, drop.drive_id, item.decoded_uri, verdict, None, None, item.outcome.object_sha256)


def test_a_drive_is_rebuilt_from_this_batch_and_what_was_built_before(objects, recording, drive_object):
    recording.add("/lidar", "lidar", [START, START + 10**8], object_sha256=A)
    recording.add("/lidar", "lidar", [START + 2 * 10**8], object_sha256=B)
    new = drive_object(B, name="new", received_at_ns=5)
    copy = drive_object(A, name="copy", received_at_ns=6)
    old = drive_object(A, name="old")
    rejected = drive_object("cc" * 32, name="rejected")
    for item in (new, copy, old):
        store(objects, item, recording)
    built = replace(old.drop, state=DropState.BUILT, outcome={"decoded_uri": old.decoded_uri})
    pending = replace(drive_object(B, name="pending").drop, state=DropState.PENDING)
    ledger = Siblings([built, pending, new.drop, copy.drop])
    decoded = [line(new), line(copy), line(rejected, "rejected")]
    drives = drives_of(decoded, [new.drop, copy.drop, rejected.drop], ledger, objects)
    assert list(drives) == [new.drop.drive_id]
    drive = read_drive(objects, drives[new.drop.drive_id])
    assert set(drive.plan.decoded) == {old.drop.drop_id, new.drop.drop_id}
    assert drive.plan.duplicates == {copy.drop.drop_id: old.drop.drop_id}
    tables = synchronise_drive(drive, SynchroniseConfig()).tables
    assert len(tables["sample_data"]) == 3
    assert len(tables["raw_object"]) == 3
    assert asdict(drive.plan)["fleet"] == "fleet"


@pytest.mark.parametrize("state", list(DropState))
def test_built_drops_and_their_copies_take_part_and_nothing_else(objects, recording, drive_object, state):
    recording.add("/lidar", "lidar", [START], object_sha256=A)
    new, old = drive_object(A, name="new", received_at_ns=5), drive_object(A, name="old")
    for item in (new, old):
        store(objects, item, recording)
    sibling = replace(old.drop, state=state, outcome={"decoded_uri": old.decoded_uri})
    (members,) = drives_of([line(new)], [new.drop], Siblings([new.drop, sibling]), objects).values()
    assert (len(members) == 2) == (state in (DropState.BUILT, DropState.DUPLICATE))


def test_a_drive_with_nothing_but_rejected_drops_is_not_touched(objects, drive_object):
    rejected = drive_object(A)
    assert drives_of([line(rejected, "rejected")], [rejected.drop], Siblings([]), objects) == {}


def test_a_built_drop_that_does_not_say_where_it_is_stops_the_stage(objects, recording, drive_object):
    recording.add("/lidar", "lidar", [START], object_sha256=A)
    new, old = drive_object(A, name="new"), drive_object(B, name="old")
    store(objects, new, recording)
    ledger = Siblings([replace(old.drop, state=DropState.BUILT)])
    with pytest.raises(ScenelakeError, match="decoded_uri"):
        drives_of([line(new)], [new.drop], ledger, objects)


def test_the_result_does_not_depend_on_the_order_in_which_drops_arrive(objects, recording, drive_object):
    recording.add("/lidar", "lidar", [START, START + 10**8], object_sha256=A)
    recording.add("/cam", "camera", [START, START + 10**7], object_sha256=B)
    members = [drive_object(A), drive_object(B)]
    for item in members:
        store(objects, item, recording)
    results = []
    for order in (members, members[::-1]):
        stored = drives_of([line(o) for o in order], [o.drop for o in order], Siblings([]), objects)
        drive = read_drive(objects, stored[order[0].drop.drive_id])
        results.append(synchronise_drive(drive, SynchroniseConfig()))
    assert results[0].clocks == results[1].clocks
    assert all(results[0].tables[name].equals(results[1].tables[name]) for name in results[0].tables)
