"""The records of a chunk of any size, a window at a time: memory is two windows, or two of the largest message."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.mcap_chunk import ChunkError
from scenelake.decode.formats.mcap_records import FRAME
from scenelake.decode.formats.mcap_walk import Walk, walk

_NOTHING = memoryview(b"")
_HEAD_BYTES = FRAME.size + records.MESSAGE_HEAD.size


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of a chunk that lie in one buffer.

    Attributes:
        base: offset of the buffer's first byte in the uncompressed chunk.
        found: offsets are those in the buffer.
    """

    body: memoryview
    base: int
    found: Walk


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record in a chunk that is too large to be held.

    Attributes:
        offset: in the uncompressed chunk.
        channel_id: of a message.
    """

    opcode: int
    length: int
    offset: int
    channel_id: int | None


@dataclass(frozen=True, slots=True)
class WindowBounds:
    """Sizes by which a chunk is read.

    Attributes:
        window_bytes: of uncompressed records in memory; a single record may need more.
        max_message_bytes, max_record_bytes: a larger message or definition is skipped.
    """

    window_bytes: int
    max_message_bytes: int
    max_record_bytes: int


def stretches(
    pieces: Iterator[memoryview], size: int, bounds: WindowBounds, skip: Callable[[Skipped], None]
) -> Iterator[Stretch]:
    """Stretches of whole records, up to the first whose walk ended in error.

    Args:
        pieces: the chunk's uncompressed records, ``size`` bytes.
        skip: is told of every message or definition that is passed over.

    Raises:
        ChunkError: reason ``chunk_record_invalid``, at a record that claims more than the chunk holds.
    """
    tape = _Tape(pieces)
    base, left, carried, needed = 0, size, _NOTHING, 0
    while carried or left:
        window = bytearray(min(max(bounds.window_bytes, needed), len(carried) + left))
        window[: len(carried)] = carried
        tape.read_into(memoryview(window)[len(carried) :])
        left -= len(window) - len(carried)
        body, at = memoryview(window).toreadonly(), 0
        for found in walk(body, is_whole=not left):
            yield Stretch(body, base, found)
            if found.error:
                return
            at = found.exclusive_end
        base, carried = base + at, body[at:]
        needed = _needed(carried, left, base)
        unwanted = _unwanted(carried, base, bounds)
        if unwanted is not None:
            skip(unwanted)
            tape.skip(needed - len(carried))
            base, left, carried, needed = base + needed, left - needed + len(carried), _NOTHING, 0


def _needed(carried: memoryview, left: int, base: int) -> int:
    """Bytes to go on with: of the record that starts with ``carried``, where enough of it is there to know."""
    if len(carried) < _HEAD_BYTES:
        return len(carried) + _HEAD_BYTES
    opcode, length = FRAME.unpack_from(carried)
    available = len(carried) + left - FRAME.size
    if length > available:
        detail = f"a record (opcode {opcode:#04x}) claims {length} bytes, {available} are left, at {base} in the chunk"
        raise ChunkError("chunk_record_invalid", detail)
    return int(FRAME.size + length)


def _unwanted(carried: memoryview, base: int, bounds: WindowBounds) -> Skipped | None:
    """The record that starts with ``carried``, if it is not to be held."""
    if len(carried) < _HEAD_BYTES:
        return None
    opcode, length = FRAME.unpack_from(carried)
    channel_id = None
    if opcode == records.MESSAGE:
        limit = bounds.max_message_bytes
        channel_id = int(records.MESSAGE_HEAD.unpack_from(carried, FRAME.size)[0])
    elif opcode < records.FIRST_PRIVATE:
        limit = bounds.max_record_bytes
    else:
        limit = 0
    return Skipped(opcode, length, base, channel_id) if length > limit else None


class _Tape:
    """Pieces as one run of bytes."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._rest = _NOTHING

    def read_into(self, target: memoryview) -> None:
        at = 0
        while at < len(target):
            part = self._take(len(target) - at)
            target[at : at + len(part)] = part
            at += len(part)

    def skip(self, nbr_bytes: int) -> None:
        while nbr_bytes:
            nbr_bytes -= len(self._take(nbr_bytes))

    def _take(self, at_most: int) -> memoryview:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                raise ChunkError("chunk_size_mismatch", "the chunk changed while it was read")
            self._rest = piece
        part, self._rest = self._rest[:at_most], self._rest[at_most:]
        return part
