"""An MCAP file by its summary and message indexes: counts, times and definitions without its messages.

Source: the MCAP specification, version 0 (https://mcap.dev/spec).
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
_ENTRIES = np.dtype([("channel_id", "<u2"), ("offset", "<u8")])
_MAX_NAME = 40
_MAX_INDEX_BYTES = 64 * 1024 * 1024
_NOTHING = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What a ChunkIndex record says of its chunk; ``channel_ids`` is (k,) uint16."""

    index_start: int
    index_bytes: int
    channel_ids: np.ndarray
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
        max_index_bytes: a longer summary is not read, and fewer message indexes where they are longer together.
    """
    max_index_bytes = min(max_index_bytes, _MAX_INDEX_BYTES)
    if not summary.is_complete or summary.recorded is None:
        return None
    try:
        index = _read_index(source, max_record_bytes, max_index_bytes)
        if index.message_count != sum(summary.recorded.values()):
            return None
        chosen = _chosen(index.chunks, max_index_reads, max_index_bytes)
        times = list(_times(source, index.chunks, chosen, max_record_bytes))
        header, metadata = _header(source, max_record_bytes), _metadata(source, index.metadata, max_record_bytes)
    except RecordError:
        return None
    is_complete = len(chosen) == len(index.chunks)
    counted = Counter[int]()
    for ids, _ in times:
        found, nbr = np.unique(ids, return_counts=True)
        counted.update(dict(zip(found.tolist(), nbr.tolist(), strict=True)))
    counts = {channel_id: count for channel_id, count in summary.recorded.items() if count}
    if not _agrees(counted, counts, index, times, is_complete=is_complete):
        return None
    first, last = _ends(index.chunks)
    read = {*chosen}
    part = "its message indexes" if is_complete else f"the message indexes of {len(read)} of {len(index.chunks)} chunks"
    return Overview(
        definitions={i: _definition(summary, i) for i in {**summary.channels, **summary.recorded}},
        message_counts=counts,
        times=times,
        is_complete=is_complete,
        start_known=frozenset(i for i in counts if first[i] in read),
        end_known=frozenset(i for i in counts if last[i] in read),
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
    times: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    is_complete: bool,
) -> bool:
    """Whether the message indexes say what the statistics do; messages outside chunks are in no index."""
    spans = [(int(t.min()), int(t.max())) for _, t in times if len(t)]
    if is_complete:
        is_within = not spans or (index.start_ns, index.last_ns) == (min(s for s, _ in spans), max(e for _, e in spans))
        return counted == counts and is_within
    is_within = all(index.start_ns <= start and end <= index.last_ns for start, end in spans)
    return is_within and all(count <= counts.get(channel_id, 0) for channel_id, count in counted.items())


def _read_index(source: Source, max_record_bytes: int, max_index_bytes: int) -> _Index:
    at_footer = source.size_bytes - len(MAGIC) - records.FOOTER_BYTES
    footer = records.parse_footer(source.read(at_footer + FRAME.size, records.FOOTER_BYTES - FRAME.size))
    if at_footer - footer.summary_start > max_index_bytes:
        raise RecordError("the summary is longer than may be read")
    index = _Index()
    for opcode, start, length in frames(source, footer.summary_start, at_footer):
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
    entries = cursor.take(cursor.u32())
    if len(entries) % _ENTRIES.itemsize:
        raise RecordError(f"a map of {len(entries)} bytes is not of whole entries")
    channel_ids = np.frombuffer(entries, _ENTRIES)["channel_id"].copy()
    return _Chunk(start + length, cursor.u64(), channel_ids, cursor.text()[:_MAX_NAME])


def _chosen(chunks: Sequence[_Chunk], max_reads: int, max_bytes: int) -> list[int]:
    """Chunks whose message indexes are read: all, or some of them spread evenly and the ends of each channel."""
    if len(chunks) <= max_reads and _index_bytes(chunks, range(len(chunks))) <= max_bytes:
        return list(range(len(chunks)))
    ends = sorted({at for side in _ends(chunks) for at in np.unique(side[side >= 0]).tolist()})
    while max_reads:
        spread = np.linspace(0, len(chunks) - 1, max_reads).astype(int).tolist()
        chosen = sorted({*spread, *ends[:max_reads]})
        if _index_bytes(chunks, chosen) <= max_bytes:
            return chosen
        max_reads //= 2
    raise RecordError("the message indexes are longer than may be read")


def _index_bytes(chunks: Sequence[_Chunk], chosen: Iterable[int]) -> int:
    return sum(chunks[at].index_bytes for at in chosen)


def _ends(chunks: Sequence[_Chunk]) -> tuple[np.ndarray, np.ndarray]:
    """Number of the first and of the last chunk that holds a channel, each (65536,) int64 by its id; -1 for none."""
    first, last = np.full(2**16, -1), np.full(2**16, -1)
    for at, chunk in enumerate(chunks):
        last[chunk.channel_ids] = at
    for at in reversed(range(len(chunks))):
        first[chunks[at].channel_ids] = at
    return first, last


def _times(
    source: Source, chunks: Sequence[_Chunk], chosen: Sequence[int], max_chunk_index_bytes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for n, at in enumerate(chosen):
        if n and chosen[n - 1] != at - 1:
            yield _NOTHING, _NOTHING
        if chunks[at].index_bytes > max_chunk_index_bytes:
            raise RecordError("the message indexes of a chunk are longer than may be read")
        yield _chunk_times(source, chunks[at])


def _chunk_times(source: Source, chunk: _Chunk) -> tuple[np.ndarray, np.ndarray]:
    end = chunk.index_start + chunk.index_bytes
    if end > source.size_bytes:
        raise RecordError(f"message indexes are said to end at {end}, the file holds {source.size_bytes} bytes")
    body = source.read(chunk.index_start, chunk.index_bytes)
    ids, times = [_NOTHING], [_NOTHING]
    at = 0
    while at < len(body):
        if len(body) - at < FRAME.size:
            raise RecordError(f"{len(body) - at} stray bytes behind a message index")
        opcode, length = FRAME.unpack_from(body, at)
        if opcode != records.MESSAGE_INDEX:
            raise RecordError(f"expected a message index at {chunk.index_start + at}, found opcode {opcode:#04x}")
        cursor = Cursor(body[at + FRAME.size : at + FRAME.size + length])
        channel_id, entries = cursor.u16(), cursor.take(cursor.u32())
        found = np.frombuffer(entries, "<u8", len(entries) // 16 * 2)[::2]
        ids.append(np.full(len(found), channel_id, np.uint64))
        times.append(found)
        at += FRAME.size + length
    return np.concatenate(ids), np.concatenate(times)


def _header(source: Source, max_record_bytes: int) -> dict[str, str]:
    for opcode, start, length in frames(source, len(MAGIC), source.size_bytes):
        if opcode != records.HEADER or length > max_record_bytes:
            break
        return records.parse_header(source.read(start, length))
    return {}


def _metadata(source: Source, offsets: Sequence[int], max_record_bytes: int) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    left = max_record_bytes
    for offset in sorted(offsets):
        opcode, start, length = next(frames(source, offset, source.size_bytes), (0, 0, 0))
        left -= length
        if opcode != records.METADATA or left < 0:
            raise RecordError(f"expected a metadata record at {offset}, or there are more of them than may be read")
        name, values = records.parse_metadata(source.read(start, length))
        found.setdefault(name, {}).update(values)
    return found


def frames(source: Source, offset: int, exclusive_end: int) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and length of the content of each record, none of which ends behind ``exclusive_end``."""
    while offset < exclusive_end:
        if exclusive_end - offset < FRAME.size:
            raise RecordError(f"{exclusive_end - offset} stray bytes at {offset}")
        opcode, length = FRAME.unpack(source.read(offset, FRAME.size))
        start, offset = offset + FRAME.size, offset + FRAME.size + length
        if offset > exclusive_end:
            raise RecordError(f"the record at {start - FRAME.size} claims {length} bytes")
        yield opcode, start, length
