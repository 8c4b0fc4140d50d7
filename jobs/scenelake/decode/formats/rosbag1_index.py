"""What a ROS 1 bag says of itself: the index at its end, and the records that follow each chunk."""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from scenelake.decode.formats import rosbag1_records as records
from scenelake.decode.formats.blocks import Channel, Definition, Findings, Source
from scenelake.decode.formats.rosbag1_records import FramingError, RecordError
from scenelake.decode.formats.rosbag1_walk import Walk

MAX_CHANNELS = 65_536
"""Connections of a bag, as many as an MCAP file can have."""
_ENTRY = np.dtype([("s", "<u4"), ("ns", "<u4"), ("offset", "<u4")])
_COUNT = np.dtype([("connection", "<u4"), ("count", "<u4")])


@dataclass(slots=True)
class BagIndex:
    """The index section.

    Attributes:
        start: its first byte; where the data end. None without one.
        problem: why it could not be read; None when it could, or when the bag has none.
        recorded: messages by channel id, according to the chunk infos.
        chunk_starts: offsets of the chunk records, ascending.
    """

    start: int | None = None
    problem: str | None = None
    recorded: dict[int, int] | None = None
    connections: dict[int, Definition] = field(default_factory=dict)
    chunk_starts: list[int] = field(default_factory=list)

    def next_known(self, offset: int) -> int | None:
        """The next place behind ``offset`` at which a record starts; None where the index does not say."""
        if self.start is None:
            return None
        at = bisect_right(self.chunk_starts, offset)
        return self.chunk_starts[at] if at < len(self.chunk_starts) else max(self.start, offset)


def read_index(source: Source, head: records.Fields, max_record_bytes: int, max_bytes: int) -> BagIndex:
    """The index to which the bag header points, whole or not at all."""
    start, size = records.number(head, b"index_pos"), source.size_bytes
    if not start:
        return BagIndex()
    if not len(records.MAGIC) < start <= size:
        return BagIndex(problem=f"it is said to start at byte {start}, the file holds {size}")
    if size - start > max_bytes:
        return BagIndex(problem=f"it holds {size - start} bytes, at most {max_bytes} are believed")
    index, recorded = BagIndex(start), Counter[int]()
    try:
        offset = start
        while offset < size:
            frame = records.read_frame(source, offset, size, max_record_bytes)
            if frame.exclusive_end > size or frame.data_bytes > max_record_bytes:
                raise FramingError(f"the record at byte {offset} claims {frame.data_bytes} bytes")
            _take(index, recorded, frame, source)
            if len(index.connections) > MAX_CHANNELS or len(recorded) > MAX_CHANNELS:
                raise RecordError(f"more than {MAX_CHANNELS} connections")
            offset = frame.exclusive_end
        claimed = (records.number(head, b"conn_count"), records.number(head, b"chunk_count"))
        found = (len(index.connections), len(index.chunk_starts))
        if claimed != found:
            raise RecordError(f"the bag header counts {claimed} connections and chunks, the index holds {found}")
    except (FramingError, RecordError) as error:
        return BagIndex(problem=str(error))
    index.chunk_starts.sort()
    index.recorded = dict(recorded)
    return index


def _take(index: BagIndex, recorded: Counter[int], frame: records.Frame, source: Source) -> None:
    op, fields = records.parse_header(frame.header)
    data = source.read(frame.data_start, frame.data_bytes)
    if op == records.CONNECTION:
        definition = records.parse_connection(fields, bytes(data))
        index.connections[definition.channel.channel_id] = definition
    elif op == records.CHUNK_INFO:
        if records.number(fields, b"ver") != 1 or records.number(fields, b"count") * _COUNT.itemsize != len(data):
            raise RecordError(f"the chunk info at byte {frame.start} contradicts itself")
        for connection, count in np.frombuffer(data, _COUNT).tolist():
            recorded[records.signed(connection)] += count
        index.chunk_starts.append(records.number(fields, b"chunk_pos"))
    else:
        raise RecordError(f"the record at byte {frame.start} (op {op:#04x}) does not belong in an index")


class ChunkIndex:
    """The index records that follow a chunk: every message's connection, time and offset once more.

    They are the only check that a bag has on an uncompressed chunk.

    Args:
        max_bytes: the chunk's; an index of more messages than fit into as many bytes is not read.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes // records.MIN_MESSAGE_BYTES
        self._entries: list[np.ndarray] = []
        self._channels: list[np.ndarray] = []
        self._offsets = np.empty(0, np.int64)
        self.counts: Counter[int] = Counter()
        self.problem: str | None = None

    def take(self, fields: records.Fields, data: memoryview) -> None:
        """One record of it.

        Raises:
            RecordError: it contradicts itself.
        """
        count, channel_id = records.number(fields, b"count"), records.signed(records.number(fields, b"conn"))
        if records.number(fields, b"ver") != 1 or count * _ENTRY.itemsize != len(data):
            raise RecordError(f"an index record of {len(data)} bytes counts {count} messages")
        self._left -= max(count, 1)
        if self._left < 0:
            raise RecordError("the index of a chunk lists more messages than the chunk can hold")
        self.counts[channel_id] += count
        self._entries.append(np.frombuffer(data, _ENTRY).copy())
        self._channels.append(np.full(count, channel_id, np.int32))

    def close(self) -> None:
        """To be called when all its records have been taken."""
        entries = np.concatenate(self._entries) if self._entries else np.empty(0, _ENTRY)
        channels = np.concatenate(self._channels) if self._channels else np.empty(0, np.int32)
        order = np.argsort(entries["offset"], kind="stable")
        self._entries, self._channels = [entries[order]], [channels[order]]
        self._offsets = self._entries[0]["offset"].astype(np.int64)

    def contradicts(self, found: Walk) -> bool:
        """Whether the messages of a portion are others than the index says."""
        if not len(found.starts):
            return False
        first, last = np.searchsorted(self._offsets, (found.starts[0], found.exclusive_end))
        starts = found.starts[found.is_message]
        if last - first != len(starts):
            return True
        entries = self._entries[0][first:last]
        # An offset may be that of a connection record in front of its first message.
        places = np.searchsorted(starts, self._offsets[first:last])
        times = entries["s"].astype(np.uint64) * np.uint64(1_000_000_000) + entries["ns"].astype(np.uint64)
        return not (
            (places == np.arange(len(starts))).all()
            and (times == found.time_ns[found.is_message]).all()
            and (self._channels[0][first:last] == found.channel_id[found.is_message]).all()
        )


class Connections:
    """Definitions as they stand at the reader's place in the bag, the index's second copy behind them.

    Args:
        findings: gets every channel met.
        max_bytes: all definitions together hold no more.
    """

    def __init__(self, findings: Findings, max_bytes: int) -> None:
        self._findings = findings
        self._left_bytes = max_bytes
        self._known: dict[int, Definition] = {}
        self.from_index: dict[int, Definition] = {}

    def changes(self, definition: Definition) -> bool:
        """Whether it gives an id another meaning than it has had so far."""
        channel_id = definition.channel.channel_id
        return self._known.get(channel_id, definition) != definition

    def define(self, definition: Definition, nbr_bytes: int) -> tuple[str, str] | None:
        """Takes a definition; returns reason and detail of what is odd about it.

        Raises:
            RecordError: there are too many.
        """
        channel_id = definition.channel.channel_id
        before = self._known.get(channel_id)
        if before == definition:
            return None
        self._left_bytes -= nbr_bytes
        if self._left_bytes < 0 or len(self._known) >= MAX_CHANNELS:
            raise RecordError("the connections of the bag are too many or too large")
        self._known[channel_id] = definition
        if before is not None:
            detail = f"connection {channel_id} was {before.channel.topic!r} and is now {definition.channel.topic!r}"
            return "channel_redefined", detail
        if self.from_index.get(channel_id, definition) != definition:
            detail = f"connection {channel_id} ({definition.channel.topic!r}) is another in the index"
            return "index_contradicted", detail
        return None

    def resolve(self, channel_id: int) -> Definition:
        """The channel's definition, made up where the bag has none."""
        found = self._known.get(channel_id) or self.from_index.get(channel_id)
        if found is None:
            channel = Channel(channel_id, 0, f"unknown_channel_{channel_id}", "ros1", {})
            found = Definition(channel, None, "channel_unknown")
        self._findings.definitions[channel_id] = found
        return found

    def resolve_all(self, channel_ids: list[int]) -> dict[int, Definition]:
        """Definitions of the channels of a block.

        Raises:
            RecordError: more channels than a bag can have.
        """
        resolved = {channel_id: self.resolve(channel_id) for channel_id in channel_ids}
        if len(self._findings.definitions) > 2 * MAX_CHANNELS:
            raise RecordError(f"more than {MAX_CHANNELS} connections")
        return resolved
