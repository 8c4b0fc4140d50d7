"""A chunk's records, decompressed under a cap and checked against their CRC."""

import zlib

import lz4.frame
import zstandard

from scenelake.decode.formats.mcap_records import ChunkHead


class ChunkError(ValueError):
    """A chunk that cannot be opened.

    Args:
        reason: stable code, for example ``chunk_crc_mismatch``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def open_chunk(chunk: ChunkHead, max_chunk_bytes: int) -> memoryview:
    """The chunk's uncompressed records.

    Never allocates more than the claimed size, and believes no claim above ``max_chunk_bytes``.

    Raises:
        ChunkError: when the claim is too large, the bytes do not decompress to exactly the claimed size,
            the compression is unknown, or the CRC (where there is one) differs.
    """
    claimed = chunk.uncompressed_bytes
    if claimed > max_chunk_bytes:
        raise ChunkError("chunk_too_large", f"claims {claimed} bytes, at most {max_chunk_bytes} are believed")
    if chunk.compression == "":
        records = chunk.records
    elif chunk.compression == "zstd":
        records = memoryview(_zstd(chunk.records, claimed))
    elif chunk.compression == "lz4":
        records = memoryview(_lz4(chunk.records, claimed))
    else:
        raise ChunkError("chunk_compression_unknown", f"compression {chunk.compression!r}, expected zstd, lz4 or none")
    if len(records) != claimed:
        raise ChunkError("chunk_size_mismatch", f"claims {claimed} bytes and holds {len(records)}")
    if chunk.crc and zlib.crc32(records) != chunk.crc:
        raise ChunkError("chunk_crc_mismatch", f"CRC is {zlib.crc32(records):#010x}, recorded {chunk.crc:#010x}")
    return records


def _zstd(data: memoryview, claimed: int) -> bytes:
    if not claimed and not data:
        return b""
    try:
        # The frame's own size would be allocated as it stands, whatever max_output_size says.
        in_frame = zstandard.get_frame_parameters(data).content_size
        if in_frame not in (claimed, zstandard.CONTENTSIZE_UNKNOWN):
            raise ChunkError("chunk_size_mismatch", f"claims {claimed} bytes, its zstd frame {in_frame}")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=claimed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ChunkError("chunk_not_decompressible", f"zstd: {error}") from error


def _lz4(data: memoryview, claimed: int) -> bytes:
    if not claimed and not data:
        return b""
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        records: bytes = decompressor.decompress(data, max_length=claimed + 1)
    except (RuntimeError, EOFError) as error:
        raise ChunkError("chunk_not_decompressible", f"lz4: {error}") from error
    if not decompressor.eof and len(records) <= claimed:
        raise ChunkError("chunk_not_decompressible", "lz4: the frame ends early")
    return records
