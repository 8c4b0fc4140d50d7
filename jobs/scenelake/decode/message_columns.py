"""Messages as Arrow rows, one for each, for engines that read recordings directly.

``none`` leaves the messages' bytes out, ``bytes`` has them as recorded, and ``decoded`` has what decode makes of them:
for each gold table a list column of that table's rows, typed as the table is. So point clouds and covariances stay
numbers in columns, nothing is turned into text, and a message is one row whichever way it is read, also one that holds
many transforms or none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import PAYLOAD_TABLE, MessageStatus, Modality
from scenelake.contracts.tables import CALIBRATION
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.column_buffers import column_buffer
from scenelake.decode.formats.blocks import Block, Definition
from scenelake.decode.pieces import Piece
from scenelake.decode.small_tables import row_schema
from scenelake.decode.values import INT64_MAX

MAX_BATCH_BYTES = 32 * 1024 * 1024
"""Messages of one batch hold about as many bytes; a larger one is alone in its batch."""

_BASE = (
    ("uri", pa.string()),
    ("channel", pa.string()),
    ("schema_name", pa.string()),
    ("message_encoding", pa.string()),
    ("sequence", pa.int64()),
    ("log_time_ns", pa.int64()),
    ("publish_time_ns", pa.int64()),
    ("chunk_offset_bytes", pa.int64()),
    ("message_offset_bytes", pa.int64()),
    ("payload_bytes", pa.int64()),
    ("data", pa.binary()),
)
_DECODED = (
    ("status", pa.string()),
    ("reason", pa.string()),
    ("modality", pa.string()),
    ("sensor_time_ns", pa.int64()),
    ("frame_id", pa.string()),
)
_TABLE = {**PAYLOAD_TABLE, Modality.CALIBRATION: CALIBRATION.name}
TABLES = tuple(dict.fromkeys(table for modality, table in _TABLE.items() if modality is not Modality.RAW))
"""Gold tables, and for calibrations what ``calibrated_sensor`` is made of."""


class Payload(StrEnum):
    """What of a message's content is read."""

    NONE = "none"
    BYTES = "bytes"
    DECODED = "decoded"


@dataclass(frozen=True, slots=True)
class Selection:
    """Messages that are wanted.

    Attributes:
        topics: None for all.
        start_ns, exclusive_end_ns: of log time; None for no bound.
    """

    topics: frozenset[str] | None = None
    start_ns: int | None = None
    exclusive_end_ns: int | None = None

    def rows(self, block: Block) -> np.ndarray:
        """Positions of the wanted messages in the block, ascending."""
        wanted = np.ones(len(block), bool)
        if self.topics is not None:
            ids = [i for i, d in block.definitions.items() if d.channel.topic in self.topics]
            wanted &= np.isin(block.channel_id, ids)
        if self.start_ns is not None and self.start_ns > 0:
            wanted &= block.log_time_ns >= np.uint64(self.start_ns)
        if self.exclusive_end_ns is not None:
            wanted &= block.log_time_ns < np.uint64(max(self.exclusive_end_ns, 0))
        return np.flatnonzero(wanted)


@cache
def message_schema(payload: Payload) -> pa.Schema:
    """Columns of one message."""
    fields = [pa.field(name, kind) for name, kind in _BASE]
    if payload is Payload.DECODED:
        fields += [pa.field(name, kind) for name, kind in _DECODED]
        fields += [pa.field(table, pa.list_(_row_type(table))) for table in TABLES]
    return pa.schema(fields)


@cache
def _row_type(table: str) -> pa.StructType:
    return pa.struct([f.with_type(_plain(f.type)) for f in row_schema(table)])


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    return kind.value_type if pa.types.is_dictionary(kind) else kind


class MessageColumns:
    """Turns the blocks of one object into record batches of ``message_schema(payload)``.

    Decoders learn a channel's modality from its messages, so each object needs a ``MessageColumns`` of its own.
    """

    def __init__(self, uri: str, payload: Payload, selection: Selection) -> None:
        self._uri = uri
        self._payload = payload
        self._selection = selection
        self._decoders: dict[int, ChannelDecoder] = {}

    def batches(self, block: Block) -> Iterator[pa.RecordBatch]:
        """The wanted messages of the block; the batches own their memory. No empty ones."""
        for rows in _portions(block, self._selection.rows(block)):
            if self._payload is Payload.DECODED:
                yield from self._decoded_batches(block, rows)
            else:
                is_bytes = self._payload is Payload.BYTES
                data = message_bytes(block, rows) if is_bytes else pa.nulls(len(rows), pa.binary())
                yield pa.RecordBatch.from_arrays([*self._base(block, rows), data], schema=message_schema(self._payload))

    def _decoded_batches(self, block: Block, rows: np.ndarray) -> Iterator[pa.RecordBatch]:
        for definition, positions in block.runs():
            kept = np.intersect1d(positions, rows, assume_unique=True)
            if len(kept):
                for piece in self._decoder(definition).decode(block, kept):
                    yield self._decoded(block, piece)

    def _decoder(self, definition: Definition) -> ChannelDecoder:
        channel_id = definition.channel.channel_id
        known = self._decoders.get(channel_id)
        if known is None or known.definition != definition:
            known = self._decoders[channel_id] = ChannelDecoder(definition)
        return known

    def _base(self, block: Block, rows: np.ndarray) -> list[pa.Array]:
        """All columns up to the data."""
        ids, codes = np.unique(block.channel_id[rows], return_inverse=True)
        found = [block.definitions[i] for i in ids.tolist()]
        texts = (
            [d.channel.topic for d in found],
            [d.schema.name if d.schema else "" for d in found],
            [d.channel.message_encoding for d in found],
        )
        return [
            pa.repeat(pa.scalar(self._uri, pa.string()), len(rows)),
            *(pa.array(values, pa.string()).take(pa.array(codes)) for values in texts),
            pa.array(block.sequence[rows].astype(np.int64)),
            *(_time(column[rows]) for column in (block.log_time_ns, block.publish_time_ns)),
            pa.array(block.chunk_offset_bytes[rows]),
            pa.array(block.message_offset_bytes[rows]),
            pa.array(block.exclusive_end[rows] - block.start[rows]),
        ]

    def _decoded(self, block: Block, piece: Piece) -> pa.RecordBatch:
        nbr = len(piece.rows)
        is_decoded = piece.status is MessageStatus.DECODED
        table = _TABLE[piece.modality] if is_decoded else None
        reasons = pa.array([piece.reason.get(i) for i in range(nbr)], pa.string()) if piece.reason else None
        columns = {
            "data": None if is_decoded else message_bytes(block, piece.rows),
            "status": pa.repeat(pa.scalar(str(piece.status), pa.string()), nbr),
            "reason": reasons,
            "modality": pa.repeat(pa.scalar(str(piece.modality), pa.string()), nbr),
            "sensor_time_ns": _stamps(piece),
            "frame_id": _frames(piece),
            **({table: _table_rows(piece, table)} if table is not None else {}),
        }
        schema = message_schema(Payload.DECODED)
        base = self._base(block, piece.rows)
        rest = [pa.nulls(nbr, f.type) if (c := columns.get(f.name)) is None else c for f in list(schema)[len(base) :]]
        return pa.RecordBatch.from_arrays([*base, *rest], schema=schema)


def _portions(block: Block, rows: np.ndarray) -> list[np.ndarray]:
    """The rows in portions of about ``MAX_BATCH_BYTES``."""
    if not len(rows):
        return []
    ends = np.cumsum(block.exclusive_end[rows] - block.start[rows])
    cuts = np.flatnonzero(np.diff(ends // MAX_BATCH_BYTES)) + 1
    return np.split(rows, cuts)


def message_bytes(block: Block, rows: np.ndarray) -> pa.Array:
    """The messages' bytes, binary, copied out of the block without a step for each where they lie in order."""
    starts, ends = block.start[rows], block.exclusive_end[rows]
    if not len(rows) or (starts[1:] < ends[:-1]).any():
        return pa.array([block.data(row) for row in rows.tolist()], pa.binary())
    # Between the messages lie other records: as values of their own they are every other one, and left out.
    base = int(starts[0])
    offsets = np.empty(2 * len(rows), np.int64)
    offsets[0::2], offsets[1::2] = starts - base, ends - base
    body = pa.py_buffer(block.body[base : int(ends[-1])])
    both = pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), body])
    return both.take(pa.array(np.arange(0, len(offsets) - 1, 2))).cast(pa.binary())


def _time(times_ns: np.ndarray) -> pa.Array:
    """Times as int64; null above its range."""
    too_late = times_ns > np.uint64(INT64_MAX)
    return pa.array(times_ns.astype(np.int64), pa.int64(), mask=too_late)


def _stamps(piece: Piece) -> pa.Array | None:
    if piece.stamp_ns is None:
        return None
    return pa.array(piece.stamp_ns, pa.int64(), mask=None if piece.has_stamp is None else ~piece.has_stamp)


def _frames(piece: Piece) -> pa.Array | None:
    if piece.frame is None:
        return None
    values = pa.array([value or None for value in piece.frame.values], pa.string())
    return values.take(pa.array(piece.frame.codes))


def _table_rows(piece: Piece, table: str) -> pa.Array:
    """Each message's rows of its table, as a list column."""
    kind = _row_type(table)
    counts = piece.rows_per_message
    if piece.batch is not None:
        columns = [piece.batch.column(f.name).cast(f.type) for f in kind]
        nbr_rows = piece.batch.num_rows
    else:
        large = piece.large or []
        buffers = [column_buffer(f) for f in kind]
        for row in large:
            for field, buffer in zip(kind, buffers, strict=True):
                buffer.append(row.get(field.name))
        columns, nbr_rows = [buffer.array().combine_chunks() for buffer in buffers], len(large)
    rows = pa.StructArray.from_arrays(columns, fields=list(kind)) if nbr_rows else pa.array([], kind)
    lengths = np.ones(len(piece.rows), np.int64) if counts is None else counts
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), rows, type=pa.list_(kind))
