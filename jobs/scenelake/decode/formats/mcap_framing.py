"""The frames of a file's top-level records, held against the summary's list of chunks."""

from dataclasses import dataclass

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.mcap_problems import Problems
from scenelake.decode.formats.mcap_records import FOOTER_BYTES, FRAME, MAGIC, RecordError
from scenelake.decode.formats.mcap_summary import ChunkList, Summary

_IN_SUMMARY = frozenset(
    (
        records.SCHEMA,
        records.CHANNEL,
        records.CHUNK_INDEX,
        records.ATTACHMENT_INDEX,
        records.STATISTICS,
        records.METADATA_INDEX,
        records.SUMMARY_OFFSET,
    )
)


@dataclass(frozen=True, slots=True)
class Frame:
    """Opcode and length of the record at an offset.

    Attributes:
        lost: why it cannot be a record's; empty when it can.
        is_end: whether the data section ends here.
    """

    offset: int
    opcode: int
    length: int
    lost: str = ""
    is_end: bool = False

    @property
    def end(self) -> int:
        return self.offset + FRAME.size + self.length


class Framing:
    """Walks from record to record, forward only.

    A listed chunk is believed where a record's frame, its own fields and the list agree by two to one. The list costs
    no reading as long as the records and it agree.
    """

    def __init__(self, source: Source, chunks: ChunkList, problems: Problems, summary: Summary) -> None:
        self._source = source
        self._size = source.size_bytes
        self._chunks = chunks
        self._problems = problems
        self._summary = summary
        self._next_sound = 0
        self._nbr_met = 0

    def at(self, offset: int) -> Frame:
        """The frame at an offset at which a record should start, repaired where it can be."""
        opcode, length = self._frame(offset)
        listed = self._chunks.length_at(offset)
        if listed is not None:
            self._nbr_met += 1
            if (opcode, length) != (records.CHUNK, listed - FRAME.size):
                opcode, length = self._repaired(offset, opcode, length, listed - FRAME.size)
        lost = self._why_lost(offset, opcode, length)
        return Frame(offset, opcode, length, lost, not lost and self._is_end(offset, opcode, length))

    def lose(self, frame: Frame, exclusive_end: int) -> int:
        """Reports a lost frame; returns the offset at which a record starts again."""
        following = self._sound_after(frame.offset)
        resumed = exclusive_end if following is None else min(following, exclusive_end)
        is_whole = self._source.read(self._size - len(MAGIC), len(MAGIC)) == MAGIC
        self._problems.report("record_framing_lost" if is_whole else "truncated", frame.lost, frame.offset, resumed)
        return resumed

    def holds_chunk(self, start: int, exclusive_end: int) -> bool:
        """Whether a chunk should start in the range."""
        return self._chunks.count(start, exclusive_end) > 0

    def behind_chunk(self, frame: Frame, content_end: int | None, indexes_end: int) -> int:
        """Offset behind a chunk and its indexes, or of a listed chunk that its record swallows.

        Bytes behind its fields are none: a later version of the format may have put them there.

        Args:
            content_end: where the chunk's own fields say that it ends; None when they make no sense.
        """
        following = self._sound_after(frame.offset) if self._swallows(frame.offset, frame.end) else None
        fields_end = frame.offset + FRAME.size if content_end is None else content_end
        if following is None or not fields_end <= following < frame.end:
            return indexes_end
        if content_end is not None:
            detail = f"the chunk's fields end at {content_end}, its record at {frame.end}"
            self._problems.report("chunk_trailing_bytes", detail, content_end, following)
        return following

    def check_chunks(self, start: int, exclusive_end: int) -> None:
        """Chunks that are listed and lie elsewhere were read where they lie."""
        nbr_listed = self._chunks.count(start, exclusive_end)
        if self._nbr_met < nbr_listed and self._problems.is_empty:
            detail = f"{nbr_listed} chunks are listed, {self._nbr_met} of them lie there"
            self._problems.report("chunk_index_contradicted", detail, start, exclusive_end)

    def check_end(self, frame: Frame) -> None:
        """Nothing may follow the first footer: what does was never read, be it padding or a second recording."""
        offset, after_data = frame.offset, frame.end
        if frame.opcode != records.DATA_END:
            after_data = offset
            self._problems.report("data_end_missing", "no DataEnd record in front of the summary", offset, offset)
        while self._size - offset >= FRAME.size:
            opcode, length = self._frame(offset)
            offset += FRAME.size + length
            if opcode == records.FOOTER and offset + len(MAGIC) < self._size:
                after = offset + len(MAGIC)
                detail = f"{self._size - after} bytes follow the end of the recording"
                self._problems.report("bytes_after_end", detail, after, self._size)
                return
            if opcode == records.FOOTER:
                break
        if self._summary.problem:
            self._problems.report("summary_unreadable", self._summary.problem, after_data, self._size)

    def _frame(self, offset: int) -> tuple[int, int]:
        opcode, length = FRAME.unpack(self._source.read(offset, FRAME.size))
        return opcode, length

    def _why_lost(self, offset: int, opcode: int, length: int) -> str:
        end = offset + FRAME.size + length
        if opcode == 0:
            return f"byte {offset} holds opcode 0, which no record has"
        if end > self._size:
            left = self._size - offset - FRAME.size
            return f"the record at byte {offset} (opcode {opcode:#04x}) claims {length} bytes, {left} are left"
        is_end = opcode in (records.DATA_END, records.FOOTER)
        if opcode != records.CHUNK and self._swallows(offset, self._size if is_end else end):
            following = self._sound_after(offset)
            if following is not None and (is_end or following < end):
                return f"the record at byte {offset} (opcode {opcode:#04x}) contradicts the chunk listed at {following}"
        return ""

    def _swallows(self, offset: int, end: int) -> bool:
        """Whether a chunk is listed between."""
        return self.holds_chunk(offset + 1, end)

    def _sound_after(self, offset: int) -> int | None:
        """The first listed chunk behind ``offset`` that has a chunk's frame of the listed length."""
        starts, lengths = self._chunks.starts, self._chunks.lengths
        at = max(self._next_sound, self._chunks.following(offset))
        while at < len(starts) and self._frame(starts[at]) != (records.CHUNK, lengths[at] - FRAME.size):
            at += 1
        self._next_sound = at
        return starts[at] if at < len(starts) else None

    def _repaired(self, offset: int, opcode: int, length: int, listed: int) -> tuple[int, int]:
        if opcode != records.CHUNK and length != listed:
            return opcode, length
        try:
            prefix = self._source.read(offset + FRAME.size, min(listed, records.MAX_CHUNK_HEAD_BYTES))
            head = records.parse_chunk_head(prefix)
        except RecordError:
            return opcode, length
        if head.head_bytes + head.stored_bytes != listed:
            return opcode, length
        detail = f"the chunk's frame says opcode {opcode:#04x} and {length} bytes, its fields and the summary {listed}"
        self._problems.report("chunk_frame_repaired", detail, offset, offset + FRAME.size)
        return records.CHUNK, listed

    def _is_end(self, offset: int, opcode: int, length: int) -> bool:
        """Whether the data section ends here: by a DataEnd, or by what should follow one."""
        end = offset + FRAME.size + length
        if opcode == records.FOOTER:
            is_sound = length == FOOTER_BYTES - FRAME.size
            return is_sound and self._source.read(end, len(MAGIC)) == MAGIC[: self._size - end]
        if opcode == records.DATA_END:
            return self._summary.start == end or not self._data_follow(end)
        return self._summary.start == offset and self._summary.problem is None

    def _data_follow(self, offset: int) -> bool:
        """Whether a record that belongs in front of the DataEnd comes before the footer."""
        while self._size - offset >= FRAME.size:
            opcode, length = self._frame(offset)
            if opcode == records.FOOTER:
                return False
            if opcode < records.FIRST_PRIVATE and opcode not in _IN_SUMMARY:
                return offset + FRAME.size + length <= self._size
            offset += FRAME.size + length
        return False
