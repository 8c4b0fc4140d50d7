"""Splits that neither a drive nor a cluster of duplicates straddles.

Scenes that share a drive or a cluster are one group (union-find over both). Each drive has a split of its own by a
hash of its id, so a new drive moves nobody by itself. Where duplicates join drives, all of them take the first split
of ``SPLITS`` that one of them has: what a model may have been trained on never becomes validation or test data, and
what was validated on never becomes test data. All of it follows from the set of scenes and not from the order in which
they came.
"""

import hashlib
from collections.abc import Sequence

from scenelake.contracts.errors import ConfigurationError

SPLITS = ("train", "validation", "test")
DEFAULT_SHARES = (0.9, 0.05, 0.05)


def shares_problem(shares: Sequence[float]) -> str | None:
    """What is wrong with shares of train, validation and test; None where nothing is."""
    # Written so that NaN, which compares as false, is refused.
    if len(shares) == len(SPLITS) and all(s >= 0 for s in shares) and abs(sum(shares) - 1.0) <= 1e-9:
        return None
    return f"split_shares: expected {len(SPLITS)} numbers from 0 that add up to 1, got {tuple(shares)}"


def split_groups(drive_ids: Sequence[str], cluster_ids: Sequence[str | None]) -> list[str]:
    """The group of each scene: the smallest drive id of those that are joined.

    Args:
        drive_ids: of each scene.
        cluster_ids: of each scene; None for scenes that have no duplicate.
    """
    parent: dict[str, str] = {d: d for d in drive_ids}

    def root(drive: str) -> str:
        while parent[drive] != drive:
            parent[drive] = drive = parent[parent[drive]]
        return drive

    first_of: dict[str, str] = {}
    for drive, cluster in zip(drive_ids, cluster_ids, strict=True):
        if cluster is not None:
            a, b = root(drive), root(first_of.setdefault(cluster, drive))
            parent[max(a, b)] = min(a, b)
    return [root(d) for d in drive_ids]


def split_of(drive_id: str, shares: Sequence[float], seed: int = 0) -> str:
    """The split of a drive by itself: SHA-256 of seed and drive as a number from 0 to 1 against the shares.

    Args:
        shares: of train, validation and test, which add up to 1.

    Raises:
        ConfigurationError: the shares are none.
    """
    problem = shares_problem(shares)
    if problem is not None:
        raise ConfigurationError(problem)
    at = int.from_bytes(hashlib.sha256(f"{seed}/{drive_id}".encode()).digest()[:8], "big") / 2**64
    bound = 0.0
    for name, share in zip(SPLITS, shares, strict=True):
        bound += share
        if at < bound:
            return name
    return next(n for n, s in zip(reversed(SPLITS), reversed(list(shares)), strict=True) if s > 0)


def assign_splits(
    drive_ids: Sequence[str], cluster_ids: Sequence[str | None], shares: Sequence[float], seed: int = 0
) -> tuple[list[str], list[str]]:
    """Split and group of each scene.

    A drive keeps its split as drives are added, but for one case: a cluster joins it to a drive whose split comes
    earlier in ``SPLITS``, and then it moves there. When such a duplicate goes away, it moves back.

    Args:
        drive_ids, cluster_ids: see ``split_groups``.
        shares, seed: see ``split_of``. The shares are of drives without duplicates in other drives; joined ones lean
            towards train.

    Raises:
        ConfigurationError: the shares are none.
    """
    groups = split_groups(drive_ids, cluster_ids)
    rank_of: dict[str, int] = {}
    for drive, group in set(zip(drive_ids, groups, strict=True)):
        rank = SPLITS.index(split_of(drive, shares, seed))
        rank_of[group] = min(rank, rank_of.get(group, rank))
    return [SPLITS[rank_of[g]] for g in groups], groups
