"""A forward-only MCAP reader that survives damaged and hostile files.

It walks the top-level records from the front, so that it needs no summary: what it cannot use becomes a
``Problem`` with a byte range and the walk goes on where the framing allows. The summary is read once, for
the recording's own message counts, as a second copy of schemas and channels whose chunk was lost, and for the places
at which a large file may be split.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import (
    Block,
    Findings,
    Message,
    Part,
    PlanContradictedError,
    Source,
)
from scenelake.decode.formats.mcap_chunk import ChunkError, open_chunk
from scenelake.decode.formats.mcap_definitions import Definitions
from scenelake.decode.formats.mcap_overview import read_overview
from scenelake.decode.formats.mcap_records import FRAME, MAGIC, RecordError
from scenelake.decode.formats.mcap_summary import Summary, crc_of, plan_parts, read_summary
from scenelake.decode.formats.mcap_walk import MAX_MESSAGES, Walk, heads, walk
from scenelake.decode.formats.overview import Overview

HARMLESS_REASONS = frozenset({"summary_unreadable", "statistics_contradicted", "channel_redefined"})
"""Problems that cost no message."""

MAX_PROBLEMS = 1000
"""A file with more is given up at that point: the rest of it is one last problem."""

_LOOSE_WINDOW_BYTES = 4 * 1024 * 1024
_DEFINITIONS = frozenset((records.HEADER, records.SCHEMA, records.CHANNEL, records.METADATA))


class McapReader:
    """Reads one file, or one part of it, once: iterate ``blocks()`` to its end, then look at ``findings``.

    Args:
        max_chunk_bytes: a chunk or message that claims more is not believed, and is lost with its byte range.
        max_record_bytes: the same for records of definitions.
    """

    format = "mcap"

    def __init__(self, source: Source, *, max_chunk_bytes: int, max_record_bytes: int) -> None:
        self._source = source
        self._size = source.size_bytes
        self._max_chunk_bytes = max_chunk_bytes
        self._max_record_bytes = max_record_bytes
        self.findings = Findings()
        self._definitions = Definitions(self.findings, max_chunk_bytes)
        self._summary: Summary | None = None
        self._part: Part | None = None
        self._exclusive_end = self._size
        self._has_loose_messages = False
        self.compressions: set[str] = set()

    def overview(self, max_index_reads: int) -> Overview | None:
        """The file by its summary and message indexes; see ``formats.overview.Summarised``."""
        self._check_magic()
        return read_overview(
            self._source,
            self._read_summary(),
            max_index_reads=max_index_reads,
            max_record_bytes=self._max_record_bytes,
            max_index_bytes=self._max_chunk_bytes,
        )

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """Parts by the chunk index; a single one where there is none or it does not define what it counts."""
        self._check_magic()
        return plan_parts(self._read_summary(), self._size, part_bytes)

    def messages(self) -> Iterator[Message]:
        """Every readable message, one by one."""
        for block in self.blocks():
            yield from block.messages()

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Every readable message, in file order.

        Raises:
            BadInputError: reason ``empty_object`` or ``not_mcap``.
            PlanContradictedError: the walk over a part does not end where the next one starts, or the part holds what
                a reader of another part would have to know.
        """
        try:
            yield from self._blocks(part)
        finally:
            for channel_id in {**(self.findings.recorded or {}), **self.findings.lost}:
                self._definitions.resolve(channel_id)

    def _blocks(self, part: Part | None) -> Iterator[Block]:
        self._check_magic()
        summary = self._read_summary()
        self.findings.recorded = summary.recorded
        self._part = part if part is not None and part != Part(0, 0, self._size) else None
        offset, exclusive_end = len(MAGIC), self._size
        if self._part is not None:
            offset, exclusive_end = max(offset, self._part.start_byte), self._part.exclusive_end_byte
        self._exclusive_end = exclusive_end
        while offset < exclusive_end and self._size - offset >= FRAME.size:
            opcode, length = FRAME.unpack(self._source.read(offset, FRAME.size))
            end = offset + FRAME.size + length
            if end > self._size or opcode == 0:
                self._report_framing(offset, opcode, length)
                return
            if opcode in (records.DATA_END, records.FOOTER):
                self._refuse(exclusive_end != self._size, offset)
                self._check_data_crc(opcode, offset, length)
                self._check_end(offset, end, summary.problem)
                return
            if opcode == records.CHUNK:
                end = yield from self._chunk(offset, length)
            elif opcode == records.MESSAGE:
                self._refuse(self._part is not None, offset)
                end = yield from self._loose_messages(offset)
            elif opcode in _DEFINITIONS:
                self._definition(opcode, offset, length)
            offset = end
            if len(self.findings.problems) >= MAX_PROBLEMS:
                detail = f"{MAX_PROBLEMS} problems up to here"
                self.findings.problems.append(Problem("too_many_problems", detail, offset, exclusive_end))
                return
        if exclusive_end == self._size:
            self._report("truncated", "the file ends without a DataEnd record", offset, self._size)
        else:
            self._refuse(offset != exclusive_end, offset)

    def _read_summary(self) -> Summary:
        if self._summary is None:
            self._summary = read_summary(self._source, self._max_record_bytes, self._max_chunk_bytes)
            self._definitions.summary_schemas = self._summary.schemas
            self._definitions.summary_channels = self._summary.channels
        return self._summary

    def _report(self, reason: str, detail: str, start: int, exclusive_end: int) -> None:
        if len(self.findings.problems) < MAX_PROBLEMS:
            self.findings.problems.append(Problem(reason, detail, start, exclusive_end))

    def _refuse(self, is_contradicted: bool, offset: int) -> None:
        if is_contradicted and self._part is not None:
            raise PlanContradictedError(f"part {self._part} and the records at byte {offset} contradict each other")

    def _check_magic(self) -> None:
        if self._size == 0:
            raise BadInputError("the object is empty", reason="empty_object", byte_offset=0)
        start = bytes(self._source.read(0, len(MAGIC)))
        if start != MAGIC:
            raise BadInputError(f"expected the MCAP magic {MAGIC!r}, got {start!r}", reason="not_mcap", byte_offset=0)

    def _report_framing(self, offset: int, opcode: int, length: int) -> None:
        is_whole = self._source.read(self._size - len(MAGIC), len(MAGIC)) == MAGIC
        if opcode == 0:
            detail = f"byte {offset} holds opcode 0, which no record has"
        else:
            left = self._size - offset - FRAME.size
            detail = f"the record at byte {offset} (opcode {opcode:#04x}) claims {length} bytes, {left} are left"
        self._report("record_framing_lost" if is_whole else "truncated", detail, offset, self._exclusive_end)

    def _chunk(self, offset: int, length: int) -> Generator[Block, None, int]:
        """Blocks of a chunk; returns the offset behind the indexes that follow it."""
        end = offset + FRAME.size + length
        opened = self._open(offset, length)
        body = memoryview(b"") if opened is None else opened
        exclusive_end, counts, hints = self._message_indexes(end)
        delivered: list[np.ndarray] = []
        error = "the chunk was not opened" if opened is None else None
        for found in walk(body, hints):
            blocks, error = self._walked(body, found, offset)
            for block in blocks:
                yield block
                delivered.append(block.channel_id)
            error = error or (f"{found.error}, at {found.exclusive_end} in the chunk" if found.error else None)
            if error:
                self._report("chunk_record_invalid", error, offset, end)
                break
        if error:
            counts.subtract(Counter(c for channels in delivered for c in channels.tolist()))
            for channel_id, count in (+counts).items():
                self.findings.lost[channel_id] = self.findings.lost.get(channel_id, 0) + count
        return exclusive_end

    def _open(self, offset: int, length: int) -> memoryview | None:
        end = offset + FRAME.size + length
        if length > self._max_chunk_bytes + self._max_record_bytes:
            self._report("chunk_too_large", f"the chunk record holds {length} bytes", offset, end)
            return None
        try:
            chunk = records.parse_chunk(self._source.read(offset + FRAME.size, length))
            body = open_chunk(chunk, self._max_chunk_bytes)
            self.compressions.add(chunk.compression or "none")
            return body
        except RecordError as error:
            self._report("chunk_header_invalid", str(error), offset, end)
        except ChunkError as error:
            self._report(error.reason, str(error), offset, end)
        return None

    def _message_indexes(self, offset: int) -> tuple[int, Counter[int], np.ndarray | None]:
        """End of the indexes that follow a chunk, their counts by channel id, and the offsets that they give."""
        counts: Counter[int] = Counter()
        offsets: list[np.ndarray] = []
        while self._size - offset >= FRAME.size:
            opcode, length = FRAME.unpack(self._source.read(offset, FRAME.size))
            end = offset + FRAME.size + length
            if opcode != records.MESSAGE_INDEX or end > self._size:
                break
            if length <= self._max_chunk_bytes:
                try:
                    channel_id, found = records.parse_message_index(self._source.read(offset + FRAME.size, length))
                except RecordError as error:
                    self._report("record_invalid", f"message index: {error}", offset, end)
                else:
                    counts[channel_id] += len(found)
                    offsets.append(found)
            offset = end
        return offset, counts, np.concatenate(offsets) if offsets else None

    def _walked(self, body: memoryview, found: Walk, chunk_offset: int) -> tuple[list[Block], str | None]:
        """Blocks of one portion of a chunk, more than one where a channel changes its meaning, and what ended them."""
        messages, at = found.messages, 0
        blocks: list[Block] = []
        for opcode, start, exclusive_end in found.others:
            stop = int(np.searchsorted(messages, start))
            try:
                if opcode in (records.SCHEMA, records.CHANNEL):
                    if self._definitions.changes(opcode, body[start:exclusive_end]) and stop > at:
                        blocks.append(self._block(body, messages[at:stop], chunk_offset))
                        at = stop
                    self._define(opcode, body[start:exclusive_end], chunk_offset)
                elif opcode < 0x80:
                    raise RecordError(f"opcode {opcode:#04x} does not belong in a chunk")
            except RecordError as error:
                blocks.append(self._block(body, messages[at:stop], chunk_offset))
                return blocks, f"{error}, at {start - FRAME.size} in the chunk"
        blocks.append(self._block(body, messages[at:], chunk_offset))
        return blocks, None

    def _length_at(self, offset: int) -> int:
        return int(FRAME.unpack(self._source.read(offset, FRAME.size))[1])

    def _block(self, body: memoryview, offsets: np.ndarray, chunk_offset: int) -> Block:
        return self._columns(body, offsets, np.full(len(offsets), chunk_offset, np.int64), offsets)

    def _columns(self, body: memoryview, offsets: np.ndarray, chunks: np.ndarray, positions: np.ndarray) -> Block:
        head = heads(body, offsets)
        starts = offsets + FRAME.size
        channel_id = head["channel_id"].astype(np.int32)
        return Block(
            body=body,
            definitions={c: self._definitions.resolve(c) for c in np.unique(channel_id).tolist()},
            channel_id=channel_id,
            sequence=head["sequence"].astype(np.uint32),
            log_time_ns=head["log_time_ns"].astype(np.uint64),
            publish_time_ns=head["publish_time_ns"].astype(np.uint64),
            chunk_offset_bytes=chunks,
            message_offset_bytes=positions,
            start=starts + records.MESSAGE_HEAD.size,
            exclusive_end=starts + head["length"].astype(np.int64),
        )

    def _loose_messages(self, offset: int) -> Generator[Block, None, int]:
        """Messages outside chunks, a window at a time; returns the offset behind them."""
        self._has_loose_messages = True
        end = offset + FRAME.size + self._length_at(offset)
        if end - offset - FRAME.size > self._max_chunk_bytes:
            detail = f"the message record holds {end - offset - FRAME.size} bytes"
            self._report("message_too_large", detail, offset, end)
            return end
        body = self._source.read(offset, max(_LOOSE_WINDOW_BYTES, end - offset))
        offsets: list[int] = []
        at = 0
        while len(body) - at >= FRAME.size and len(offsets) < MAX_MESSAGES:
            opcode, length = FRAME.unpack_from(body, at)
            if opcode != records.MESSAGE or at + FRAME.size + length > len(body):
                break
            if length < records.MESSAGE_HEAD.size:
                detail = f"a message record of {length} bytes has no room for its header"
                self._report("message_invalid", detail, offset + at, offset + at + FRAME.size + length)
                at += FRAME.size + length
                break
            offsets.append(at)
            at += FRAME.size + length
        positions = np.array(offsets, np.int64)
        yield self._columns(body, positions, positions + offset, np.zeros(len(positions), np.int64))
        return offset + at

    def _definition(self, opcode: int, offset: int, length: int) -> None:
        end = offset + FRAME.size + length
        if length > self._max_record_bytes:
            self._report("record_too_large", f"the record (opcode {opcode:#04x}) holds {length} bytes", offset, end)
            return
        try:
            self._define(opcode, self._source.read(offset + FRAME.size, length), offset)
        except RecordError as error:
            self._report("record_invalid", f"opcode {opcode:#04x}: {error}", offset, end)

    def _define(self, opcode: int, body: memoryview, offset: int) -> None:
        if self._part is not None and self._definitions.contradicts_summary(opcode, body):
            self._refuse(True, offset)
        odd = self._definitions.define(opcode, body)
        if odd:
            self._report("channel_redefined", odd, offset, offset)

    def _check_data_crc(self, opcode: int, offset: int, length: int) -> None:
        """Chunks carry their own CRC; messages outside chunks have only the data section's."""
        if opcode != records.DATA_END or length < 4 or not self._has_loose_messages:
            return
        recorded = int.from_bytes(self._source.read(offset + FRAME.size, 4), "little")
        if recorded and crc_of(self._source, 0, offset) != recorded:
            self._report("data_crc_mismatch", "bytes of the data section differ from what was written", 0, offset)

    def _check_end(self, offset: int, summary_at: int, summary_problem: str | None) -> None:
        """Nothing may follow the first footer: what does was never read, be it padding or a second recording."""
        while self._size - offset >= FRAME.size:
            opcode, length = FRAME.unpack(self._source.read(offset, FRAME.size))
            offset += FRAME.size + length
            if opcode == records.FOOTER and offset + len(MAGIC) < self._size:
                after = offset + len(MAGIC)
                detail = f"{self._size - after} bytes follow the end of the recording"
                self._report("bytes_after_end", detail, after, self._size)
                return
            if opcode == records.FOOTER:
                break
        if summary_problem:
            self._report("summary_unreadable", summary_problem, summary_at, self._size)
