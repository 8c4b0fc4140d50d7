"""Identities and hashes of messages, many at once."""

import hashlib

import numpy as np
import pyarrow as pa
from blake3 import blake3

from scenelake.contracts.ids import SAMPLE_DATA_KEY
from scenelake.decode.formats.blocks import Block
from scenelake.decode.formats.cdr_columns import TextColumn

SMALL_MESSAGE_BYTES = 4096
"""Messages up to here share a hash with the other small ones of their chunk (``payload_hashes``)."""

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HEX = np.array([int.from_bytes(f"{b:02x}".encode(), "little") for b in range(256)], "<u2")
_DASHES = (8, 13, 18, 23)
_DIGITS = np.array([i for i in range(36) if i not in _DASHES])


def sample_data_ids(
    object_sha256: str, channel: str, chunk_offset_bytes: np.ndarray, message_offset_bytes: np.ndarray
) -> pa.StringArray:
    """``sample_data_id`` of messages of one channel: UUIDv8 (RFC 9562) of object, channel and position.

    A keyed permutation of the 128-bit position (four Feistel rounds with splitmix64's mixer,
    https://prng.di.unimi.it/splitmix64.c), of which 122 bits are kept: within an object two positions differ in all
    but one of 2^122 cases, and the key is SHA-256 of object and channel. Vectors make it ten times as fast as a
    UUIDv5 each.

    Args:
        chunk_offset_bytes, message_offset_bytes: (n,) int64.
    """
    key = hashlib.sha256(SAMPLE_DATA_KEY.format(object_sha256=object_sha256, channel=channel).encode()).digest()
    left = chunk_offset_bytes.astype(np.uint64) ^ np.uint64(int.from_bytes(key[:8], "big"))
    right = message_offset_bytes.astype(np.uint64) ^ np.uint64(int.from_bytes(key[8:16], "big"))
    for _ in range(2):
        right = right ^ _mixed(left)
        left = left ^ _mixed(right)
    left = left & np.uint64(0xFFFFFFFFFFFF0FFF) | np.uint64(0x8000)
    right = right & np.uint64(0x3FFFFFFFFFFFFFFF) | np.uint64(0x8000000000000000)
    octets = np.empty((len(left), 2), ">u8")
    octets[:, 0], octets[:, 1] = left, right
    text = np.full((len(left), 36), ord("-"), np.uint8)
    text[:, _DIGITS] = _HEX[octets.view(np.uint8)].view(np.uint8)
    offsets = np.arange(0, 36 * len(left) + 1, 36, dtype=np.int32)
    return pa.StringArray.from_buffers(len(left), pa.py_buffer(offsets), pa.py_buffer(text))


def _mixed(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def payload_hashes(block: Block, rows: np.ndarray, shared: "SharedHashes") -> TextColumn:
    """BLAKE3, first 32 hex digits: of a message's bytes, or for small messages of all that is small in their chunk."""
    size = block.exclusive_end[rows] - block.start[rows]
    is_large = size > SMALL_MESSAGE_BYTES
    values = [blake3(block.data(row)).hexdigest()[:32] for row in rows[is_large].tolist()]
    codes = np.empty(len(rows), np.int32)
    codes[is_large] = np.arange(len(values))
    small = block.member_of(rows[~is_large])
    if len(small):
        found = np.unique(small)
        codes[~is_large] = len(values) + np.searchsorted(found, small)
        values += [shared.of(block, member) for member in found.tolist()]
    return TextColumn(values, codes)


class SharedHashes:
    """The hash that small messages of a chunk share: of all its bytes but the data of large messages."""

    def __init__(self) -> None:
        self._block: Block | None = None
        self._hashes: dict[int, str] = {}

    def of(self, block: Block, member: int) -> str:
        """That of one member of a block, computed once."""
        if self._block is not block:
            self._block, self._hashes = block, {}
        if member not in self._hashes:
            self._hashes[member] = _small_hash(block.members()[member])
        return self._hashes[member]


def _small_hash(block: Block) -> str:
    digest = blake3()
    is_large = block.exclusive_end - block.start > SMALL_MESSAGE_BYTES
    at = int(block.start[0])
    for start, end in zip(block.start[is_large].tolist(), block.exclusive_end[is_large].tolist(), strict=True):
        digest.update(block.body[at:start] if start > at else b"")
        at = end
    last = int(block.exclusive_end[-1])
    if last > at:
        digest.update(block.body[at:last])
    return str(digest.hexdigest()[:32])
