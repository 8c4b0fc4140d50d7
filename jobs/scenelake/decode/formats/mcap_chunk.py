"""A chunk's records, decompressed under a cap and checked against their CRC: at once, or piece by piece."""

import zlib
from collections.abc import Iterator
from typing import IO, cast

import lz4.frame
import zstandard

from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.mcap_records import ChunkHead

_PIECE_BYTES = 4 * 1024 * 1024
_FED_BYTES = 64 * 1024
"""Compressed bytes that a streaming decompressor gets at once: lz4 copies what it has not used at every step."""
_MAX_ZSTD_WINDOW_BYTES = 128 * 1024 * 1024
"""What zstd allows by itself: only frames of level 22 or of long-range mode look back so far."""


class ChunkError(ValueError):
    """A chunk that cannot be opened.

    Args:
        reason: stable code, for example ``chunk_crc_mismatch``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Inflation:
    """What may be decompressed of one object: a small bomb must not cost hours.

    Args:
        max_bytes: in all, by uncompressed size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._nbr_bytes = 0

    def add(self, nbr_bytes: int) -> None:
        """Counts bytes.

        Raises:
            ChunkError: reason ``chunk_inflation_too_large``.
        """
        if self._nbr_bytes + nbr_bytes > self._max_bytes:
            detail = f"the object's chunks inflate to more than the {self._max_bytes} bytes that its size allows"
            raise ChunkError("chunk_inflation_too_large", detail)
        self._nbr_bytes += nbr_bytes


def open_chunk(chunk: ChunkHead, stored: memoryview, inflation: Inflation) -> memoryview:
    """The chunk's uncompressed records.

    Never allocates more than the claimed size, which the caller has found small enough.

    Raises:
        ChunkError: when the bytes do not decompress to exactly the claimed size, the compression is unknown, the CRC
            (where there is one) differs, or too much was inflated before.
    """
    claimed = chunk.uncompressed_bytes
    _check_claim(chunk, stored)
    if chunk.compression == "":
        records = stored
    else:
        inflation.add(claimed)
        records = memoryview(_zstd(stored, claimed) if chunk.compression == "zstd" else _lz4(stored, claimed))
    if len(records) != claimed:
        raise _size_mismatch(claimed, len(records))
    if chunk.crc:
        _check_crc(chunk, zlib.crc32(records))
    return records


def check_stream(chunk: ChunkHead, source: Source, start: int, inflation: Inflation) -> None:
    """Decompresses a chunk once, keeping nothing, so that nothing of a bad one is delivered.

    Args:
        start: of the stored records in the source.

    Raises:
        ChunkError: as ``open_chunk`` does.
    """
    crc = nbr_bytes = 0
    for piece in stream_records(chunk, source, start):
        nbr_bytes += len(piece)
        if nbr_bytes > chunk.uncompressed_bytes:
            break
        inflation.add(0 if chunk.compression == "" else len(piece))
        if chunk.crc:
            crc = zlib.crc32(piece, crc)
    if nbr_bytes != chunk.uncompressed_bytes:
        raise _size_mismatch(chunk.uncompressed_bytes, nbr_bytes)
    if chunk.crc:
        _check_crc(chunk, crc)


def stream_records(chunk: ChunkHead, source: Source, start: int) -> Iterator[memoryview]:
    """The chunk's uncompressed records in pieces of a few MiB, whatever its size.

    Raises:
        ChunkError: when they do not decompress.
    """
    exclusive_end = start + chunk.stored_bytes
    _check_claim(chunk, source.read(start, min(chunk.stored_bytes, _FED_BYTES)))
    if chunk.compression == "":
        for at in range(start, exclusive_end, _PIECE_BYTES):
            yield source.read(at, min(_PIECE_BYTES, exclusive_end - at))
    elif chunk.compression == "zstd":
        yield from _zstd_pieces(_Stored(source, start, exclusive_end))
    else:
        yield from _lz4_pieces(_Stored(source, start, exclusive_end))


class _Stored:
    """A range of a source as the file that a streaming decompressor reads."""

    def __init__(self, source: Source, start: int, exclusive_end: int) -> None:
        self._source = source
        self._at = start
        self._exclusive_end = exclusive_end

    def read(self, size: int) -> memoryview:
        part = self._source.read(self._at, min(size, self._exclusive_end - self._at))
        self._at += len(part)
        return part


def _check_claim(chunk: ChunkHead, stored: memoryview) -> None:
    """Looks at what the stored bytes' own beginning says of their size, before anything is allocated for it."""
    if chunk.compression not in ("", "zstd", "lz4"):
        detail = f"compression {chunk.compression!r}, expected zstd, lz4 or none"
        raise ChunkError("chunk_compression_unknown", detail)
    if chunk.compression == "" and chunk.stored_bytes != chunk.uncompressed_bytes:
        raise _size_mismatch(chunk.uncompressed_bytes, chunk.stored_bytes)
    if chunk.compression == "zstd" and len(stored):
        try:
            in_frame = zstandard.get_frame_parameters(stored).content_size
        except zstandard.ZstdError as error:
            raise ChunkError("chunk_not_decompressible", f"zstd: {error}") from error
        if in_frame not in (chunk.uncompressed_bytes, zstandard.CONTENTSIZE_UNKNOWN):
            raise _size_mismatch(chunk.uncompressed_bytes, in_frame)


def _check_crc(chunk: ChunkHead, crc: int) -> None:
    if crc != chunk.crc:
        raise ChunkError("chunk_crc_mismatch", f"CRC is {crc:#010x}, recorded {chunk.crc:#010x}")


def _size_mismatch(claimed: int, found: int) -> ChunkError:
    return ChunkError("chunk_size_mismatch", f"claims {claimed} bytes and holds {found}")


def _zstd(data: memoryview, claimed: int) -> bytes:
    if not claimed and not data:
        return b""
    try:
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


def _zstd_pieces(stored: _Stored) -> Iterator[memoryview]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
    reader = decompressor.stream_reader(cast(IO[bytes], stored), read_size=_FED_BYTES)
    while True:
        try:
            piece = reader.read(_PIECE_BYTES)
        except zstandard.ZstdError as error:
            raise ChunkError("chunk_not_decompressible", f"zstd: {error}") from error
        if not piece:
            return
        yield memoryview(piece)


def _lz4_pieces(stored: _Stored) -> Iterator[memoryview]:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    while not decompressor.eof:
        fed = stored.read(_FED_BYTES) if decompressor.needs_input else memoryview(b"")
        if decompressor.needs_input and not fed:
            raise ChunkError("chunk_not_decompressible", "lz4: the frame ends early")
        try:
            piece = decompressor.decompress(fed, max_length=_PIECE_BYTES)
        except (RuntimeError, EOFError) as error:
            raise ChunkError("chunk_not_decompressible", f"lz4: {error}") from error
        yield memoryview(piece)
