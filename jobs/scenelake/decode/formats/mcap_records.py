"""MCAP records as values, parsed with every length checked before it is believed.

Source: the MCAP specification, version 0 (https://mcap.dev/spec).
"""

import struct
from dataclasses import dataclass

import numpy as np

from scenelake.decode.formats.blocks import Channel, Schema

MAGIC = b"\x89MCAP0\r\n"
FOOTER_BYTES = 9 + 20

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX = range(0x01, 0x08)
CHUNK_INDEX, ATTACHMENT, ATTACHMENT_INDEX, STATISTICS, METADATA, METADATA_INDEX, SUMMARY_OFFSET, DATA_END = range(
    0x08, 0x10
)
FIRST_PRIVATE = 0x80
"""Opcodes from here on belong to applications; those between the known ones and it are reserved."""

FRAME = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_CHUNK_INDEX_HEAD = struct.Struct("<QQQQ")
_STATISTICS_HEAD = struct.Struct("<QHIIIIQQ")
_FOOTER = struct.Struct("<QQI")

MAX_MAP_ENTRIES = 65_536
"""Of one channel's or metadata record's map; real ones have a few dozen."""
_ENTRY_BYTES = 256


class RecordError(ValueError):
    """A record's content contradicts its own lengths."""


MAX_CHUNK_HEAD_BYTES = _CHUNK_HEAD.size + 4 + 64 + 8
"""A compression's name is at most 64 bytes long: it is not worth more memory, and no known one is longer than 4."""


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """Fields in front of a chunk's records.

    Attributes:
        crc: of the uncompressed records; 0 for none.
        head_bytes: of the fields themselves: the stored records follow.
        stored_bytes: of the (perhaps compressed) records.
    """

    uncompressed_bytes: int
    crc: int
    compression: str
    head_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Footer:
    summary_start: int
    summary_offset_start: int
    summary_crc: int


class Cursor:
    """Reads fields from a record's body, front to back, and never past its end."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0

    def take(self, length: int) -> memoryview:
        end = self._at + length
        if end > len(self._body):
            raise RecordError(f"a field of {length} bytes at {self._at} ends past the record's {len(self._body)}")
        part = self._body[self._at : end]
        self._at = end
        return part

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        try:
            return bytes(self.take(self.u32())).decode()
        except UnicodeDecodeError as error:
            raise RecordError(f"text is not UTF-8: {error.reason} at {error.start}") from error

    def text_map(self) -> dict[str, str]:
        part = Cursor(self.take(self.u32()))
        values: dict[str, str] = {}
        while part.left:
            key = part.text()
            values[key] = part.text()
            if len(values) > MAX_MAP_ENTRIES:
                raise RecordError(f"a map of more than {MAX_MAP_ENTRIES} entries")
        return values

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def rest(self) -> memoryview:
        return self.take(self.left)


def parse_header(body: memoryview) -> dict[str, str]:
    cursor = Cursor(body)
    return {"profile": cursor.text(), "library": cursor.text()}


def parse_schema(body: memoryview) -> Schema:
    cursor = Cursor(body)
    schema = Schema(cursor.u16(), cursor.text(), cursor.text(), bytes(cursor.take(cursor.u32())))
    if schema.schema_id == 0:
        raise RecordError("a schema has id 0, which means no schema")
    return schema


def parse_channel(body: memoryview) -> Channel:
    cursor = Cursor(body)
    return Channel(cursor.u16(), cursor.u16(), cursor.text(), cursor.text(), cursor.text_map())


def parse_metadata(body: memoryview) -> tuple[str, dict[str, str]]:
    cursor = Cursor(body)
    return cursor.text(), cursor.text_map()


def text_cost(nbr_bytes: int, values: dict[str, str]) -> int:
    """Bytes that a channel or metadata record may take: outcomes repeat it, and a short text costs more than itself."""
    return 2 * nbr_bytes + _ENTRY_BYTES * (1 + len(values))


def parse_chunk_head(body: memoryview) -> ChunkHead:
    """Head of a chunk whose body starts with ``body``, of which ``MAX_CHUNK_HEAD_BYTES`` are enough."""
    cursor = Cursor(body[:MAX_CHUNK_HEAD_BYTES])
    _start, _end, uncompressed_bytes, crc = cursor.unpack(_CHUNK_HEAD)
    compression = cursor.text()
    stored_bytes = cursor.u64()
    return ChunkHead(uncompressed_bytes, crc, compression, len(body[:MAX_CHUNK_HEAD_BYTES]) - cursor.left, stored_bytes)


MESSAGE_INDEX_HEAD_BYTES = 2 + 4
INDEX_ENTRY_BYTES = 16


def parse_message_index_head(body: memoryview, length: int) -> tuple[int, int]:
    """Channel id and number of entries of a MessageIndex record of ``length`` bytes that starts with ``body``."""
    cursor = Cursor(body)
    channel_id, entries_bytes = cursor.u16(), cursor.u32()
    if entries_bytes > length - MESSAGE_INDEX_HEAD_BYTES or entries_bytes % INDEX_ENTRY_BYTES:
        raise RecordError(f"{entries_bytes} bytes of entries in a record of {length}")
    return channel_id, entries_bytes // INDEX_ENTRY_BYTES


def message_offsets(entries: memoryview) -> np.ndarray:
    """(n,) uint64 offsets in the uncompressed chunk, of a MessageIndex record's entries."""
    return np.frombuffer(entries, "<u8")[1::2]


CHUNK_INDEX_HEAD_BYTES = _CHUNK_INDEX_HEAD.size


def parse_chunk_index(body: memoryview) -> tuple[int, int]:
    """Offset and length, frame included, of the chunk record that a ChunkIndex record stands for."""
    _start, _end, offset, length = Cursor(body).unpack(_CHUNK_INDEX_HEAD)
    return offset, length


def parse_statistics(body: memoryview) -> dict[int, int]:
    """``channel_message_counts`` by channel id."""
    cursor = Cursor(body)
    cursor.unpack(_STATISTICS_HEAD)
    counts = Cursor(cursor.take(cursor.u32()))
    found: dict[int, int] = {}
    while counts.left:
        channel_id = counts.u16()
        found[channel_id] = counts.u64()
    return found


def parse_footer(body: memoryview) -> Footer:
    return Footer(*Cursor(body).unpack(_FOOTER))
