"""A forward-only MCAP reader that survives damaged and hostile files.

It walks the top-level records from the front, so that it needs no summary: what it cannot use becomes a
``Problem`` with a byte range and the walk goes on where the framing allows. The summary is read once, for
the recording's own message counts and as a second copy of schemas and channels whose chunk was lost.
"""

import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.mcap_chunk import ChunkError, open_chunk
from scenelake.decode.formats.mcap_records import FRAME, MAGIC, Channel, RecordError, Schema

HARMLESS_REASONS = frozenset({"summary_unreadable", "statistics_contradicted", "channel_redefined"})
"""Problems that cost no message."""

MAX_PROBLEMS = 1000
"""A file with more is given up at that point: the rest of it is one last problem."""

_CRC_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class McapMessage:
    """One message where it lies.

    Attributes:
        channel: its channel; a made-up one, named after the id, when the file defines none.
        schema: its schema; None for a channel without one.
        problem: reason why channel or schema could not be found; None when all is well.
        chunk_offset_bytes: of the chunk record, or of the message record outside chunks.
        message_offset_bytes: of the message record in the uncompressed chunk; 0 outside chunks.
        data: valid until the reader moves on to the next chunk.
    """

    channel: Channel
    schema: Schema | None
    problem: str | None
    chunk_offset_bytes: int
    message_offset_bytes: int
    sequence: int
    log_time_ns: int
    publish_time_ns: int
    data: memoryview


class McapReader:
    """Reads one file once: iterate ``messages()`` to its end, then look at the attributes.

    Attributes:
        header: profile and library.
        metadata: metadata records by name; records of one name are merged.
        problems: byte ranges that could not be used, in file order.
        recorded: messages by channel id according to the Statistics record; None without one.
        lost: messages by channel id of unusable chunks, according to the indexes that follow them.
        channels: channels by id as the file defines them.
    """

    def __init__(self, file: BinaryIO, size_bytes: int, *, max_chunk_bytes: int, max_record_bytes: int) -> None:
        self._file = file
        self._size = size_bytes
        self._max_chunk_bytes = max_chunk_bytes
        self._max_record_bytes = max_record_bytes
        self._definition_bytes = 0
        self._schemas: dict[int, Schema] = {}
        self._summary_schemas: dict[int, Schema] = {}
        self._summary_channels: dict[int, Channel] = {}
        self._resolved: dict[int, tuple[Channel, Schema | None, str | None]] = {}
        self._has_loose_messages = False
        self.header: dict[str, str] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.problems: list[Problem] = []
        self.recorded: dict[int, int] | None = None
        self.lost: dict[int, int] = {}
        self.channels: dict[int, Channel] = {}

    def messages(self) -> Iterator[McapMessage]:
        """Every readable message, in file order.

        Raises:
            BadInputError: reason ``empty_object`` or ``not_mcap``.
        """
        self._check_magic()
        summary_problem = self._read_summary()
        offset, after_bad_chunk = len(MAGIC), False
        while self._size - offset >= FRAME.size:
            opcode, length = FRAME.unpack(self._read(offset, FRAME.size))
            end = offset + FRAME.size + length
            if end > self._size or opcode == 0:
                self._report_framing(offset, opcode, length)
                return
            if opcode in (records.DATA_END, records.FOOTER):
                self._check_data_crc(opcode, offset, length)
                self._check_end(offset, end, summary_problem)
                return
            if opcode == records.CHUNK:
                before = len(self.problems)
                yield from self._chunk_messages(offset, length)
                after_bad_chunk = len(self.problems) > before
            elif opcode == records.MESSAGE:
                yield from self._loose_message(offset, length)
            elif opcode == records.MESSAGE_INDEX:
                if after_bad_chunk:
                    self._count_lost(offset, length)
            elif opcode in (records.HEADER, records.SCHEMA, records.CHANNEL, records.METADATA):
                self._definition(opcode, offset, length)
            offset = end
            if len(self.problems) >= MAX_PROBLEMS:
                detail = f"{MAX_PROBLEMS} problems up to here"
                self.problems.append(Problem("too_many_problems", detail, offset, self._size))
                return
        self._report("truncated", "the file ends without a DataEnd record", offset, self._size)

    def channel(self, channel_id: int) -> Channel:
        """A channel by id, made up where the file defines none."""
        return self._resolve(channel_id)[0]

    def schema(self, channel: Channel) -> Schema | None:
        return self._resolve(channel.channel_id)[1]

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def _report(self, reason: str, detail: str, start: int, exclusive_end: int) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(reason, detail, start, exclusive_end))

    def _check_magic(self) -> None:
        if self._size == 0:
            raise BadInputError("the object is empty", reason="empty_object", byte_offset=0)
        start = self._read(0, len(MAGIC))
        if start != MAGIC:
            raise BadInputError(f"expected the MCAP magic {MAGIC!r}, got {start!r}", reason="not_mcap", byte_offset=0)

    def _report_framing(self, offset: int, opcode: int, length: int) -> None:
        is_whole = self._read(self._size - len(MAGIC), len(MAGIC)) == MAGIC
        if opcode == 0:
            detail = f"byte {offset} holds opcode 0, which no record has"
        else:
            left = self._size - offset - FRAME.size
            detail = f"the record at byte {offset} (opcode {opcode:#04x}) claims {length} bytes, {left} are left"
        self._report("record_framing_lost" if is_whole else "truncated", detail, offset, self._size)

    def _chunk_messages(self, offset: int, length: int) -> Iterator[McapMessage]:
        end = offset + FRAME.size + length
        if length > self._max_chunk_bytes + self._max_record_bytes:
            self._report("chunk_too_large", f"the chunk record holds {length} bytes", offset, end)
            return
        try:
            chunk = records.parse_chunk(memoryview(self._read(offset + FRAME.size, length)))
            body = open_chunk(chunk, self._max_chunk_bytes)
        except RecordError as error:
            self._report("chunk_header_invalid", str(error), offset, end)
            return
        except ChunkError as error:
            self._report(error.reason, str(error), offset, end)
            return
        at, body_size = 0, len(body)
        while at < body_size:
            try:
                at_next = yield from self._chunk_record(body, at, body_size, offset)
            except RecordError as error:
                self._report("chunk_record_invalid", f"{error}, at {at} in the chunk", offset, end)
                return
            at = at_next

    def _chunk_record(
        self, body: memoryview, at: int, body_size: int, chunk_offset: int
    ) -> Generator[McapMessage, None, int]:
        if body_size - at < FRAME.size:
            raise RecordError(f"{body_size - at} stray bytes")
        opcode, length = FRAME.unpack_from(body, at)
        start, end = at + FRAME.size, at + FRAME.size + length
        if end > body_size:
            raise RecordError(f"a record (opcode {opcode:#04x}) claims {length} bytes, {body_size - start} are left")
        if opcode == records.MESSAGE:
            yield self._message(body[start:end], chunk_offset, at)
        elif opcode in (records.SCHEMA, records.CHANNEL):
            self._define(opcode, body[start:end], chunk_offset)
        elif opcode < 0x80:
            raise RecordError(f"opcode {opcode:#04x} does not belong in a chunk")
        return int(end)

    def _message(self, body: memoryview, chunk_offset: int, message_offset: int) -> McapMessage:
        if len(body) < records.MESSAGE_HEAD.size:
            raise RecordError(f"a message record of {len(body)} bytes has no room for its header")
        channel_id, sequence, log_time_ns, publish_time_ns = records.MESSAGE_HEAD.unpack_from(body)
        channel, schema, problem = self._resolved.get(channel_id) or self._resolve(channel_id)
        return McapMessage(
            channel,
            schema,
            problem,
            chunk_offset,
            message_offset,
            sequence,
            log_time_ns,
            publish_time_ns,
            body[records.MESSAGE_HEAD.size :],
        )

    def _loose_message(self, offset: int, length: int) -> Iterator[McapMessage]:
        end = offset + FRAME.size + length
        if length > self._max_chunk_bytes:
            self._report("message_too_large", f"the message record holds {length} bytes", offset, end)
            return
        self._has_loose_messages = True
        try:
            message = self._message(memoryview(self._read(offset + FRAME.size, length)), offset, 0)
        except RecordError as error:
            self._report("message_invalid", str(error), offset, end)
            return
        yield message

    def _resolve(self, channel_id: int) -> tuple[Channel, Schema | None, str | None]:
        channel = self.channels.get(channel_id) or self._summary_channels.get(channel_id)
        if channel is None:
            return Channel(channel_id, 0, f"unknown_channel_{channel_id}", "", {}), None, "channel_unknown"
        self.channels.setdefault(channel_id, channel)
        schema, problem = None, None
        if channel.schema_id:
            schema = self._schemas.get(channel.schema_id) or self._summary_schemas.get(channel.schema_id)
            problem = None if schema else "schema_unknown"
        found = (channel, schema, problem)
        if problem is None:
            self._resolved[channel_id] = found
        return found

    def _definition(self, opcode: int, offset: int, length: int) -> None:
        end = offset + FRAME.size + length
        if length > self._max_record_bytes:
            self._report("record_too_large", f"the record (opcode {opcode:#04x}) holds {length} bytes", offset, end)
            return
        try:
            self._define(opcode, memoryview(self._read(offset + FRAME.size, length)), offset)
        except RecordError as error:
            self._report("record_invalid", f"opcode {opcode:#04x}: {error}", offset, end)

    def _define(self, opcode: int, body: memoryview, offset: int) -> None:
        if opcode == records.HEADER:
            self.header = records.parse_header(body)
        elif opcode == records.METADATA:
            name, values = records.parse_metadata(body)
            self._account_definition(len(body))
            self.metadata.setdefault(name, {}).update(values)
        elif opcode == records.SCHEMA:
            schema = records.parse_schema(body)
            if self._schemas.get(schema.schema_id) != schema:
                self._account_definition(len(body))
                self._schemas[schema.schema_id] = schema
                self._resolved.clear()
        else:
            channel = records.parse_channel(body)
            known = self.channels.get(channel.channel_id)
            if known == channel:
                return
            if known is not None:
                detail = f"channel {channel.channel_id} was {known.topic!r} and is now {channel.topic!r}"
                self._report("channel_redefined", detail, offset, offset)
            self._account_definition(len(body))
            self.channels[channel.channel_id] = channel
            self._resolved.pop(channel.channel_id, None)

    def _account_definition(self, length: int) -> None:
        self._definition_bytes += length
        if self._definition_bytes > self._max_chunk_bytes:
            raise RecordError(f"schemas, channels and metadata exceed {self._max_chunk_bytes} bytes")

    def _count_lost(self, offset: int, length: int) -> None:
        if length > self._max_chunk_bytes:
            return
        try:
            channel_id, count = records.parse_message_index(memoryview(self._read(offset + FRAME.size, length)))
        except RecordError as error:
            self._report("record_invalid", f"message index: {error}", offset, offset + FRAME.size + length)
            return
        self.lost[channel_id] = self.lost.get(channel_id, 0) + count

    def _check_data_crc(self, opcode: int, offset: int, length: int) -> None:
        """Chunks carry their own CRC; messages outside chunks have only the data section's."""
        if opcode != records.DATA_END or length < 4 or not self._has_loose_messages:
            return
        recorded = int.from_bytes(self._read(offset + FRAME.size, 4), "little")
        if recorded and self._crc(0, offset) != recorded:
            self._report("data_crc_mismatch", "bytes of the data section differ from what was written", 0, offset)

    def _check_end(self, offset: int, summary_at: int, summary_problem: str | None) -> None:
        """Nothing may follow the first footer: what does was never read, be it padding or a second recording."""
        while self._size - offset >= FRAME.size:
            opcode, length = FRAME.unpack(self._read(offset, FRAME.size))
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

    def _crc(self, start: int, exclusive_end: int) -> int:
        crc = 0
        for at in range(start, exclusive_end, _CRC_BLOCK_BYTES):
            crc = zlib.crc32(self._read(at, min(_CRC_BLOCK_BYTES, exclusive_end - at)), crc)
        return crc

    def _read_summary(self) -> str | None:
        """Takes statistics, schemas and channels from the summary; returns why it could not, if it could not."""
        at_footer = self._size - len(MAGIC) - records.FOOTER_BYTES
        if at_footer < len(MAGIC):
            return "the file is too short to hold a footer"
        tail = self._read(at_footer, records.FOOTER_BYTES + len(MAGIC))
        if FRAME.unpack_from(tail) != (records.FOOTER, 20) or tail[-len(MAGIC) :] != MAGIC:
            return "the file does not end with a footer and the magic"
        footer = records.parse_footer(memoryview(tail)[FRAME.size : records.FOOTER_BYTES])
        if footer.summary_start == 0:
            return None
        if not len(MAGIC) <= footer.summary_start <= at_footer:
            return f"the summary is said to start at {footer.summary_start}, the footer is at {at_footer}"
        if footer.summary_crc and self._crc(footer.summary_start, self._size - len(MAGIC) - 4) != footer.summary_crc:
            return "the summary's CRC does not hold"
        try:
            self._summary_records(footer.summary_start, at_footer)
        except RecordError as error:
            self.recorded = None
            return str(error)
        return None

    def _summary_records(self, offset: int, exclusive_end: int) -> None:
        definition_bytes = 0
        while offset < exclusive_end:
            if exclusive_end - offset < FRAME.size:
                raise RecordError(f"{exclusive_end - offset} stray bytes at {offset} in the summary")
            opcode, length = FRAME.unpack(self._read(offset, FRAME.size))
            end = offset + FRAME.size + length
            if end > exclusive_end:
                raise RecordError(f"the summary's record at {offset} claims {length} bytes")
            if opcode in (records.SCHEMA, records.CHANNEL, records.STATISTICS) and length <= self._max_record_bytes:
                definition_bytes += length
                if definition_bytes > self._max_chunk_bytes:
                    raise RecordError(f"the summary's definitions exceed {self._max_chunk_bytes} bytes")
                body = memoryview(self._read(offset + FRAME.size, length))
                if opcode == records.SCHEMA:
                    schema = records.parse_schema(body)
                    self._summary_schemas[schema.schema_id] = schema
                elif opcode == records.CHANNEL:
                    channel = records.parse_channel(body)
                    self._summary_channels[channel.channel_id] = channel
                else:
                    self.recorded = records.parse_statistics(body)
            offset = end
