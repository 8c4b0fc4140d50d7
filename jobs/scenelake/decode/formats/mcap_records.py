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
CHUNK_INDEX, STATISTICS, METADATA, DATA_END = 0x08, 0x0B, 0x0C, 0x0F

FRAME = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_CHUNK_INDEX_HEAD = struct.Struct("<QQQQ")
_STATISTICS_HEAD = struct.Struct("<QHIIIIQQ")
_FOOTER = struct.Struct("<QQI")


class RecordError(ValueError):
    """A record's content contradicts its own lengths."""


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """Fields in front of a chunk's records; ``records`` is the stored (perhaps compressed) part."""

    uncompressed_bytes: int
    crc: int
    compression: str
    records: memoryview


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


def parse_chunk(body: memoryview) -> ChunkHead:
    cursor = Cursor(body)
    _start, _end, uncompressed_bytes, crc = cursor.unpack(_CHUNK_HEAD)
    compression = cursor.text()
    return ChunkHead(uncompressed_bytes, crc, compression, cursor.take(cursor.u64()))


def parse_message_index(body: memoryview) -> tuple[int, np.ndarray]:
    """Channel id, and (n,) uint64 offsets in the uncompressed chunk, of a MessageIndex record."""
    cursor = Cursor(body)
    channel_id, entries = cursor.u16(), cursor.take(cursor.u32())
    return channel_id, np.frombuffer(entries, "<u8", len(entries) // 16 * 2)[1::2]


def parse_chunk_index(body: memoryview) -> int:
    """Offset of the chunk that a ChunkIndex record stands for."""
    return int(Cursor(body).unpack(_CHUNK_INDEX_HEAD)[2])


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
