"""An MCAP file by its summary and message indexes: counts, times and definitions without its messages.

Source: the MCAP specification, version 0 (https://mcap.dev/spec).
"""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Definition, Source
from scenelake.decode.formats.mcap_records import FRAME, MAGIC, Cursor, RecordError
from scenelake.decode.formats.mcap_summary import Summary
from scenelake.decode.formats.overview import Overview

_METADATA_INDEX = 0x0D
_CHUNK_INDEX_HEAD = struct.Struct("<QQQQ")
_STATISTICS_HEAD = struct.Struct("<QHIIIIQQ")
_INDEX_ENTRY = struct.Struct("<HQ")
_NOTHING = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What a ChunkIndex record says of its chunk."""

    index_start: int
    index_bytes: int
    channel_ids: frozenset[int]
    compression: str


@dataclass(slots=True)
class _Index:
    chunks: list[_Chunk] = field(default_factory=list)
    metadata: list[int] = field(default_factory=list)
    message_count: int = 0
    start_ns: int = 0
    last_ns: int = 0


def read_overview(
    source: Source, summary: Summary, *, max_index_reads: int, max_record_bytes: int, max_index_bytes: int
) -> Overview | None:
    """The file by its index; None where it has none that holds together.

    Args:
        summary: of the same file, its CRC checked.
        max_index_reads: message indexes of about that many chunks are read, spread over the file, and with them those
            of each channel's first and last chunk.
        max_index_bytes: a longer summary, or longer message indexes together, are not read.
    """
    if not summary.is_complete or summary.recorded is None:
        return None
    try:
        index = _read_index(source, max_record_bytes, max_index_bytes)
        if index.message_count != sum(summary.recorded.values()):
            return None
        chosen = _chosen(index.chunks, max_index_reads)
        times = _times(source, index.chunks, chosen, max_index_bytes)
        header, metadata = _header(source, max_record_bytes), _metadata(source, index.metadata, max_record_bytes)
    except RecordError:
        return None
    is_complete = len(chosen) == len(index.chunks)
    counted: Counter[int] = Counter()
    for channel_id, found in times:
        if channel_id is not None:
            counted[channel_id] += len(found)
    counts = {channel_id: count for channel_id, count in summary.recorded.items() if count}
    if not _agrees(counted, counts, index, times, is_complete=is_complete):
        return None
    read = frozenset(chosen)
    part = "its message indexes" if is_complete else f"the message indexes of {len(read)} of {len(index.chunks)} chunks"
    return Overview(
        definitions={i: _definition(summary, i) for i in {**summary.channels, **summary.recorded}},
        message_counts=counts,
        times=times,
        is_complete=is_complete,
        start_known=frozenset(i for i, at in _first_chunks(index.chunks).items() if at in read),
        end_known=frozenset(i for i, at in _last_chunks(index.chunks).items() if at in read),
        start_ns=index.start_ns if index.message_count else None,
        last_ns=index.last_ns if index.message_count else None,
        note=f"the summary and {part} were read",
        compressions=frozenset(chunk.compression or "none" for chunk in index.chunks),
        header=header,
        metadata=metadata,
    )


def _definition(summary: Summary, channel_id: int) -> Definition:
    channel = summary.channels[channel_id]
    return Definition(channel, summary.schemas.get(channel.schema_id))


def _agrees(
    counted: Counter[int],
    counts: dict[int, int],
    index: _Index,
    times: Sequence[tuple[int | None, np.ndarray]],
    *,
    is_complete: bool,
) -> bool:
    """Whether the message indexes say what the statistics do; messages outside chunks are in no index."""
    spans = [(int(t.min()), int(t.max())) for _, t in times if len(t)]
    if is_complete:
        is_within = not spans or (index.start_ns, index.last_ns) == (min(s for s, _ in spans), max(e for _, e in spans))
        return dict(+counted) == counts and is_within
    is_within = all(index.start_ns <= start and end <= index.last_ns for start, end in spans)
    return is_within and all(count <= counts.get(channel_id, 0) for channel_id, count in counted.items())


def _read_index(source: Source, max_record_bytes: int, max_index_bytes: int) -> _Index:
    at_footer = source.size_bytes - len(MAGIC) - records.FOOTER_BYTES
    footer = records.parse_footer(source.read(at_footer + FRAME.size, records.FOOTER_BYTES - FRAME.size))
    if at_footer - footer.summary_start > max_index_bytes:
        raise RecordError("the summary is longer than may be read")
    index = _Index()
    for opcode, start, length in _frames(source, footer.summary_start, at_footer):
        if opcode not in (records.CHUNK_INDEX, records.STATISTICS, _METADATA_INDEX) or length > max_record_bytes:
            continue
        cursor = Cursor(source.read(start, length))
        if opcode == records.CHUNK_INDEX:
            index.chunks.append(_chunk(cursor))
        elif opcode == _METADATA_INDEX:
            index.metadata.append(cursor.u64())
        else:
            statistics = cursor.unpack(_STATISTICS_HEAD)
            index.message_count, index.start_ns, index.last_ns = statistics[0], statistics[6], statistics[7]
    index.chunks.sort(key=lambda chunk: chunk.index_start)
    return index


def _chunk(cursor: Cursor) -> _Chunk:
    _start_ns, _last_ns, start, length = cursor.unpack(_CHUNK_INDEX_HEAD)
    offsets = bytes(cursor.take(cursor.u32()))
    if len(offsets) % _INDEX_ENTRY.size:
        raise RecordError(f"a map of {len(offsets)} bytes is not of whole entries")
    channel_ids = frozenset(channel_id for channel_id, _ in _INDEX_ENTRY.iter_unpack(offsets))
    return _Chunk(start + length, cursor.u64(), channel_ids, cursor.text())


def _chosen(chunks: Sequence[_Chunk], max_index_reads: int) -> list[int]:
    """Chunks whose message indexes are read: all, or some of them spread evenly and the ends of each channel."""
    if len(chunks) <= max_index_reads:
        return list(range(len(chunks)))
    spread = set(np.linspace(0, len(chunks) - 1, max_index_reads).astype(int).tolist())
    ends = sorted({*_first_chunks(chunks).values(), *_last_chunks(chunks).values()})
    return sorted(spread | set(ends[:max_index_reads]))


def _first_chunks(chunks: Sequence[_Chunk]) -> dict[int, int]:
    return {channel_id: at for at in reversed(range(len(chunks))) for channel_id in chunks[at].channel_ids}


def _last_chunks(chunks: Sequence[_Chunk]) -> dict[int, int]:
    return {channel_id: at for at, chunk in enumerate(chunks) for channel_id in chunk.channel_ids}


def _times(
    source: Source, chunks: Sequence[_Chunk], chosen: Sequence[int], max_bytes: int
) -> list[tuple[int | None, np.ndarray]]:
    if sum(chunks[at].index_bytes for at in chosen) > max_bytes:
        raise RecordError("the message indexes are longer than may be read")
    times: list[tuple[int | None, np.ndarray]] = []
    for n, at in enumerate(chosen):
        if n and chosen[n - 1] != at - 1:
            times.append((None, _NOTHING))
        times.extend(_chunk_times(source, chunks[at]))
    return times


def _chunk_times(source: Source, chunk: _Chunk) -> list[tuple[int | None, np.ndarray]]:
    end = chunk.index_start + chunk.index_bytes
    if end > source.size_bytes:
        raise RecordError(f"message indexes are said to end at {end}, the file holds {source.size_bytes} bytes")
    body = source.read(chunk.index_start, chunk.index_bytes)
    times: list[tuple[int | None, np.ndarray]] = []
    at = 0
    while at < len(body):
        if len(body) - at < FRAME.size:
            raise RecordError(f"{len(body) - at} stray bytes behind a message index")
        opcode, length = FRAME.unpack_from(body, at)
        if opcode != records.MESSAGE_INDEX:
            raise RecordError(f"expected a message index at {chunk.index_start + at}, found opcode {opcode:#04x}")
        cursor = Cursor(body[at + FRAME.size : at + FRAME.size + length])
        channel_id, entries = cursor.u16(), cursor.take(cursor.u32())
        # A copy: the source's window moves on.
        times.append((channel_id, np.frombuffer(entries, "<u8", len(entries) // 16 * 2)[::2].copy()))
        at += FRAME.size + length
    return times


def _header(source: Source, max_record_bytes: int) -> dict[str, str]:
    for opcode, start, length in _frames(source, len(MAGIC), source.size_bytes):
        if opcode != records.HEADER or length > max_record_bytes:
            break
        return records.parse_header(source.read(start, length))
    return {}


def _metadata(source: Source, offsets: Sequence[int], max_record_bytes: int) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    left = max_record_bytes
    for offset in sorted(offsets):
        opcode, start, length = next(_frames(source, offset, source.size_bytes), (0, 0, 0))
        left -= length
        if opcode != records.METADATA or left < 0:
            raise RecordError(f"expected a metadata record at {offset}, or there are more of them than may be read")
        name, values = records.parse_metadata(source.read(start, length))
        found.setdefault(name, {}).update(values)
    return found


def _frames(source: Source, offset: int, exclusive_end: int) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and length of the content of each record, none of which ends behind ``exclusive_end``."""
    while offset < exclusive_end:
        if exclusive_end - offset < FRAME.size:
            raise RecordError(f"{exclusive_end - offset} stray bytes at {offset}")
        opcode, length = FRAME.unpack(source.read(offset, FRAME.size))
        start, offset = offset + FRAME.size, offset + FRAME.size + length
        if offset > exclusive_end:
            raise RecordError(f"the record at {start - FRAME.size} claims {length} bytes")
        yield opcode, start, length
