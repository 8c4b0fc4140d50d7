"""Which drops the next batch takes."""

from collections.abc import Callable, Collection, Iterable

from scenelake.contracts.drops import Drop, DropState
from scenelake.ledger.protocol import ClaimLimits

MAX_TRANSACTION_ITEMS = 100
"""DynamoDB writes at most 100 items at once: the batch, its drives and its drops."""


def select(
    oldest_first: Iterable[Drop],
    limits: ClaimLimits,
    *,
    drops_of_drive: Callable[[str], Iterable[Drop]],
    is_held: Callable[[str], bool],
    contended: Collection[str] = frozenset(),
) -> list[Drop]:
    """Fills a batch from the oldest drops, a whole drive at a time where the limits allow.

    A drive that came back from a batch which failed at every attempt gets a batch of its own, so that what
    brings a batch down takes no other drive with it.

    Args:
        oldest_first: claimable drops, read only as far as needed.
        limits: bounds; a single drop larger than ``max_bytes`` is still taken, alone.
        drops_of_drive: claimable drops of a drive, oldest first.
        is_held: whether another open batch holds the drive.
        contended: ids of drops and drives that another claim was just seen to take.

    Returns:
        Chosen drops, grouped by drive. The batch, its drives and its drops fit one transaction.
    """
    chosen: list[Drop] = []
    seen_drives: set[str] = set()
    nbr_bytes = 0
    for first in oldest_first:
        drive = first.drive_id
        if drive in seen_drives:
            continue
        seen_drives.add(drive)
        is_alone = is_suspect(first)
        if drive in contended or (is_alone and chosen) or is_held(drive):
            continue
        drives_taken = len({d.drive_id for d in chosen}) + 1
        for drop in drops_of_drive(drive):
            if drop.drop_id in contended:
                continue
            if _is_full(chosen, nbr_bytes + drop.size_bytes, drives_taken, limits):
                return chosen
            chosen.append(drop)
            nbr_bytes += drop.size_bytes
        if len(chosen) >= limits.max_drops or (is_alone and chosen):
            return chosen
    return chosen


def is_suspect(drop: Drop) -> bool:
    """PENDING, and a batch that was given up had it."""
    return drop.state is DropState.PENDING and drop.batch_id is not None


def _is_full(chosen: list[Drop], nbr_bytes: int, nbr_drives: int, limits: ClaimLimits) -> bool:
    if not chosen:
        return False
    has_room = len(chosen) < limits.max_drops and 1 + nbr_drives + len(chosen) < MAX_TRANSACTION_ITEMS
    return not has_room or nbr_bytes > limits.max_bytes
