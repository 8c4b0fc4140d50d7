"""Which drops the next batch takes."""

from collections.abc import Callable, Collection, Iterable, Sequence

from scenelake.contracts.drops import Drop, DropState
from scenelake.ledger.protocol import ClaimLimits

MAX_BATCH_DROPS = 3900
"""A batch lists its drops and drives, 102 bytes a pair, in one item of the ledger; DynamoDB's items hold 400 KB."""


def select(
    oldest_first: Iterable[Drop],
    limits: ClaimLimits,
    *,
    claimable: Callable[[str], Sequence[Drop]],
    suspects: Callable[[str], Sequence[Drop]],
    contended: Collection[str] = frozenset(),
) -> list[Drop]:
    """Fills a batch from the oldest drops, whole drives; only one that is larger than a batch is cut.

    Drives that came back from a batch which failed at every attempt go by themselves, half of them at a time, so
    that what brought the batch down is found in a few steps and in the end takes no other drive with it.

    Args:
        oldest_first: waiting drops, read only as far as needed.
        limits: bounds; a single drop larger than ``max_bytes`` is still taken, alone.
        claimable: the drops of a drive that may be taken now, oldest first; none while another batch holds it.
        suspects: the drops that still wait of a batch that was given up, by its id.
        contended: ids of drops and drives that another claim was just seen to take.

    Returns:
        Chosen drops, grouped by drive.
    """
    chosen: list[Drop] = []
    seen_drives: set[str] = set()
    nbr_bytes = 0
    max_drops = min(limits.max_drops, MAX_BATCH_DROPS)
    for first in oldest_first:
        drive = first.drive_id
        if drive in seen_drives:
            continue
        seen_drives.add(drive)
        if drive in contended or (is_suspect(first) and chosen):
            continue
        found = [drop for drop in claimable(drive) if drop.drop_id not in contended]
        given_up = next((drop.batch_id for drop in found if is_suspect(drop)), None)
        if given_up is not None:
            if chosen:
                continue
            drives = list(dict.fromkeys(drop.drive_id for drop in suspects(given_up)))
            return _half(drives, drive, claimable, contended)
        if chosen and not _fit(found, max_drops - len(chosen), limits.max_bytes - nbr_bytes):
            # A recording that is cut is built twice, so one that fits into a batch is left for the next.
            return chosen
        for drop in found:
            if chosen and (len(chosen) >= max_drops or nbr_bytes + drop.size_bytes > limits.max_bytes):
                return chosen
            chosen.append(drop)
            nbr_bytes += drop.size_bytes
        if len(chosen) >= max_drops:
            return chosen
    return chosen


def _half(
    drives: Sequence[str], first: str, claimable: Callable[[str], Sequence[Drop]], contended: Collection[str]
) -> list[Drop]:
    """Drops of half the drives of a batch that was given up, ``first`` among them. No limits: they met them before."""
    others = [drive for drive in drives if drive != first and drive not in contended]
    half = [first, *others[: len(others) // 2]]
    return [drop for drive in half for drop in claimable(drive) if drop.drop_id not in contended]


def _fit(drops: Sequence[Drop], nbr_free: int, bytes_free: int) -> bool:
    return len(drops) <= nbr_free and sum(drop.size_bytes for drop in drops) <= bytes_free


def is_suspect(drop: Drop) -> bool:
    """PENDING, and a batch that was given up had it."""
    return drop.state is DropState.PENDING and drop.batch_id is not None
