"""One object on its way into files: every message read, decoded, written and indexed."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import PAYLOAD_TABLE, SLOTTED_TABLES, MessageStatus, Modality
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import ChannelCount, DropOutcome, DropVerdict, Problem
from scenelake.contracts.tables import CALIBRATION, MESSAGE_INDEX
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Block, Definition, Findings, Reader
from scenelake.decode.formats.cdr_columns import TextColumn
from scenelake.decode.formats.mcap_reader import HARMLESS_REASONS
from scenelake.decode.index_rows import IndexRows, PieceRows, Placement
from scenelake.decode.payload_files import PayloadFiles
from scenelake.decode.pieces import Piece
from scenelake.decode.sinks import Sink
from scenelake.decode.small_tables import SmallTables, written_schema
from scenelake.decode.values import INT64_MAX

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tally:
    """Counts of one topic; the first channel with the topic names its schema."""

    decoder: ChannelDecoder
    decoded: int = 0
    raw: int = 0
    undecodable: int = 0
    payload_bytes: int = 0

    @property
    def read(self) -> int:
        return self.decoded + self.raw + self.undecodable


class Decoding:
    """One object on its way into files."""

    def __init__(
        self,
        object_sha256: str,
        recipe: str,
        config: DecodeConfig,
        paths: LakePaths,
        sink: Sink,
        scratch: Path,
        folder: str,
    ) -> None:
        self._object_sha256 = object_sha256
        self._config = config
        self._payloads = PayloadFiles(object_sha256, recipe, config, paths, sink, scratch)
        self._tables = SmallTables(folder, config.index_rows, config.row_group_bytes, sink, scratch)
        self._decoders: dict[int, ChannelDecoder] = {}
        self._tallies: dict[str, _Tally] = {}
        self._index = IndexRows(object_sha256, self._tables)
        self._start_ns: int | None = None
        self._last_ns: int | None = None
        self._findings = Findings()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._payloads.abandon()
        self._tables.abandon()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._findings.problems)

    def run(self, reader: Reader, drop: Drop, size_bytes: int, recipe: str) -> DropOutcome:
        findings = self._findings = reader.findings
        for block in reader.blocks():
            self._take(block)
        if self._start_ns is None or self._last_ns is None:
            raise _nothing_read(findings.problems)
        self._index.close()
        channels = self._channel_counts(findings)
        payload_files = self._payloads.close()
        tables = self._tables.close(always=(MESSAGE_INDEX.name,))
        losses = [p for p in findings.problems if p.reason not in HARMLESS_REASONS]
        first = next(iter(losses or findings.problems), None)
        return DropOutcome(
            drop_id=drop.drop_id,
            verdict=DropVerdict.SALVAGED if losses else DropVerdict.DECODED,
            reason=first.reason if first else None,
            detail=f"{drop.uri}: {first.detail} (byte {first.start_byte})" if first else None,
            format=reader.format,
            object_sha256=self._object_sha256,
            size_bytes=size_bytes,
            recipe=recipe,
            start_ns=self._start_ns,
            exclusive_end_ns=self._last_ns + 1,
            channels=channels,
            problems=tuple(findings.problems),
            payload_files=payload_files,
            tables=tuple(name for name in tables if name != MESSAGE_INDEX.name),
            metadata={**findings.metadata, "header": findings.header},
        )

    def _take(self, block: Block) -> None:
        for definition, rows in block.runs():
            decoder = self._decoder(definition)
            tally = self._tally(decoder)
            tally.payload_bytes += int((block.exclusive_end[rows] - block.start[rows]).sum())
            run = [(piece, *self._write(block, decoder, tally, piece)) for piece in decoder.decode(block, rows)]
            self._index.add(block, decoder.channel.topic, decoder.schema_name, run)

    def _decoder(self, definition: Definition) -> ChannelDecoder:
        channel_id = definition.channel.channel_id
        known = self._decoders.get(channel_id)
        if known is None or known.definition != definition:
            known = self._decoders[channel_id] = ChannelDecoder(definition)
        return known

    def _tally(self, decoder: ChannelDecoder) -> _Tally:
        topic = decoder.channel.topic
        if topic not in self._tallies:
            self._tallies[topic] = _Tally(decoder)
        return self._tallies[topic]

    def _write(self, block: Block, decoder: ChannelDecoder, tally: _Tally, piece: Piece) -> tuple[PieceRows, Placement]:
        """Writes a piece's rows and returns what the index needs to know of them."""
        if piece.status is MessageStatus.DECODED:
            tally.decoded += len(piece.rows)
        elif piece.status is MessageStatus.RAW:
            tally.raw += len(piece.rows)
        else:
            tally.undecodable += len(piece.rows)
        rows = PieceRows(block, piece, self._object_sha256, decoder.channel.topic)
        first, last = int(rows.times.timestamp_ns.min()), int(rows.times.timestamp_ns.max())
        self._start_ns = first if self._start_ns is None else min(self._start_ns, first)
        self._last_ns = last if self._last_ns is None else max(self._last_ns, last)
        return rows, self._place(piece, rows, decoder.channel.topic)

    def _place(self, piece: Piece, rows: PieceRows, topic: str) -> Placement:
        modality = piece.modality if piece.status is MessageStatus.DECODED else Modality.RAW
        table = PAYLOAD_TABLE[modality]
        if table in SLOTTED_TABLES:
            return self._place_large(piece, rows, table, topic)
        name = CALIBRATION.name if modality is Modality.CALIBRATION else table
        first = self._tables.append(name, rows.payload_batch(written_schema(name)))
        counts = piece.rows_per_message
        if counts is None:
            return Placement(table, self._tables.uri(name), np.arange(first, first + len(piece.rows)))
        starts = first + np.concatenate(([0], np.cumsum(counts)[:-1]))
        if counts.all():
            return Placement(table, self._tables.uri(name), starts)
        files = TextColumn(["", self._tables.uri(name)], (counts > 0).astype(np.int32))
        return Placement(table, files, starts, counts > 0)

    def _place_large(self, piece: Piece, rows: PieceRows, table: str, topic: str) -> Placement:
        files: dict[str, int] = {}
        codes: list[int] = []
        row_index: list[int] = []
        columns = (rows.ids.to_pylist(), rows.times.timestamp_ns.tolist(), rows.times.slot_time_ns.tolist())
        for large, sample_data_id, timestamp_ns, slot_ns in zip(piece.large or (), *columns, strict=True):
            row = {"sample_data_id": sample_data_id, "channel": topic, "timestamp_ns": timestamp_ns, **large}
            uri, at = self._payloads.append(table, slot_ns, row)
            codes.append(files.setdefault(uri, len(files)))
            row_index.append(at)
        return Placement(table, TextColumn(list(files), np.array(codes, np.int32)), np.array(row_index, np.int64))

    def _channel_counts(self, findings: Findings) -> tuple[ChannelCount, ...]:
        """Counts per topic; the recording's own where it has a Statistics record.

        A recording that counts fewer messages than were read is wrong, and is reported and overruled.
        """
        recorded: dict[str, int] = {}
        for definition, count in _counted(findings):
            topic = definition.channel.topic
            recorded[topic] = recorded.get(topic, 0) + count
            if count and topic not in self._tallies:
                self._tallies[topic] = _Tally(ChannelDecoder(definition))
        answers = []
        for topic, tally in sorted(self._tallies.items()):
            has_own_count = findings.recorded is not None
            expected = recorded.get(topic, 0) + (0 if has_own_count else tally.read)
            is_lossless = not any(p.reason not in HARMLESS_REASONS for p in findings.problems)
            if not tally.read <= expected <= INT64_MAX or (expected > tally.read and is_lossless):
                detail = f"{topic}: the Statistics record counts {expected} messages, {tally.read} were read"
                findings.problems.append(Problem("statistics_contradicted", detail, 0, 0))
                expected = tally.read if expected > INT64_MAX else max(expected, tally.read)
            answers.append(
                ChannelCount(
                    channel=topic,
                    modality=tally.decoder.assumed_modality,
                    schema_name=tally.decoder.schema_name,
                    recorded=expected,
                    read=tally.read,
                    decoded=tally.decoded,
                    raw=tally.raw,
                    undecodable=tally.undecodable,
                    payload_bytes=tally.payload_bytes,
                )
            )
        return tuple(answers)


def _counted(findings: Findings) -> Iterable[tuple[Definition, int]]:
    counts = findings.lost if findings.recorded is None else findings.recorded
    return [(findings.definitions[channel_id], count) for channel_id, count in counts.items()]


def _nothing_read(problems: list[Problem]) -> BadInputError:
    if problems:
        first = problems[0]
        return BadInputError(first.detail, reason=first.reason, byte_offset=first.start_byte)
    return BadInputError("the recording holds no message", reason="no_messages")
