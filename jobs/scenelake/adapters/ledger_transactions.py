"""Writes of the ledger in transactions: as few as they fit in, each on the condition that the batch is still ours."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from scenelake.adapters.ledger_items import Item
from scenelake.adapters.ledger_table import ConditionFailedError, LedgerTable

MAX_WRITES = 99
"""DynamoDB's transactions hold 100 writes; one of them is the batch's own."""


@dataclass(frozen=True, slots=True)
class DriveWrites:
    """Writes that concern one drive, in order, and the id of the item that each one changes."""

    drive_id: str
    ids: tuple[str, ...]
    writes: tuple[Item, ...]


def packed(units: Iterable[DriveWrites]) -> Iterator[list[DriveWrites]]:
    """Units by the transaction that they go into, in order; only a unit that is larger than one is cut."""
    part: list[DriveWrites] = []
    nbr_free = MAX_WRITES
    for unit in units:
        for piece in _pieces(unit):
            if len(piece.writes) > nbr_free:
                yield part
                part, nbr_free = [], MAX_WRITES
            part.append(piece)
            nbr_free -= len(piece.writes)
    if part:
        yield part


def _pieces(unit: DriveWrites) -> Iterator[DriveWrites]:
    for start in range(0, len(unit.writes), MAX_WRITES):
        end = start + MAX_WRITES
        yield replace(unit, ids=unit.ids[start:end], writes=unit.writes[start:end])


def transact(table: LedgerTable, head: Item, part: Sequence[DriveWrites]) -> None:
    """One transaction: the batch's own write, then the part's.

    Raises:
        ConditionFailedError: position 0 is the head.
    """
    table.transact([head, *(write for unit in part for write in unit.writes)])


def lost_ids(part: Sequence[DriveWrites], failed: ConditionFailedError) -> set[str]:
    """Ids of the items whose condition failed."""
    ids = [i for unit in part for i in unit.ids]
    return {ids[position - 1] for position in failed.lost if position}


def without(part: Sequence[DriveWrites], lost: Collection[str]) -> list[DriveWrites]:
    """The part less every drive that lost a write, in this part or, where it is cut, in an earlier one."""
    drives = {unit.drive_id for unit in part if not set(unit.ids).isdisjoint(lost)}
    return [unit for unit in part if unit.drive_id not in drives and unit.drive_id not in lost]
