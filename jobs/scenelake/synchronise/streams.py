"""One channel's messages as arrays, in recording order and in time order."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.modalities import MessageStatus, Modality
from scenelake.timebase.arrays import BoolArray, Int64Array


@dataclass(frozen=True, slots=True)
class Stream:
    """The usable messages (decoded or raw) of one channel.

    Attributes:
        rows: (n,) int64 positions in the drive's index, in recording order.
        recorded_ns: (n,) int64 stamps in recording order.
        sorted_rows, sorted_ns: the same in time order; equal stamps keep recording order.
        is_decoded: (n,) bool in time order.
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
    """Sorts an index of objects into recording order: object by object as they come, then by position."""
    codes = index["object_sha256"].combine_chunks().dictionary_encode()
    rank = codes.indices.to_numpy(zero_copy_only=False)
    keys = (column_ns(index, "message_offset_bytes"), column_ns(index, "chunk_offset_bytes"), rank)
    return index.take(pa.array(np.lexsort(keys)))


def column_ns(table: pa.Table, name: str) -> Int64Array:
    """An int64 column without nulls as NumPy.

    Raises:
        ScenelakeError: when the column has nulls, which its writer promised it has not.
    """
    column = table[name]
    if column.null_count:
        raise ScenelakeError(f"{name}: expected no nulls, got {column.null_count} in {len(column)} rows")
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False), np.int64)


def streams_of(index: pa.Table) -> dict[str, Stream]:
    """Splits a drive's index into one stream per channel, by name; undecodable messages are in none.

    Args:
        index: rows of ``contracts.tables.MESSAGE_INDEX`` in recording order.
    """
    stamps = column_ns(index, "timestamp_ns")
    status = index["status"].combine_chunks()
    usable = pc.not_equal(status, str(MessageStatus.UNDECODABLE)).to_numpy(zero_copy_only=False)
    decoded = pc.equal(status, str(MessageStatus.DECODED)).to_numpy(zero_copy_only=False)
    channels = index["channel"].combine_chunks().dictionary_encode()
    codes = channels.indices.to_numpy(zero_copy_only=False)
    by_channel = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[by_channel], np.arange(len(channels.dictionary) + 1))
    names = channels.dictionary.to_pylist()
    streams = {}
    for code in sorted(range(len(names)), key=names.__getitem__):
        every = by_channel[bounds[code] : bounds[code + 1]].astype(np.int64)
        rows = every[usable[every]]
        order = np.argsort(stamps[rows], kind="stable")
        facts = index.select(["modality", "timestamp_basis", "frame_id"]).take(pa.array(every))
        streams[names[code]] = Stream(
            channel=names[code],
            modality=Modality(_most_common(facts["modality"]) or Modality.RAW),
            rows=rows,
            recorded_ns=stamps[rows],
            sorted_rows=rows[order],
            sorted_ns=stamps[rows][order],
            is_decoded=decoded[rows][order],
            timestamp_basis=_most_common(facts["timestamp_basis"]) or "",
            frame_id=_most_common(facts["frame_id"]),
        )
    return streams


def _most_common(column: pa.ChunkedArray) -> str | None:
    counts = sorted((-c["counts"], c["values"]) for c in column.value_counts().to_pylist() if c["values"])
    return counts[0][1] if counts else None
