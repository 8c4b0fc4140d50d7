"""Rows of the message index, collected channel by channel: a few array operations for thousands of messages."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scenelake.contracts.tables import MESSAGE_INDEX
from scenelake.decode.arrow_columns import numbers, repeated_text, texts
from scenelake.decode.formats.blocks import Block
from scenelake.decode.formats.cdr_columns import TextColumn
from scenelake.decode.identities import SharedHashes, payload_hashes, sample_data_ids
from scenelake.decode.pieces import Piece
from scenelake.decode.ruling_time import BASES, TIME_REASONS, RulingTimes, ruling_times
from scenelake.decode.small_tables import SmallTables, written_schema
from scenelake.decode.video_rows import DecodeFromRows

MAX_ROWS = 8192
"""Rows that a channel collects before they become columns."""
MAX_PIECES = 16_384
"""Pieces that all channels collect: each takes about 4 KiB beside its rows, and there may be 65,536 channels."""

_SCHEMA = written_schema(MESSAGE_INDEX.name)
_TEXT_TYPE = pa.dictionary(pa.int32(), pa.string())
_NULLABLE = ("sensor_time_ns", "publish_time_ns", "log_time_ns", "row_index")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the rows of a piece's messages lie.

    Attributes:
        file: URI of each message's file, empty for none; or one for all.
        row_index: (k,) int64.
        has_row: (k,) bool; None for all.
    """

    table: str
    file: TextColumn | str
    row_index: np.ndarray
    has_row: np.ndarray | None = None


class PieceRows:
    """One piece on its way into tables: identities and times of its messages.

    Attributes:
        ids: (k,) ``sample_data_id``.
        times: which clock rules each message.
    """

    def __init__(self, block: Block, piece: Piece, object_sha256: str, channel: str) -> None:
        self._piece = piece
        self._channel = channel
        rows = piece.rows
        self.ids = sample_data_ids(
            object_sha256, channel, block.chunk_offset_bytes[rows], block.message_offset_bytes[rows]
        )
        self.times: RulingTimes = ruling_times(
            piece.stamp_ns, piece.has_stamp, block.publish_time_ns[rows], block.log_time_ns[rows]
        )

    def payload_batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """The piece's rows of a small table with the columns that every row has."""
        batch = self._piece.batch
        if batch is None:
            raise ValueError("the piece has no rows of a small table")
        ids, timestamps = self.ids, pa.array(self.times.timestamp_ns)
        if self._piece.rows_per_message is not None:
            of_message = pa.array(np.repeat(np.arange(len(ids)), self._piece.rows_per_message))
            ids, timestamps = ids.take(of_message), timestamps.take(of_message)
        given: dict[str, pa.Array] = {
            "sample_data_id": ids,
            "channel": repeated_text(self._channel, batch.num_rows),
            "timestamp_ns": timestamps,
        }
        if "annotation_id" in schema.names:
            given["annotation_id"] = _numbered(ids, self._piece.rows_per_message)
        names = set(batch.schema.names)
        arrays = [
            given[f.name]
            if f.name in given
            else batch.column(f.name)
            if f.name in names
            else pa.nulls(batch.num_rows, f.type)
            for f in schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


class IndexRows:
    """The message index of one object on its way into its file, in the order of the file within each channel."""

    def __init__(self, object_sha256: str, tables: SmallTables) -> None:
        self._object_sha256 = object_sha256
        self._tables = tables
        self._channels: dict[str, _ChannelRows] = {}
        self._decode_from: defaultdict[str, DecodeFromRows] = defaultdict(DecodeFromRows)
        self._shared = SharedHashes()
        self._nbr_pieces = 0

    def add(self, block: Block, channel: str, schema_name: str, run: list[tuple[Piece, PieceRows, Placement]]) -> None:
        """Adds the pieces of one run: all messages of one channel in one block."""
        rows = self._channels.setdefault(channel, _ChannelRows())
        for piece, piece_rows, place in run:
            hashes = payload_hashes(block, piece.rows, self._shared)
            decode_from = self._decode_from[channel] if piece.is_random_access is not None else None
            rows.add(block, piece, piece_rows, place, schema_name, hashes, decode_from)
        if len(run) > 1:
            rows.sort_last(len(run))
        self._nbr_pieces += len(run)
        if rows.nbr_rows >= MAX_ROWS:
            self._flush(channel)
        if self._nbr_pieces >= MAX_PIECES:
            self.close()

    def close(self) -> None:
        """Hands on what was collected, by channel."""
        for channel in sorted(self._channels):
            self._flush(channel)

    def _flush(self, channel: str) -> None:
        rows = self._channels.pop(channel)
        self._nbr_pieces -= rows.nbr_pieces
        self._tables.append(MESSAGE_INDEX.name, rows.batch(channel, self._object_sha256))


class _ChannelRows:
    """Rows of one channel as lists of arrays."""

    def __init__(self) -> None:
        self.nbr_rows = self.nbr_pieces = 0
        self._numbers: dict[str, list[np.ndarray]] = {}
        self._valid: dict[str, list[np.ndarray]] = {}
        self._texts: dict[str, _Texts] = {}
        self._ids: list[pa.Array] = []
        self._order: list[np.ndarray] = []

    def add(
        self,
        block: Block,
        piece: Piece,
        rows: PieceRows,
        place: Placement,
        schema_name: str,
        hashes: TextColumn,
        decode_from: DecodeFromRows | None,
    ) -> None:
        at, times, nbr_rows = piece.rows, rows.times, len(piece.rows)
        everywhere = np.ones(nbr_rows, bool)
        has_row = everywhere if place.has_row is None else place.has_row
        from_row, has_from_row = place.row_index, has_row
        if decode_from is not None and piece.is_random_access is not None:
            from_row = decode_from.rows(place.file, place.row_index, piece.is_random_access)
            has_from_row = from_row >= 0
        self._ids.append(rows.ids)
        self._order.append(at)
        size = block.exclusive_end[at] - block.start[at]
        for name, values, is_valid in (
            ("timestamp_ns", times.timestamp_ns, None),
            ("sensor_time_ns", times.sensor_time_ns, times.has_sensor_time),
            ("publish_time_ns", times.publish_time_ns, times.has_publish_time),
            ("log_time_ns", times.log_time_ns, times.has_log_time),
            ("chunk_offset_bytes", block.chunk_offset_bytes[at], None),
            ("message_offset_bytes", block.message_offset_bytes[at], None),
            ("row_index", place.row_index, has_row),
            ("decode_from_row", from_row, has_from_row),
            ("payload_bytes", size, None),
        ):
            self._numbers.setdefault(name, []).append(values)
            if is_valid is not None:
                self._valid.setdefault(name, []).append(is_valid)
        for name in ("nbr_points", "width_px", "height_px"):
            found = getattr(piece, name)
            self._numbers.setdefault(name, []).append(np.zeros(nbr_rows, np.int32) if found is None else found)
            self._valid.setdefault(name, []).append(~everywhere if found is None else _is_said(name, found))
        for name, text in (
            ("modality", str(piece.modality)),
            ("schema_name", schema_name),
            ("status", str(piece.status)),
            ("reason", _reasons(piece, times)),
            ("timestamp_basis", TextColumn(_BASES, times.basis)),
            ("frame_id", piece.frame or ""),
            ("payload_table", place.table),
            ("payload_file", place.file),
            ("payload_hash", hashes),
        ):
            self._texts.setdefault(name, _Texts()).add(text, nbr_rows)
        self.nbr_rows += nbr_rows
        self.nbr_pieces += 1

    def sort_last(self, nbr_pieces: int) -> None:
        """Puts the last pieces, which are one run, into the order of the file."""
        order = np.argsort(np.concatenate(self._order[-nbr_pieces:]), kind="stable")
        for lists in (*self._numbers.values(), *self._valid.values(), *(t.codes for t in self._texts.values())):
            lists[-nbr_pieces:] = [np.concatenate(lists[-nbr_pieces:])[order]]
        self._ids[-nbr_pieces:] = [pa.concat_arrays(self._ids[-nbr_pieces:]).take(pa.array(order))]
        self._order[-nbr_pieces:] = [order]

    def batch(self, channel: str, object_sha256: str) -> pa.RecordBatch:
        """The rows as columns of ``contracts.tables.MESSAGE_INDEX``."""
        values: dict[str, pa.Array] = {
            "sample_data_id": pa.concat_arrays(self._ids),
            "channel": repeated_text(channel, self.nbr_rows),
            "object_sha256": repeated_text(object_sha256, self.nbr_rows),
        }
        for name, parts in self._numbers.items():
            is_valid = np.concatenate(self._valid[name]) if name in self._valid else None
            values[name] = numbers(np.concatenate(parts), _SCHEMA.field(name).type, is_valid)
        for name, column in self._texts.items():
            is_optional = name in ("reason", "frame_id", "payload_file")
            values[name] = texts(column.column(), empty_is_null=is_optional)
        return pa.RecordBatch.from_arrays([values[f.name] for f in _SCHEMA], schema=_SCHEMA)


class _Texts:
    """A column of strings in parts that share one dictionary."""

    def __init__(self) -> None:
        self.codes: list[np.ndarray] = []
        self._code_of: dict[str, int] = {}

    def add(self, text: TextColumn | str, nbr_rows: int) -> None:
        if isinstance(text, str):
            self.codes.append(np.full(nbr_rows, self._code(text), np.int32))
        else:
            self.codes.append(np.array([self._code(v) for v in text.values], np.int32)[text.codes])

    def column(self) -> TextColumn:
        return TextColumn(list(self._code_of), np.concatenate(self.codes))

    def _code(self, value: str) -> int:
        return self._code_of.setdefault(value, len(self._code_of))


_BASES = [str(b) for b in BASES]
_TIME_REASONS = [r or "" for r in TIME_REASONS]


def _is_said(name: str, values: np.ndarray) -> np.ndarray:
    """A width or height of 0 stands for a video frame that does not say it; a sweep may have 0 points."""
    return values > 0 if name in ("width_px", "height_px") else np.ones(len(values), bool)


def _reasons(piece: Piece, times: RulingTimes) -> TextColumn:
    """A message's own reason before that of its times."""
    if not piece.reason:
        return TextColumn(_TIME_REASONS, times.reason)
    own = [piece.reason.get(i) or _TIME_REASONS[code] for i, code in enumerate(times.reason.tolist())]
    values = list(dict.fromkeys(own))
    code_of = {value: code for code, value in enumerate(values)}
    return TextColumn(values, np.array([code_of[v] for v in own], np.int32))


def _numbered(ids: pa.StringArray, rows_per_message: np.ndarray | None) -> pa.Array:
    counts = np.ones(len(ids), np.int64) if rows_per_message is None else rows_per_message
    positions = [i for count in counts.tolist() for i in range(count)]
    return pa.array([f"{i}-{n}" for i, n in zip(ids.to_pylist(), positions, strict=True)], pa.string())
