"""One object on its way into files: every message read, decoded, written and indexed."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import PAYLOAD_TABLE, SLOTTED_TABLES, MessageStatus, Modality
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import ChannelCount, DropOutcome, DropVerdict, Problem
from scenelake.contracts.tables import CALIBRATION, MESSAGE_INDEX
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.mcap_reader import HARMLESS_REASONS, McapMessage, McapReader
from scenelake.decode.payload_files import PayloadFiles
from scenelake.decode.row_columns import Row
from scenelake.decode.ruling_time import RulingTime, ruling_time
from scenelake.decode.sinks import Sink
from scenelake.decode.small_tables import SmallTables
from scenelake.decode.values import INT64_MAX, Decoded, KeepRawError

log = logging.getLogger(__name__)

FORMAT = "mcap"


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
        self._start_ns: int | None = None
        self._last_ns: int | None = None
        self._reader: McapReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._payloads.abandon()
        self._tables.abandon()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._reader.problems) if self._reader else ()

    def run(self, path: Path, drop: Drop, recipe: str) -> DropOutcome:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            reader = self._reader = McapReader(
                file,
                size_bytes,
                max_chunk_bytes=self._config.max_chunk_bytes,
                max_record_bytes=self._config.max_record_bytes,
            )
            for message in reader.messages():
                self._take(message)
        if self._start_ns is None or self._last_ns is None:
            raise _nothing_read(reader.problems)
        channels = self._channel_counts(reader)
        payload_files = self._payloads.close()
        tables = self._tables.close(always=(MESSAGE_INDEX.name,))
        losses = [p for p in reader.problems if p.reason not in HARMLESS_REASONS]
        first = next(iter(losses or reader.problems), None)
        return DropOutcome(
            drop_id=drop.drop_id,
            verdict=DropVerdict.SALVAGED if losses else DropVerdict.DECODED,
            reason=first.reason if first else None,
            detail=f"{drop.uri}: {first.detail} (byte {first.start_byte})" if first else None,
            format=FORMAT,
            object_sha256=self._object_sha256,
            size_bytes=size_bytes,
            recipe=recipe,
            start_ns=self._start_ns,
            exclusive_end_ns=self._last_ns + 1,
            channels=channels,
            problems=tuple(reader.problems),
            payload_files=payload_files,
            tables=tuple(name for name in tables if name != MESSAGE_INDEX.name),
            metadata={**reader.metadata, "header": reader.header},
        )

    def _take(self, message: McapMessage) -> None:
        tally = self._tally(message)
        decoder = self._decoder(message)
        decoded: Decoded | None = None
        try:
            decoded = decoder.decode(message)
            status, reason = MessageStatus.DECODED, decoded.reason
            tally.decoded += 1
        except KeepRawError as kept:
            status, reason = MessageStatus.RAW, kept.reason
            tally.raw += 1
        except BadInputError as error:
            log.debug("undecodable message", extra={"channel": message.channel.topic, "detail": str(error)})
            status, reason = MessageStatus.UNDECODABLE, error.reason
            tally.undecodable += 1
        tally.payload_bytes += len(message.data)
        time = ruling_time(decoded.stamp_ns if decoded else None, message.publish_time_ns, message.log_time_ns)
        self._start_ns = time.timestamp_ns if self._start_ns is None else min(self._start_ns, time.timestamp_ns)
        self._last_ns = time.timestamp_ns if self._last_ns is None else max(self._last_ns, time.timestamp_ns)
        self._write(message, decoder, decoded, time, status, reason or time.reason)

    def _tally(self, message: McapMessage) -> _Tally:
        topic = message.channel.topic
        if topic not in self._tallies:
            self._tallies[topic] = _Tally(self._decoder(message))
        return self._tallies[topic]

    def _decoder(self, message: McapMessage) -> ChannelDecoder:
        known = self._decoders.get(message.channel.channel_id)
        if known is None or known.channel != message.channel or known.schema != message.schema:
            known = ChannelDecoder(message.channel, message.schema, message.problem)
            self._decoders[message.channel.channel_id] = known
        return known

    def _write(
        self,
        message: McapMessage,
        decoder: ChannelDecoder,
        decoded: Decoded | None,
        time: RulingTime,
        status: MessageStatus,
        reason: str | None,
    ) -> None:
        topic = message.channel.topic
        modality = decoded.modality if decoded else decoder.assumed_modality
        row: Row = {
            "sample_data_id": ids.sample_data_id(
                self._object_sha256, topic, message.chunk_offset_bytes, message.message_offset_bytes
            ),
            "channel": topic,
            "timestamp_ns": time.timestamp_ns,
        }
        if decoded is None:
            raw = {
                "schema_name": decoder.schema_name,
                "message_encoding": message.channel.message_encoding,
                "data": bytes(message.data),
                "reason": reason,
            }
            table = PAYLOAD_TABLE[Modality.RAW]
            place: tuple[str, int] | None = self._payloads.append(table, time.slot_time_ns, row | raw)
        else:
            table = PAYLOAD_TABLE[modality]
            place = self._write_rows(table, time, row, decoded, len(message.data))
        payload_file, row_index = place or (None, None)
        index_row = row | {
            "modality": modality,
            "schema_name": decoder.schema_name,
            "status": status,
            "reason": reason,
            "sensor_time_ns": time.sensor_time_ns,
            "publish_time_ns": time.publish_time_ns,
            "log_time_ns": time.log_time_ns,
            "timestamp_basis": time.basis,
            "frame_id": decoded.frame_id if decoded else None,
            "object_sha256": self._object_sha256,
            "chunk_offset_bytes": message.chunk_offset_bytes,
            "message_offset_bytes": message.message_offset_bytes,
            "payload_table": table,
            "payload_file": payload_file,
            "row_index": row_index,
            "decode_from_row": row_index,
            "payload_bytes": len(message.data),
            "payload_hash": hashlib.sha256(message.data).hexdigest()[:32],
            "nbr_points": decoded.nbr_points if decoded else None,
            "width_px": decoded.width_px if decoded else None,
            "height_px": decoded.height_px if decoded else None,
        }
        self._tables.append(MESSAGE_INDEX.name, [index_row])

    def _write_rows(
        self, table: str, time: RulingTime, row: Row, decoded: Decoded, message_bytes: int
    ) -> tuple[str, int] | None:
        if table in SLOTTED_TABLES:
            return self._payloads.append(table, time.slot_time_ns, row | decoded.rows[0])
        if decoded.modality is Modality.ANNOTATION:
            for position, box in enumerate(decoded.rows):
                box["annotation_id"] = f"{row['sample_data_id']}-{position}"
        name = CALIBRATION.name if decoded.modality is Modality.CALIBRATION else table
        first = self._tables.append(name, [row | part for part in decoded.rows], message_bytes)
        return (self._tables.uri(name), first) if decoded.rows else None

    def _channel_counts(self, reader: McapReader) -> tuple[ChannelCount, ...]:
        """Counts per topic; the recording's own where it has a Statistics record.

        A recording that counts fewer messages than were read is wrong, and is reported and overruled.
        """
        recorded: dict[str, int] = {}
        counts = reader.lost if reader.recorded is None else reader.recorded
        for channel_id, count in counts.items():
            channel = reader.channel(channel_id)
            recorded[channel.topic] = recorded.get(channel.topic, 0) + count
            if count and channel.topic not in self._tallies:
                self._tallies[channel.topic] = _Tally(ChannelDecoder(channel, reader.schema(channel), None))
        answers = []
        for topic, tally in sorted(self._tallies.items()):
            expected = tally.read + recorded.get(topic, 0) if reader.recorded is None else recorded.get(topic, 0)
            is_lossless = not any(p.reason not in HARMLESS_REASONS for p in reader.problems)
            if not tally.read <= expected <= INT64_MAX or (expected > tally.read and is_lossless):
                detail = f"{topic}: the Statistics record counts {expected} messages, {tally.read} were read"
                reader.problems.append(Problem("statistics_contradicted", detail, 0, 0))
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


def _nothing_read(problems: list[Problem]) -> BadInputError:
    if problems:
        first = problems[0]
        return BadInputError(first.detail, reason=first.reason, byte_offset=first.start_byte)
    return BadInputError("the recording holds no message", reason="no_messages")
