"""Finds the records in a buffer of MCAP records: messages as columns, the few others one by one."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.mcap_records import FRAME

_HEAD_BYTES = FRAME.size + records.MESSAGE_HEAD.size
_HEAD = np.dtype(
    {
        "names": ["opcode", "length", "channel_id", "sequence", "log_time_ns", "publish_time_ns"],
        "formats": ["u1", "<u8", "<u2", "<u4", "<u8", "<u8"],
        "offsets": [0, 1, 9, 11, 15, 23],
        "itemsize": _HEAD_BYTES,
    }
)
MAX_MESSAGES = 65_536
"""Records of a portion: a chunk of a gigabyte of smallest messages costs no more memory than one of a megabyte."""
_FEW = 32
"""Below as many messages a step per message costs less than a dozen array operations."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Records of a buffer up to the first that contradicts it.

    Attributes:
        messages: (n,) int64 offsets of message records, ascending.
        others: opcode, start and end of the body of every other record, ascending.
        exclusive_end: where the walk ended.
        error: why it ended before the buffer did; None when it did not.
        is_cut: whether the buffer's end cuts a record that goes on behind it.
    """

    messages: np.ndarray
    others: list[tuple[int, int, int]]
    exclusive_end: int
    error: str | None
    is_cut: bool = False


def walk(body: memoryview, hints: np.ndarray | None = None, *, is_whole: bool = True) -> Iterator[Walk]:
    """Every record of a chunk, in portions of at most ``MAX_MESSAGES`` messages.

    Args:
        body: a chunk's uncompressed records.
        hints: (n,) uint64 offsets at which an index says that messages lie. They are only believed where the
            records found there tile the buffer, so that a false index changes nothing but the time this takes.
        is_whole: whether the records end with the buffer; else the last one may go on behind it.
    """
    at, size = 0, len(body)
    if hints is not None and len(hints) >= _FEW and int(hints.max()) < size:
        offsets = np.sort(hints).astype(np.int64)
        for first in range(0, len(offsets), MAX_MESSAGES):
            following = offsets[first + MAX_MESSAGES : first + MAX_MESSAGES + 1]
            exclusive_end = int(following[0]) if len(following) else size
            found = _hinted(body, offsets[first : first + MAX_MESSAGES], at, exclusive_end)
            if found is None:
                break
            yield found
            at = exclusive_end
    while at < size:
        found = _plain(body, at, size, is_whole)
        yield found
        if found.error or found.is_cut:
            return
        at = found.exclusive_end


def heads(body: memoryview, offsets: np.ndarray) -> np.ndarray:
    """Structured array (n,) of the message records' headers; every offset leaves room for one."""
    if not len(offsets):
        return np.empty(0, _HEAD)
    if len(offsets) == 1:
        return np.frombuffer(body, _HEAD, 1, int(offsets[0]))
    data = np.frombuffer(body, np.uint8)
    steps = np.diff(offsets)
    if (steps == steps[0]).all():
        return np.ndarray((len(offsets),), _HEAD, data, int(offsets[0]), (int(steps[0]),))
    rows = np.lib.stride_tricks.sliding_window_view(data, _HEAD_BYTES)[offsets]
    return np.ascontiguousarray(rows).view(_HEAD)[:, 0]


def _plain(body: memoryview, at: int, size: int, is_whole: bool = True) -> Walk:
    messages: list[int] = []
    others: list[tuple[int, int, int]] = []
    append, unpack, frame_bytes, message = messages.append, FRAME.unpack_from, FRAME.size, records.MESSAGE
    error = None
    left, last = MAX_MESSAGES, size - frame_bytes
    while at <= last and left:
        opcode, length = unpack(body, at)
        start = at + frame_bytes
        end = start + length
        if end > size:
            if not is_whole:
                break
            error = f"a record (opcode {opcode:#04x}) claims {length} bytes, {size - start} are left"
            break
        if opcode == message:
            if length < records.MESSAGE_HEAD.size:
                error = f"a message record of {length} bytes has no room for its header"
                break
            append(at)
        else:
            others.append((opcode, start, end))
        left -= 1
        at = end
    is_cut = error is None and at != size and left > 0
    if is_cut and is_whole:
        error, is_cut = f"{size - at} stray bytes", False
    return Walk(np.array(messages, np.int64), others, at, error, is_cut)


def _hinted(body: memoryview, offsets: np.ndarray, at: int, exclusive_end: int) -> Walk | None:
    """The records from ``at`` to ``exclusive_end``, if messages at ``offsets`` and a few others tile that range."""
    if offsets[0] < at or offsets[-1] > exclusive_end - _HEAD_BYTES:
        return None
    found = heads(body, offsets)
    lengths = found["length"]
    if (found["opcode"] != records.MESSAGE).any() or (lengths > exclusive_end).any():
        return None
    if (lengths < records.MESSAGE_HEAD.size).any():
        return None
    ends = offsets + FRAME.size + lengths.astype(np.int64)
    following = np.append(offsets[1:], exclusive_end)
    if (ends > following).any():
        return None
    gaps = [(at, int(offsets[0]))] if offsets[0] > at else []
    gaps += [(int(ends[i]), int(following[i])) for i in np.flatnonzero(ends != following)]
    others: list[tuple[int, int, int]] = []
    unlisted: list[np.ndarray] = []
    nbr_unlisted = 0
    for start, gap_end in gaps:
        part = _plain(body, start, gap_end)
        nbr_unlisted += len(part.others) + len(part.messages)
        if part.error or part.exclusive_end != gap_end or nbr_unlisted > MAX_MESSAGES:
            return None
        others += part.others
        unlisted.append(part.messages)
    if any(map(len, unlisted)):
        offsets = np.sort(np.concatenate([offsets, *unlisted]))
    return Walk(offsets, others, exclusive_end, None)
