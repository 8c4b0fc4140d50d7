"""Splits that neither a drive nor a cluster of duplicates straddles.

Scenes that share a drive or a cluster are one group (union-find over both). A group's name decides its split by a
hash, so a new drive moves nobody else, and a group moves only when a duplicate joins it to another one.
"""

import hashlib
from collections.abc import Sequence

from scenelake.contracts.errors import ConfigurationError

SPLITS = ("train", "validation", "test")


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


def split_of(group: str, shares: Sequence[float], seed: int = 0) -> str:
    """The split of one group: by SHA-256 of seed and group as a number from 0 to 1 against the shares.

    Args:
        shares: of train, validation and test, which add up to 1.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise ConfigurationError(f"split_shares: expected {len(SPLITS)} numbers that add up to 1, got {tuple(shares)}")
    at = int.from_bytes(hashlib.sha256(f"{seed}/{group}".encode()).digest()[:8], "big") / 2**64
    bound = 0.0
    for name, share in zip(SPLITS, shares, strict=True):
        bound += share
        if at < bound:
            return name
    return next(n for n, s in zip(reversed(SPLITS), reversed(list(shares)), strict=True) if s > 0)


def assign_splits(
    drive_ids: Sequence[str], cluster_ids: Sequence[str | None], shares: Sequence[float], seed: int = 0
) -> tuple[list[str], list[str]]:
    """Split and group of each scene."""
    groups = split_groups(drive_ids, cluster_ids)
    of_group = {g: split_of(g, shares, seed) for g in set(groups)}
    return [of_group[g] for g in groups], groups
