"""Messages as columns: what every container reader hands to the decoder.

A block holds messages whose bytes lie in one buffer, so that a million small ones cost a few array operations and not
a million objects. Its buffer stays as it is for as long as somebody holds it; whoever does holds all of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from scenelake.contracts.stages import Problem


@dataclass(frozen=True, slots=True)
class Schema:
    """A message type as the recording defines it.

    Attributes:
        encoding: of ``data``: ``ros2msg``, ``ros1msg``, ``ros2idl``, ``protobuf``, ``jsonschema``, ``flatbuffer``.
    """

    schema_id: int
    name: str
    encoding: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Channel:
    """A stream of messages of one type.

    Attributes:
        message_encoding: ``cdr``, ``ros1``, ``protobuf``, ``json`` or ``flatbuffer``.
    """

    channel_id: int
    schema_id: int
    topic: str
    message_encoding: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Definition:
    """A channel with its schema.

    Attributes:
        channel: a made-up one, named after the id, when the recording defines none.
        schema: None for a channel without one.
        problem: reason why channel or schema could not be found; None when all is well.
    """

    channel: Channel
    schema: Schema | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a block where it lies.

    Attributes:
        chunk_offset_bytes: of the chunk record, or of the message record outside chunks.
        message_offset_bytes: of the message record in the uncompressed chunk; 0 outside chunks.
        data: valid as long as its block is.
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


@dataclass(frozen=True, slots=True)
class Block:
    """``n`` messages in the order of the file.

    Attributes:
        body: the bytes that hold the messages.
        definitions: of the channels, by channel id.
        channel_id: (n,) int32.
        sequence: (n,) uint32; 0 where the format has none.
        log_time_ns, publish_time_ns: (n,) uint64 as recorded.
        chunk_offset_bytes: (n,) int64, of the chunk, or of the message record outside chunks.
        message_offset_bytes: (n,) int64, of the message record in the uncompressed chunk; 0 outside chunks. With
            ``chunk_offset_bytes`` the position that makes a message's identity.
        start, exclusive_end: (n,) int64, where each message's data lie in ``body``.
    """

    body: memoryview
    definitions: dict[int, Definition]
    channel_id: np.ndarray
    sequence: np.ndarray
    log_time_ns: np.ndarray
    publish_time_ns: np.ndarray
    chunk_offset_bytes: np.ndarray
    message_offset_bytes: np.ndarray
    start: np.ndarray
    exclusive_end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def runs(self) -> Iterator[tuple[Definition, np.ndarray]]:
        """Each channel's definition with the positions of its messages, (k,) int64 ascending, by channel id."""
        if len(self) == 0:
            return
        first = int(self.channel_id[0])
        if (self.channel_id == first).all():
            yield self.definitions[first], np.arange(len(self))
            return
        order = np.argsort(self.channel_id, kind="stable")
        ids, starts = np.unique(self.channel_id[order], return_index=True)
        for channel_id, rows in zip(ids.tolist(), np.split(order, starts[1:]), strict=True):
            yield self.definitions[channel_id], rows

    def data(self, row: int) -> memoryview:
        """Bytes of one message."""
        return self.body[self.start[row] : self.exclusive_end[row]]

    def members(self) -> Sequence["Block"]:
        """The blocks, of one buffer each, that it consists of."""
        return (self,)

    def member_of(self, rows: np.ndarray) -> np.ndarray:
        """Positions in ``members`` of the messages at ``rows``, (k,) int64, ascending where the rows are."""
        return np.zeros(len(rows), np.int64)

    def by_member(self, rows: np.ndarray) -> Iterator[tuple[memoryview, np.ndarray]]:
        """Each member's body with its own of the rows, which are ascending."""
        members, member_of = self.members(), self.member_of(rows)
        bounds = np.flatnonzero(np.diff(member_of)) + 1
        for own in np.split(rows, bounds):
            if len(own):
                yield members[int(self.member_of(own[:1])[0])].body, own

    def messages(self) -> Iterator[Message]:
        """The messages one by one."""
        columns = (
            self.channel_id,
            self.sequence,
            self.log_time_ns,
            self.publish_time_ns,
            self.chunk_offset_bytes,
            self.message_offset_bytes,
            self.start,
            self.exclusive_end,
        )
        for channel_id, sequence, log_ns, publish_ns, chunk, offset, start, end in zip(
            *(c.tolist() for c in columns), strict=True
        ):
            at = self.definitions[channel_id]
            data = self.body[start:end]
            yield Message(at.channel, at.schema, at.problem, chunk, offset, sequence, log_ns, publish_ns, data)


@dataclass(slots=True)
class Findings:
    """What a reader learnt about a recording, complete once its blocks have been read.

    Attributes:
        header: profile and library, where the format has them.
        metadata: the recording's metadata records by name; records of one name are merged.
        problems: byte ranges that could not be used, in file order.
        recorded: messages by channel id according to the recording's own count; None without one.
        lost: messages by channel id of unusable parts, where an index still counts them.
        definitions: every channel met, by id.
    """

    header: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    recorded: dict[int, int] | None = None
    lost: dict[int, int] = field(default_factory=dict)
    definitions: dict[int, Definition] = field(default_factory=dict)


class Source(Protocol):
    """Random access to the bytes of one object; ``formats.sources`` has them."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, length: int) -> memoryview:
        """Bytes from ``offset``, which stay as they are; fewer than ``length`` only at the end of the object."""


@dataclass(frozen=True, slots=True)
class Part:
    """A byte range of an object that one task reads: records that start in it, half-open.

    The parts of an object tile it, so reading all of them is reading it whole.
    """

    number: int
    start_byte: int
    exclusive_end_byte: int


class Reader(Protocol):
    """Reads one object, or one part of it, once.

    Attributes:
        format: name of the format, as ``DropOutcome.format`` has it.
        findings: what was learnt so far.
    """

    format: str
    findings: Findings

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """Parts of about ``part_bytes`` each; a single one where the object cannot be split."""

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Every readable message of the object, or of a part of it, in file order.

        Raises:
            BadInputError: nothing of the object can be used.
            PlanContradictedError: the object's index, by which it was split, is not true; read it whole.
        """


class PlanContradictedError(ValueError):
    """An object is not what the index says by which it was split."""
