"""Finds the records in a buffer of ROS 1 bag records: messages as columns, the few others by their places."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scenelake.decode.formats.rosbag1_records import (
    MESSAGE,
    MIN_HEADER_BYTES,
    U32,
    RecordError,
    number,
    parse_header,
    signed,
)

MAX_RECORDS = 65_536
"""Records of a portion: a chunk of many small messages costs no more memory than one of a few."""
_MAX_COLUMN_HEADER_BYTES = 256
_SECONDS = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Walk:
    """Records of a buffer, in order.

    Attributes:
        starts, data_starts, exclusive_ends: (n,) int64 offsets in the buffer.
        is_message: (n,) bool; the others must be looked at one by one.
        channel_id: (n,) int32, of messages.
        time_ns: (n,) uint64, of messages.
        exclusive_end: where the walk ended.
        error: why it ended before the buffer did; None when it did not.
    """

    starts: np.ndarray
    data_starts: np.ndarray
    exclusive_ends: np.ndarray
    is_message: np.ndarray
    channel_id: np.ndarray
    time_ns: np.ndarray
    exclusive_end: int
    error: str | None


def walk(body: memoryview) -> Iterator[Walk]:
    """Every record of a buffer, in portions of at most ``MAX_RECORDS``."""
    at = 0
    while at < len(body):
        found = walk_portion(body, at)
        yield found
        if found.error:
            return
        at = found.exclusive_end


def walk_portion(body: memoryview, at: int) -> Walk:
    """Up to ``MAX_RECORDS`` records from ``at`` on."""
    starts: list[int] = []
    data_starts: list[int] = []
    size, unpack, word = len(body), U32.unpack_from, U32.size
    append_start, append_data = starts.append, data_starts.append
    error = None
    while at < size and len(starts) < MAX_RECORDS:
        if size - at < 2 * word + MIN_HEADER_BYTES:
            error = f"{size - at} stray bytes"
            break
        header_bytes = unpack(body, at)[0]
        data_at = at + header_bytes + 2 * word
        if header_bytes < MIN_HEADER_BYTES or data_at > size:
            error = f"a record claims a header of {header_bytes} bytes, {size - at - 2 * word} are left"
            break
        end = data_at + unpack(body, data_at - word)[0]
        if end > size:
            error = f"a record claims {end - data_at} bytes, {size - data_at} are left"
            break
        append_start(at)
        append_data(data_at)
        at = end
    offsets, datas = np.array(starts, np.int64), np.array(data_starts, np.int64)
    ends = np.append(offsets[1:], at) if len(offsets) else np.empty(0, np.int64)
    heads = _Heads(body, offsets, datas)
    return Walk(offsets, datas, ends, heads.is_message, heads.channel_id, heads.time_ns, at, error)


class _Heads:
    """What the headers of records say, as columns."""

    def __init__(self, body: memoryview, starts: np.ndarray, data_starts: np.ndarray) -> None:
        self._body = body
        self._header_starts = starts + U32.size
        self.is_message = np.zeros(len(starts), bool)
        self.channel_id = np.zeros(len(starts), np.int32)
        self.time_ns = np.zeros(len(starts), np.uint64)
        header_bytes = data_starts - starts - 2 * U32.size
        order = np.argsort(header_bytes, kind="stable")
        lengths, counts = np.unique(header_bytes, return_counts=True)
        first = 0
        for length, count in zip(lengths.tolist(), counts.tolist(), strict=True):
            self._read(order[first : first + count], length)
            first += count

    def _read(self, rows: np.ndarray, length: int) -> None:
        """Records with headers of one length: those like the first message at once, the others one by one."""
        while len(rows) and not self._read_one(int(rows[0]), length):
            rows = rows[1:]
        if len(rows) > 1 and length <= _MAX_COLUMN_HEADER_BYTES:
            rows = self._read_alike(rows, length)
        for row in rows.tolist():
            self._read_one(row, length)

    def _read_one(self, row: int, length: int) -> bool:
        at = int(self._header_starts[row])
        try:
            op, fields = parse_header(self._body[at : at + length])
        except RecordError:
            return False
        if op == MESSAGE:
            self.is_message[row] = True
            self.channel_id[row] = signed(number(fields, b"conn"))
            seconds, nanoseconds = _SECONDS.unpack(fields[b"time"])
            self.time_ns[row] = seconds * 1_000_000_000 + nanoseconds
        return op == MESSAGE

    def _read_alike(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Reads records that differ from the first in connection and time alone; returns the others.

        Writers give every message header the same layout, so this is nearly all of them.
        """
        windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(self._body, np.uint8), length)
        headers = np.ascontiguousarray(windows[self._header_starts[rows]])
        places = _places(headers[0].tobytes())
        connection, time = places[b"conn"], places[b"time"]
        is_fixed = np.ones(length, bool)
        is_fixed[connection : connection + 4] = False
        is_fixed[time : time + 8] = False
        same = (headers[:, is_fixed] == headers[0, is_fixed]).all(axis=1)
        alike, headers = rows[same], headers[same]
        self.is_message[alike] = True
        self.channel_id[alike] = np.ascontiguousarray(headers[:, connection : connection + 4]).view("<i4")[:, 0]
        stamps = np.ascontiguousarray(headers[:, time : time + 8]).view("<u4").astype(np.uint64)
        self.time_ns[alike] = stamps[:, 0] * np.uint64(1_000_000_000) + stamps[:, 1]
        others: np.ndarray = rows[~same]
        return others


def _places(header: bytes) -> dict[bytes, int]:
    """Where each field's value lies in a header that ``parse_header`` has taken."""
    places: dict[bytes, int] = {}
    at = 0
    while at < len(header):
        (length,) = U32.unpack_from(header, at)
        name = header[at + U32.size : at + U32.size + length].partition(b"=")[0]
        places[name] = at + U32.size + len(name) + 1
        at += U32.size + length
    return places
