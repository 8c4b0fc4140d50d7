"""The summary at the end of an MCAP file: counts, a second copy of the definitions, and where the chunks lie."""

import zlib
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Channel, Part, Schema, Source
from scenelake.decode.formats.mcap_records import FRAME, MAGIC, RecordError

_CRC_BLOCK_BYTES = 4 * 1024 * 1024
_MAX_CHUNKS = 1 << 21
"""Chunks of 4 MiB each of a file of 8 TiB; listing them takes 64 MiB."""
_MAX_OFFSET = 2**62


@dataclass(slots=True)
class Summary:
    """What the summary says; nothing of it is believed without a look at the data section.

    Attributes:
        problem: why it could not be read; None when it could, or when the file has none.
        recorded: messages by channel id according to the Statistics record.
        start: offset of the summary, or of the footer in a file without one: where the data section ends. None when
            the file has no footer.
        chunk_starts, chunk_lengths: of the chunk records, as they are listed.
    """

    problem: str | None = None
    recorded: dict[int, int] | None = None
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    start: int | None = None
    chunk_starts: "array[int]" = field(default_factory=lambda: array("q"))
    chunk_lengths: "array[int]" = field(default_factory=lambda: array("q"))

    @property
    def is_complete(self) -> bool:
        """Whether it defines every channel that it counts, and every schema that these name."""
        if self.recorded is None or not self.recorded.keys() <= self.channels.keys():
            return False
        return {c.schema_id for c in self.channels.values()} - {0} <= self.schemas.keys()


def read_summary(source: Source, max_record_bytes: int, max_definition_bytes: int) -> Summary:
    """Reads it under its CRC, record by record."""
    at_footer = source.size_bytes - len(MAGIC) - records.FOOTER_BYTES
    if at_footer < len(MAGIC):
        return Summary("the file is too short to hold a footer")
    tail = source.read(at_footer, records.FOOTER_BYTES + len(MAGIC))
    if FRAME.unpack_from(tail) != (records.FOOTER, 20) or tail[-len(MAGIC) :] != MAGIC:
        return Summary("the file does not end with a footer and the magic")
    footer = records.parse_footer(tail[FRAME.size : records.FOOTER_BYTES])
    if footer.summary_start == 0:
        return Summary(start=at_footer)
    if not len(MAGIC) <= footer.summary_start <= at_footer:
        return Summary(f"the summary is said to start at {footer.summary_start}, the footer is at {at_footer}")
    exclusive_end = source.size_bytes - len(MAGIC) - 4
    if footer.summary_crc and crc_of(source, footer.summary_start, exclusive_end) != footer.summary_crc:
        return Summary("the summary's CRC does not hold", start=footer.summary_start)
    summary = Summary(start=footer.summary_start)
    try:
        _read_records(source, footer.summary_start, at_footer, summary, max_record_bytes, max_definition_bytes)
    except RecordError as error:
        summary.problem, summary.recorded = str(error), None
        summary.chunk_starts, summary.chunk_lengths = array("q"), array("q")
    return summary


def plan_parts(summary: Summary, size_bytes: int, part_bytes: int) -> list[Part]:
    """Parts of whole chunks, each of at least ``part_bytes``; one part where the summary gives no ground to split.

    The parts depend on the object and ``part_bytes`` alone, so that any number of tasks leaves the same files.
    """
    starts = chunk_list(summary, size_bytes).starts if summary.is_complete else array("q")
    cuts = [0]
    for start in starts:
        if start - cuts[-1] >= part_bytes and size_bytes - start >= part_bytes // 2:
            cuts.append(start)
    return [Part(n, start, end) for n, (start, end) in enumerate(zip(cuts, [*cuts[1:], size_bytes], strict=True))]


@dataclass(frozen=True, slots=True)
class ChunkList:
    """Chunks that the summary lists, ascending: a way back to the records where their framing is lost.

    Attributes:
        starts, lengths: of the chunk records, frame included; all lie in the file.
    """

    starts: "array[int]"
    lengths: "array[int]"

    def length_at(self, offset: int) -> int | None:
        """Length of the chunk that is listed at ``offset``."""
        at = bisect_left(self.starts, offset)
        return self.lengths[at] if at < len(self.starts) and self.starts[at] == offset else None

    def following(self, offset: int) -> int:
        """Number of the first listed chunk behind ``offset``."""
        return bisect_right(self.starts, offset)

    def count(self, start: int, exclusive_end: int) -> int:
        """Listed chunks that start in a range."""
        return max(bisect_left(self.starts, exclusive_end) - bisect_left(self.starts, start), 0)


def chunk_list(summary: Summary, size_bytes: int) -> ChunkList:
    """What of the summary's list of chunks can be true."""
    starts, lengths = np.array(summary.chunk_starts, np.int64), np.array(summary.chunk_lengths, np.int64)
    is_possible = (starts >= len(MAGIC)) & (lengths > FRAME.size) & (starts <= size_bytes - lengths)
    starts, lengths = starts[is_possible], lengths[is_possible]
    starts, first = np.unique(starts, return_index=True)
    return ChunkList(array("q", starts.tobytes()), array("q", lengths[first].tobytes()))


def crc_of(source: Source, start: int, exclusive_end: int) -> int:
    """CRC-32 of a range, read in blocks."""
    crc = 0
    for at in range(start, exclusive_end, _CRC_BLOCK_BYTES):
        crc = zlib.crc32(source.read(at, min(_CRC_BLOCK_BYTES, exclusive_end - at)), crc)
    return crc


def _read_records(
    source: Source, offset: int, exclusive_end: int, summary: Summary, max_record_bytes: int, max_bytes: int
) -> None:
    definition_bytes = 0
    while offset < exclusive_end:
        if exclusive_end - offset < FRAME.size:
            raise RecordError(f"{exclusive_end - offset} stray bytes at {offset} in the summary")
        opcode, length = FRAME.unpack(source.read(offset, FRAME.size))
        end = offset + FRAME.size + length
        if end > exclusive_end:
            raise RecordError(f"the summary's record at {offset} claims {length} bytes")
        if opcode == records.CHUNK_INDEX:
            _take_chunk_index(summary, source.read(offset + FRAME.size, min(length, records.CHUNK_INDEX_HEAD_BYTES)))
        elif opcode in _TAKEN and length <= max_record_bytes:
            definition_bytes += _take(summary, opcode, source.read(offset + FRAME.size, length))
            if definition_bytes > max_bytes:
                raise RecordError(f"the summary's definitions exceed {max_bytes} bytes")
        offset = end


_TAKEN = frozenset((records.SCHEMA, records.CHANNEL, records.STATISTICS))


def _take_chunk_index(summary: Summary, body: memoryview) -> None:
    start, length = records.parse_chunk_index(body)
    if len(summary.chunk_starts) >= _MAX_CHUNKS:
        raise RecordError(f"the summary lists more than {_MAX_CHUNKS} chunks")
    if start <= _MAX_OFFSET and length <= _MAX_OFFSET:
        summary.chunk_starts.append(start)
        summary.chunk_lengths.append(length)


def _take(summary: Summary, opcode: int, body: memoryview) -> int:
    """Keeps a record and returns what it may take of memory."""
    if opcode == records.SCHEMA:
        schema = records.parse_schema(body)
        summary.schemas[schema.schema_id] = schema
    elif opcode == records.CHANNEL:
        channel = records.parse_channel(body)
        summary.channels[channel.channel_id] = channel
        return records.text_cost(len(body), channel.metadata)
    else:
        summary.recorded = records.parse_statistics(body)
    return len(body)
