"""Opens one object version for reading, and computes its identity on the way."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.ids import MERKLE_BLOCK_BYTES, merkle_root
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.sources import MemorySource, RangedSource

HELD_BYTES = 64 * 1024 * 1024


class ObjectHead(Protocol):
    """What a head request tells that matters here."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def etag(self) -> str: ...

    @property
    def version_id(self) -> str | None: ...


class RangeSource(Protocol):
    """Reads one object version, whole or in ranges."""

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectHead: ...

    def read(self, uri: str, *, version_id: str | None = None) -> bytes: ...

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes: ...


@contextmanager
def opened_object(storage: RangeSource, drop: Drop) -> Iterator[tuple[Source, str]]:
    """The dropped version as a source, and its ``object_sha256``.

    An object of up to ``HELD_BYTES`` is held in memory. A larger one is read twice: a copy on a local disk would cost
    more processor time to write than the second read does (decision 13).

    Raises:
        BadInputError: reason ``object_missing`` when the version is gone.
        TransientError: when a range comes back short.
    """
    with ExitStack() as opened:
        try:
            source = _in_one_request(storage, drop) or opened.enter_context(
                ranged_source(storage, drop, max_held_bytes=HELD_BYTES)
            )
            object_sha256 = merkle_root(list(block_digests(source, 0, nbr_blocks(source.size_bytes))))
        except FileNotFoundError as error:
            raise BadInputError(f"version {drop.version_id} is not in the bucket", reason="object_missing") from error
        yield source, object_sha256


def _in_one_request(storage: RangeSource, drop: Drop) -> Source | None:
    """A small object without asking for its size first, which would cost as much as all the rest of it."""
    if drop.size_bytes > MERKLE_BLOCK_BYTES:
        return None
    whole = storage.read(drop.uri, version_id=_version_id(drop))
    return MemorySource(whole) if len(whole) == drop.size_bytes else None


def ranged_source(
    storage: RangeSource, drop: Drop, size_bytes: int | None = None, *, max_held_bytes: int = 0
) -> RangedSource:
    """The dropped version, read by ranges; its size is asked for where it is not given."""
    version_id = _version_id(drop)
    if size_bytes is None:
        size_bytes = storage.head(drop.uri, version_id=version_id).size_bytes
    return RangedSource(
        lambda offset, length: storage.read_range(drop.uri, offset, length, version_id=version_id),
        size_bytes,
        max_held_bytes=max_held_bytes,
    )


def nbr_blocks(size_bytes: int) -> int:
    """Blocks of an object's Merkle tree."""
    return -(-size_bytes // MERKLE_BLOCK_BYTES)


def block_digests(source: Source, first: int, exclusive_end: int) -> Iterator[bytes]:
    """SHA-256 of blocks of 8 MiB, which are read one after the other."""
    for number in range(first, exclusive_end):
        yield hashlib.sha256(source.read(number * MERKLE_BLOCK_BYTES, MERKLE_BLOCK_BYTES)).digest()


def _version_id(drop: Drop) -> str | None:
    return drop.version_id if drop.version_id not in ("", "null") else None
