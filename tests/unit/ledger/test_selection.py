from dataclasses import replace

import pytest

from scenelake.contracts.drops import Drop
from scenelake.ledger.protocol import ClaimLimits
from scenelake.ledger.selection import MAX_BATCH_DROPS, select


def a_drop(name: str, drive: str, size_bytes: int = 1) -> Drop:
    return Drop(name, "b", name, "1", size_bytes, "e", 0, "f", "v", drive, drive)


def chosen(
    drops: list[Drop], *, held: str = "", contended: str = "", drops_most: int = 99, bytes_most: int = 99
) -> str:
    limits = ClaimLimits(drops_most, bytes_most, 1, 1)
    found = select(
        drops,
        limits,
        claimable=lambda drive: [d for d in drops if d.drive_id == drive and drive not in held],
        suspects=lambda _: [],
        contended=set(contended),
    )
    return "".join(d.drop_id for d in found)


DROPS = [a_drop("a", "X"), a_drop("b", "Y"), a_drop("c", "X"), a_drop("d", "Z")]


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, "acbd"),
        ({"drops_most": 2}, "ac"),
        ({"drops_most": 1}, "a"),
        ({"bytes_most": 3}, "acb"),
        ({"held": "X"}, "bd"),
        ({"held": "XYZ"}, ""),
        ({"contended": "X"}, "bd"),
        ({"contended": "a"}, "cbd"),
    ],
)
def test_batches_fill_from_the_oldest_drop_a_drive_at_a_time(kwargs: dict[str, int], expected: str) -> None:
    assert chosen(DROPS, **kwargs) == expected


def test_a_drive_that_fits_into_a_batch_is_not_cut() -> None:
    drops = [a_drop("a", "X"), a_drop("b", "Y"), a_drop("c", "Y"), a_drop("d", "Z")]
    assert chosen(drops, drops_most=2) == "a"
    assert chosen(drops, drops_most=2, held="X") == "bc"
    assert chosen(drops, drops_most=1, held="X") == "b", "one that is larger than a batch is"


def test_a_drive_is_alone_whichever_of_its_drops_is_a_suspect() -> None:
    suspect = replace(a_drop("c", "X"), batch_id="b1")
    drops = [a_drop("a", "X"), a_drop("b", "Y"), suspect]
    assert chosen(drops) == "ac"
    assert chosen([drops[1], drops[0], suspect]) == "b"


def test_candidates_are_read_only_as_far_as_needed() -> None:
    def endless():
        yield from DROPS
        raise AssertionError("read past a full batch")

    limits = ClaimLimits(2, 99, 1, 1)
    found = select(endless(), limits, claimable=lambda d: [x for x in DROPS if x.drive_id == d], suspects=lambda _: [])
    assert len(found) == 2


def test_a_batch_lists_no_more_drops_than_its_item_holds() -> None:
    drops = [a_drop(f"{i:064d}", f"drive{i}", 0) for i in range(MAX_BATCH_DROPS + 1)]
    by_drive = {d.drive_id: [d] for d in drops}
    assert (
        len(select(drops, ClaimLimits(10**9, 10**9, 1, 1), claimable=by_drive.__getitem__, suspects=lambda _: []))
        == MAX_BATCH_DROPS
    )


@pytest.mark.parametrize(("nbr_drives", "nbr_taken"), [(1, 1), (2, 1), (3, 2), (4, 2), (9, 5)])
def test_half_the_drives_of_a_batch_that_was_given_up_go_by_themselves(nbr_drives: int, nbr_taken: int) -> None:
    given_up = [replace(a_drop(f"{i}", f"drive{i}"), batch_id="b") for i in range(nbr_drives)]
    other = a_drop("other", "drive")
    found = select(
        [*given_up, other],
        ClaimLimits(99, 99, 1, 1),
        claimable=lambda drive: [d for d in (*given_up, other) if d.drive_id == drive],
        suspects=lambda _: given_up,
    )
    assert found == given_up[:nbr_taken]
