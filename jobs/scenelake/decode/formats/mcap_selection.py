"""Which chunks of an MCAP file may hold wanted messages, by its chunk index: the others need not be read.

The index is believed as far as it is when a file is read in parts, and what does not fit it is read.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Part, Source
from scenelake.decode.formats.mcap_overview import frames
from scenelake.decode.formats.mcap_records import Cursor, RecordError
from scenelake.decode.formats.mcap_summary import Summary

MAX_RANGES = 64
"""Ranges of one part: each is a walk of its own, with a bound of its own on what it may inflate to."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a file.

    Attributes:
        topics: None for all.
        start_ns, exclusive_end_ns: of log time; None for no bound.
    """

    topics: frozenset[str] | None = None
    start_ns: int | None = None
    exclusive_end_ns: int | None = None

    @property
    def is_all(self) -> bool:
        return self.topics is None and self.start_ns is None and self.exclusive_end_ns is None


def wanted_ranges(source: Source, summary: Summary, part: Part, wanted: Wanted, max_record_bytes: int) -> list[Part]:
    """Ranges of a part that together hold all its messages that are wanted; the part itself where nothing is certain.

    Args:
        part: whole chunks, as ``plan_parts`` cuts them.
        summary: of the same file, its CRC checked.
    """
    if wanted.is_all or not summary.is_complete or summary.start is None:
        return [part]
    ids = None
    if wanted.topics is not None:
        ids = np.array([i for i, c in summary.channels.items() if c.topic in wanted.topics], np.uint16)
    starts, ends, is_unwanted = array("q"), array("q"), array("b")
    end = source.size_bytes - len(records.MAGIC) - records.FOOTER_BYTES
    try:
        for start, exclusive_end, is_out in _chunks(source, summary.start, end, wanted, ids, max_record_bytes):
            starts.append(start)
            ends.append(exclusive_end)
            is_unwanted.append(is_out)
    except RecordError:
        return [part]
    return _ranges(part, *(np.array(column, np.int64) for column in (starts, ends, is_unwanted)))


def _chunks(
    source: Source, start: int, exclusive_end: int, wanted: Wanted, ids: np.ndarray | None, max_record_bytes: int
) -> Iterator[tuple[int, int, bool]]:
    """First byte of each chunk, the byte behind its message indexes, and whether nothing of it is wanted."""
    for opcode, at, length in frames(source, start, exclusive_end):
        if opcode != records.CHUNK_INDEX:
            continue
        if length > max_record_bytes:
            raise RecordError(f"a chunk index of {length} bytes")
        cursor = Cursor(source.read(at, length))
        first_ns, last_ns, chunk, chunk_bytes = (cursor.u64() for _ in range(4))
        entries = cursor.take(cursor.u32())
        index_bytes = cursor.u64()
        if len(entries) % _ENTRY.itemsize or max(chunk, chunk_bytes, index_bytes) > source.size_bytes:
            raise RecordError(f"the index of a chunk at {chunk} contradicts itself")
        # Where a writer leaves times or the map out, it says nothing.
        is_late = wanted.exclusive_end_ns is not None and first_ns >= max(wanted.exclusive_end_ns, 0)
        is_early = wanted.start_ns is not None and last_ns < wanted.start_ns
        is_out = 0 < first_ns <= last_ns and (is_late or is_early)
        if ids is not None and len(entries):
            is_out |= not np.isin(np.frombuffer(entries, _ENTRY)["channel_id"], ids).any()
        yield chunk, chunk + chunk_bytes + index_bytes, bool(is_out)


_ENTRY = np.dtype([("channel_id", "<u2"), ("offset", "<u8")])


def _ranges(part: Part, starts: np.ndarray, ends: np.ndarray, is_unwanted: np.ndarray) -> list[Part]:
    """The part without chunks that are unwanted and end where the next one starts."""
    order = np.argsort(starts, kind="stable")
    starts, ends, is_unwanted = starts[order], ends[order], is_unwanted[order] != 0
    following = np.append(starts[1:], -1)
    is_out = is_unwanted & (ends == following) & (starts >= part.start_byte) & (ends <= part.exclusive_end_byte)
    gaps: list[tuple[int, int]] = []
    for start, end in zip(starts[is_out].tolist(), ends[is_out].tolist(), strict=True):
        if gaps and gaps[-1][1] == start:
            gaps[-1] = (gaps[-1][0], end)
        else:
            gaps.append((start, end))
    longest = sorted(sorted(gaps, key=lambda gap: gap[0] - gap[1])[: MAX_RANGES - 1])
    cuts = [part.start_byte, *(at for gap in longest for at in gap), part.exclusive_end_byte]
    pairs: Sequence[tuple[int, int]] = list(zip(cuts[::2], cuts[1::2], strict=True))
    return [Part(part.number, start, end) for start, end in pairs if start < end]
