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
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

EXTRA_ROS_TYPES: dict[str, str] = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id\n"
    ),
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n",
    "can_msgs/msg/Frame": (
        "std_msgs/Header header\nuint32 id\nbool is_rtr\nbool is_extended\nbool is_error\nuint8 dlc\nuint8[8] data\n"
    ),
    "radar_msgs/msg/RadarTrack": (
        "uint8[16] uuid\ngeometry_msgs/Point position\ngeometry_msgs/Vector3 velocity\n"
        "geometry_msgs/Vector3 acceleration\ngeometry_msgs/Vector3 size\nuint16 classification\n"
        "float32[6] position_covariance\nfloat32[6] velocity_covariance\nfloat32[6] acceleration_covariance\n"
        "float32[6] size_covariance\n"
    ),
    "radar_msgs/msg/RadarTracks": "std_msgs/Header header\nradar_msgs/RadarTrack[] tracks\n",
}
"""Common types that the distribution's own set lacks (vision_msgs 4, can_msgs, radar_msgs; Apache-2.0 or BSD)."""


def ros_typestore() -> Typestore:
    """ROS 2 Humble's types and the extra ones above."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = {}
    for name, definition in EXTRA_ROS_TYPES.items():
        types.update(get_types_from_msg(definition, name))
    store.register(types)
    return store


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
