"""One channel: how its messages are parsed, which handler takes them, and what became of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import PAYLOAD_TABLE, SLOTTED_TABLES, MessageStatus, Modality
from scenelake.contracts.tables import CALIBRATION
from scenelake.decode.formats.blocks import Block, Definition, Schema
from scenelake.decode.formats.cdr import Plan, read_cdr
from scenelake.decode.formats.cdr_columns import TextColumn, read_columns
from scenelake.decode.formats.flatbuffer import flatbuffer_parser
from scenelake.decode.formats.json_fields import JsonFields
from scenelake.decode.formats.protobuf import protobuf_parser
from scenelake.decode.formats.ros_types import ros_plan, short_name
from scenelake.decode.handlers.datasets import ArrayReader, dataset_parser
from scenelake.decode.handlers.high_rate import COLUMN_HANDLERS, DecodedColumns, NotByColumnsError
from scenelake.decode.handlers.signal_columns import SIGNAL_COLUMNS
from scenelake.decode.message_types import FOXGLOVE_PACKAGE, MESSAGE_TYPES, MessageType
from scenelake.decode.pieces import Piece
from scenelake.decode.row_columns import Row, rows_to_batch
from scenelake.decode.rules import said_modality
from scenelake.decode.small_tables import row_schema
from scenelake.decode.values import ChannelFacts, Decoded, KeepRawError

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_PROTOBUF_BYTES = 128 * 1024 * 1024
"""Parsed JSON and protobuf can be many times their size on the wire; larger messages are kept as bytes."""
_FEW = 4
"""Fewer messages of one layout are read faster one by one."""
ROS_ENCODINGS = ("cdr", "ros1")
DATASET_ENCODINGS = ("array", "image", "text", "video")

Parser = Callable[[memoryview], Any]


class ChannelDecoder:
    """Turns the messages of one channel definition into pieces.

    Attributes:
        schema_name: message type as recorded; empty for a channel without a schema.
        modality: said by metadata or topic, or found by the first decoded message; RAW for a channel that
            has no handler; None while still open.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.channel = definition.channel
        self.schema_name = definition.schema.name if definition.schema else ""
        self.modality: Modality | None = Modality.RAW
        self._parse: Parser | None = None
        self._plan: Plan | None = None
        self._by_columns: Callable[[Any, ChannelFacts], DecodedColumns] | None = None
        self._array: ArrayReader | None = None
        self._type: MessageType | None = None
        self._raw_reason = definition.problem or "no_table"
        if definition.problem is None:
            self._prepare()

    def _prepare(self) -> None:
        encoding, schema = self.channel.message_encoding, self.definition.schema
        is_ros = encoding in ROS_ENCODINGS
        name = short_name(self.schema_name) if is_ros else self.schema_name
        found = MESSAGE_TYPES.get(("ros" if is_ros else encoding, name))
        if found is None:
            return
        try:
            if is_ros:
                self._plan = plan = ros_plan(self.definition)
                self._parse = lambda data: read_cdr(plan, data)
                self._by_columns = COLUMN_HANDLERS.get(name) or SIGNAL_COLUMNS.get(name)
            elif schema is None:
                return
            elif encoding == "json":
                self._parse = _parse_json_fields if name.startswith(FOXGLOVE_PACKAGE) else _parse_json
            elif encoding in DATASET_ENCODINGS:
                self._parse = parse = dataset_parser(encoding, schema)
                if isinstance(parse, ArrayReader):
                    self._array, self._by_columns = parse, parse.columns
            else:
                self._parse = _by_schema(encoding, schema)
        except BadInputError as error:
            self._raw_reason = error.reason
            return
        self._type = found
        self.modality = said_modality(self.channel.topic, self.channel.metadata, frozenset(found.modalities))

    @property
    def assumed_modality(self) -> Modality:
        """The channel's modality, where nothing has settled it yet the usual one of its message type."""
        if self.modality is None and self._type is not None and not self._type.is_open:
            return self._type.modalities[0]
        return self.modality or Modality.RAW

    @property
    def raw_reason(self) -> str | None:
        """Why every message of the channel is kept as bytes; None where a handler takes them."""
        return self._raw_reason if self._type is None else None

    def decode(self, block: Block, rows: np.ndarray) -> Iterator[Piece]:
        """Pieces that together hold each of the messages once; ``rows`` are their positions in the block."""
        if self._plan is not None and self._by_columns is not None and len(rows) >= _FEW:
            groups, alone = read_columns(self._plan, block, rows)
            left = [alone]
            for same, columns in groups:
                piece, rest = self._piece_of_columns(same, columns)
                if piece is not None:
                    yield piece
                left.append(rest)
            rows = np.sort(np.concatenate(left))
        elif self._array is not None:
            is_whole = block.exclusive_end[rows] - block.start[rows] == self._array.message_bytes
            left = [rows[~is_whole]]
            for body, own in block.by_member(rows[is_whole]):
                for whole in self._array.portions(own):
                    piece, rest = self._piece_of_columns(whole, (body, block.start[whole]))
                    if piece is not None:
                        yield piece
                    left.append(rest)
            rows = np.sort(np.concatenate(left))
        if len(rows):
            yield from self._one_by_one(block, rows)

    def _piece_of_columns(self, rows: np.ndarray, columns: Any) -> tuple[Piece | None, np.ndarray]:
        if self._by_columns is None or len(rows) < _FEW:
            return None, rows
        try:
            decoded = self._by_columns(columns, ChannelFacts(self.channel.topic, self.schema_name, self.modality))
        except (NotByColumnsError, KeyError, UnicodeDecodeError, pa.ArrowException):
            return None, rows
        self.modality = self.modality or decoded.modality
        is_good = decoded.is_good
        schema = row_schema(PAYLOAD_TABLE[decoded.modality])
        batch = _batch(decoded, schema, len(rows) * decoded.rows_per_message)
        frame = decoded.frame
        if not is_good.all():
            kept = np.repeat(is_good, decoded.rows_per_message)
            batch = batch.filter(pa.array(kept))
            frame = TextColumn(frame.values, frame.codes[is_good])
        nbr_good = int(is_good.sum())
        piece = Piece(
            rows[is_good],
            MessageStatus.DECODED,
            decoded.modality,
            stamp_ns=None if decoded.stamp_ns is None else decoded.stamp_ns[is_good],
            frame=frame,
            batch=batch,
            rows_per_message=None if decoded.rows_per_message == 1 else np.full(nbr_good, decoded.rows_per_message),
        )
        return piece if nbr_good else None, rows[~is_good]

    def _one_by_one(self, block: Block, rows: np.ndarray) -> Iterator[Piece]:
        decoded: dict[Modality, list[tuple[int, Decoded]]] = {}
        raw: dict[int, str] = {}
        undecodable: dict[int, str] = {}
        for row in rows.tolist():
            try:
                found = self._decode_one(block.data(row))
            except KeepRawError as kept:
                raw[row] = kept.reason
            except BadInputError as error:
                undecodable[row] = error.reason
            else:
                decoded.setdefault(found.modality, []).append((row, found))
        for modality, group in decoded.items():
            yield _piece_of_rows(modality, group)
        for status, reasons in ((MessageStatus.RAW, raw), (MessageStatus.UNDECODABLE, undecodable)):
            if reasons:
                yield self._kept(block, status, reasons)

    def _decode_one(self, data: memoryview) -> Decoded:
        """Rows of one message.

        Raises:
            KeepRawError: no table takes it; keep its bytes.
            BadInputError: its bytes contradict its schema, or its content contradicts itself.
        """
        if self._parse is None or self._type is None:
            raise KeepRawError(self._raw_reason)
        facts = ChannelFacts(self.channel.topic, self.schema_name, self.modality)
        try:
            decoded = self._type.handler(self._parse(data), facts)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            # The file's own schema may define a known name with other fields.
            detail = f"{type(error).__name__}: {error}"
            raise BadInputError(f"{self.schema_name}: {detail[:200]}", reason="field_unexpected") from error
        self.modality = self.modality or decoded.modality
        return decoded

    def _kept(self, block: Block, status: MessageStatus, reasons: dict[int, str]) -> Piece:
        """Messages whose bytes are kept as they came."""
        encoding = self.channel.message_encoding
        large: list[Row] = [
            {"schema_name": self.schema_name, "message_encoding": encoding, "data": block.data(row), "reason": reason}
            for row, reason in reasons.items()
        ]
        return Piece(
            np.fromiter(reasons, np.int64, len(reasons)),
            status,
            self.assumed_modality,
            reason=dict(enumerate(reasons.values())),
            large=large,
        )


def _batch(decoded: DecodedColumns, schema: pa.Schema, nbr_rows: int) -> pa.RecordBatch:
    arrays = [decoded.columns.get(f.name, None) for f in schema]
    filled = [pa.nulls(nbr_rows, f.type) if a is None else a for a, f in zip(arrays, schema, strict=True)]
    return pa.RecordBatch.from_arrays(filled, schema=schema)


def _piece_of_rows(modality: Modality, group: list[tuple[int, Decoded]]) -> Piece:
    table = CALIBRATION.name if modality is Modality.CALIBRATION else PAYLOAD_TABLE[modality]
    found = [decoded for _, decoded in group]
    piece = Piece(
        np.array([row for row, _ in group], np.int64),
        MessageStatus.DECODED,
        modality,
        reason={i: d.reason for i, d in enumerate(found) if d.reason is not None},
        stamp_ns=np.array([_int64(d.stamp_ns) for d in found], np.int64),
        has_stamp=np.array([d.stamp_ns is not None for d in found]),
        frame=_frames([d.frame_id or "" for d in found]),
    )
    if any(d.nbr_points is not None for d in found):
        piece.nbr_points = np.array([d.nbr_points or 0 for d in found], np.int32)
    if any(d.width_px is not None for d in found):
        piece.width_px = np.array([d.width_px or 0 for d in found], np.int32)
        piece.height_px = np.array([d.height_px or 0 for d in found], np.int32)
    if any(d.is_random_access is not None for d in found):
        piece.is_random_access = np.array([d.is_random_access is not False for d in found])
    if table in SLOTTED_TABLES:
        piece.large = [d.rows[0] for d in found]
    else:
        piece.batch = rows_to_batch([row for d in found for row in d.rows], row_schema(table))
        counts = np.array([len(d.rows) for d in found], np.int64)
        piece.rows_per_message = None if (counts == 1).all() else counts
    return piece


def _int64(stamp_ns: int | None) -> int:
    """A stamp that does not fit is out of range all the same at the nearest bound."""
    return min(max(stamp_ns or 0, -(2**63)), 2**63 - 1)


def _frames(frames: list[str]) -> TextColumn:
    values = list(dict.fromkeys(frames))
    code = {value: i for i, value in enumerate(values)}
    return TextColumn(values, np.array([code[f] for f in frames], np.int32))


def _by_schema(encoding: str, schema: Schema) -> Parser:
    if schema.encoding != encoding:
        raise BadInputError(f"schema encoding {schema.encoding!r}", reason="schema_encoding_unsupported")
    parse: Parser = (flatbuffer_parser if encoding == "flatbuffer" else protobuf_parser)(schema.name, schema.data)

    def bounded(data: memoryview) -> Any:
        if len(data) > MAX_PROTOBUF_BYTES:
            raise KeepRawError("message_too_large")
        return parse(data)

    return bounded


def _parse_json_fields(data: memoryview) -> JsonFields:
    return JsonFields(_parse_json(data))


def _parse_json(data: memoryview) -> Any:
    if len(data) > MAX_JSON_BYTES:
        raise KeepRawError("message_too_large")
    try:
        message = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"not JSON: {str(error)[:200]}", reason="json_invalid") from error
    if not isinstance(message, dict):
        raise BadInputError(f"expected a JSON object, got {type(message).__name__}", reason="json_invalid")
    return message
