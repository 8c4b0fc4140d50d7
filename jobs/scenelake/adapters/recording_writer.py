"""Writes MCAP recordings: ROS 2 messages as CDR, Foxglove protobuf, JSON by schema."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores
from rosbags.typesys.store import Typestore

from scenelake.decode.formats.ros_registry import ros2_store


def ros_typestore() -> Typestore:
    """ROS 2 Humble's types and the common ones that it lacks."""
    return ros2_store(Stores.ROS2_HUMBLE)


class RecordingWriter:
    """One MCAP file. Register a channel once, then write messages in log-time order.

    Args:
        path: file to create; an existing one is replaced.
        profile: MCAP profile, ``ros2`` for CDR.
        compression: zstd, lz4 or none, by chunk.
    """

    def __init__(
        self,
        path: Path,
        *,
        profile: str = "ros2",
        library: str = "scenelake",
        compression: CompressionType = CompressionType.ZSTD,
        chunk_size: int = 4 * 1024 * 1024,
    ) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._writer = Writer(self._file, chunk_size=chunk_size, compression=compression)
        self._writer.start(profile=profile, library=library)
        self.ros = ros_typestore()
        self._schemas: dict[tuple[str, str], int] = {}
        self._channels: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._sequences: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Writes the summary and closes the file."""
        self._writer.finish()
        self._file.close()

    def add_ros_channel(self, topic: str, type_name: str, metadata: Mapping[str, str] | None = None) -> None:
        """A CDR channel; ``type_name`` as in ``sensor_msgs/msg/Imu``. Messages are ``self.ros`` types."""
        definition, _ = self.ros.generate_msgdef(type_name, ros_version=2)
        schema_id = self._schema(type_name, "ros2msg", definition.encode())
        self._add(topic, "cdr", schema_id, type_name, metadata)

    def add_protobuf_channel(
        self, topic: str, message: type[Message], metadata: Mapping[str, str] | None = None
    ) -> None:
        """A protobuf channel for a generated message class, with its whole descriptor set as the schema."""
        schema = _descriptor_set(message.DESCRIPTOR.file).SerializeToString()
        schema_id = self._schema(message.DESCRIPTOR.full_name, "protobuf", schema)
        self._add(topic, "protobuf", schema_id, "protobuf", metadata)

    def add_json_channel(
        self, topic: str, name: str, schema: Mapping[str, Any], metadata: Mapping[str, str] | None = None
    ) -> None:
        """A JSON channel with a JSON schema."""
        schema_id = self._schema(name, "jsonschema", json.dumps(schema).encode())
        self._add(topic, "json", schema_id, "json", metadata)

    def write(self, topic: str, message: Any, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Writes one message: a ROS message object, a protobuf message, a JSON object, or ready bytes."""
        kind = self._kinds[topic]
        if isinstance(message, bytes):
            data = message
        elif kind == "json":
            data = json.dumps(message, separators=(",", ":")).encode()
        elif kind == "protobuf":
            data = message.SerializeToString()
        else:
            data = bytes(self.ros.serialize_cdr(message, kind))
        sequence = self._sequences[topic] = self._sequences.get(topic, -1) + 1
        publish = log_time_ns if publish_time_ns is None else publish_time_ns
        self._writer.add_message(self._channels[topic], log_time_ns, data, publish, sequence)

    def add_metadata(self, name: str, values: Mapping[str, str]) -> None:
        """A metadata record (rig, vehicle, source, licence, …)."""
        self._writer.add_metadata(name, dict(values))

    def _schema(self, name: str, encoding: str, data: bytes) -> int:
        key = (name, encoding)
        if key not in self._schemas:
            self._schemas[key] = self._writer.register_schema(name, encoding, data)
        return self._schemas[key]

    def _add(self, topic: str, encoding: str, schema_id: int, kind: str, metadata: Mapping[str, str] | None) -> None:
        self._channels[topic] = self._writer.register_channel(topic, encoding, schema_id, dict(metadata or {}))
        self._kinds[topic] = kind


def _descriptor_set(file: FileDescriptor) -> FileDescriptorSet:
    collected = FileDescriptorSet()
    seen: set[str] = set()

    def visit(descriptor: FileDescriptor) -> None:
        if descriptor.name in seen:
            return
        seen.add(descriptor.name)
        for dependency in descriptor.dependencies:
            visit(dependency)
        descriptor.CopyToProto(collected.file.add())

    visit(file)
    return collected
