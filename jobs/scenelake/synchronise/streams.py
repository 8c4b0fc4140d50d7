"""One channel's messages as arrays, in recording order and in time order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.modalities import MessageStatus, Modality
from scenelake.timebase.arrays import BoolArray, Int64Array

LEFT_OUT = "left_out_because"
"""Column that a repair adds to an index (``repair``): why a message is in no stream; null for those that are."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The usable messages (decoded or raw) of one channel.

    Attributes:
        rows: (n,) int64 positions in the drive's index, in recording order.
        recorded_ns: (n,) int64 stamps in recording order.
        sorted_rows, sorted_ns: the same in time order; equal stamps keep recording order.
        is_decoded: (n,) bool in time order.
        log_ns, publish_ns: (n,) int64 in recording order; None where a message has none.
        timestamp_basis: the clock that most stamps came from.
        frame_id: the frame that most messages name; None when they name none.
    """

    channel: str
    modality: Modality
    rows: Int64Array
    recorded_ns: Int64Array
    sorted_rows: Int64Array
    sorted_ns: Int64Array
    is_decoded: BoolArray
    timestamp_basis: str
    frame_id: str | None
    log_ns: Int64Array | None = None
    publish_ns: Int64Array | None = None

    @property
    def decoded_ns(self) -> Int64Array:
        return self.sorted_ns[self.is_decoded]

    @property
    def median_period_ns(self) -> int | None:
        """Lower median of the steps between distinct stamps; None with fewer than two of them."""
        return median_period(self.sorted_ns)


def median_period(sorted_ns: Int64Array) -> int | None:
    """Lower median of the positive steps of non-decreasing stamps; None when there is no such step."""
    steps = np.diff(sorted_ns)
    steps = np.sort(steps[steps > 0])
    return int(steps[(len(steps) - 1) // 2]) if len(steps) else None


def recording_order(index: pa.Table) -> pa.Table:
    """Sorts an index of objects into recording order: object by object as they come, then by position.

    Decode leaves the messages of a channel in that order already, which is all that streams need: then the index is
    returned as it is.
    """
    rank, objects = _codes(index["object_sha256"])
    places = [rank, column_ns(index, "chunk_offset_bytes"), column_ns(index, "message_offset_bytes")]
    if len(objects) == 1:
        places = places[1:]
    if all(_is_ordered([place[rows] for place in places]) for rows in rows_by_channel(index)[1]):
        return index
    return index.take(pa.array(np.lexsort(places[::-1])))


def _is_ordered(keys: Sequence[Int64Array]) -> bool:
    """Whether rows do not go back by the first key, or where it stays by the next."""
    if len(keys[0]) < 2:
        return True
    is_back = np.zeros(len(keys[0]) - 1, np.bool_)
    is_tied = ~is_back
    for key in keys:
        is_back |= is_tied & (key[1:] < key[:-1])
        is_tied &= key[1:] == key[:-1]
    return not is_back.any()


def rows_by_channel(index: pa.Table) -> tuple[list[str], list[Int64Array]]:
    """Channels of an index by name, and the rows of each in their order."""
    codes, names = _codes(index["channel"])
    is_break = np.diff(codes) != 0
    if np.count_nonzero(is_break) + 1 == len(names):
        # One run a channel, as one object has: no need to sort.
        bounds = np.concatenate([[0], np.flatnonzero(is_break) + 1, [len(codes)]]) if len(codes) else np.zeros(1, int)
        found = {names[codes[a]]: np.arange(a, b) for a, b in pairwise(bounds.tolist())}
    else:
        by_channel = np.argsort(codes, kind="stable").astype(np.int64)
        bounds = np.searchsorted(codes[by_channel], np.arange(len(names) + 1))
        found = {name: by_channel[bounds[i] : bounds[i + 1]] for i, name in enumerate(names)}
    ordered = sorted(found)
    return ordered, [found[name] for name in ordered]


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, which ``combine_chunks`` copies even where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def column_ns(table: pa.Table, name: str) -> Int64Array:
    """An int64 column without nulls as NumPy.

    Raises:
        ScenelakeError: when the column has nulls, which its writer promised it has not.
    """
    column = table[name]
    if column.null_count:
        raise ScenelakeError(f"{name}: expected no nulls, got {column.null_count} in {len(column)} rows")
    return np.asarray(one_chunk(column).to_numpy(zero_copy_only=False), np.int64)


def streams_of(index: pa.Table) -> dict[str, Stream]:
    """Splits a drive's index into one stream per channel, by name; undecodable messages are in none.

    Args:
        index: rows of ``contracts.tables.MESSAGE_INDEX`` in recording order.
    """
    stamps = column_ns(index, "timestamp_ns")
    status, statuses = _codes(index["status"])
    usable = status != _position(statuses, MessageStatus.UNDECODABLE)
    if LEFT_OUT in index.column_names:
        usable &= np.asarray(index[LEFT_OUT].is_null().combine_chunks().to_numpy(zero_copy_only=False))
    decoded = status == _position(statuses, MessageStatus.DECODED)
    facts = {name: _codes(index[name]) for name in ("modality", "timestamp_basis", "frame_id")}
    logged, published = (_known_ns(index, name) for name in ("log_time_ns", "publish_time_ns"))
    streams = {}
    for name, every in zip(*rows_by_channel(index), strict=True):
        rows = every[usable[every]]
        recorded_ns = stamps[rows]
        order = _time_order(recorded_ns)
        streams[name] = Stream(
            channel=name,
            modality=Modality(_most_common(facts["modality"], every) or Modality.RAW),
            rows=rows,
            recorded_ns=recorded_ns,
            sorted_rows=rows[order],
            sorted_ns=recorded_ns[order],
            is_decoded=decoded[rows][order],
            timestamp_basis=_most_common(facts["timestamp_basis"], every) or "",
            frame_id=_most_common(facts["frame_id"], every),
            log_ns=_of_rows(logged, rows),
            publish_ns=_of_rows(published, rows),
        )
    return streams


def _time_order(stamps_ns: Int64Array) -> Int64Array | slice:
    return slice(None) if (np.diff(stamps_ns) >= 0).all() else np.argsort(stamps_ns, kind="stable")


_Codes = tuple[Int64Array, list[str]]
_Known = tuple[Int64Array, BoolArray | None]


def _codes(column: pa.ChunkedArray) -> _Codes:
    """Position of each value among the distinct ones, -1 for null, and the distinct values."""
    runs = pc.run_end_encode(one_chunk(column))
    encoded = runs.values.dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    lengths = np.diff(runs.run_ends.to_numpy(), prepend=0)
    return np.repeat(codes, lengths), encoded.dictionary.to_pylist()


def _position(values: list[str], wanted: str) -> int:
    return values.index(wanted) if wanted in values else -2


def _most_common(codes: _Codes, rows: Int64Array) -> str | None:
    of_rows = codes[0][rows]
    counts = np.bincount(of_rows[of_rows >= 0], minlength=len(codes[1])).tolist()
    found = sorted((-count, value) for count, value in zip(counts, codes[1], strict=True) if count and value)
    return found[0][1] if found else None


def _known_ns(index: pa.Table, name: str) -> _Known:
    column = one_chunk(index[name])
    is_known = np.asarray(column.is_valid().to_numpy(zero_copy_only=False)) if column.null_count else None
    return np.asarray(pc.fill_null(column, 0).to_numpy(zero_copy_only=False), np.int64), is_known


def _of_rows(known: _Known, rows: Int64Array) -> Int64Array | None:
    values, is_known = known
    return values[rows] if is_known is None or is_known[rows].all() else None
