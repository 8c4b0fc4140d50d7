"""One object on its way into files: every message read, decoded, written and indexed."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from scenelake.contracts.modalities import PAYLOAD_TABLE, SLOTTED_TABLES, MessageStatus, Modality
from scenelake.contracts.paths import LakePaths, RestrictedPaths
from scenelake.contracts.stages import Problem
from scenelake.contracts.tables import CALIBRATION, MESSAGE_INDEX
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.config import MIB, DecodeConfig
from scenelake.decode.formats.block_groups import grouped
from scenelake.decode.formats.blocks import Block, Definition, Findings, Part, Reader
from scenelake.decode.formats.cdr_columns import TextColumn
from scenelake.decode.heap import keep_freed_memory
from scenelake.decode.index_rows import IndexRows, PieceRows, Placement
from scenelake.decode.measured_rows import MeasuredRows
from scenelake.decode.parts import ChannelTally, PartOutcome
from scenelake.decode.payload_files import PayloadFiles
from scenelake.decode.pieces import Piece
from scenelake.decode.privacy.examine import Guard
from scenelake.decode.privacy.pieces import PrivacyFilter
from scenelake.decode.sinks import Sink
from scenelake.decode.small_tables import SmallTables, written_schema

log = logging.getLogger(__name__)

_ORIGINALS = {"row_group_bytes": 8 * MIB, "buffer_bytes": 16 * MIB, "max_open_files": 4}
"""Bounds of the files of originals, which are few beside the payload files."""


@dataclass(slots=True)
class _Tally:
    """Counts of one topic; the first channel with the topic names its schema."""

    decoder: ChannelDecoder
    decoded: int = 0
    raw: int = 0
    undecodable: int = 0
    payload_bytes: int = 0


class Decoding:
    """One object on its way into files.

    Attributes:
        format: of the object, once its reader has been found.
    """

    def __init__(
        self,
        object_sha256: str,
        recipe: str,
        config: DecodeConfig,
        paths: LakePaths,
        sink: Sink,
        scratch: Path,
        folder: str,
        part: int | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._object_sha256 = object_sha256
        self._config = config
        self._payloads = PayloadFiles(object_sha256, recipe, config, paths, sink, scratch, part)
        self._tables = SmallTables(folder, config.index_rows, config.row_group_bytes, sink, scratch, part)
        self._decoders: dict[int, ChannelDecoder] = {}
        self._tallies: dict[str, _Tally] = {}
        self._index = IndexRows(object_sha256, self._tables)
        self._measured = MeasuredRows(self._tables, config.image_statistics_ns)
        self._privacy: PrivacyFilter | None = None
        if guard is not None:
            apart, kept = scratch / "originals", config.model_copy(update=_ORIGINALS)
            apart.mkdir()
            originals = PayloadFiles(object_sha256, recipe, kept, RestrictedPaths(paths.lake), sink, apart, part)
            self._privacy = PrivacyFilter(guard, object_sha256, self._tables, originals)
        self._start_ns: int | None = None
        self._last_ns: int | None = None
        self._findings = Findings()
        self.format: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._payloads.abandon()
        if self._privacy is not None:
            self._privacy.abandon()
        self._tables.abandon()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._findings.problems)

    def run(self, reader: Reader, part: Part | None = None) -> PartOutcome:
        """Decodes the object, or a part of it, to its end and finishes the files.

        Raises:
            BadInputError: nothing of it can be used.
            PlanContradictedError: the object is not what its index said when it was split.
        """
        findings = self._findings = reader.findings
        self.format = reader.format
        keep_freed_memory()
        for block in grouped(reader.blocks(part)):
            self._take(block)
        self._index.close()
        self._measured.close()
        if self._privacy is not None:
            self._privacy.close()
        is_unusable = part is None and self._start_ns is None and "dataset" not in findings.metadata
        return PartOutcome(
            number=part.number if part else None,
            format=reader.format,
            start_ns=self._start_ns,
            exclusive_end_ns=None if self._last_ns is None else self._last_ns + 1,
            has_own_counts=findings.recorded is not None,
            channels=self._channel_tallies(findings),
            problems=tuple(findings.problems),
            payload_files=self._payloads.close(),
            tables=() if is_unusable else self._tables.close(always=(MESSAGE_INDEX.name,)),
            metadata={**findings.metadata, "header": findings.header} if findings.header else findings.metadata,
        )

    def _take(self, block: Block) -> None:
        for definition, rows in block.runs():
            decoder = self._decoder(definition)
            tally = self._tally(decoder)
            tally.payload_bytes += int((block.exclusive_end[rows] - block.start[rows]).sum())
            run = [(piece, *self._write(block, decoder, tally, piece)) for piece in self._pieces(block, decoder, rows)]
            self._index.add(block, decoder.channel.topic, decoder.schema_name, run)

    def _pieces(self, block: Block, decoder: ChannelDecoder, rows: np.ndarray) -> Iterator[Piece]:
        """The run's pieces, past the detector where there is one."""
        for piece in decoder.decode(block, rows):
            if self._privacy is None:
                yield piece
            else:
                yield from self._privacy.pieces(block, decoder, piece)

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
            self._measured.take(table, row)
            codes.append(files.setdefault(uri, len(files)))
            row_index.append(at)
        # The run goes on for as long as its block; redacted frames need not.
        piece.large = None
        return Placement(table, TextColumn(list(files), np.array(codes, np.int32)), np.array(row_index, np.int64))

    def _channel_tallies(self, findings: Findings) -> tuple[ChannelTally, ...]:
        recorded = _by_topic(findings, findings.recorded or {})
        lost = _by_topic(findings, findings.lost)
        for definition in findings.definitions.values():
            topic = definition.channel.topic
            if topic not in self._tallies and (recorded.get(topic) or lost.get(topic)):
                self._tallies[topic] = _Tally(ChannelDecoder(definition))
        return tuple(
            ChannelTally(
                channel=topic,
                modality=tally.decoder.assumed_modality,
                schema_name=tally.decoder.schema_name,
                decoded=tally.decoded,
                raw=tally.raw,
                undecodable=tally.undecodable,
                payload_bytes=tally.payload_bytes,
                recorded=None if findings.recorded is None else recorded.get(topic, 0),
                lost=lost.get(topic, 0),
            )
            for topic, tally in sorted(self._tallies.items())
        )


def _by_topic(findings: Findings, counts: dict[int, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for channel_id, count in counts.items():
        topic = findings.definitions[channel_id].channel.topic
        found[topic] = found.get(topic, 0) + count
    return found
