"""Recordings made for the tests of decode, and a way to decode them into a local folder."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
from mcap.writer import CompressionType

from scenelake.adapters.objects import LocalObjects
from scenelake.adapters.recording_writer import RecordingWriter, ros_typestore
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome
from scenelake.decode.config import DecodeConfig
from scenelake.decode.drop import decode_object
from scenelake.decode.formats.sources import FileSource
from scenelake.decode.privacy.examine import Guard

T0_NS = 1_700_000_000_000_000_000
RECIPE = "0123456789abcdef"
Sent = tuple[str, Any, int]


class Messages:
    """ROS messages by short constructors; ``stamp_ns`` is the header's."""

    def __init__(self) -> None:
        self.types = ros_typestore().types

    def of(self, name: str, *args: Any) -> Any:
        return self.types[name](*args)

    def header(self, stamp_ns: int = T0_NS, frame_id: str = "sensor") -> Any:
        stamp = self.of("builtin_interfaces/msg/Time", stamp_ns // 10**9, stamp_ns % 10**9)
        return self.of("std_msgs/msg/Header", stamp, frame_id)

    def vector(self, *xyz: float) -> Any:
        return self.of("geometry_msgs/msg/Vector3", *xyz)

    def point(self, *xyz: float) -> Any:
        return self.of("geometry_msgs/msg/Point", *xyz)

    def quaternion(self, *xyzw: float) -> Any:
        return self.of("geometry_msgs/msg/Quaternion", *xyzw)

    def pose(self, xyz: tuple[float, ...] = (1.0, 2.0, 3.0), xyzw: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)) -> Any:
        return self.of("geometry_msgs/msg/Pose", self.point(*xyz), self.quaternion(*xyzw))

    def imu(self, stamp_ns: int = T0_NS, acceleration: tuple[float, float, float] = (7.0, 8.0, 9.0)) -> Any:
        return self.of(
            "sensor_msgs/msg/Imu",
            self.header(stamp_ns, "imu_link"),
            self.quaternion(0.0, 0.0, 0.0, 1.0),
            np.zeros(9),
            self.vector(4.0, 5.0, 6.0),
            np.zeros(9),
            self.vector(*acceleration),
            np.zeros(9),
        )

    def image(self, data: bytes, stamp_ns: int = T0_NS, declared: str = "jpeg") -> Any:
        array = np.frombuffer(data, np.uint8)
        return self.of("sensor_msgs/msg/CompressedImage", self.header(stamp_ns, "camera"), declared, array)

    def cloud(self, points: np.ndarray, stamp_ns: int = T0_NS, **changed: Any) -> Any:
        codes = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
        listed = [
            self.of("sensor_msgs/msg/PointField", name, offset, codes[kind.str[1:]], 1)
            for name, (kind, offset, *_) in (points.dtype.fields or {}).items()
        ]
        values = {
            "header": self.header(stamp_ns, "lidar"),
            "height": 1,
            "width": len(points),
            "fields": listed,
            "is_bigendian": False,
            "point_step": points.dtype.itemsize,
            "row_step": points.nbytes,
            "data": np.frombuffer(points.tobytes(), np.uint8),
            "is_dense": True,
        }
        return self.types["sensor_msgs/msg/PointCloud2"](**(values | changed))


@pytest.fixture(scope="session")
def ros() -> Messages:
    return Messages()


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A 48x32 JPEG."""
    picture = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    return simplejpeg.encode_jpeg(picture, quality=80)


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``(topic, message, log_time_ns)`` of ROS channels ``{topic: type}`` into an MCAP file."""

    def write(
        channels: dict[str, str],
        sent: Iterable[Sent],
        name: str = "object.mcap",
        metadata: dict[str, dict[str, str]] | None = None,
        chunk_size: int = 4096,
        compression: CompressionType = CompressionType.ZSTD,
    ) -> Path:
        path = tmp_path / name
        with RecordingWriter(path, compression=compression, chunk_size=chunk_size) as writer:
            for topic, type_name in channels.items():
                writer.add_ros_channel(topic, type_name, (metadata or {}).get(topic))
            for topic, message, log_time_ns in sent:
                writer.write(topic, message, log_time_ns)
        return path

    return write


@dataclass
class Result:
    """What one decode left."""

    outcome: DropOutcome
    objects: LocalObjects
    folder_uri: str

    def table(self, name: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.objects.read(f"{self.folder_uri}/{name}.parquet")))

    @property
    def index(self) -> list[dict[str, Any]]:
        """Index rows in the order of the file."""
        rows = self.table("message_index").to_pylist()
        return sorted(rows, key=lambda r: (r["chunk_offset_bytes"], r["message_offset_bytes"]))

    def payload(self, row: dict[str, Any]) -> dict[str, Any]:
        """The payload row that an index row points to."""
        table = pq.read_table(pa.BufferReader(self.objects.read(row["payload_file"])))
        found = table.slice(row["row_index"], 1).to_pylist()[0]
        assert found["sample_data_id"] == row["sample_data_id"]
        return found

    def files(self) -> dict[str, bytes]:
        return {info.uri: self.objects.read(info.uri) for info in self.objects.list("s3://lake/")}


@pytest.fixture
def decode(tmp_path: Path) -> Callable[..., Result]:
    """Decodes a file into a fresh local lake."""
    count = 0

    def run(path: Path, config: DecodeConfig | None = None, guard: Guard | None = None) -> Result:
        nonlocal count
        count += 1
        objects = LocalObjects(tmp_path / f"objects-{count}")
        drop = a_drop(path.stat().st_size)
        with FileSource(path) as source:
            outcome = decode_object(
                source,
                drop=drop,
                object_sha256=ids.merkle_root([hashlib.sha256(path.read_bytes()).digest()]),
                recipe=RECIPE,
                config=config or DecodeConfig(),
                sink=objects,
                paths=LakePaths("s3://lake"),
                guard=guard,
            )
        folder_uri = LakePaths("s3://lake").decoded(RECIPE, drop.drop_id)
        stored = DropOutcome.from_json(json.loads(objects.read(f"{folder_uri}/outcome.json")))
        assert stored == outcome
        return Result(outcome, objects, folder_uri)

    return run


def a_drop(size_bytes: int) -> Drop:
    key = "fleet/car/drive/object.mcap"
    return Drop(
        drop_id=ids.drop_id("landing", key, "v1"),
        bucket="landing",
        key=key,
        version_id="v1",
        size_bytes=size_bytes,
        etag="e",
        received_at_ns=T0_NS,
        fleet="fleet",
        vehicle="car",
        drive="drive",
        drive_id=ids.drive_id("fleet", "car", "drive"),
    )
