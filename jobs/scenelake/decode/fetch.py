"""Brings one object version to local disk in one pass, and computes its identity on the way."""

import hashlib
from collections.abc import Iterator
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
    """Reads one object version, whole or in ranges."""

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectSize: ...

    def read(self, uri: str, *, version_id: str | None = None) -> bytes: ...

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes: ...


def fetch_object(source: RangeSource, drop: Drop, path: Path) -> str:
    """Copies the dropped version to ``path`` in blocks of 8 MiB and returns its ``object_sha256``.

    Raises:
        BadInputError: reason ``object_missing`` when the version is gone.
        TransientError: when a range comes back short.
    """
    digests = []
    try:
        with path.open("wb") as file:
            for block in _blocks(source, drop):
                digests.append(hashlib.sha256(block).digest())
                file.write(block)
    except FileNotFoundError as error:
        raise BadInputError(f"version {drop.version_id} is not in the bucket", reason="object_missing") from error
    return merkle_root(digests)


def _blocks(source: RangeSource, drop: Drop) -> Iterator[bytes]:
    version_id = drop.version_id if drop.version_id not in ("", "null") else None
    if drop.size_bytes <= MERKLE_BLOCK_BYTES:
        # One request where two would cost as much as all the rest of a small drop.
        whole = source.read(drop.uri, version_id=version_id)
        if len(whole) == drop.size_bytes:
            yield whole
            return
    size_bytes = source.head(drop.uri, version_id=version_id).size_bytes
    for offset in range(0, size_bytes, MERKLE_BLOCK_BYTES):
        length = min(MERKLE_BLOCK_BYTES, size_bytes - offset)
        block = source.read_range(drop.uri, offset, length, version_id=version_id)
        if len(block) != length:
            raise TransientError(f"{drop.uri}: {len(block)} of {length} bytes came back at byte {offset}")
        yield block
