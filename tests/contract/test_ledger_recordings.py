"""The contract of the ledger: recordings of many objects, and what their manifests list."""

from dataclasses import replace

import pytest
from tests.contract.ledger_drops import LIMITS, a_drop, built, register

from scenelake.adapters.ledger_items import parts_item
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, RecordingParts
from scenelake.contracts.errors import BadInputError
from scenelake.ledger.protocol import Ledger


def a_part(name: str, **changes: object) -> Drop:
    return a_drop(f"bag/{name}", recording="bag", **changes)  # type: ignore[arg-type]


def manifest(*parts: Drop, recording: str = "bag", at_ns: int = 1) -> RecordingParts:
    sizes = {part.key: part.size_bytes for part in parts}
    return RecordingParts(parts[0].drive_id, recording, f"manifest{at_ns}", at_ns, sizes)


def claimed(ledger: Ledger, now_ns: int) -> list[str]:
    batch = ledger.claim(replace(LIMITS, quiet_ns=50), now_ns)
    return list(batch.drop_ids) if batch else []


def test_a_recording_in_a_folder_waits_until_it_was_quiet(ledger: Ledger) -> None:
    a, b = register(ledger, a_part("a", at_ns=10), a_part("b", at_ns=40))
    assert claimed(ledger, 89) == []
    (alone,) = register(ledger, a_drop("alone", at_ns=41))
    assert claimed(ledger, 89) == [alone], "a file in the drive itself is a recording alone"
    assert claimed(ledger, 90) == [], "the drive is held"
    batch = ledger.get(alone)
    assert batch is not None
    ledger.settle(str(batch.batch_id), 1, built(alone), 91)
    assert claimed(ledger, 91) == [a, b]


def test_a_recording_is_built_as_soon_as_its_manifest_is_complete(ledger: Ledger) -> None:
    a, b = a_part("a", at_ns=10), a_part("b", at_ns=12)
    register(ledger, a)
    ledger.expect_parts(manifest(a, b))
    assert claimed(ledger, 13) == []
    register(ledger, b)
    assert claimed(ledger, 13) == [a.drop_id, b.drop_id]


def test_a_part_of_another_size_does_not_complete_a_manifest(ledger: Ledger) -> None:
    a = a_part("a", at_ns=10)
    register(ledger, a)
    ledger.expect_parts(manifest(replace(a, size_bytes=99)))
    assert claimed(ledger, 59) == []
    assert claimed(ledger, 60) == [a.drop_id], "once it was quiet it is built, and decode says what is wrong"


def test_a_manifest_in_the_drive_itself_speaks_of_the_whole_drive(ledger: Ledger) -> None:
    a, b = a_drop("a", at_ns=10), a_part("b", at_ns=12)
    ledger.expect_parts(manifest(a, b, recording=""))
    register(ledger, a)
    assert claimed(ledger, 13) == []
    register(ledger, b)
    assert claimed(ledger, 13) == [a.drop_id, b.drop_id]


def test_what_a_person_names_is_built_complete_or_not(ledger: Ledger) -> None:
    (a,) = register(ledger, a_part("a", at_ns=10))
    batch = ledger.claim_drops([a], replace(LIMITS, quiet_ns=50), 11, rebuild=False)
    assert batch is not None
    assert batch.drop_ids == (a,)


def test_the_newest_manifest_of_a_recording_rules(ledger: Ledger) -> None:
    a, b = a_part("a"), a_part("b")
    newest, older = manifest(a, b, at_ns=9), manifest(a, at_ns=8)
    twin = replace(newest, drop_id="a manifest of the same second")
    for parts in (older, twin, newest, twin, older):
        ledger.expect_parts(parts)
    assert ledger.parts_of(a.drive_id, ["bag", "", "other"]) == [newest]
    assert ledger.parts_of("unknown", ["bag"]) == []


def test_a_manifest_of_twenty_thousand_files_fits(ledger: Ledger) -> None:
    a = a_part("a")
    sizes = {f"{a.key}/observation.images.top/episode_{i:06d}.parquet": 10_000_000 + i for i in range(20_000)}
    parts = replace(manifest(a), sizes_bytes=sizes)
    ledger.expect_parts(parts)
    assert ledger.parts_of(a.drive_id, ["bag"]) == [parts]


def test_a_manifest_that_no_item_could_hold_is_bad_input() -> None:
    """The door rejects it and says why; as an error of DynamoDB it would come back for ever."""
    a = a_part("a")
    sizes = {f"{a.key}/{ids.drop_id('b', str(i), 'v')}": i for i in range(20_000)}
    with pytest.raises(BadInputError, match="20000 files take") as raised:
        parts_item(replace(manifest(a), sizes_bytes=sizes))
    assert raised.value.reason == "bad_manifest"
