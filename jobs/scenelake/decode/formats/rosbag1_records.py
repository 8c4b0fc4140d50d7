"""Records of ROS 1 bags: a header of named fields, then data, each with its length in front.

Source: http://wiki.ros.org/Bags/Format/2.0.

Everything here takes bytes from the file and believes no length before it has been compared with what is there.
"""

import bz2
import struct
from dataclasses import dataclass

import lz4.frame

from scenelake.decode.formats.blocks import Channel, Definition, Schema, Source
from scenelake.decode.formats.mcap_chunk import ChunkError, Inflation
from scenelake.decode.formats.ros_types import defined

MAGIC = b"#ROSBAG V2.0\n"
MESSAGE, BAG_HEADER, INDEX_DATA, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
U32 = struct.Struct("<I")
MIN_HEADER_BYTES = 8
"""The field ``op`` alone: no record has less."""
MIN_MESSAGE_BYTES = 2 * U32.size + 38
"""A message record without data."""
MAX_FIELDS = 64
"""Of one header; real ones have at most eight."""

_LENGTHS = {
    b"op": 1,
    b"conn": 4,
    b"time": 8,
    b"ver": 4,
    b"count": 4,
    b"size": 4,
    b"index_pos": 8,
    b"conn_count": 4,
    b"chunk_count": 4,
    b"chunk_pos": 8,
    b"start_time": 8,
    b"end_time": 8,
}
_REQUIRED = {
    MESSAGE: (b"conn", b"time"),
    BAG_HEADER: (b"index_pos", b"conn_count", b"chunk_count"),
    INDEX_DATA: (b"ver", b"conn", b"count"),
    CHUNK: (b"compression", b"size"),
    CHUNK_INFO: (b"ver", b"chunk_pos", b"start_time", b"end_time", b"count"),
    CONNECTION: (b"conn", b"topic"),
}

Fields = dict[bytes, bytes]


class RecordError(ValueError):
    """A record whose framing may be sound and whose content is not."""


class FramingError(ValueError):
    """A record whose lengths cannot be true: where the next one starts is not known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a record lies in the file; its data may be claimed to end behind the end of the file."""

    start: int
    header: bytes
    data_start: int
    data_bytes: int

    @property
    def exclusive_end(self) -> int:
        return self.data_start + self.data_bytes


def read_frame(source: Source, offset: int, exclusive_end: int, max_record_bytes: int) -> Frame:
    """The frame of the record at ``offset``.

    Raises:
        FramingError: the header does not fit in front of ``exclusive_end``.
    """
    left = exclusive_end - offset
    if left < 2 * U32.size + MIN_HEADER_BYTES:
        raise FramingError(f"{left} stray bytes at byte {offset}")
    (header_bytes,) = U32.unpack(source.read(offset, U32.size))
    if not MIN_HEADER_BYTES <= header_bytes <= min(left - 2 * U32.size, max_record_bytes):
        raise FramingError(f"the record at byte {offset} claims a header of {header_bytes} bytes, {left} are left")
    read = bytes(source.read(offset + U32.size, header_bytes + U32.size))
    (data_bytes,) = U32.unpack_from(read, header_bytes)
    return Frame(offset, read[:header_bytes], offset + 2 * U32.size + header_bytes, data_bytes)


def parse_fields(header: bytes | memoryview) -> Fields:
    """Named fields of a header.

    Raises:
        RecordError: lengths that contradict each other, a field without a name, or too many of them.
    """
    fields: Fields = {}
    at, size = 0, len(header)
    while at < size:
        if size - at < U32.size:
            raise RecordError(f"{size - at} stray bytes in a header")
        (length,) = U32.unpack_from(header, at)
        at += U32.size
        if length > size - at:
            raise RecordError(f"a header field claims {length} bytes, {size - at} are left")
        name, separator, value = bytes(header[at : at + length]).partition(b"=")
        if not separator or name in fields or len(fields) >= MAX_FIELDS:
            raise RecordError(f"the header field {name[:20]!r} has no value, comes twice or is one of too many")
        fields[name] = value
        at += length
    return fields


def parse_header(header: bytes | memoryview) -> tuple[int, Fields]:
    """What kind of record it is, and its fields: all that the kind requires are there.

    Raises:
        RecordError: the header contradicts the format.
    """
    fields = parse_fields(header)
    for name, length in _LENGTHS.items():
        if name in fields and len(fields[name]) != length:
            raise RecordError(f"the header field {name.decode()} holds {len(fields[name])} bytes, expected {length}")
    op = fields.get(b"op", b"\x00")[0]
    if op not in _REQUIRED:
        raise RecordError(f"the record has op {op:#04x}, which is none of the format's")
    missing = [name.decode() for name in _REQUIRED[op] if name not in fields]
    if missing:
        raise RecordError(f"the record (op {op:#04x}) lacks the fields {missing}")
    return op, fields


def number(fields: Fields, name: bytes) -> int:
    """A field's little-endian number; ``parse_header`` has checked its length."""
    return int.from_bytes(fields[name], "little")


def signed(connection: int) -> int:
    """Connection ids are unsigned in the file; as int32 each still has a number of its own."""
    return connection - 2**32 if connection >= 2**31 else connection


def parse_connection(fields: Fields, data: bytes | memoryview) -> Definition:
    """A connection as channel and schema.

    Raises:
        RecordError: the connection header cannot be read.
    """
    connection_id = signed(number(fields, b"conn"))
    inner = parse_fields(data)
    try:
        topic, type_name = fields[b"topic"].decode(), inner.get(b"type", b"").decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"topic or type of connection {connection_id} is not UTF-8") from error
    metadata = {
        name.decode(): inner[name].decode(errors="replace")
        for name in (b"md5sum", b"callerid", b"latching")
        if name in inner
    }
    channel = Channel(connection_id, connection_id, topic, "ros1", metadata)
    if not type_name:
        return Definition(channel, None, "schema_unknown")
    return defined(channel, Schema(connection_id, type_name, "ros1msg", inner.get(b"message_definition", b"")))


def open_chunk(compression: bytes, data: memoryview, claimed: int, inflation: Inflation, *, is_cut: bool) -> memoryview:
    """A chunk's uncompressed records, at most ``claimed`` bytes.

    Args:
        is_cut: the file ends within the chunk, so that fewer come out of it.

    Raises:
        ChunkError: unknown compression, the bytes do not decompress to what is claimed, or too much was inflated.
    """
    if compression == b"none":
        records = data[: claimed + 1]
    else:
        inflation.add(claimed)
        records = _decompressed(compression, data, claimed, is_cut)
    if len(records) > claimed or (len(records) < claimed and not is_cut):
        raise ChunkError("chunk_size_mismatch", f"claims {claimed} bytes and holds {len(records)} or more")
    return records


def _decompressed(compression: bytes, data: memoryview, claimed: int, is_cut: bool) -> memoryview:
    if compression == b"bz2":
        decompressor = bz2.BZ2Decompressor()
    elif compression == b"lz4":
        decompressor = lz4.frame.LZ4FrameDecompressor()
    else:
        raise ChunkError("chunk_compression_unknown", f"compression {compression[:20]!r}, expected none, bz2 or lz4")
    if not claimed and not data:
        return data
    try:
        records = decompressor.decompress(data, max_length=claimed + 1)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ChunkError("chunk_not_decompressible", f"{compression.decode()}: {error}") from error
    if not decompressor.eof and len(records) <= claimed and not is_cut:
        raise ChunkError("chunk_not_decompressible", f"{compression.decode()}: the stream ends early")
    return memoryview(records)
