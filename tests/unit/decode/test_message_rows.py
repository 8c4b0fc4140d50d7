"""One message of every type, written by the recording writer and read back from the tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenelake.adapters.recording_writer import RecordingWriter

T0_NS = 1_700_000_000_000_000_000
IDENTITY = {"tx_m": 1.0, "ty_m": 2.0, "tz_m": 3.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}


@pytest.fixture
def row_of(record: Callable[..., Path], decode: Callable[..., Any]) -> Callable[..., tuple[dict, dict]]:
    """Decodes a single message; gives its index row and its payload row."""

    def run(type_name: str, message: Any, topic: str = "/a", metadata: dict[str, str] | None = None) -> Any:
        path = record({topic: type_name}, [(topic, message, T0_NS + 5)], metadata={topic: metadata or {}})
        result = decode(path)
        assert result.outcome.verdict == "decoded"
        (index,) = result.index
        return index, result.payload(index)

    return run


def test_imu(row_of: Callable[..., Any], ros: Any) -> None:
    index, row = row_of("sensor_msgs/msg/Imu", ros.imu())
    assert (index["modality"], index["status"], index["payload_table"]) == ("imu", "decoded", "imu")
    assert (index["timestamp_ns"], index["timestamp_basis"], index["log_time_ns"]) == (T0_NS, "sensor", T0_NS + 5)
    assert row["linear_acceleration_m_s2"] == [7.0, 8.0, 9.0]
    assert row["angular_velocity_rad_s"] == [4.0, 5.0, 6.0]
    assert row["orientation"] == [1.0, 0.0, 0.0, 0.0]
    assert row["covariance"] is None
    assert row["frame_id"] == index["frame_id"] == "imu_link"


def test_imu_without_orientation(row_of: Callable[..., Any], ros: Any) -> None:
    message = ros.imu()
    message.orientation_covariance[0] = -1
    _, row = row_of("sensor_msgs/msg/Imu", message)
    assert row["orientation"] is None
    assert row["linear_acceleration_m_s2"] == [7.0, 8.0, 9.0]


def test_compressed_image(row_of: Callable[..., Any], ros: Any, jpeg: bytes) -> None:
    index, row = row_of("sensor_msgs/msg/CompressedImage", ros.image(jpeg))
    assert (index["modality"], index["width_px"], index["height_px"]) == ("camera", 48, 32)
    assert row["image"] == jpeg
    assert (row["image_format"], row["width_px"], row["height_px"]) == ("jpeg", 48, 32)
    assert index["reason"] is None


def test_radar_image_is_said_by_the_topic(row_of: Callable[..., Any], ros: Any, jpeg: bytes) -> None:
    index, row = row_of("sensor_msgs/msg/CompressedImage", ros.image(jpeg), "/radar/polar")
    assert (index["modality"], index["payload_table"]) == ("radar", "radar_sweep")
    assert (row["image"], row["width_px"], row["x_m"]) == (jpeg, 48, None)


def test_truncated_jpeg_is_kept_and_labelled(row_of: Callable[..., Any], ros: Any, jpeg: bytes) -> None:
    index, row = row_of("sensor_msgs/msg/CompressedImage", ros.image(jpeg[:-40]))
    assert (index["status"], index["reason"]) == ("decoded", "jpeg_truncated")
    assert row["image"] == jpeg[:-40]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_image_without_header_is_undecodable(row_of: Callable[..., Any], ros: Any, data: bytes) -> None:
    index, row = row_of("sensor_msgs/msg/CompressedImage", ros.image(data))
    assert (index["status"], index["reason"]) == ("undecodable", "image_header_invalid")
    assert (index["modality"], index["payload_table"]) == ("camera", "raw_message")
    assert row["reason"] == "image_header_invalid"
    assert data in row["data"]


def test_unknown_image_format_is_kept_raw(row_of: Callable[..., Any], ros: Any) -> None:
    index, _ = row_of("sensor_msgs/msg/CompressedImage", ros.image(b"\0\0\0\1g", declared="webp"))
    assert (index["status"], index["reason"]) == ("raw", "image_format_unsupported")


def test_raw_image(row_of: Callable[..., Any], ros: Any) -> None:
    data = np.arange(4 * 10, dtype=np.uint8)
    message = ros.of("sensor_msgs/msg/Image", ros.header(), 4, 3, "rgb8", 0, 10, data)
    _, row = row_of("sensor_msgs/msg/Image", message)
    assert (row["image"], row["image_format"], row["row_stride_bytes"]) == (data.tobytes(), "rgb8", 10)
    assert (row["width_px"], row["height_px"]) == (3, 4)


POINTS = np.zeros(
    5,
    np.dtype(
        {
            "names": ["x", "y", "z", "intensity", "ring", "t"],
            "formats": ["<f4", "<f4", "<f4", "<f4", "<u2", "<u4"],
            "offsets": [0, 4, 8, 16, 20, 24],
            "itemsize": 32,
        }
    ),
)
POINTS["x"] = [1, 2, 3, np.nan, 5]
POINTS["ring"] = range(5)
POINTS["t"] = [0, 10, 20, 30, 4_000_000_000]


def test_point_cloud(row_of: Callable[..., Any], ros: Any) -> None:
    index, row = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(POINTS))
    assert (index["modality"], index["nbr_points"], row["nbr_points"]) == ("lidar", 5, 5)
    np.testing.assert_array_equal(row["x_m"], POINTS["x"])
    assert row["ring"] == [0, 1, 2, 3, 4]
    assert row["offset_ns"] == [0, 10, 20, 30, 4_000_000_000]
    assert row["intensity"] == [0.0] * 5


def test_point_times_in_seconds_become_nanoseconds_from_the_stamp(row_of: Callable[..., Any], ros: Any) -> None:
    points = np.zeros(3, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("time", "f8")])
    points["time"] = [-0.1, 0.0, 0.05]
    _, row = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(points))
    assert row["offset_ns"] == [-100_000_000, 0, 50_000_000]


def test_organised_big_endian_cloud_with_row_padding(row_of: Callable[..., Any], ros: Any) -> None:
    kind = np.dtype({"names": ["x", "y", "z"], "formats": [">f4"] * 3, "offsets": [0, 4, 8], "itemsize": 12})
    grid = np.zeros((2, 3), kind)
    grid["x"] = [[1, 2, 3], [4, 5, 6]]
    data = b"".join(line.tobytes() + b"pad!" for line in grid)
    changed = {"height": 2, "width": 3, "row_step": 40, "is_bigendian": True, "data": np.frombuffer(data, np.uint8)}
    little = grid.reshape(-1).astype(kind.newbyteorder("<"))
    index, row = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(little, **changed))
    assert row["x_m"] == [1, 2, 3, 4, 5, 6]
    assert (row["intensity"], row["ring"], row["offset_ns"], index["reason"]) == (None, None, None, None)


def test_doppler_makes_it_radar(row_of: Callable[..., Any], ros: Any) -> None:
    points = np.zeros(2, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("vr", "f4"), ("vr_comp", "f4"), ("rcs", "f4")])
    points["vr"], points["vr_comp"], points["rcs"] = -3, 1, 12
    index, row = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(points))
    assert (index["modality"], index["payload_table"]) == ("radar", "radar_sweep")
    assert row["radial_velocity_m_s"] == [-3.0, -3.0]
    assert row["radial_velocity_compensated_m_s"] == [1.0, 1.0]
    assert row["radar_cross_section_dbsm"] == [12.0, 12.0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"width": 6}, "points_size_contradicted"),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, "points_size_contradicted"),
        ({"point_step": 0}, "points_size_contradicted"),
        ({"point_step": 20}, "points_layout_invalid"),
        ({"height": 5, "width": 1, "row_step": 0}, "points_size_contradicted"),
    ],
)
def test_cloud_that_contradicts_itself(row_of: Callable[..., Any], ros: Any, changed: dict, reason: str) -> None:
    index, _ = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(POINTS, **changed))
    assert (index["status"], index["reason"], index["modality"]) == ("undecodable", reason, "lidar")


def test_empty_cloud_and_cloud_without_xyz(row_of: Callable[..., Any], ros: Any) -> None:
    index, row = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(POINTS[:0]))
    assert (index["nbr_points"], row["x_m"], row["ring"]) == (0, [], [])
    flat = np.zeros(2, [("x", "f4"), ("y", "f4")])
    index, _ = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(flat), "/b")
    assert (index["status"], index["reason"]) == ("raw", "points_without_xyz")


def test_nav_sat_fix(row_of: Callable[..., Any], ros: Any) -> None:
    status = ros.of("sensor_msgs/msg/NavSatStatus", -1, 3)
    message = ros.of("sensor_msgs/msg/NavSatFix", ros.header(), status, 48.1, 11.5, float("nan"), np.arange(9.0), 2)
    index, row = row_of("sensor_msgs/msg/NavSatFix", message)
    assert (index["modality"], row["latitude_deg"], row["longitude_deg"]) == ("gnss", 48.1, 11.5)
    assert (row["altitude_m"], row["fix_status"], row["covariance"]) == (None, -1, list(range(9)))


def test_odometry_and_pose(row_of: Callable[..., Any], ros: Any) -> None:
    pose = ros.of("geometry_msgs/msg/PoseWithCovariance", ros.pose(), np.arange(36.0))
    twist = ros.of("geometry_msgs/msg/Twist", ros.vector(1.0, 0.0, 0.0), ros.vector(0.0, 0.0, 0.5))
    twist = ros.of("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36))
    message = ros.of("nav_msgs/msg/Odometry", ros.header(frame_id="odom"), "base_link", pose, twist)
    index, row = row_of("nav_msgs/msg/Odometry", message)
    assert index["modality"] == "ego_pose"
    assert row["world_from_ego"] == IDENTITY
    assert (row["linear_velocity_m_s"], row["angular_velocity_rad_s"]) == ([1.0, 0.0, 0.0], [0.0, 0.0, 0.5])
    assert (row["covariance"], row["frame_id"], row["child_frame_id"]) == (list(range(36)), "odom", "base_link")
    _, row = row_of("geometry_msgs/msg/PoseStamped", ros.of("geometry_msgs/msg/PoseStamped", ros.header(), ros.pose()))
    assert row["world_from_ego"] == IDENTITY


def _transforms(ros: Any, *frames: tuple[str, str]) -> Any:
    rotation = ros.quaternion(0.0, 0.0, 0.0, 2.0)
    transform = ros.of("geometry_msgs/msg/Transform", ros.vector(1.0, 2.0, 3.0), rotation)
    items = [
        ros.of("geometry_msgs/msg/TransformStamped", ros.header(frame_id=parent), child, transform)
        for parent, child in frames
    ]
    return ros.of("tf2_msgs/msg/TFMessage", items)


def test_transforms(record: Callable[..., Path], decode: Callable[..., Any], ros: Any) -> None:
    channels = {"/tf": "tf2_msgs/msg/TFMessage", "/tf_static": "tf2_msgs/msg/TFMessage"}
    static = _transforms(ros, ("base_link", "/camera"), ("base_link", "lidar"))
    moving = _transforms(ros, ("odom", "base_link"), ("base_link", "wheel"))
    result = decode(
        record(channels, [("/tf_static", static, T0_NS), ("/tf", moving, T0_NS), ("/tf", _transforms(ros), 9)])
    )
    rows = result.table("transform").to_pylist()
    assert [(r["parent_frame_id"], r["child_frame_id"], r["is_static"]) for r in rows] == [
        ("odom", "base_link", False),
        ("base_link", "wheel", False),
        ("base_link", "camera", True),
        ("base_link", "lidar", True),
    ]
    assert all(r["parent_from_child"] == IDENTITY for r in rows)
    index = result.index
    assert [r["row_index"] for r in index] == [2, 0, None]
    assert result.outcome.tables == ("transform",), "poses are found in transforms by synchronise, not here"


def test_camera_info(record: Callable[..., Path], decode: Callable[..., Any], ros: Any) -> None:
    region = ros.of("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    message = ros.of(
        "sensor_msgs/msg/CameraInfo", ros.header(frame_id="cam"), 32, 48, "plumb_bob", np.arange(5.0), np.arange(9.0),
        np.zeros(9), np.zeros(12), 0, 0, region,
    )  # fmt: skip
    result = decode(record({"/cam/camera_info": "sensor_msgs/msg/CameraInfo"}, [("/cam/camera_info", message, T0_NS)]))
    (row,) = result.table("calibration").to_pylist()
    assert (row["width_px"], row["height_px"], row["camera_model"], row["frame_id"]) == (48, 32, "plumb_bob", "cam")
    assert (row["intrinsics"], row["distortion"]) == (list(range(9)), list(range(5)))
    assert result.outcome.tables == ("calibration",)
    assert result.outcome.channels[0].modality == "calibration"


@pytest.mark.parametrize(("topic", "modality"), [("/joint_states", "robot_state"), ("/arm/action", "action")])
def test_joint_state(row_of: Callable[..., Any], ros: Any, topic: str, modality: str) -> None:
    message = ros.of(
        "sensor_msgs/msg/JointState", ros.header(), ["a", "b"], np.array([1.0, 2.0]), np.empty(0), np.empty(0)
    )
    index, row = row_of("sensor_msgs/msg/JointState", message, topic)
    assert index["modality"] == modality
    assert (row["names"], row["position"], row["velocity"]) == (["a", "b"], [1.0, 2.0], None)


def test_strings_are_language_only_where_the_topic_says_so(row_of: Callable[..., Any], ros: Any) -> None:
    message = ros.of("std_msgs/msg/String", "pick the cube")
    index, row = row_of("std_msgs/msg/String", message, "/language_instruction")
    assert (index["modality"], row["text"]) == ("language", "pick the cube")
    assert (index["timestamp_ns"], index["timestamp_basis"], index["sensor_time_ns"]) == (T0_NS + 5, "publish", None)
    index, row = row_of("std_msgs/msg/String", message, "/chatter")
    assert (index["modality"], index["status"], row["text"]) == ("text_log", "decoded", "pick the cube")


def test_detections(record: Callable[..., Path], decode: Callable[..., Any], ros: Any) -> None:
    covariance = ros.of("geometry_msgs/msg/PoseWithCovariance", ros.pose(), np.zeros(36))
    guesses = [
        ros.of(
            "vision_msgs/msg/ObjectHypothesisWithPose",
            ros.of("vision_msgs/msg/ObjectHypothesis", name, score),
            covariance,
        )
        for name, score in (("bus", 0.2), ("car", 0.7))
    ]
    box = ros.of("vision_msgs/msg/BoundingBox3D", ros.pose(), ros.vector(4.0, 2.0, 1.5))
    items = [
        ros.of("vision_msgs/msg/Detection3D", ros.header(frame_id="lidar"), guesses, box, "t1"),
        ros.of("vision_msgs/msg/Detection3D", ros.header(frame_id=""), [], box, ""),
    ]
    message = ros.of("vision_msgs/msg/Detection3DArray", ros.header(frame_id="radar"), items)
    result = decode(record({"/boxes": "vision_msgs/msg/Detection3DArray"}, [("/boxes", message, T0_NS)]))
    first, second = result.table("annotation").to_pylist()
    assert (first["category"], first["score"], first["track_id"], first["frame_id"]) == ("car", 0.7, "t1", "lidar")
    assert (first["size_m"], first["sensor_from_box"]) == ([4.0, 2.0, 1.5], IDENTITY)
    assert (second["category"], second["track_id"], second["frame_id"]) == (None, None, "radar")
    assert [r["annotation_id"] for r in (first, second)] == [f"{first['sample_data_id']}-{i}" for i in (0, 1)]


def test_can_and_radar_tracks(row_of: Callable[..., Any], ros: Any) -> None:
    data = np.arange(8, dtype=np.uint8)
    message = ros.of("can_msgs/msg/Frame", ros.header(frame_id="can1"), 0x1FFFFFFF, False, True, False, 3, data)
    _, row = row_of("can_msgs/msg/Frame", message)
    assert (row["can_id"], row["bus"], row["is_extended"], row["data"]) == (0x1FFFFFFF, 1, True, b"\0\1\2")
    zeros = [np.zeros(6, np.float32)] * 4
    track = ros.of(
        "radar_msgs/msg/RadarTrack", np.arange(16, dtype=np.uint8), ros.point(1.0, 2.0, 0.0), ros.vector(3.0, 0.0, 0.0),
        ros.vector(0.0, 0.0, 0.0), ros.vector(0.0, 0.0, 0.0), 0, *zeros,
    )  # fmt: skip
    _, row = row_of("radar_msgs/msg/RadarTracks", ros.of("radar_msgs/msg/RadarTracks", ros.header(), [track]))
    assert (row["track_id"], row["center_m"]) == (bytes(range(16)).hex(), [1.0, 2.0, 0.0])


def test_json(tmp_path: Path, decode: Callable[..., Any]) -> None:
    path = tmp_path / "json.mcap"
    with RecordingWriter(path) as writer:
        writer.add_json_channel("/steering", "scenelake.Signals", {})
        writer.add_json_channel("/episode", "scenelake.Episode", {})
        signals = {"timestamp_ns": T0_NS, "names": ["angle"], "units": ["rad"], "values": [0.25]}
        writer.write("/steering", signals, T0_NS + 1)
        writer.write(
            "/episode", {"timestamp_ns": T0_NS, "event": "start", "episode_index": 3, "task": "fold"}, T0_NS + 2
        )
        for bad in (
            b"{",
            b"[1]",
            b'{"names": ["\\ud800"], "values": [1]}',
            b"[" * 100_000,
            b'{"names": [], "values": 3}',
            b'{"timestamp_ns": 1e400, "names": [], "values": []}',
        ):
            writer.write("/steering", bad, T0_NS + 3)
    result = decode(path)
    (row,) = result.table("robot_state").to_pylist()
    assert (row["names"], row["units"], row["position"]) == (["angle"], ["rad"], [0.25])
    (row,) = result.table("episode").to_pylist()
    assert (row["event"], row["episode_index"], row["is_success"], row["task"]) == ("start", 3, None, "fold")
    assert [r["status"] for r in result.index] == ["decoded", "decoded"] + ["undecodable"] * 6
    counts = {c.channel: (c.recorded, c.read, c.decoded, c.undecodable) for c in result.outcome.channels}
    assert counts == {"/steering": (7, 7, 1, 6), "/episode": (1, 1, 1, 0)}


def test_foxglove_protobuf(tmp_path: Path, decode: Callable[..., Any], jpeg: bytes) -> None:
    from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
    from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
    from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
    from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
    from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
    from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
    from google.protobuf.timestamp_pb2 import Timestamp

    stamp = Timestamp(seconds=T0_NS // 10**9, nanos=7)
    points = np.zeros(2, [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    points["x"] = [1, 2]
    fields = [PackedElementField(name=n, offset=4 * i, type=PackedElementField.FLOAT32) for i, n in enumerate("xyz")]
    cloud = PointCloud(timestamp=stamp, frame_id="l", point_stride=12, fields=fields, data=points.tobytes())
    cloud.pose.position.z = 10.0
    cloud.pose.orientation.z = 1.0
    fix = LocationFix(timestamp=stamp, latitude=48.0, longitude=11.0, altitude=500.0)
    transform = FrameTransform(timestamp=stamp, parent_frame_id="base_link", child_frame_id="cam")
    transform.translation.x = 1.0
    sent = {
        "/cam": CompressedImage(timestamp=stamp, frame_id="c", data=jpeg, format="jpeg"),
        "/lidar": cloud,
        "/fix": fix,
        "/cam/calibration": CameraCalibration(timestamp=stamp, width=4, height=3, K=range(9), D=[1.0]),
        "/tf_static": transform,
        "/no_stamp": CompressedImage(data=jpeg, format="jpeg"),
        "/bad": b"\xff\xff\xff",
    }
    path = tmp_path / "protobuf.mcap"
    with RecordingWriter(path, profile="") as writer:
        for topic, message in sent.items():
            writer.add_protobuf_channel(topic, CompressedImage if topic == "/bad" else type(message))
            writer.write(topic, message, T0_NS + 9)
    result = decode(path)
    index = {row["channel"]: row for row in result.index}
    assert {t: r["modality"] for t, r in index.items()} == {
        "/cam": "camera", "/lidar": "lidar", "/fix": "gnss", "/cam/calibration": "calibration",
        "/tf_static": "transform", "/no_stamp": "camera", "/bad": "camera",
    }  # fmt: skip
    assert index["/cam"]["timestamp_ns"] == T0_NS + 7
    assert index["/no_stamp"]["timestamp_basis"] == "publish"
    assert (index["/bad"]["status"], index["/bad"]["reason"]) == ("undecodable", "protobuf_invalid")
    assert result.payload(index["/cam"])["image"] == jpeg
    turned = result.payload(index["/lidar"])
    np.testing.assert_allclose([turned["x_m"], turned["y_m"], turned["z_m"]], [[-1, -2], [0, 0], [10, 10]], atol=1e-6)
    assert result.payload(index["/fix"])["altitude_m"] == 500.0
    assert result.table("calibration").to_pylist()[0]["intrinsics"] == list(range(9))
    assert result.payload(index["/tf_static"])["parent_from_child"]["tx_m"] == 1.0


def test_metadata_names_the_modality(row_of: Callable[..., Any], ros: Any) -> None:
    index, _ = row_of("sensor_msgs/msg/PointCloud2", ros.cloud(POINTS), metadata={"scenelake.modality": "radar"})
    assert index["modality"] == "radar"
    index, _ = row_of("sensor_msgs/msg/Imu", ros.imu(), metadata={"scenelake.modality": "radar"})
    assert index["modality"] == "imu"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("float64 x", "field_unexpected"),
        ("std_msgs/Header header\nstring orientation", "field_unexpected"),
        ("uint64 data\nstd_msgs/Header header", "field_unexpected"),
    ],
)
def test_a_known_name_with_other_fields(tmp_path: Path, decode: Callable[..., Any], schema: str, reason: str) -> None:
    path = _with_schema(tmp_path, "sensor_msgs/msg/Imu", schema, b"\0\1\0\0" + bytes(20))
    (row,) = decode(path).index
    assert row["status"] == "undecodable"
    assert row["reason"] in (reason, "cdr_contradicts_schema")


@pytest.mark.parametrize(
    "schema",
    ["sensor_msgs/Imu again", "nowhere/Nothing x", "?", "wstring x", "A a\n" + "=" * 80 + "\nMSG: sensor_msgs/A\nA a",
     "\xff", "==="],
)  # fmt: skip
def test_a_schema_that_cannot_be_used_leaves_its_channel_raw(
    tmp_path: Path, decode: Callable[..., Any], schema: str
) -> None:
    (row,) = decode(_with_schema(tmp_path, "sensor_msgs/msg/Imu", schema, b"\0\1\0\0" + bytes(300))).index
    assert row["status"] == "raw"
    assert row["reason"] in ("schema_invalid", "schema_unsupported")


def _with_schema(folder: Path, name: str, schema: str, data: bytes) -> Path:
    from mcap.writer import Writer

    path = folder / "schema.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2", "test")
        schema_id = writer.register_schema(name, "ros2msg", schema.encode("latin-1"))
        channel_id = writer.register_channel("/x", "cdr", schema_id)
        writer.add_message(channel_id, T0_NS, data, T0_NS)
        writer.finish()
    return path
