"""What no decoder can do without: reading, decompressing, checking, hashing and writing the bytes, each alone.

What a step works on is in memory before it is timed, except for the range read.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from blake3 import blake3
from mcap.records import Chunk
from mcap.stream_reader import StreamReader

from benchmarks.decode_ours import decode_whole, landing
from benchmarks.peers.measuring import Facts, Prepare, Step
from scenelake.contracts.ids import MERKLE_BLOCK_BYTES
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Block
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.sources import MemorySource
from scenelake.decode.identities import SMALL_MESSAGE_BYTES

ROW_GROUP_BYTES = 32 * 1024 * 1024


def range_read(step: Step) -> Callable[[], Facts]:
    """The object in ranged GETs of 8 MiB, one after the other; the client's processor time alone."""
    storage = landing(step)
    size_bytes = storage.head(step.uri).size_bytes

    def run() -> Facts:
        for offset in range(0, size_bytes, MERKLE_BLOCK_BYTES):
            storage.read_range(step.uri, offset, min(MERKLE_BLOCK_BYTES, size_bytes - offset))
        return {}

    return run


def decompress(step: Step) -> Callable[[], Facts]:
    """Each chunk's zstd frame."""
    chunks = list(_chunks(step.path))

    def run() -> Facts:
        for chunk in chunks:
            zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=chunk.uncompressed_size)
        return {}

    return run


def crc(step: Step) -> Callable[[], Facts]:
    """CRC-32 of each chunk's uncompressed bytes, as MCAP has it."""
    bodies = [zstandard.ZstdDecompressor().decompress(chunk.data) for chunk in _chunks(step.path)]

    def run() -> Facts:
        for body in bodies:
            zlib.crc32(body)
        return {}

    return run


def hashes(step: Step) -> Callable[[], Facts]:
    """SHA-256 of the object's blocks and of the payload files, BLAKE3 of the payload (small messages by chunk)."""
    data = memoryview(step.path.read_bytes())
    outcome = decode_whole(step)
    written = [(step.folder / file.uri.removeprefix("s3://")).read_bytes() for file in outcome.payload_files]
    payloads = [bytes(payload) for block in blocks_of(step.path) for payload in hashed_together(block)]

    def run() -> Facts:
        for offset in range(0, len(data), MERKLE_BLOCK_BYTES):
            hashlib.sha256(data[offset : offset + MERKLE_BLOCK_BYTES]).digest()
        for payload in payloads:
            blake3(payload).hexdigest()
        for content in written:
            hashlib.sha256(content).digest()
        return {"written_bytes": sum(map(len, written))}

    return run


def parquet_write(step: Step) -> Callable[[], Facts]:
    """The payload as one binary column: uncompressed, without dictionary and statistics, 32 MiB row groups."""
    schema = pa.schema([pa.field("data", pa.large_binary(), nullable=False)])
    groups = list(_row_groups(step.path, schema))

    def run() -> Facts:
        target = step.folder / "payload.parquet"
        with pq.ParquetWriter(
            target, schema, version="2.6", compression="none", use_dictionary=False, write_statistics=False
        ) as writer:
            for group in groups:
                writer.write_batch(group, 2**31 - 1)
        return {"written_bytes": target.stat().st_size}

    return run


LIMITS: dict[str, Prepare] = {
    "range_read": range_read,
    "decompress": decompress,
    "crc": crc,
    "hashes": hashes,
    "parquet_write": parquet_write,
}
"""Their sum is the serial combination of the limits."""


def _chunks(path: Path) -> Iterator[Chunk]:
    with path.open("rb") as file:
        yield from (r for r in StreamReader(file, emit_chunks=True).records if isinstance(r, Chunk))


def blocks_of(path: Path) -> Iterator[Block]:
    yield from open_reader(MemorySource(path.read_bytes()), DecodeConfig()).blocks()


def hashed_together(block: Block) -> Iterator[memoryview]:
    """Large messages one by one; what is small in the block at once, from the first such message to the last."""
    is_small = block.exclusive_end - block.start <= SMALL_MESSAGE_BYTES
    for row in np.flatnonzero(~is_small).tolist():
        yield block.data(row)
    if is_small.any():
        gaps = np.flatnonzero(np.diff(np.concatenate(([0], is_small.astype(np.int8), [0]))))
        for first, end in gaps.reshape(-1, 2).tolist():
            yield block.body[int(block.start[first]) : int(block.exclusive_end[end - 1])]


def _row_groups(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    waiting: list[Any] = []
    waiting_bytes = 0
    for block in blocks_of(path):
        for row in range(len(block)):
            waiting.append(bytes(block.data(row)))
            waiting_bytes += len(waiting[-1])
            if waiting_bytes >= ROW_GROUP_BYTES:
                yield pa.RecordBatch.from_arrays([pa.array(waiting, pa.large_binary())], schema=schema)
                waiting, waiting_bytes = [], 0
    if waiting:
        yield pa.RecordBatch.from_arrays([pa.array(waiting, pa.large_binary())], schema=schema)
