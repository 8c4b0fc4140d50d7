"""The summary at the end of an MCAP file: counts, a second copy of the definitions, and where the chunks lie."""

import zlib
from dataclasses import dataclass, field

import numpy as np

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Channel, Part, Schema, Source
from scenelake.decode.formats.mcap_records import FRAME, MAGIC, RecordError

_CRC_BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Summary:
    """What the summary says; nothing of it is believed without a look at the data section.

    Attributes:
        problem: why it could not be read; None when it could, or when the file has none.
        recorded: messages by channel id according to the Statistics record.
        chunk_starts: offsets of the chunk records.
    """

    problem: str | None = None
    recorded: dict[int, int] | None = None
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunk_starts: list[int] = field(default_factory=list)

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
        return Summary()
    if not len(MAGIC) <= footer.summary_start <= at_footer:
        return Summary(f"the summary is said to start at {footer.summary_start}, the footer is at {at_footer}")
    exclusive_end = source.size_bytes - len(MAGIC) - 4
    if footer.summary_crc and crc_of(source, footer.summary_start, exclusive_end) != footer.summary_crc:
        return Summary("the summary's CRC does not hold")
    summary = Summary()
    try:
        _read_records(source, footer.summary_start, at_footer, summary, max_record_bytes, max_definition_bytes)
    except RecordError as error:
        summary.problem, summary.recorded, summary.chunk_starts = str(error), None, []
    return summary


def plan_parts(summary: Summary, size_bytes: int, part_bytes: int) -> list[Part]:
    """Parts of whole chunks, each of at least ``part_bytes``; one part where the summary gives no ground to split.

    The parts depend on the object and ``part_bytes`` alone, so that any number of tasks leaves the same files.
    """
    starts = np.unique(np.array(summary.chunk_starts, np.int64)) if summary.is_complete else np.empty(0, np.int64)
    cuts = [0]
    for start in starts.tolist():
        if start - cuts[-1] >= part_bytes and size_bytes - start >= part_bytes // 2:
            cuts.append(start)
    return [Part(n, start, end) for n, (start, end) in enumerate(zip(cuts, [*cuts[1:], size_bytes], strict=True))]


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
        if opcode in _TAKEN and length <= max_record_bytes:
            definition_bytes += length
            if definition_bytes > max_bytes:
                raise RecordError(f"the summary's definitions exceed {max_bytes} bytes")
            _take(summary, opcode, source.read(offset + FRAME.size, length))
        offset = end


_TAKEN = frozenset((records.SCHEMA, records.CHANNEL, records.STATISTICS, records.CHUNK_INDEX))


def _take(summary: Summary, opcode: int, body: memoryview) -> None:
    if opcode == records.SCHEMA:
        schema = records.parse_schema(body)
        summary.schemas[schema.schema_id] = schema
    elif opcode == records.CHANNEL:
        channel = records.parse_channel(body)
        summary.channels[channel.channel_id] = channel
    elif opcode == records.CHUNK_INDEX:
        summary.chunk_starts.append(records.parse_chunk_index(body))
    else:
        summary.recorded = records.parse_statistics(body)
