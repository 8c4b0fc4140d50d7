"""Whole bags end to end: every message becomes a row of a table, or is kept as it came with the reason."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer

from scenelake.adapters.recording_writer import ros_typestore
from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import DropVerdict
from scenelake.decode.formats.ros_registry import ros1_store

T0_NS = 1_700_000_000_000_000_000
NBR_MESSAGES = 20
TYPES = {
    "/imu": "sensor_msgs/msg/Imu",
    "/odometry": "nav_msgs/msg/Odometry",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/camera_info": "sensor_msgs/msg/CameraInfo",
}


def _messages(store: Any, *, is_ros1: bool) -> list[tuple[str, Any, int]]:
    def of(name: str, *values: Any) -> Any:
        return store.types[name](*values)

    sent = []
    for i in range(NBR_MESSAGES):
        stamp = of("builtin_interfaces/msg/Time", T0_NS // 10**9, i)
        header = of("std_msgs/msg/Header", *([i] if is_ros1 else []), stamp, "base")
        vector, point = of("geometry_msgs/msg/Vector3", 1.0, 2.0, i), of("geometry_msgs/msg/Point", 1.0, 2.0, i)
        turn = of("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0)
        pose = of("geometry_msgs/msg/PoseWithCovariance", of("geometry_msgs/msg/Pose", point, turn), np.ones(36))
        twist = of("geometry_msgs/msg/TwistWithCovariance", of("geometry_msgs/msg/Twist", vector, vector), np.ones(36))
        transform = of("geometry_msgs/msg/Transform", vector, turn)
        region = of("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        camera = (8, 16, "plumb_bob", np.arange(5.0), np.arange(9.0), np.eye(3).ravel(), np.zeros(12), 0, 0, region)
        sent += [
            ("/imu", of(TYPES["/imu"], header, turn, np.zeros(9), vector, np.zeros(9), vector, np.zeros(9)), T0_NS + i),
            ("/odometry", of(TYPES["/odometry"], header, "car", pose, twist), T0_NS + i),
            (
                "/tf",
                of(TYPES["/tf"], [of("geometry_msgs/msg/TransformStamped", header, "lidar", transform)] * 2),
                T0_NS + i,
            ),
            ("/camera_info", of(TYPES["/camera_info"], header, *camera), T0_NS + i),
        ]
    return sent


def _bag(folder: Path) -> Path:
    path = folder / "a.bag"
    store = ros1_store()
    with Writer(path) as writer:
        connections = {t: writer.add_connection(t, name, typestore=store) for t, name in TYPES.items()}
        for topic, message, time_ns in _messages(store, is_ros1=True):
            writer.write(connections[topic], time_ns, store.serialize_ros1(message, TYPES[topic]))
    return path


def _database(folder: Path) -> Path:
    """A bag of an old rosbag2, without definitions."""
    path = folder / "a.db3"
    store = ros_typestore()
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);"
    )
    ids = {topic: i for i, topic in enumerate(TYPES, start=1)}
    connection.executemany("INSERT INTO topics VALUES (?, ?, ?, 'cdr')", [(ids[t], t, n) for t, n in TYPES.items()])
    rows = [(ids[t], at, bytes(store.serialize_cdr(m, TYPES[t]))) for t, m, at in _messages(store, is_ros1=False)]
    connection.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


@pytest.mark.parametrize(("make", "object_format"), [(_bag, "rosbag1"), (_database, "rosbag2")])
def test_a_bag_becomes_rows(
    tmp_path: Path, decode: Callable[[Path], Any], make: Callable[[Path], Path], object_format: str
) -> None:
    result = decode(make(tmp_path))
    assert (result.outcome.verdict, result.outcome.format) == (DropVerdict.DECODED, object_format)
    assert {c.channel: c.decoded for c in result.outcome.channels} == dict.fromkeys(TYPES, NBR_MESSAGES)
    imu, ego_pose, transform, calibration = (
        result.table(name).to_pylist() for name in ("imu", "ego_pose", "transform", "calibration")
    )
    assert [len(rows) for rows in (imu, ego_pose, transform, calibration)] == [20, 20, 40, 20]
    assert [row["timestamp_ns"] for row in imu] == [T0_NS + i for i in range(NBR_MESSAGES)]
    assert imu[3]["linear_acceleration_m_s2"] == [1.0, 2.0, 3.0]
    assert ego_pose[5]["world_from_ego"]["tz_m"] == 5.0
    assert transform[4]["child_frame_id"] == "lidar"
    assert calibration[0]["intrinsics"] == list(range(9))
    assert len(result.index) == 4 * NBR_MESSAGES
    assert {row["publish_time_ns"] for row in result.index} <= {0, None}


@pytest.mark.parametrize(("name", "topics"), [("test1.bag", 4), ("test2.bag", 2)])
def test_real_ros1_bags_become_rows(
    real_data: Callable[[str], Path], tmp_path: Path, decode: Callable[[Path], Any], name: str, topics: int
) -> None:
    path = tmp_path / name
    path.write_bytes((real_data("ros1_robot_localization") / name).read_bytes())
    result = decode(path)
    assert result.outcome.verdict is DropVerdict.DECODED
    assert len(result.outcome.channels) == topics
    assert all(c.recorded == c.read == c.decoded for c in result.outcome.channels)
    by_modality = {m: sum(c.read for c in result.outcome.channels if c.modality == m) for m in Modality}
    assert result.table("imu").num_rows == by_modality[Modality.IMU] > 3000
    assert result.table("ego_pose").num_rows == by_modality[Modality.EGO_POSE] > 2000


def test_vendor_packets_are_kept_raw_with_the_reason(
    real_data: Callable[[str], Path], tmp_path: Path, decode: Callable[[Path], Any]
) -> None:
    found = sorted((real_data("nebula_raw_sensor_bags") / "vlp16").rglob("*.db3"))
    path = tmp_path / "a.db3"
    path.write_bytes(found[0].read_bytes())
    result = decode(path)
    assert result.outcome.verdict is DropVerdict.DECODED
    (channel,) = result.outcome.channels
    assert (channel.raw, channel.read) == (4, 4)
    assert {result.payload(row)["reason"] for row in result.index} == {"definition_missing"}
