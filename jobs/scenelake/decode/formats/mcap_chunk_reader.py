"""Reads one chunk record and the message indexes behind it."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Block, Findings, Source
from scenelake.decode.formats.mcap_blocks import BlockBuilder
from scenelake.decode.formats.mcap_chunk import ChunkError, Inflation, check_stream, open_chunk, stream_records
from scenelake.decode.formats.mcap_problems import Problems
from scenelake.decode.formats.mcap_records import FRAME, ChunkHead, RecordError
from scenelake.decode.formats.mcap_walk import walk
from scenelake.decode.formats.mcap_windows import Skipped, Stretch, WindowBounds, stretches

_HEAD_BYTES = FRAME.size + records.MESSAGE_HEAD.size
_MAX_OPEN = 1 << 20


@dataclass(slots=True)
class ChunkRead:
    """What became of a chunk record.

    Attributes:
        content_end: where its own fields say that it ends; None when they make no sense.
        exclusive_end: behind the message indexes that follow it.
        has_crc: whether the messages were checked.
    """

    content_end: int | None
    exclusive_end: int
    has_crc: bool


class ChunkReader:
    """Chunks of one file.

    Args:
        define: takes opcode, body and chunk offset of a definition in a chunk.
        holds_chunk: whether the summary lists a chunk that starts in a range.
        max_chunk_bytes: a chunk that claims more is not believed.
    """

    def __init__(
        self,
        source: Source,
        findings: Findings,
        problems: Problems,
        blocks: BlockBuilder,
        define: Callable[[int, memoryview, int], None],
        holds_chunk: Callable[[int, int], bool],
        *,
        max_chunk_bytes: int,
        bounds: WindowBounds,
        inflation: Inflation,
    ) -> None:
        self._source = source
        self._size = source.size_bytes
        self._findings = findings
        self._problems = problems
        self._blocks = blocks
        self._define = define
        self._holds_chunk = holds_chunk
        self._max_chunk_bytes = max_chunk_bytes
        self._bounds = bounds
        self._inflation = inflation
        self.compressions: set[str] = set()

    def read(self, offset: int, length: int) -> Generator[Block, None, ChunkRead]:
        """Blocks of the chunk record at ``offset``."""
        end = offset + FRAME.size + length
        found = ChunkRead(None, end, False)
        chunk, body, failure = None, None, None
        try:
            chunk = self._head(offset, length)
            start = offset + FRAME.size + chunk.head_bytes
            found.content_end, found.has_crc = start + chunk.stored_bytes, chunk.crc != 0
            body = self._open(chunk, start)
        except ChunkError as error:
            failure = error
        found.exclusive_end, counts, hints = self._message_indexes(end, body)
        delivered = _Delivered()
        skipped: list[Skipped] = []
        if chunk is not None and failure is None:
            try:
                for block in self._blocks_of(chunk, offset, body, hints, skipped):
                    yield block
                    delivered.add(block.channel_id)
            except ChunkError as error:
                failure = error
        if failure is None:
            self._lose_skipped(skipped, offset, end)
        else:
            self._problems.report(failure.reason, str(failure), offset, end)
            counts.subtract(delivered.counts())
            self._lose(counts)
        return found

    def _blocks_of(
        self,
        chunk: ChunkHead,
        offset: int,
        body: memoryview | None,
        hints: np.ndarray | None,
        skipped: list[Skipped],
    ) -> Iterator[Block]:
        self.compressions.add(chunk.compression or "none")
        if body is not None:
            found: Iterator[Stretch] = (Stretch(body, 0, w) for w in walk(body, hints))
        else:
            pieces = stream_records(chunk, self._source, offset + FRAME.size + chunk.head_bytes)
            found = stretches(pieces, chunk.uncompressed_bytes, self._bounds, lambda r: _skip(r, skipped))
        for stretch in found:
            yield from self._blocks.of_chunk(stretch, offset, lambda o, b: self._define(o, b, offset))
            if stretch.found.error:
                place = stretch.base + stretch.found.exclusive_end
                raise ChunkError("chunk_record_invalid", f"{stretch.found.error}, at {place} in the chunk")

    def _head(self, offset: int, length: int) -> ChunkHead:
        try:
            prefix = self._source.read(offset + FRAME.size, min(length, records.MAX_CHUNK_HEAD_BYTES))
            chunk = records.parse_chunk_head(prefix)
            left = length - chunk.head_bytes
            if chunk.stored_bytes > left:
                raise RecordError(f"{chunk.stored_bytes} bytes of records are claimed, {left} are left")
        except RecordError as error:
            raise ChunkError("chunk_header_invalid", str(error)) from error
        return chunk

    def _open(self, chunk: ChunkHead, start: int) -> memoryview | None:
        """The chunk's records; None for a chunk that is good, and too large to be held."""
        size = chunk.uncompressed_bytes
        if size > self._max_chunk_bytes:
            detail = f"claims {size} bytes, at most {self._max_chunk_bytes} are believed"
            raise ChunkError("chunk_too_large", detail)
        if max(size, chunk.stored_bytes) <= self._bounds.window_bytes:
            return open_chunk(chunk, self._source.read(start, chunk.stored_bytes), self._inflation)
        check_stream(chunk, self._source, start, self._inflation)
        return None

    def _message_indexes(self, offset: int, body: memoryview | None) -> tuple[int, Counter[int], np.ndarray | None]:
        """End of the indexes that follow a chunk, their counts by channel id, and the offsets that they give.

        Offsets are taken where ``body`` is there to try them, and no more than it has room for messages.
        """
        counts: Counter[int] = Counter()
        offsets: list[np.ndarray] = []
        room = 0 if body is None else len(body) // _HEAD_BYTES
        while self._size - offset >= FRAME.size:
            opcode, length = FRAME.unpack(self._source.read(offset, FRAME.size))
            start, end = offset + FRAME.size, offset + FRAME.size + length
            if opcode != records.MESSAGE_INDEX or end > self._size or self._holds_chunk(offset, end):
                break
            try:
                prefix = self._source.read(start, min(length, records.MESSAGE_INDEX_HEAD_BYTES))
                channel_id, nbr_entries = records.parse_message_index_head(prefix, length)
            except RecordError:
                # The walk over the file meets it next, and knows whether its length can be believed.
                break
            counts[channel_id] += nbr_entries
            room -= nbr_entries
            if nbr_entries and room >= 0:
                entries = self._source.read(start + len(prefix), nbr_entries * records.INDEX_ENTRY_BYTES)
                offsets.append(records.message_offsets(entries))
            offset = end
        return offset, counts, np.concatenate(offsets) if offsets and room >= 0 else None

    def _lose(self, counts: Counter[int]) -> None:
        for channel_id, count in (+counts).items():
            self._findings.lost[channel_id] = self._findings.lost.get(channel_id, 0) + count

    def _lose_skipped(self, skipped: list[Skipped], offset: int, end: int) -> None:
        for record in skipped:
            place = f"{record.length} bytes at {record.offset} in the chunk"
            if record.channel_id is None:
                self._problems.report("record_too_large", f"a definition of {place}", offset, end)
            else:
                self._problems.report("message_too_large", f"a message of {place}", offset, end)
                self._lose(Counter([record.channel_id]))


def _skip(record: Skipped, skipped: list[Skipped]) -> None:
    if record.opcode in (records.SCHEMA, records.CHANNEL, records.MESSAGE):
        skipped.append(record)
    elif record.opcode < records.FIRST_PRIVATE:
        detail = f"opcode {record.opcode:#04x} does not belong in a chunk, at {record.offset} in the chunk"
        raise ChunkError("chunk_record_invalid", detail)


class _Delivered:
    """Messages of a chunk by channel id, counted when someone asks or there are many."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._parts: list[np.ndarray] = []
        self._nbr_open = 0

    def add(self, channel_id: np.ndarray) -> None:
        self._parts.append(channel_id)
        self._nbr_open += len(channel_id)
        if self._nbr_open > _MAX_OPEN:
            self._count()

    def counts(self) -> Counter[int]:
        self._count()
        return self._counts

    def _count(self) -> None:
        if self._parts:
            ids, counts = np.unique(np.concatenate(self._parts), return_counts=True)
            self._counts.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
        self._parts, self._nbr_open = [], 0
