"""The Merkle root of a release: what it holds, in 32 bytes that do not depend on time, batch or files."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping

from scenelake.contracts import ids


def release_root(scenes: Mapping[str, tuple[str, str]]) -> str:
    """Root over per-drive roots over scenes: two releases with equal scenes have equal roots.

    A scene's leaf is SHA-256 of ``scene_id:content_hash``; a drive's root is ``ids.merkle_root`` over its
    leaves in order of scene id; a drive's leaf is SHA-256 of ``drive_id:root``; the release's root is
    ``ids.merkle_root`` over those in order of drive id.

    Args:
        scenes: ``{scene_id: (drive_id, content_hash)}``.

    Returns:
        64 hex digits.
    """
    drives: dict[str, list[bytes]] = defaultdict(list)
    for scene_id, (drive_id, content_hash) in sorted(scenes.items()):
        drives[drive_id].append(_leaf(scene_id, content_hash))
    return ids.merkle_root(_leaf(drive_id, ids.merkle_root(leaves)) for drive_id, leaves in sorted(drives.items()))


def _leaf(name: str, value: str) -> bytes:
    return hashlib.sha256(f"{name}:{value}".encode()).digest()
