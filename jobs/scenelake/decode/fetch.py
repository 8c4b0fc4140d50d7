"""Brings one object version to local disk in one pass, and computes its identity on the way."""

import hashlib
from pathlib import Path
from typing import Protocol

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError, TransientError
from scenelake.contracts.ids import MERKLE_BLOCK_BYTES, merkle_root


class ObjectSize(Protocol):
    """What a head request tells that matters here."""

    @property
    def size_bytes(self) -> int: ...


class RangeSource(Protocol):
    """Reads byte ranges of one object version."""

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectSize: ...

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes: ...


def fetch_object(source: RangeSource, drop: Drop, path: Path) -> str:
    """Copies the dropped version to ``path`` in 8 MiB ranges and returns its ``object_sha256``.

    Raises:
        BadInputError: reason ``object_missing`` when the version is gone.
        TransientError: when a range comes back short.
    """
    version_id = drop.version_id if drop.version_id not in ("", "null") else None
    digests = []
    try:
        size_bytes = source.head(drop.uri, version_id=version_id).size_bytes
        with path.open("wb") as file:
            for offset in range(0, size_bytes, MERKLE_BLOCK_BYTES):
                length = min(MERKLE_BLOCK_BYTES, size_bytes - offset)
                block = source.read_range(drop.uri, offset, length, version_id=version_id)
                if len(block) != length:
                    raise TransientError(f"{drop.uri}: {len(block)} of {length} bytes came back at byte {offset}")
                digests.append(hashlib.sha256(block).digest())
                file.write(block)
    except FileNotFoundError as error:
        raise BadInputError(f"version {drop.version_id} is not in the bucket", reason="object_missing") from error
    return merkle_root(digests)
