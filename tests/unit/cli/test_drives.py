"""What ``scenelake status`` says of drives."""

import json

import pytest
from rich.console import Console

from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.cli.drives import print_drive, print_drives
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, RecordingParts
from scenelake.contracts.errors import BadInputError

DRIVE_ID = ids.drive_id("f", "v", "d")
FAR_NS = 4_000_000_000 * 10**9


@pytest.fixture
def ledger() -> MemoryLedger:
    """One part of two has landed, and its time of quiet is not over."""
    ledger = MemoryLedger()
    ledger.expect_parts(RecordingParts(DRIVE_ID, "rec", "m", 1, {"f/v/d/rec/a": 5, "f/v/d/rec/b": 5}))
    ledger.register(Drop("id", "landing", "f/v/d/rec/a", "1", 5, "e", FAR_NS, "f", "v", "d", DRIVE_ID, recording="rec"))
    return ledger


def text_of(call, *arguments: object, **options: object) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        call(console, *arguments, **options)
    return captured.get()


def test_an_open_drive_tells_what_is_missing_and_until_when(ledger: MemoryLedger) -> None:
    for text in (
        text_of(print_drive, ledger, "f/v/d", 60, as_json=False),
        text_of(print_drives, ledger, 60, as_json=False),
    ):
        for said in ("f/v/d", "OPEN", "1 of 2 listed parts", "missing: rec/b", "built as it is at 2096-10-02"):
            assert said in text


def test_the_same_as_json(ledger: MemoryLedger) -> None:
    found = json.loads(text_of(print_drive, ledger, "f/v/d", 60, as_json=True))
    assert (found["drive"]["state"], found["drops"][0]["drop_id"]) == ("OPEN", "id")
    (only,) = json.loads(text_of(print_drives, ledger, 60, as_json=True))
    assert only == found["drive"]


@pytest.mark.parametrize("name", ["f/v/none", "monday", "f/v/d/rec"])
def test_an_unknown_drive_is_said_to_be_unknown(ledger: MemoryLedger, name: str) -> None:
    with pytest.raises(BadInputError, match="no drop of this drive"):
        print_drive(Console(), ledger, name, 60, as_json=False)
