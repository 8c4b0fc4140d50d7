"""Recordings in a compressed file: rosbag2's FILE mode (``.db3.zstd``, ``.mcap.zstd``), TFRecords as GZIP or ZLIB.

The content is decompressed into a temporary file, piece by piece and under a bound that does not ask what the file
claims of its size, and then read like any other. Problems give byte ranges of the content.
Sources: rosbag2_compression_zstd; tensorflow/core/lib/io/record_reader.h (a stream around all records).
"""

import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, cast

import zstandard

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.formats.blocks import Block, Findings, Part, Reader, Source
from scenelake.decode.formats.overview import Compressed
from scenelake.decode.formats.sources import MAX_SPOOLED_BYTES, FileSource

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
FREE_INFLATION_BYTES = 512 * 1024 * 1024
"""Any object may inflate to as much: a second or two of work."""
HEAD_BYTES = 16
_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZLIB_METHOD = 0x78
"""Deflate with a window of 32 KiB, which is what writers ask for."""
_FED_BYTES = 64 * 1024
_PIECE_BYTES = 1024 * 1024
_MAX_ZSTD_WINDOW_BYTES = 128 * 1024 * 1024


class Compression(StrEnum):
    ZSTD = "zstd"
    GZIP = "gzip"
    ZLIB = "zlib"


def compression_of(start: bytes) -> Compression | None:
    """How a file is compressed, by its first bytes; for ZLIB, which has no magic, it is a guess."""
    if start.startswith(ZSTD_MAGIC):
        return Compression.ZSTD
    if start.startswith(_GZIP_MAGIC):
        return Compression.GZIP
    if len(start) > 2 and start[0] == _ZLIB_METHOD and int.from_bytes(start[:2], "big") % 31 == 0:
        return Compression.ZLIB
    return None


def content_head(source: Source, compression: Compression) -> bytes:
    """The first bytes of the content, ``HEAD_BYTES`` of them where it has as many.

    Raises:
        BadInputError: reason ``stream_damaged`` where nothing comes out of what has the magic of a compressed file.
    """
    head = b""
    try:
        with closing(_pieces(source, compression, HEAD_BYTES)) as pieces:
            for piece in pieces:
                head += piece
                if len(head) >= HEAD_BYTES:
                    break
    except StreamError as error:
        if not head and compression is not Compression.ZLIB:
            raise BadInputError(f"{compression}: {error}", reason="stream_damaged", byte_offset=0) from error
    return head


class StreamError(ValueError):
    """A compressed stream that ends early or is not one."""


class CompressedReader:
    """Reads one compressed file with the reader of its content.

    Args:
        content_format: of the reader that ``open_content`` gives.
        max_inflation: the content is at most so many times as large as the file, and 512 MiB.
    """

    def __init__(
        self,
        source: Source,
        compression: Compression,
        content_format: str,
        open_content: Callable[[Source], Reader],
        *,
        max_inflation: int,
    ) -> None:
        self._source = source
        self._compression = compression
        self._open_content = open_content
        self._max_bytes = min(FREE_INFLATION_BYTES + max_inflation * source.size_bytes, MAX_SPOOLED_BYTES)
        self.format = content_format
        self.findings = Findings()
        self.compressions: set[str] = {str(compression)}

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """One: every part of the content would cost the decompression of all that lies before it."""
        return (Part(0, 0, self._source.size_bytes),)

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Every readable message of the content; a stream that breaks off is a problem, and its beginning is read.

        Raises:
            BadInputError: reason ``object_inflation_too_large``, or those of the content's reader.
        """
        with _inflated(self._source, self._compression, self._max_bytes) as (content, error):
            reader = self._open_content(content)
            if error is not None:
                detail = f"{self._compression}: {error}, after {content.size_bytes} bytes of content"
                end = content.size_bytes
                reader.findings.problems.append(Problem("stream_damaged", detail, end, end))
            try:
                self._take(reader)
                yield from reader.blocks()
            finally:
                self._take(reader)

    def _take(self, reader: Reader) -> None:
        """Makes the findings of the content's reader those of this one, which somebody may hold already."""
        for name in Findings.__dataclass_fields__:
            setattr(self.findings, name, getattr(reader.findings, name))
        if isinstance(reader, Compressed):
            self.compressions |= reader.compressions - {"none"}


@contextmanager
def _inflated(
    source: Source, compression: Compression, max_bytes: int
) -> Iterator[tuple[FileSource, StreamError | None]]:
    """The content as a temporary file, and why there is no more of it.

    Raises:
        BadInputError: reason ``object_inflation_too_large``.
    """
    found: StreamError | None = None
    with tempfile.NamedTemporaryFile(prefix="inflated-") as spooled:
        size_bytes = 0
        try:
            for piece in _pieces(source, compression, _PIECE_BYTES):
                size_bytes += len(piece)
                if size_bytes > max_bytes:
                    detail = f"{source.size_bytes} bytes of {compression} hold more than {max_bytes} bytes"
                    raise BadInputError(detail, reason="object_inflation_too_large")
                spooled.write(piece)
            found = _missing(source, compression, size_bytes)
        except StreamError as error:
            found = error
        spooled.flush()
        with FileSource(Path(spooled.name)) as content:
            yield content, found


def _missing(source: Source, compression: Compression, size_bytes: int) -> StreamError | None:
    """zstd does not say that a stream was cut: where it says how long it is, that must be there."""
    if compression is not Compression.ZSTD:
        return None
    try:
        claimed = zstandard.get_frame_parameters(source.read(0, _FED_BYTES)).content_size
    except zstandard.ZstdError as error:
        return StreamError(str(error))
    is_short = size_bytes < claimed != zstandard.CONTENTSIZE_UNKNOWN
    return StreamError(f"the stream ends early, it claims {claimed} bytes") if is_short else None


def _pieces(source: Source, compression: Compression, piece_bytes: int) -> Generator[bytes, None, None]:
    """The content, at most so many bytes at once.

    Raises:
        StreamError: when it does not decompress.
    """
    if compression is Compression.ZSTD:
        return _zstd_pieces(source, piece_bytes)
    return _deflated_pieces(source, zlib.MAX_WBITS | (16 if compression is Compression.GZIP else 0), piece_bytes)


class _SourceFile:
    """A source as the file that a streaming decompressor reads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def read(self, size: int) -> memoryview:
        part = self._source.read(self._at, size)
        self._at += len(part)
        return part


def _zstd_pieces(source: Source, piece_bytes: int) -> Generator[bytes, None, None]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
    file = cast(IO[bytes], _SourceFile(source))
    reader = decompressor.stream_reader(file, read_size=_FED_BYTES, read_across_frames=True)
    while True:
        try:
            piece = reader.read(piece_bytes)
        except zstandard.ZstdError as error:
            raise StreamError(str(error)) from error
        if not piece:
            return
        yield piece


def _deflated_pieces(source: Source, window_bits: int, piece_bytes: int) -> Generator[bytes, None, None]:
    """One stream, or several that follow each other, as gzip allows; zeros may fill the end."""
    file = _SourceFile(source)
    decompressor = zlib.decompressobj(window_bits)
    fed = b""
    while True:
        if not fed:
            fed = bytes(file.read(_FED_BYTES))
        is_end = not fed
        if decompressor.eof:
            fed = fed.lstrip(b"\0")
            if not fed and is_end:
                return
            if not fed:
                continue
            decompressor = zlib.decompressobj(window_bits)
        try:
            piece = decompressor.decompress(fed, piece_bytes)
        except zlib.error as error:
            raise StreamError(str(error)) from error
        if piece:
            yield piece
        elif is_end and not decompressor.eof:
            raise StreamError("the stream ends early")
        fed = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
