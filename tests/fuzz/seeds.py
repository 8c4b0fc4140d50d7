"""Small MCAP files to be mutated: every compression, with and without chunks, indexes and CRCs."""

import io
from dataclasses import dataclass
from pathlib import Path

import zstandard
from mcap.writer import CompressionType, IndexType, Writer

IMU = b"float64 x\nfloat64 y\nstring frame\nfloat32[] values\n"


@dataclass(frozen=True)
class Seed:
    """An intact file.

    Attributes:
        is_protected: whether CRCs and a list of chunks cover every message, so that no difference may pass unseen.
    """

    name: str
    data: bytes
    is_protected: bool


def made_seeds() -> list[Seed]:
    """Files of 24 messages on three channels."""
    chunked = [
        Seed(f"{kind.name}-{size}", _file(kind, chunk_size=size), is_protected=True)
        for kind in (CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE)
        for size in (300, 5000)
    ]
    return [
        *chunked,
        Seed("loose", _file(CompressionType.NONE, use_chunking=False), is_protected=True),
        Seed("zstd-messages", _file(CompressionType.LZ4, chunk_size=300, are_compressed=True), is_protected=True),
        Seed("data-crc", _file(CompressionType.ZSTD, enable_data_crcs=True), is_protected=True),
        Seed("no-index", _file(CompressionType.ZSTD, index_types=IndexType.NONE), is_protected=False),
        Seed("no-crc", _file(CompressionType.LZ4, enable_crcs=False), is_protected=False),
        Seed("loose-no-crc", _file(CompressionType.NONE, use_chunking=False, enable_crcs=False), is_protected=False),
        Seed(
            "bare",
            _file(
                CompressionType.NONE,
                index_types=IndexType.NONE,
                repeat_channels=False,
                repeat_schemas=False,
                use_statistics=False,
                use_summary_offsets=False,
            ),
            is_protected=False,
        ),
    ]


def conformance_seeds(folder: Path, nbr: int = 24) -> list[Seed]:
    """Some files of the format's own conformance suite, spread over its variants; none is fully protected."""
    found = sorted(folder.rglob("*.mcap"))
    return [Seed(path.stem, path.read_bytes(), is_protected=False) for path in found[:: max(1, len(found) // nbr)]]


def _file(
    compression: CompressionType,
    *,
    chunk_size: int = 400,
    use_chunking: bool = True,
    enable_crcs: bool = True,
    enable_data_crcs: bool | None = None,
    index_types: IndexType = IndexType.ALL,
    repeat_channels: bool = True,
    repeat_schemas: bool = True,
    use_statistics: bool = True,
    use_summary_offsets: bool = True,
    are_compressed: bool = False,
) -> bytes:
    buffer = io.BytesIO()
    writer = Writer(
        buffer,
        chunk_size=chunk_size,
        compression=compression,
        index_types=index_types,
        repeat_channels=repeat_channels,
        repeat_schemas=repeat_schemas,
        use_chunking=use_chunking,
        use_statistics=use_statistics,
        use_summary_offsets=use_summary_offsets,
        enable_crcs=enable_crcs,
        enable_data_crcs=(enable_crcs and not use_chunking) if enable_data_crcs is None else enable_data_crcs,
    )
    writer.start("ros2", "fuzz")
    schemas = [writer.register_schema(f"p/msg/T{i}", "ros2msg", IMU) for i in range(2)]
    channels = [writer.register_channel(f"/{i}", "cdr", schemas[i % 2], {"k": "v"}) for i in range(3)]
    for i in range(24):
        at = 1_700_000_000_000_000_000 + i * 10_000_000
        # Few of other lengths: the walk by message indexes has its own path for evenly spaced messages.
        data = bytes([0, 1, 0, 0]) + bytes([i]) * (40 + i % 5 // 4)
        # As rosbag2's compression_mode MESSAGE has them.
        writer.add_message(channels[i % 3], at, zstandard.compress(data) if are_compressed else data, at, i)
    writer.add_attachment(1, 2, "a", "text/plain", b"attached")
    writer.add_metadata("m", {"k": "v"})
    writer.finish()
    return buffer.getvalue()
