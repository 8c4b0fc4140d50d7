"""Messages of MCAP records as blocks of columns."""

from collections.abc import Callable, Iterator

import numpy as np

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Block
from scenelake.decode.formats.mcap_chunk import ChunkError
from scenelake.decode.formats.mcap_definitions import Definitions
from scenelake.decode.formats.mcap_records import FRAME, RecordError
from scenelake.decode.formats.mcap_walk import heads
from scenelake.decode.formats.mcap_windows import Stretch

Define = Callable[[int, memoryview], None]
"""Takes opcode and body of a schema or channel record, or raises RecordError."""


class BlockBuilder:
    """Makes blocks of the messages that a walk found."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def of_chunk(self, stretch: Stretch, chunk_offset: int, define: Define) -> Iterator[Block]:
        """Blocks of one stretch of a chunk, more than one where a channel changes its meaning.

        Raises:
            ChunkError: reason ``chunk_record_invalid``, behind the last message in front of a bad record.
        """
        body, messages, at = stretch.body, stretch.found.messages, 0
        for opcode, start, exclusive_end in stretch.found.others:
            stop = int(np.searchsorted(messages, start))
            try:
                if opcode in (records.SCHEMA, records.CHANNEL):
                    record = body[start:exclusive_end]
                    if stop > at and self._definitions.changes(opcode, record):
                        yield self._of_stretch(stretch, at, stop, chunk_offset)
                        at = stop
                    define(opcode, record)
                elif opcode < records.FIRST_PRIVATE:
                    raise RecordError(f"opcode {opcode:#04x} does not belong in a chunk")
            except RecordError as error:
                yield self._of_stretch(stretch, at, stop, chunk_offset)
                place = stretch.base + start - FRAME.size
                raise ChunkError("chunk_record_invalid", f"{error}, at {place} in the chunk") from error
        if at < len(messages):
            yield self._of_stretch(stretch, at, len(messages), chunk_offset)

    def loose(self, body: memoryview, offsets: np.ndarray, base: int) -> Block:
        """Messages outside chunks; ``base`` is the offset of ``body`` in the file."""
        return self._columns(body, offsets, offsets + base, np.zeros(len(offsets), np.int64))

    def _of_stretch(self, stretch: Stretch, at: int, stop: int, chunk_offset: int) -> Block:
        offsets = stretch.found.messages[at:stop]
        chunks = np.full(len(offsets), chunk_offset, np.int64)
        return self._columns(stretch.body, offsets, chunks, offsets + stretch.base if stretch.base else offsets)

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
