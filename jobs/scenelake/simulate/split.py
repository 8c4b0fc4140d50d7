"""Takes a recording apart into the parts in which a fleet may upload it: by sensor, or by time.

Messages keep their bytes, times and sequence numbers; every part has the recording's metadata. What is recorded once,
as static transforms are, is in one part alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from mcap.reader import make_reader
from mcap.records import Channel, Message, Metadata, Schema
from mcap.writer import CompressionType, Writer

from scenelake.contracts.errors import ConfigurationError
from scenelake.simulate.config import SECOND_NS

TIME_PART_NS = 10 * SECOND_NS
_CHUNK_BYTES = 1024 * 1024

PartName = Callable[[Channel, Message], str]
"""The file, relative to the folder of parts, that a message goes to."""


def parse_split(text: str, start_ns: int, exclusive_end_ns: int) -> PartName:
    """How to split: ``sensor``, ``time`` (parts of 10 s), or a number of parts of equal length in time.

    Raises:
        ConfigurationError: for anything else.
    """
    if text == "sensor":
        return lambda channel, _: f"{sensor_of(channel.topic)}/000.mcap"
    if text == "time":
        length_ns = TIME_PART_NS
    elif text.isdecimal() and int(text) > 0:
        length_ns = -((start_ns - exclusive_end_ns) // int(text))
    else:
        raise ConfigurationError(f"--split {text}: expected sensor, time or a number of parts")
    return lambda _, message: f"part_{(message.log_time - start_ns) // length_ns:03d}.mcap"


def sensor_of(topic: str) -> str:
    """Topics that share a namespace are one sensor: ``/camera/front/image`` is of ``camera_front``."""
    parts = topic.strip("/").split("/")
    return "_".join(parts[:-1] or parts)


def split_recording(recording: Path, folder: Path, split: str) -> tuple[Path, ...]:
    """Writes the parts of an MCAP recording into a folder and returns them in order of name.

    Raises:
        ConfigurationError: see ``parse_split``.
    """
    with recording.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        if summary is None or summary.statistics is None:
            raise ConfigurationError(f"{recording}: expected a recording with a summary")
        times = summary.statistics
        name_of = parse_split(split, times.message_start_time, times.message_end_time + 1)
        metadata = list(reader.iter_metadata())
        profile = reader.get_header().profile
        parts: dict[str, _Part] = {}
        for schema, channel, message in reader.iter_messages():
            name = name_of(channel, message)
            if name not in parts:
                parts[name] = _Part(folder / name, profile, metadata)
            parts[name].add(schema, channel, message)
        for part in parts.values():
            part.close()
    return tuple(folder / name for name in sorted(parts))


class _Part:
    """One part on its way to disk."""

    def __init__(self, path: Path, profile: str, metadata: list[Metadata]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("wb")
        self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._writer.start(profile=profile, library="scenelake")
        self._schemas: dict[int, int] = {}
        self._channels: dict[int, int] = {}
        for record in metadata:
            self._writer.add_metadata(record.name, record.metadata)

    def add(self, schema: Schema | None, channel: Channel, message: Message) -> None:
        if channel.id not in self._channels:
            schema_id = self._schema(schema) if schema else 0
            self._channels[channel.id] = self._writer.register_channel(
                channel.topic, channel.message_encoding, schema_id, dict(channel.metadata)
            )
        self._writer.add_message(
            self._channels[channel.id], message.log_time, message.data, message.publish_time, message.sequence
        )

    def _schema(self, schema: Schema) -> int:
        if schema.id not in self._schemas:
            self._schemas[schema.id] = self._writer.register_schema(schema.name, schema.encoding, schema.data)
        return self._schemas[schema.id]

    def close(self) -> None:
        self._writer.finish()
        self._file.close()
