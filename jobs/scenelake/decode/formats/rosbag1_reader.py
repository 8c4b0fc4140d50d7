"""A forward-only reader of ROS 1 bags (format 2.0) that survives damaged, unfinished and hostile files.

It walks the records from the front and needs no index; where there is one it gives the recording's own counts, a
second copy of the connections, and the places at which to go on when the framing is lost.

The format has few checks of its own: bz2 chunks carry checksums, lz4 chunks do when their writer asked for them (as
ROS 1's own does), uncompressed ones never. The connection, time and place of every message are compared with the index
records that follow its chunk; a changed byte of a message's content in an uncompressed chunk cannot be seen.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats import rosbag1_records as records
from scenelake.decode.formats.blocks import Block, Findings, Part, PlanContradictedError, Source
from scenelake.decode.formats.mcap_chunk import ChunkError, Inflation
from scenelake.decode.formats.mcap_problems import Problems
from scenelake.decode.formats.rosbag1_index import MAX_CHANNELS, BagIndex, ChunkIndex, Connections, read_index
from scenelake.decode.formats.rosbag1_records import FramingError, RecordError
from scenelake.decode.formats.rosbag1_walk import Walk, walk, walk_portion

MAX_INFLATION = 200
"""Times the size of the bag, beyond one chunk, that its chunks may inflate to: a small bomb must not cost hours."""

_LOOSE_WINDOW_BYTES = 4 * 1024 * 1024
_PADDED_HEADER_BYTES = (4096 + 8, 4096)
"""Writers pad the bag header's record to one of these lengths, so the data are found where the header is damaged."""


class Rosbag1Reader:
    """Reads one bag once: iterate ``blocks()`` to its end, then look at ``findings``.

    Times are the bag's record times; it has no publish time, which is 0 throughout.

    Args:
        max_chunk_bytes: a chunk or message that claims more is not believed, and is lost with its byte range.
        max_record_bytes: the same for headers and connections.
    """

    format = "rosbag1"

    def __init__(self, source: Source, *, max_chunk_bytes: int, max_record_bytes: int) -> None:
        self._source = source
        self._size = source.size_bytes
        self._max_chunk_bytes = max_chunk_bytes
        self._max_record_bytes = max_record_bytes
        self.findings = Findings()
        self.compressions: set[str] = set()
        self._problems = Problems(self.findings.problems)
        self._report = self._problems.report
        self._inflation = Inflation(max_chunk_bytes + MAX_INFLATION * self._size)
        self._connections = Connections(self.findings, max_chunk_bytes)
        self._index = BagIndex()
        # Of an index that cannot be read: a walk that comes to it has seen all the data.
        self._index_start: int | None = None
        self._exclusive_end = self._size

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """The bag as one part."""
        return [Part(0, 0, self._size)]

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Every readable message, in file order.

        Raises:
            BadInputError: reason ``not_rosbag1`` or ``bag_encrypted``.
            PlanContradictedError: the part is not the whole bag.
        """
        if part is not None and (part.start_byte, part.exclusive_end_byte) != (0, self._size):
            raise PlanContradictedError(f"a bag is read as one part of {self._size} bytes, got {part}")
        try:
            yield from self._blocks()
        finally:
            for channel_id in {**(self.findings.recorded or {}), **self.findings.lost}:
                self._connections.resolve(channel_id)

    def _blocks(self) -> Iterator[Block]:
        offset = self._open_bag()
        while offset < self._exclusive_end and not self._problems.is_full:
            is_index = offset == self._index_start
            try:
                frame = records.read_frame(self._source, offset, self._exclusive_end, self._max_record_bytes)
            except FramingError as error:
                if is_index:
                    return
                offset = self._resume(offset, str(error))
                continue
            try:
                op, fields = records.parse_header(frame.header)
            except RecordError as error:
                offset = self._skip(frame, str(error))
                continue
            if is_index and op == records.CONNECTION:
                return
            if op == records.CHUNK:
                offset = yield from self._chunk(frame, fields)
            elif frame.exclusive_end > self._exclusive_end:
                offset = self._resume(offset, _overrun(frame, self._exclusive_end))
            elif op == records.MESSAGE:
                offset = yield from self._loose_messages(frame)
            else:
                self._take(op, fields, frame)
                offset = frame.exclusive_end
        if offset < self._exclusive_end:
            self._problems.give_up(offset, self._size)

    def _open_bag(self) -> int:
        """Reads the bag header and the index; returns the offset behind the header."""
        start = bytes(self._source.read(0, len(records.MAGIC)))
        if start != records.MAGIC:
            raise BadInputError(f"expected {records.MAGIC!r}, got {start!r}", reason="not_rosbag1", byte_offset=0)
        at = len(records.MAGIC)
        try:
            frame = records.read_frame(self._source, at, self._size, self._max_record_bytes)
            op, fields = records.parse_header(frame.header)
            if op != records.BAG_HEADER or frame.exclusive_end > self._size:
                raise RecordError(f"it has op {op:#04x} and {frame.data_bytes} bytes of data")
        except (FramingError, RecordError) as error:
            end = self._end_of_padding(at)
            self._report("record_invalid", f"the bag header cannot be read: {error}", at, end)
            return end
        if fields.get(b"encryptor"):
            raise BadInputError(f"encrypted by {fields[b'encryptor'][:80]!r}", reason="bag_encrypted", byte_offset=at)
        index = read_index(self._source, fields, self._max_record_bytes, self._max_chunk_bytes)
        if index.start is not None:
            self._index, self._exclusive_end = index, index.start
            self._connections.from_index, self.findings.recorded = index.connections, index.recorded
        elif index.problem and records.number(fields, b"index_pos") <= self._size:
            self._report("summary_unreadable", f"index: {index.problem}", at, at)
            self._index_start = records.number(fields, b"index_pos")
        else:
            detail = "the bag lacks its index: it was not closed, or its end is missing"
            self._report("truncated", detail, self._size, self._size)
        return frame.exclusive_end

    def _end_of_padding(self, start: int) -> int:
        for length in _PADDED_HEADER_BYTES:
            try:
                frame = records.read_frame(self._source, start + length, self._size, self._max_record_bytes)
                records.parse_header(frame.header)
            except (FramingError, RecordError):
                continue
            return start + length
        return self._size

    def _resume(self, offset: int, detail: str) -> int:
        """The next place where a record is known to start, or the end; what lies before it is lost."""
        following = self._index.next_known(offset)
        reason = "truncated" if following is None else "record_framing_lost"
        following = self._exclusive_end if following is None else min(following, self._exclusive_end)
        self._report(reason, detail, offset, following)
        return following

    def _skip(self, frame: records.Frame, detail: str) -> int:
        """Behind a record whose header makes no sense, which makes its length doubtful too."""
        following = self._index.next_known(frame.start)
        if following is None:
            following = min(frame.exclusive_end, self._exclusive_end)
        self._report("record_invalid", f"at byte {frame.start}: {detail}", frame.start, following)
        return following

    def _take(self, op: int, fields: records.Fields, frame: records.Frame) -> None:
        """A record between the chunks that is not a message; indexes and a second bag header say nothing new."""
        if op != records.CONNECTION:
            return
        if frame.data_bytes > self._max_record_bytes:
            detail = f"the connection record holds {frame.data_bytes} bytes"
            self._report("record_too_large", detail, frame.start, frame.exclusive_end)
            return
        try:
            data = self._source.read(frame.data_start, frame.data_bytes)
            self._define(fields, data, frame.start, frame.exclusive_end)
        except RecordError as error:
            self._report("record_invalid", str(error), frame.start, frame.exclusive_end)

    def _define(self, fields: records.Fields, data: memoryview, start: int, exclusive_end: int) -> None:
        definition = records.parse_connection(fields, bytes(data))
        odd = self._connections.define(definition, len(data))
        if odd:
            self._report(*odd, start, exclusive_end)

    def _chunk(self, frame: records.Frame, fields: records.Fields) -> Generator[Block, None, int]:
        """Blocks of a chunk; returns the offset behind it and its index.

        A recorder that is cut off leaves its last chunk with both sizes 0 and the data behind it.
        """
        compression, claimed = fields[b"compression"], records.number(fields, b"size")
        is_unfinished = not claimed and not frame.data_bytes and compression != b"none"
        is_cut = is_unfinished or frame.exclusive_end > self._exclusive_end
        index = ChunkIndex(self._max_chunk_bytes)
        if is_cut:
            detail = "the chunk was not finished" if is_unfinished else _overrun(frame, self._exclusive_end)
            end = following = self._resume(frame.start, detail)
            claimed = self._max_chunk_bytes if is_unfinished else claimed
        else:
            end = frame.exclusive_end
            following = self._read_chunk_index(end, index)
        body = self._open(frame, end, compression, claimed, is_cut)
        is_whole = bool(body)
        delivered = Counter[int]()
        for found in walk(body):
            exact = frame.data_start if compression == b"none" else None
            for block in self._walked(body, found, frame, end, exact):
                yield block
                delivered.update(
                    dict(zip(*map(np.ndarray.tolist, np.unique(block.channel_id, return_counts=True)), strict=True))
                )
            if index.counts and index.contradicts(found):
                index.problem = "the messages are others than the index behind the chunk says"
            if found.error and not is_cut:
                self._report("chunk_record_invalid", f"{found.error}, in the chunk", frame.start, end)
            if self._problems.is_full:
                break
        if index.problem and is_whole:
            self._report("index_contradicted", index.problem, frame.start, end)
        self._count_lost(index.counts - delivered)
        return following

    def _count_lost(self, missing: Counter[int]) -> None:
        lost = self.findings.lost
        for channel_id, count in missing.items():
            if channel_id in lost or len(lost) < MAX_CHANNELS:
                lost[channel_id] = lost.get(channel_id, 0) + count

    def _open(self, frame: records.Frame, end: int, compression: bytes, claimed: int, is_cut: bool) -> memoryview:
        most = self._max_chunk_bytes
        try:
            if claimed > most or frame.data_bytes > most + self._max_record_bytes:
                largest = max(claimed, frame.data_bytes)
                raise ChunkError("chunk_too_large", f"claims {largest} bytes, at most {most} are believed")
            length = min(end - frame.data_start, most + self._max_record_bytes)
            data = self._source.read(frame.data_start, length)
            body = records.open_chunk(compression, data, claimed, self._inflation, is_cut=is_cut)
            self.compressions.add(compression.decode())
            return body
        except ChunkError as error:
            self._report(error.reason, str(error), frame.start, end)
        return memoryview(b"")

    def _read_chunk_index(self, offset: int, index: ChunkIndex) -> int:
        """Takes the index records that follow a chunk; returns the offset behind them."""
        while offset < self._exclusive_end:
            try:
                frame = records.read_frame(self._source, offset, self._exclusive_end, self._max_record_bytes)
                op, fields = records.parse_header(frame.header)
            except (FramingError, RecordError):
                break
            if op != records.INDEX_DATA or frame.exclusive_end > self._exclusive_end:
                break
            try:
                if frame.data_bytes > self._max_chunk_bytes:
                    raise RecordError(f"an index record of {frame.data_bytes} bytes")
                index.take(fields, self._source.read(frame.data_start, frame.data_bytes))
            except RecordError as error:
                index.problem = str(error)
            offset = frame.exclusive_end
        index.close()
        return offset

    def _walked(
        self, body: memoryview, found: Walk, frame: records.Frame, end: int, data_start: int | None
    ) -> Iterator[Block]:
        """Blocks of a portion of a chunk, more than one where a connection changes its meaning.

        Args:
            data_start: where the chunk's records lie in the file; None when they are compressed.
        """
        at = 0
        for row in np.flatnonzero(~found.is_message).tolist():
            start, data_at, exclusive_end = (
                int(column[row]) for column in (found.starts, found.data_starts, found.exclusive_ends)
            )
            try:
                op, fields = records.parse_header(body[start + records.U32.size : data_at - records.U32.size])
                if op != records.CONNECTION:
                    raise RecordError(f"a record with op {op:#04x} does not belong in a chunk")
                if exclusive_end - data_at > self._max_record_bytes:
                    raise RecordError(f"a connection of {exclusive_end - data_at} bytes")
                definition = records.parse_connection(fields, bytes(body[data_at:exclusive_end]))
                if self._connections.changes(definition) and row > at:
                    yield from self._block(body, found, slice(at, row), frame, end)
                    at = row
                self._define(fields, body[data_at:exclusive_end], frame.start, end)
            except RecordError as error:
                where = (frame.start, end) if data_start is None else (data_start + start, data_start + exclusive_end)
                self._report("chunk_record_invalid", f"{error}, at {start} in the chunk", *where)
                if self._problems.is_full:
                    break
        yield from self._block(body, found, slice(at, None), frame, end)

    def _block(
        self, body: memoryview, found: Walk, rows: slice, frame: records.Frame, end: int, is_loose: bool = False
    ) -> Iterator[Block]:
        """The messages among some records of a portion; outside chunks their own offset stands for the chunk's."""
        kept = found.is_message[rows]
        starts, data_starts, ends = (
            column[rows][kept] for column in (found.starts, found.data_starts, found.exclusive_ends)
        )
        if not len(starts):
            return
        channel_id, zeros = found.channel_id[rows][kept], np.zeros(len(starts), np.int64)
        try:
            definitions = self._connections.resolve_all(np.unique(channel_id).tolist())
        except RecordError as error:
            self._report("chunk_record_invalid", str(error), frame.start, end)
            return
        yield Block(
            body=body,
            definitions=definitions,
            channel_id=channel_id,
            sequence=zeros.astype(np.uint32),
            log_time_ns=found.time_ns[rows][kept],
            publish_time_ns=zeros.astype(np.uint64),
            chunk_offset_bytes=starts + frame.start if is_loose else zeros + frame.start,
            message_offset_bytes=zeros if is_loose else starts,
            start=data_starts,
            exclusive_end=ends,
        )

    def _loose_messages(self, frame: records.Frame) -> Generator[Block, None, int]:
        """Messages outside chunks, a window at a time; returns the offset behind them."""
        length = frame.exclusive_end - frame.start
        if length > self._max_chunk_bytes:
            detail = f"the message record holds {length} bytes"
            self._report("message_too_large", detail, frame.start, frame.exclusive_end)
            return frame.exclusive_end
        window = min(max(_LOOSE_WINDOW_BYTES, length), self._exclusive_end - frame.start)
        body = self._source.read(frame.start, window)
        found = walk_portion(body, 0)
        others = np.flatnonzero(~found.is_message)
        nbr_messages = int(others[0]) if len(others) else len(found.starts)
        end = frame.start + int(found.exclusive_ends[nbr_messages - 1])
        yield from self._block(body, found, slice(0, nbr_messages), frame, end, is_loose=True)
        return end


def _overrun(frame: records.Frame, exclusive_end: int) -> str:
    left = exclusive_end - frame.data_start
    return f"the record at byte {frame.start} claims {frame.data_bytes} bytes of data, {left} are left"
