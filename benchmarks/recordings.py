"""Recordings to measure with: MCAP (zstd, 1 MiB chunks) with ROS 2 messages of realistic sizes, rates and noise.

A message is a template whose fields are overwritten in place, so that a million take seconds. The same kind, length
and seed give the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from mcap.writer import CompressionType, Writer

from scenelake.adapters.recording_writer import ros_typestore
from scenelake.decode.formats.blocks import Channel, Definition, Schema
from scenelake.decode.formats.cdr_columns import Layout, lay_out
from scenelake.decode.formats.ros_types import ros_plan
from scenelake.geometry.poses import quaternion_of

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
CHUNK_BYTES = 1024**2
LATENCY_NS = 2_000_000
POINT = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4"), ("ring", "u2"), ("time", "f4")])
NBR_POINTS = 60_000
NBR_CAN_IDS = 64
SIDES = ("left", "right")
JOINTS = tuple(
    f"{side}_{part}_{axis}_joint"
    for side in SIDES
    for part in ("hip", "knee", "ankle", "shoulder", "elbow")
    for axis in ("roll", "pitch", "yaw")
)
"""30 names as a humanoid has them."""

Rows = np.ndarray
Fill = Callable[["Fields", Rows, np.random.Generator], None]


@dataclass(frozen=True)
class Fields:
    """Where the fields of a template lie."""

    layout: Layout

    def put(self, rows: Rows, name: str, values: Any) -> None:
        """Overwrites a field of every row: a number with (n,) values, an array of numbers with (n, length)."""
        place = self.layout.numbers[name]
        count = 1 if place.count is None else place.count
        kind = np.dtype(place.dtype)
        data = np.ascontiguousarray(np.asarray(values, kind).reshape(len(rows), count))
        rows[:, place.offset : place.offset + count * kind.itemsize] = data.view(np.uint8)


@dataclass(frozen=True)
class Stream:
    """One topic.

    Attributes:
        templates: serialised messages that take turns; those of one stream share the places of their stamps.
        fill: overwrites fields of many messages that share one template.
    """

    topic: str
    type_name: str
    rate_hz: int
    templates: tuple[bytes, ...]
    stamps: tuple[Fields, ...]
    fields: Fields
    fill: Fill | None = None

    def messages(self, first: int, stamps_ns: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
        """Messages number ``first`` and on."""
        if len(self.templates) == 1:
            yield from map(
                bytes, self._stamped(np.tile(_octets(self.templates[0]), (len(stamps_ns), 1)), stamps_ns, rng)
            )
            return
        for k in range(len(stamps_ns)):
            template = self.templates[(first + k) % len(self.templates)]
            yield bytes(self._stamped(_octets(template)[None].copy(), stamps_ns[k : k + 1], rng)[0])

    def _stamped(self, rows: Rows, stamps_ns: np.ndarray, rng: np.random.Generator) -> Rows:
        for part in self.stamps:
            part.put(rows, "header.stamp.sec", stamps_ns // SECOND_NS)
            part.put(rows, "header.stamp.nanosec", stamps_ns % SECOND_NS)
        if self.fill is not None:
            self.fill(self.fields, rows, rng)
        return rows


@dataclass(frozen=True)
class Written:
    """What a recording holds.

    Attributes:
        payload_bytes: of all messages' data.
    """

    nbr_messages: int
    payload_bytes: int


class Ros:
    """Message objects, their bytes and their definitions."""

    def __init__(self) -> None:
        self._store = ros_typestore()

    def make(self, name: str, *values: Any) -> Any:
        return self._store.types[name](*values)

    def header(self, frame: str) -> Any:
        return self.make("std_msgs/msg/Header", self.make("builtin_interfaces/msg/Time", 0, 0), frame)

    def vector(self, *xyz: float) -> Any:
        return self.make("geometry_msgs/msg/Vector3", *xyz)

    def quaternion(self, *xyzw: float) -> Any:
        return self.make("geometry_msgs/msg/Quaternion", *xyzw)

    def definition(self, type_name: str) -> bytes:
        return bytes(self._store.generate_msgdef(type_name, ros_version=2)[0].encode())

    def stream(
        self, topic: str, type_name: str, rate_hz: int, messages: Sequence[Any], fill: Fill | None = None
    ) -> Stream:
        templates = tuple(bytes(self._store.serialize_cdr(message, type_name)) for message in messages)
        schema = Schema(1, type_name, "ros2msg", self.definition(type_name))
        plan = ros_plan(Definition(Channel(1, 1, topic, "cdr", {}), schema))
        layout = lay_out(plan, memoryview(templates[0]))
        stamped = layout.messages.get("transforms") or [layout]
        return Stream(topic, type_name, rate_hz, templates, tuple(map(Fields, stamped)), Fields(layout), fill)


def _octets(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _cameras(ros: Ros, rng: np.random.Generator, nbr: int) -> list[Stream]:
    """1280x720 JPEG at 15 Hz. More pictures than a chunk holds, or its compression would find them again."""
    pictures = [_picture(rng) for _ in range(24)]
    streams = []
    for camera in range(nbr):
        turned = pictures[camera * 4 :] + pictures[: camera * 4]
        messages = [
            ros.make("sensor_msgs/msg/CompressedImage", ros.header(f"camera_{camera}"), "jpeg", _octets(picture))
            for picture in turned
        ]
        streams.append(ros.stream(f"/camera_{camera}/image", "sensor_msgs/msg/CompressedImage", 15, messages))
    return streams


def _picture(rng: np.random.Generator) -> bytes:
    """Shapes at all scales under sensor noise: about 150 KB, as from a street camera."""
    image = np.zeros((720, 1280, 3), np.float32)
    for cells, weight in ((6, 90.0), (40, 45.0), (160, 18.0)):
        coarse = rng.normal(0.0, weight, (cells * 9 // 16 + 1, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC)
    image += 120.0 + rng.normal(0.0, 3.0, image.shape).astype(np.float32)
    return bytes(simplejpeg.encode_jpeg(np.clip(image, 0, 255).astype(np.uint8), quality=80))


def _lidars(ros: Ros, rng: np.random.Generator, nbr: int) -> list[Stream]:
    """60,000 points at 10 Hz; ranges to 4 mm, as sensors give them. A sweep is larger than a chunk."""
    codes = {"f4": 7, "u2": 4}
    fields = [
        ros.make("sensor_msgs/msg/PointField", name, offset, codes[kind.str[1:]], 1)
        for name, (kind, offset, *_) in (POINT.fields or {}).items()
    ]
    streams = []
    for lidar in range(nbr):
        messages = []
        for _ in range(4):
            points = _sweep(rng)
            layout = (1, len(points), fields, False, POINT.itemsize, points.nbytes, _octets(points.tobytes()), True)
            messages.append(ros.make("sensor_msgs/msg/PointCloud2", ros.header(f"lidar_{lidar}"), *layout))
        streams.append(ros.stream(f"/lidar_{lidar}/points", "sensor_msgs/msg/PointCloud2", 10, messages))
    return streams


def _sweep(rng: np.random.Generator) -> np.ndarray:
    points = np.zeros(NBR_POINTS, POINT)
    points["ring"] = np.arange(NBR_POINTS) % 32
    azimuth = np.arange(NBR_POINTS) // 32 / (NBR_POINTS // 32) * 2 * np.pi
    elevation = np.deg2rad(-25.0 + 40.0 * points["ring"] / 31)
    walls = 12.0 + 8.0 * np.sin(3 * azimuth) + 25.0 * (np.sin(11 * azimuth) > 0.7)
    distance = np.round((walls + rng.normal(0.0, 0.03, NBR_POINTS)) / 0.004) * 0.004
    points["x"] = distance * np.cos(elevation) * np.cos(azimuth)
    points["y"] = distance * np.cos(elevation) * np.sin(azimuth)
    points["z"] = distance * np.sin(elevation)
    points["intensity"] = rng.integers(0, 255, NBR_POINTS)
    points["time"] = azimuth / (2 * np.pi) * 0.1
    return points


def _imus(ros: Ros, nbr: int, rate_hz: int = 200) -> list[Stream]:
    def fill(fields: Fields, rows: Rows, rng: np.random.Generator) -> None:
        for name, mean in (("angular_velocity", 0.0), ("linear_acceleration", 9.8)):
            for axis in "xyz":
                fields.put(rows, f"{name}.{axis}", rng.normal(mean, 0.1, len(rows)))
        orientation = rng.normal((0.0, 0.0, 0.0, 1.0), 0.01, (len(rows), 4))
        for axis, values in zip("xyzw", orientation.T, strict=True):
            fields.put(rows, f"orientation.{axis}", values)

    streams = []
    for imu in range(nbr):
        covariances = [np.eye(3).ravel() * 10.0**-k * (imu + 1) for k in (3, 4, 2)]
        message = ros.make(
            "sensor_msgs/msg/Imu",
            ros.header(f"imu_{imu}"),
            ros.quaternion(0.0, 0.0, 0.0, 1.0),
            covariances[0],
            ros.vector(0.0, 0.0, 0.0),
            covariances[1],
            ros.vector(0.0, 0.0, 9.8),
            covariances[2],
        )
        streams.append(ros.stream(f"/imu_{imu}/data", "sensor_msgs/msg/Imu", rate_hz, [message], fill))
    return streams


def _can(ros: Ros, nbr: int, rate_hz: int) -> list[Stream]:
    def fill(fields: Fields, rows: Rows, rng: np.random.Generator) -> None:
        fields.put(rows, "id", 0x100 + rng.integers(0, NBR_CAN_IDS, len(rows)))
        fields.put(rows, "data", rng.integers(0, 256, (len(rows), 8)))

    def frame(bus: int) -> Any:
        return ros.make(
            "can_msgs/msg/Frame", ros.header(f"can{bus}"), 0x100, False, False, False, 8, np.zeros(8, np.uint8)
        )

    return [ros.stream(f"/can{bus}/frames", "can_msgs/msg/Frame", rate_hz, [frame(bus)], fill) for bus in range(nbr)]


def _joints(ros: Ros) -> list[Stream]:
    def fill(fields: Fields, rows: Rows, rng: np.random.Generator) -> None:
        for name in ("position", "velocity", "effort"):
            fields.put(rows, name, rng.normal(0.0, 1.0, (len(rows), len(JOINTS))))

    zeros = np.zeros(len(JOINTS))
    message = ros.make("sensor_msgs/msg/JointState", ros.header("base_link"), list(JOINTS), zeros, zeros, zeros)
    return [ros.stream("/joint_states", "sensor_msgs/msg/JointState", 500, [message], fill)]


def _motion(ros: Ros) -> list[Stream]:
    """Odometry and transforms at 50 Hz."""

    def move(fields: Fields, rows: Rows, rng: np.random.Generator) -> None:
        for axis in "xy":
            fields.put(rows, f"pose.pose.position.{axis}", rng.normal(0.0, 50.0, len(rows)))
        fields.put(rows, "twist.twist.linear.x", rng.normal(12.0, 1.0, len(rows)))

    vectors = (ros.vector(12.0, 0.0, 0.0), ros.vector(0.0, 0.0, 0.1))
    still = ros.quaternion(0.0, 0.0, 0.0, 1.0)
    pose = ros.make("geometry_msgs/msg/Pose", ros.make("geometry_msgs/msg/Point", 0.0, 0.0, 0.0), still)
    odometry = ros.make(
        "nav_msgs/msg/Odometry",
        ros.header("odom"),
        "base_link",
        ros.make("geometry_msgs/msg/PoseWithCovariance", pose, np.eye(6).ravel() * 0.01),
        ros.make(
            "geometry_msgs/msg/TwistWithCovariance",
            ros.make("geometry_msgs/msg/Twist", *vectors),
            np.eye(6).ravel() * 0.1,
        ),
    )
    parts = [
        ros.make(
            "geometry_msgs/msg/TransformStamped",
            ros.header("base_link"),
            child,
            ros.make("geometry_msgs/msg/Transform", ros.vector(1.0, 0.0, 1.5), still),
        )
        for child in ("lidar_0", "camera_0", "imu_0")
    ]
    transforms = ros.make("tf2_msgs/msg/TFMessage", parts)
    return [
        ros.stream("/odometry", "nav_msgs/msg/Odometry", 50, [odometry], move),
        ros.stream("/tf", "tf2_msgs/msg/TFMessage", 50, [transforms]),
    ]


def _calibration(ros: Ros, nbr: int) -> list[Stream]:
    """Where each camera and the LiDAR of a rig sit and how they see, at 1 Hz: cameras look outwards all around."""
    infos, parts = [], [_sits(ros, "lidar_0", (1.0, 0.0, 1.8), np.eye(3))]
    optical = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    for camera in range(nbr):
        turn = 2 * np.pi * camera / nbr
        about = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
        at = about @ (0.5, 0.0, 0.0) + (1.0, 0.0, 1.5)
        parts.append(_sits(ros, f"camera_{camera}", tuple(at.tolist()), about @ optical))
        matrix = np.array([1000.0, 0.0, 640.0, 0.0, 1000.0, 360.0, 0.0, 0.0, 1.0])
        info = ros.make(
            "sensor_msgs/msg/CameraInfo", ros.header(f"camera_{camera}"), 720, 1280, "plumb_bob", np.zeros(5), matrix,
            np.eye(3).ravel(), np.zeros(12), 0, 0, ros.make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False),
        )  # fmt: skip
        infos.append(ros.stream(f"/camera_{camera}/camera_info", "sensor_msgs/msg/CameraInfo", 1, [info]))
    return [*infos, ros.stream("/tf_static", "tf2_msgs/msg/TFMessage", 1, [ros.make("tf2_msgs/msg/TFMessage", parts)])]


def _sits(ros: Ros, child: str, at_m: Sequence[float], rotation: np.ndarray) -> Any:
    """The transform to ``base_link``."""
    qw, qx, qy, qz = quaternion_of(rotation).tolist()
    transform = ros.make("geometry_msgs/msg/Transform", ros.vector(*at_m), ros.quaternion(qx, qy, qz, qw))
    return ros.make("geometry_msgs/msg/TransformStamped", ros.header("base_link"), child, transform)


KINDS = ("mixed", "camera", "lidar", "imu", "can", "joints")
SMALL_MESSAGE_KINDS = ("imu", "can", "joints")
SECONDS = {"mixed": 5, "camera": 10, "lidar": 5, "imu": 250, "can": 100, "joints": 100}
"""Length at which a recording of the kind takes each candidate about a second and more."""


def streams_of(kind: str, ros: Ros, rng: np.random.Generator) -> list[Stream]:
    """The topics of a kind of recording: of ``KINDS``, or ``calibrated``, which is ``mixed`` with calibrations.

    Raises:
        KeyError: no such kind.
    """
    makers: dict[str, Callable[[], list[Stream]]] = {
        "camera": lambda: _cameras(ros, rng, 6),
        "lidar": lambda: _lidars(ros, rng, 2),
        "imu": lambda: _imus(ros, 4),
        "can": lambda: _can(ros, 2, 2_000),
        "joints": lambda: _joints(ros),
        "mixed": lambda: _mixed(ros, rng),
        "calibrated": lambda: [*_mixed(ros, rng), *_calibration(ros, 6)],
    }
    return makers[kind]()


def _mixed(ros: Ros, rng: np.random.Generator) -> list[Stream]:
    return [
        *_cameras(ros, rng, 6),
        *_lidars(ros, rng, 1),
        *_imus(ros, 1),
        *_can(ros, 1, 1_000),
        *_motion(ros),
    ]


def write_recording(kind: str, path: Path, seconds: float, seed: int = 0) -> Written:
    """Writes a recording of so many seconds, a second at a time, so that memory does not grow with it."""
    rng = np.random.default_rng(seed)
    ros = Ros()
    streams = streams_of(kind, ros, rng)
    nbr_messages = payload_bytes = 0
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD, chunk_size=CHUNK_BYTES)
        writer.start("ros2", "scenelake-benchmarks")
        channels = [_register(writer, ros, stream) for stream in streams]
        for second in range(-(-int(seconds * 1_000) // 1_000)):
            share = min(seconds - second, 1.0)
            for log_time_ns, number, sequence, data in _second(streams, second, share, rng):
                writer.add_message(channels[number], log_time_ns, data, log_time_ns - LATENCY_NS, sequence)
                nbr_messages += 1
                payload_bytes += len(data)
        writer.finish()
    return Written(nbr_messages, payload_bytes)


def _register(writer: Writer, ros: Ros, stream: Stream) -> int:
    schema_id = writer.register_schema(stream.type_name, "ros2msg", ros.definition(stream.type_name))
    return int(writer.register_channel(stream.topic, "cdr", schema_id))


def _second(
    streams: Sequence[Stream], second: int, share: float, rng: np.random.Generator
) -> list[tuple[int, int, int, bytes]]:
    """Log time, stream, number in the stream and bytes of the messages of one second, in the order of their times."""
    found = []
    for number, stream in enumerate(streams):
        count = int(stream.rate_hz * share)
        first = second * stream.rate_hz
        # Sensors do not fire at the same instant: each stream starts a little later than the one before.
        stamps_ns = START_NS + second * SECOND_NS + np.arange(count) * SECOND_NS // stream.rate_hz + number * 131_000
        log_times = (stamps_ns + LATENCY_NS).tolist()
        messages = stream.messages(first, stamps_ns, rng)
        found += [(at, number, first + k, data) for k, (at, data) in enumerate(zip(log_times, messages, strict=True))]
    return sorted(found, key=lambda message: message[:2])
