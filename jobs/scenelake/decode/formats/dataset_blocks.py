"""What the readers of robot datasets share: simple message encodings, an episode's place in time, blocks of rows.

Datasets have no wall clock, only steps or seconds since an episode's start. Episode ``i`` is put at
``(i + 1) * spacing`` from the epoch, whichever object holds which part of it, so that its states and its frames meet.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Block, Channel, Definition, Findings, Schema

ARRAY, TENSOR, IMAGE, TEXT, VIDEO, OCTETS = (
    f"scenelake.{name}" for name in ("Array", "Tensor", "Image", "Text", "Video", "Bytes")
)
"""Schema names: ``Array`` is a signal (one number per name), ``Tensor`` other numbers, kept raw like ``Bytes``."""

EPISODE_TOPIC, LANGUAGE_TOPIC = "/episode", "/language"
MAX_SIGNALS = 256
"""Longest vector that is taken as signals; longer ones are embeddings and the like."""
MAX_BLOCK_MESSAGES = 65_536
DATASET = "dataset"
"""Name of the metadata record that says what dataset an object belongs to."""
_ENCODING = {ARRAY: "array", TENSOR: "array", IMAGE: "image", TEXT: "text", VIDEO: "video", OCTETS: "bytes"}


@dataclass(frozen=True, slots=True)
class EpisodeClock:
    """Where episodes lie in time.

    Attributes:
        spacing_ns: between the starts of two neighbours.
    """

    spacing_ns: int

    def start_ns(self, episode_index: int) -> int:
        """Raises BadInputError, reason ``episode_index_invalid``, for an index that int64 time has no room for."""
        start = (episode_index + 1) * self.spacing_ns
        if episode_index < 0 or start >= 2**62 or episode_index >= 2**31:
            raise BadInputError(f"episode {episode_index} has no place in time", reason="episode_index_invalid")
        return start

    def placed(self, episode_index: int, since_start_ns: np.ndarray) -> np.ndarray:
        """Times of an episode's messages, (n,) int64.

        Raises:
            BadInputError: reason ``episode_too_long`` when they run into the next episode.
        """
        last = int(since_start_ns.max()) if len(since_start_ns) else 0
        if last >= self.spacing_ns or (len(since_start_ns) and int(since_start_ns.min()) <= -self.spacing_ns):
            raise BadInputError(
                f"episode {episode_index} lasts {last} ns, episodes are {self.spacing_ns} ns apart: "
                "raise decode's episode_spacing_ns",
                reason="episode_too_long",
            )
        return since_start_ns + self.start_ns(episode_index)


class DatasetChannels:
    """Channels of one object, made as they are met."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._by_topic: dict[str, Definition] = {}

    def define(self, topic: str, kind: str, schema: Mapping[str, Any] | None = None) -> Definition:
        """A channel of one of the kinds above; a topic keeps its first definition unless schema or kind differ."""
        data = b"" if schema is None else json.dumps(schema, sort_keys=True).encode()
        encoding = _ENCODING[kind]
        return self._added(topic, encoding, kind, encoding, data)

    def episode(self) -> Definition:
        """The channel of episode marks."""
        return self._added(EPISODE_TOPIC, "json", "scenelake.Episode", "jsonschema", b'{"type": "object"}')

    def _added(self, topic: str, encoding: str, name: str, schema_encoding: str, data: bytes) -> Definition:
        known = self._by_topic.get(topic)
        if known and known.schema and (known.schema.name, known.schema.data) == (name, data):
            return known
        number = len(self._findings.definitions) + 1
        schema = Schema(number, name, schema_encoding, data)
        definition = Definition(Channel(number, number, topic, encoding, {}), schema)
        self._by_topic[topic] = self._findings.definitions[number] = definition
        return definition


def signal_schema(dtype: str, names: Sequence[str], units: Sequence[str] | None = None) -> dict[str, Any]:
    """Schema data of an ``array`` channel."""
    return {"dtype": dtype, "names": list(names), **({} if units is None else {"units": list(units)})}


def make_block(
    definition: Definition,
    body: memoryview,
    start: np.ndarray,
    exclusive_end: np.ndarray,
    time_ns: np.ndarray,
    position: np.ndarray,
    number: np.ndarray | None = None,
    log_time_ns: np.ndarray | None = None,
) -> Block:
    """Messages of one channel.

    Args:
        position: (n,) int64, record offset or row number, for the messages' identities; ``number`` the rest of it.
        log_time_ns: (n,) int64 where it differs from ``time_ns`` (frames in the order of decoding).
    """
    count = len(start)
    logged = time_ns if log_time_ns is None else log_time_ns
    return Block(
        body=body,
        definitions={definition.channel.channel_id: definition},
        channel_id=np.full(count, definition.channel.channel_id, np.int32),
        sequence=np.zeros(count, np.uint32),
        log_time_ns=logged.astype(np.uint64),
        publish_time_ns=time_ns.astype(np.uint64),
        chunk_offset_bytes=position.astype(np.int64),
        message_offset_bytes=np.zeros(count, np.int64) if number is None else number.astype(np.int64),
        start=start.astype(np.int64),
        exclusive_end=exclusive_end.astype(np.int64),
    )


def portions(block: Block, max_bytes: int) -> Iterator[Block]:
    """The block in pieces of at most ``MAX_BLOCK_MESSAGES`` messages and about ``max_bytes``, in their order."""
    if len(block) <= MAX_BLOCK_MESSAGES and int((block.exclusive_end - block.start).sum()) <= max_bytes:
        if len(block):
            yield block
        return
    piece = np.cumsum(block.exclusive_end - block.start) // max_bytes
    cuts = np.union1d(np.flatnonzero(np.diff(piece)) + 1, np.arange(0, len(block), MAX_BLOCK_MESSAGES))
    for first, last in zip(
        np.append([0], cuts[cuts > 0]).tolist(), [*cuts[cuts > 0].tolist(), len(block)], strict=True
    ):
        rows = slice(first, last)
        yield Block(
            block.body,
            block.definitions,
            block.channel_id[rows],
            block.sequence[rows],
            block.log_time_ns[rows],
            block.publish_time_ns[rows],
            block.chunk_offset_bytes[rows],
            block.message_offset_bytes[rows],
            block.start[rows],
            block.exclusive_end[rows],
        )


@dataclass(frozen=True, slots=True)
class Said:
    """A message that the reader words itself: an episode's mark, or a task's text.

    Attributes:
        position, number: identity, as in ``make_block``.
    """

    time_ns: int
    position: int
    data: bytes
    number: int = 0


def said_block(definition: Definition, said: Sequence[Said]) -> Block:
    """Such messages as a block."""
    ends = np.cumsum([len(s.data) for s in said], dtype=np.int64)
    lengths = np.array([len(s.data) for s in said], np.int64)
    times, positions, numbers = (
        np.array([getattr(s, name) for s in said], np.int64) for name in ("time_ns", "position", "number")
    )
    body = memoryview(b"".join(s.data for s in said))
    return make_block(definition, body, ends - lengths, ends, times, positions, numbers)


def episode_mark(time_ns: int, position: int, event: str, episode_index: int, task: str | None) -> Said:
    """``scenelake.Episode``; a start and an end at one position are told apart by their number."""
    mark = {"timestamp_ns": time_ns, "event": event, "episode_index": episode_index, "task": task}
    return Said(time_ns, position, json.dumps(mark, sort_keys=True).encode(), int(event == "end"))
