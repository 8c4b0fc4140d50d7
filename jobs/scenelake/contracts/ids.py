"""Identities (DESIGN section 2). All are functions of content or of names, never of time or chance."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

MERKLE_BLOCK_BYTES = 8 * 1024 * 1024

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://scenelake.dev/ids")
_SEPARATOR = "\x1f"
SAMPLE_DATA_KEY = f"sample_data{_SEPARATOR}{{object_sha256}}{_SEPARATOR}{{channel}}"
"""What, with its position in the object, makes a message's identity (``decode.identities.sample_data_ids``)."""


def _named(kind: str, *parts: str | int) -> str:
    return str(uuid.uuid5(NAMESPACE, _SEPARATOR.join((kind, *map(str, parts)))))


def drop_id(bucket: str, key: str, version_id: str) -> str:
    """Identity of one object version: 64 hex digits."""
    return hashlib.sha256(_SEPARATOR.join((bucket, key, version_id)).encode()).hexdigest()


def merkle_root(block_digests: Iterable[bytes]) -> str:
    """``object_sha256``: root over the SHA-256 digests of an object's 8 MiB blocks, in order.

    Levels are built by hashing pairs (left + right); an odd last node moves up unchanged. One block's
    root is its own digest and an empty object's is the SHA-256 of nothing, so up to 8 MiB the root
    equals the plain SHA-256 of the object.
    """
    level = list(block_digests) or [hashlib.sha256(b"").digest()]
    while len(level) > 1:
        paired = [hashlib.sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0].hex()


def drive_id(fleet: str, vehicle: str, drive: str) -> str:
    """Identity of a drive (one log of one vehicle, or one robot session)."""
    return _named("drive", fleet, vehicle, drive)


def scene_id(drive_id: str, position: str | int, segmentation_policy: str) -> str:
    """Identity of a scene: its drive, its slot or episode number, and the policy that cut it."""
    return _named("scene", drive_id, position, segmentation_policy)


def sample_id(scene_id: str, timestamp_ns: int) -> str:
    """Identity of a keyframe."""
    return _named("sample", scene_id, timestamp_ns)


def calibrated_sensor_id(rig_id: str, channel: str, occurrence: int, content_hash: str) -> str:
    """Identity of one calibration of one sensor over one validity interval.

    ``occurrence`` counts from 0 how often the same content came into force before. When it came into force is no
    part of the identity: an earlier part of the drive that arrives late may move it.
    """
    return _named("calibrated_sensor", rig_id, channel, occurrence, content_hash)


def run_id(batch_id: str, attempt: int) -> str:
    """Airflow run id of one attempt at a batch; the attempt number fences off older attempts."""
    return f"{batch_id}.{attempt}"


def canonical_json(value: Mapping[str, Any] | list[Any]) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def recipe(configuration: Mapping[str, Any]) -> str:
    """Identity of a resolved configuration: 16 hex digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(dict(configuration)).encode()).hexdigest()[:16]
