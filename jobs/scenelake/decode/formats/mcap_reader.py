"""A forward-only MCAP reader that survives damaged and hostile files.

It walks the top-level records from the front, so that it needs no summary: what it cannot use becomes a
``Problem`` with a byte range and the walk goes on where the framing allows. The summary is read once, for
the recording's own message counts, as a second copy of schemas and channels whose chunk was lost, and for the places
at which a large file may be split. Its list of chunks is a second witness of the framing: where a record's frame
makes no sense, or swallows a chunk that is listed, the walk goes on at the next chunk of the list.
"""

import struct
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import (
    Block,
    Findings,
    Message,
    Part,
    PlanContradictedError,
    Source,
)
from scenelake.decode.formats.compressed_messages import MessageInflation
from scenelake.decode.formats.mcap_blocks import BlockBuilder
from scenelake.decode.formats.mcap_chunk import Inflation
from scenelake.decode.formats.mcap_chunk_reader import ChunkReader
from scenelake.decode.formats.mcap_definitions import Definitions
from scenelake.decode.formats.mcap_framing import Framing
from scenelake.decode.formats.mcap_overview import read_overview
from scenelake.decode.formats.mcap_problems import Problems
from scenelake.decode.formats.mcap_records import FRAME, MAGIC, RecordError
from scenelake.decode.formats.mcap_selection import Wanted, wanted_ranges
from scenelake.decode.formats.mcap_summary import Summary, chunk_list, crc_of, plan_parts, read_summary
from scenelake.decode.formats.mcap_walk import MAX_MESSAGES
from scenelake.decode.formats.mcap_windows import WindowBounds
from scenelake.decode.formats.overview import Overview

_LOOSE_WINDOW_BYTES = 4 * 1024 * 1024
_FREE_INFLATION_BYTES = 512 * 1024 * 1024
"""Any object may inflate to as much: a second or two of work."""
_DEFINITIONS_IN_RECORDS = 4
"""Schemas and channels together take at most so many times the largest record, metadata half as much."""
_DEFINITIONS = frozenset((records.HEADER, records.SCHEMA, records.CHANNEL, records.METADATA))
_CHANNEL_ID = struct.Struct("<H")
_DEFAULTS = DecodeConfig()


class McapReader:
    """Reads one file, or one part of it, once: iterate ``blocks()`` to its end, then look at ``findings``.

    Args:
        max_chunk_bytes: a chunk that claims more is not believed, and is lost with its byte range.
        max_record_bytes: the same for records of definitions.
        max_message_bytes: the same for messages, at least ``window_bytes``; those around it are read.
        window_bytes: a larger chunk is read by windows of that size.
        max_inflation: chunks together inflate to no more than so many times the bytes read, and 512 MiB.
    """

    format = "mcap"

    def __init__(
        self,
        source: Source,
        *,
        max_chunk_bytes: int,
        max_record_bytes: int,
        max_message_bytes: int = _DEFAULTS.max_message_bytes,
        window_bytes: int = _DEFAULTS.window_bytes,
        max_inflation: int = _DEFAULTS.max_inflation,
    ) -> None:
        self._source = source
        self._size = source.size_bytes
        self._max_chunk_bytes = max_chunk_bytes
        self._max_record_bytes = max_record_bytes
        self._max_definition_bytes = _DEFINITIONS_IN_RECORDS * max_record_bytes
        self._max_inflation = max_inflation
        self._bounds = WindowBounds(window_bytes, max(max_message_bytes, window_bytes), max_record_bytes)
        self.findings = Findings()
        self._problems = Problems(self.findings.problems)
        self._definitions = Definitions(self.findings, self._max_definition_bytes)
        self._builder = BlockBuilder(self._definitions)
        self._summary: Summary | None = None
        self._part: Part | None = None
        self._needs_data_crc = False
        self._first_loose: int | None = None
        self._window = memoryview(b"")
        self._window_start = 0
        self.compressions: set[str] = set()

    def overview(self, max_index_reads: int) -> Overview | None:
        """The file by its summary and message indexes; see ``formats.overview.Summarised``."""
        self._check_magic()
        return read_overview(
            self._source,
            self._read_summary(),
            max_index_reads=max_index_reads,
            max_record_bytes=self._max_record_bytes,
            max_index_bytes=min(self._max_chunk_bytes, self._max_definition_bytes),
        )

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """Parts by the chunk index; a single one where there is none or it does not define what it counts."""
        self._check_magic()
        return plan_parts(self._read_summary(), self._size, part_bytes)

    def selected(self, part: Part | None, wanted: Wanted) -> list[Part]:
        """Ranges to give to ``blocks``, one after the other: they hold every wanted message of the part, and others."""
        self._check_magic()
        part = part or Part(0, 0, self._size)
        return wanted_ranges(self._source, self._read_summary(), part, wanted, self._max_record_bytes)

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
        messages = MessageInflation(self._bounds.max_message_bytes, self._size, self._max_inflation)
        try:
            for block in self._blocks(part):
                yield from messages.opened(block)
        finally:
            self.compressions |= {"zstd"} if messages.is_used else set()
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
        start = offset
        framing = Framing(self._source, chunk_list(summary, self._size), self._problems, summary)
        chunks = self._chunk_reader(framing, exclusive_end - offset)
        while offset < exclusive_end and self._size - offset >= FRAME.size:
            if self._problems.is_full:
                self._problems.give_up(offset, exclusive_end)
                return
            frame = framing.at(offset)
            if frame.lost:
                offset = framing.lose(frame, exclusive_end)
                if offset == exclusive_end:
                    self._check_data_crc_of(summary)
                    return
            elif frame.is_end:
                self._refuse(exclusive_end != self._size, offset)
                framing.check_chunks(start, offset)
                self._check_data_crc(frame.opcode, offset, frame.length)
                framing.check_end(frame)
                return
            elif frame.opcode == records.CHUNK:
                read = yield from chunks.read(offset, frame.length)
                self._needs_data_crc |= not read.has_crc or read.content_end != frame.end
                offset = framing.behind_chunk(frame, read.content_end, read.exclusive_end)
            elif frame.opcode == records.MESSAGE:
                self._refuse(self._part is not None, offset)
                offset = yield from self._loose_messages(offset, frame.length)
            else:
                self._other(frame.opcode, offset, frame.length)
                offset = frame.end
        if exclusive_end == self._size:
            self._problems.report("truncated", "the file ends without a DataEnd record", offset, self._size)
        else:
            self._refuse(offset != exclusive_end, offset)
            framing.check_chunks(start, exclusive_end)

    def _chunk_reader(self, framing: Framing, nbr_bytes: int) -> ChunkReader:
        reader = ChunkReader(
            self._source,
            self.findings,
            self._problems,
            self._builder,
            self._define,
            framing.holds_chunk,
            max_chunk_bytes=self._max_chunk_bytes,
            bounds=self._bounds,
            inflation=Inflation(_FREE_INFLATION_BYTES + self._max_inflation * nbr_bytes),
        )
        reader.compressions = self.compressions
        return reader

    def _read_summary(self) -> Summary:
        if self._summary is None:
            self._summary = read_summary(self._source, self._max_record_bytes, self._max_definition_bytes)
            self._definitions.summary_schemas = self._summary.schemas
            self._definitions.summary_channels = self._summary.channels
        return self._summary

    def _refuse(self, is_contradicted: bool, offset: int) -> None:
        if is_contradicted and self._part is not None:
            raise PlanContradictedError(f"part {self._part} and the records at byte {offset} contradict each other")

    def _check_magic(self) -> None:
        if self._size == 0:
            raise BadInputError("the object is empty", reason="empty_object", byte_offset=0)
        start = bytes(self._source.read(0, len(MAGIC)))
        if start != MAGIC:
            raise BadInputError(f"expected the MCAP magic {MAGIC!r}, got {start!r}", reason="not_mcap", byte_offset=0)

    def _loose_messages(self, offset: int, length: int) -> Generator[Block, None, int]:
        """Messages outside chunks, a window at a time; returns the offset behind them."""
        self._needs_data_crc = True
        self._first_loose = offset if self._first_loose is None else self._first_loose
        end = offset + FRAME.size + length
        if length > self._bounds.max_message_bytes:
            self._problems.report("message_too_large", f"the message record holds {length} bytes", offset, end)
            (channel_id,) = _CHANNEL_ID.unpack(self._source.read(offset + FRAME.size, _CHANNEL_ID.size))
            self.findings.lost[channel_id] = self.findings.lost.get(channel_id, 0) + 1
            return end
        at = offset - self._window_start
        if at < 0 or at + end - offset > len(self._window):
            self._window = self._source.read(offset, max(_LOOSE_WINDOW_BYTES, end - offset))
            self._window_start, at = offset, 0
        body = self._window
        offsets: list[int] = []
        while len(body) - at >= FRAME.size and len(offsets) < MAX_MESSAGES:
            opcode, length = FRAME.unpack_from(body, at)
            end = at + FRAME.size + length
            if opcode != records.MESSAGE or end > len(body) or length > self._bounds.max_message_bytes:
                break
            if length < records.MESSAGE_HEAD.size:
                detail = f"a message record of {length} bytes has no room for its header"
                start = self._window_start
                self._problems.report("message_invalid", detail, start + at, start + end)
                at = end
                break
            offsets.append(at)
            at = end
        if offsets:
            yield self._builder.loose(body, np.array(offsets, np.int64), self._window_start)
        return self._window_start + at

    def _other(self, opcode: int, offset: int, length: int) -> None:
        """A record outside chunks that is neither chunk nor message."""
        end = offset + FRAME.size + length
        if opcode == records.ATTACHMENT:
            return
        if opcode not in _DEFINITIONS:
            self._needs_data_crc = True
            if opcode < records.FIRST_PRIVATE:
                self._problems.report("record_misplaced", f"opcode {opcode:#04x} in the data section", offset, end)
            return
        if length > self._max_record_bytes:
            detail = f"the record (opcode {opcode:#04x}) holds {length} bytes"
            self._problems.report("record_too_large", detail, offset, end)
            return
        try:
            body = self._source.read(offset + FRAME.size, length)
            self._define(opcode, body, offset)
            if opcode in (records.SCHEMA, records.CHANNEL):
                self._check_by_summary(opcode, body, offset)
        except RecordError as error:
            self._problems.report("record_invalid", f"opcode {opcode:#04x}: {error}", offset, end)

    def _define(self, opcode: int, body: memoryview, offset: int) -> None:
        if len(body) > self._max_record_bytes:
            detail = f"a definition in the chunk holds {len(body)} bytes"
            self._problems.report("record_too_large", detail, offset, offset)
            return
        if self._problems.is_full:
            raise RecordError("too many problems")
        if self._part is not None and opcode in (records.SCHEMA, records.CHANNEL):
            self._refuse(not self._definitions.in_summary(opcode, body), offset)
        odd = self._definitions.define(opcode, body)
        if odd:
            self._problems.report(*odd, offset, offset)

    def _check_by_summary(self, opcode: int, body: memoryview, offset: int) -> None:
        """A definition outside chunks has no CRC but the data section's: the summary's copy is a second witness."""
        self._needs_data_crc = True
        if self._definitions.in_summary(opcode, body) is False:
            detail = f"the definition (opcode {opcode:#04x}) is another one in the summary"
            self._problems.report("definition_contradicted", detail, offset, offset + FRAME.size + len(body))

    def _check_data_crc_of(self, summary: Summary) -> None:
        """Checks the data section where the walk over it did not come to its end."""
        self._needs_data_crc = True
        offset = (summary.start or 0) - FRAME.size - 4
        if offset >= len(MAGIC):
            opcode, length = FRAME.unpack(self._source.read(offset, FRAME.size))
            self._check_data_crc(opcode, offset, length)

    def _check_data_crc(self, opcode: int, offset: int, length: int) -> None:
        """Chunks carry their own CRC; what lies outside chunks has only the data section's."""
        if opcode != records.DATA_END or length < 4 or not self._needs_data_crc or self._part is not None:
            return
        recorded = int.from_bytes(self._source.read(offset + FRAME.size, 4), "little")
        if recorded and crc_of(self._source, 0, offset) != recorded:
            detail = "bytes of the data section differ from what was written"
            self._problems.report("data_crc_mismatch", detail, 0, offset)
        if not recorded and self._first_loose is not None and len(self._read_summary().chunk_starts):
            # No writer mixes them: a bit of a message index's opcode makes it a message.
            detail = "messages beside chunks, and no CRC that covers them"
            self._problems.report("message_unchecked", detail, self._first_loose, offset)
