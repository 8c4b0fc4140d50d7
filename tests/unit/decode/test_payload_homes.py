"""Video, depth, audio, text, GNSS, scans and signals through real recordings: which table, and what stands there."""

import base64
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from foxglove_schemas_protobuf.LaserScan_pb2 import LaserScan
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
from foxglove_schemas_protobuf.RawAudio_pb2 import RawAudio
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from google.protobuf.timestamp_pb2 import Timestamp
from rosbags.typesys import get_types_from_msg
from tests.unit.decode.videos import CODECS, HEIGHT, WIDTH, encode

from scenelake.adapters.recording_writer import RecordingWriter

T0_NS = 1_700_000_000_000_000_000
STAMP = Timestamp(seconds=T0_NS // 10**9, nanos=7)
TYPES = {
    "foxglove_msgs/msg/CompressedVideo": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
    ),
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": (
        "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
        "bool is_bigendian\nuint8[] data\n"
    ),
    "audio_common_msgs/msg/AudioData": "uint8[] data\n",
    "audio_common_msgs/msg/AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio\n",
    "nmea_msgs/msg/Sentence": "std_msgs/Header header\nstring sentence\n",
    "rtcm_msgs/msg/Message": "std_msgs/Header header\nuint8[] message\n",
    "gps_msgs/msg/GPSStatus": "std_msgs/Header header\nuint16 satellites_used\nint16 status\n",
    "gps_msgs/msg/GPSFix": (
        "std_msgs/Header header\ngps_msgs/GPSStatus status\nfloat64 latitude\nfloat64 longitude\nfloat64 altitude\n"
        "float64 track\nfloat64 speed\nfloat64 climb\nfloat64[9] position_covariance\nuint8 position_covariance_type\n"
    ),
    "ublox_msgs/msg/NavPVT": (
        "uint32 i_tow\nuint8 fix_type\nuint8 flags\nuint8 num_sv\nint32 lon\nint32 lat\nint32 height\nuint32 h_acc\n"
        "uint32 v_acc\nint32 vel_d\nint32 g_speed\nint32 heading\n"
    ),
    "ublox_msgs/msg/RxmRAWXMeas": "float64 pr_mes\nuint8 sv_id\n",
    "ublox_msgs/msg/RxmRAWX": "float64 rcv_tow\nuint16 week\nublox_msgs/RxmRAWXMeas[] meas\n",
    "novatel_oem7_msgs/msg/SolutionStatus": "uint32 status\n",
    "novatel_oem7_msgs/msg/BESTPOS": (
        "std_msgs/Header header\nnovatel_oem7_msgs/SolutionStatus sol_status\nfloat64 lat\nfloat64 lon\nfloat64 hgt\n"
        "float32 undulation\nfloat32 lat_stdev\nfloat32 lon_stdev\nfloat32 hgt_stdev\nuint8 num_sol_svs\n"
    ),
    "radar_msgs/msg/RadarReturn": (
        "float32 range\nfloat32 azimuth\nfloat32 elevation\nfloat32 doppler_velocity\nfloat32 amplitude\n"
    ),
    "radar_msgs/msg/RadarScan": "std_msgs/Header header\nradar_msgs/RadarReturn[] returns\n",
}


@pytest.fixture
def drive(tmp_path: Path, decode: Callable[..., Any]) -> Callable[..., Any]:
    """Decodes ROS messages ``(topic, type, arguments)``; an argument may be made by a function of the type store."""

    def run(*sent: tuple[str, str, Callable[[Callable[..., Any]], Any]]) -> Any:
        path = tmp_path / "homes.mcap"
        with RecordingWriter(path) as writer:
            known: dict[str, Any] = {}
            for name, definition in TYPES.items():
                known |= {n: t for n, t in get_types_from_msg(definition, name).items() if n not in writer.ros.types}
            writer.ros.register(known)
            for topic, kind, _ in sent:
                writer.add_ros_channel(topic, kind)
            for number, (topic, kind, make) in enumerate(sent):
                of = writer.ros.types.__getitem__
                writer.write(topic, make(lambda name, *values, _of=of: _of(name)(*values)), T0_NS + number)
                assert kind
        return decode(path)

    return run


def _by_channel(result: Any) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    assert result.outcome.verdict == "decoded"
    return {row["channel"]: (row, result.payload(row)) for row in result.index}


def _protobuf(tmp_path: Path, decode: Callable[..., Any], sent: dict[str, list[Any]]) -> Any:
    path = tmp_path / "protobuf.mcap"
    with RecordingWriter(path, profile="") as writer:
        for topic, messages in sent.items():
            writer.add_protobuf_channel(topic, type(messages[0]))
            for number, message in enumerate(messages):
                writer.write(topic, message, T0_NS + number)
    return decode(path)


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize("codec", CODECS)
def test_foxglove_video_passes_through_as_recorded(tmp_path: Path, decode: Callable[..., Any], codec: str) -> None:
    units = encode(CODECS[codec], 8)
    messages = [CompressedVideo(timestamp=STAMP, frame_id="cam", data=u.data, format=codec) for u in units]
    result = _protobuf(tmp_path, decode, {"/cam": messages})
    assert [(r["modality"], r["status"], r["frame_id"]) for r in result.index] == [("camera", "decoded", "cam")] * 8
    rows = [result.payload(r) for r in result.index]
    assert [r["image"] for r in rows] == [u.data for u in units]
    assert {r["image_format"] for r in rows} == {codec}
    assert [r["is_random_access"] for r in rows] == [u.is_key for u in units]
    assert [r["width_px"] for r in rows] == [WIDTH if u.is_key else None for u in units]


def test_foxglove_video_as_json(tmp_path: Path, decode: Callable[..., Any]) -> None:
    units = encode("libx264", 3)
    path = tmp_path / "json.mcap"
    with RecordingWriter(path) as writer:
        writer.add_json_channel("/cam", "foxglove.CompressedVideo", {})
        for number, unit in enumerate(units):
            data = base64.b64encode(unit.data).decode()
            stamp = {"sec": T0_NS // 10**9, "nsec": number}
            writer.write("/cam", {"timestamp": stamp, "frame_id": "c", "data": data, "format": "h264"}, T0_NS + number)
        writer.write("/cam", {"timestamp": {"sec": 1}, "data": "%%%", "format": "h264"}, T0_NS + 8)
        writer.write("/cam", {"data": "", "format": "h264"}, T0_NS + 9)
        writer.write("/cam", {"format": "h264"}, T0_NS + 10)
    result = decode(path)
    assert [r["sensor_time_ns"] for r in result.index[:3]] == [T0_NS, T0_NS + 1, T0_NS + 2]
    assert [result.payload(r)["image"] for r in result.index[:3]] == [u.data for u in units]
    assert [r["reason"] for r in result.index[3:]] == ["field_unexpected", "video_header_invalid", "field_unexpected"]


def test_ros_video(drive: Callable[..., Any], ros: Any) -> None:
    key, inter = (u.data for u in encode("libx265", 2))
    h264 = encode("libx264", 1)[0].data
    stamp = ros.of("builtin_interfaces/msg/Time", T0_NS // 10**9, 0)
    video, ffmpeg = "foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
    image = "sensor_msgs/msg/CompressedImage"
    result = drive(
        ("/a", video, lambda of: of(video, stamp, "cam", _bytes(key), "h265")),
        ("/b", ffmpeg, lambda of: of(ffmpeg, ros.header(), 98, 66, "hevc_nvenc", 0, 0, False, _bytes(inter))),
        ("/c", image, lambda of: of(image, ros.header(), "h264", _bytes(h264))),
        ("/d", image, lambda of: of(image, ros.header(), "h264", _bytes(b"not video"))),
        ("/e", video, lambda of: of(video, stamp, "cam", _bytes(b"\x82\x49\x83\x42"), "vp9")),
    )
    rows = {r["channel"]: (r, result.payload(r)) for r in result.index}
    found = {
        c: (p["image"], p["image_format"], p["width_px"], p["is_random_access"])
        for c, (_, p) in rows.items()
        if c in ("/a", "/b", "/c")
    }
    assert found == {
        "/a": (key, "h265", WIDTH, True),
        "/b": (inter, "h265", WIDTH, False),
        "/c": (h264, "h264", WIDTH, True),
    }
    assert rows["/b"][0]["height_px"] == HEIGHT
    assert (rows["/d"][0]["status"], rows["/d"][0]["reason"]) == ("undecodable", "video_header_invalid")
    assert b"not video" in rows["/d"][1]["data"]
    assert (rows["/e"][0]["status"], rows["/e"][0]["reason"]) == ("raw", "video_format_unsupported")


def test_still_images_have_no_random_access(drive: Callable[..., Any], ros: Any, jpeg: bytes) -> None:
    image = "sensor_msgs/msg/CompressedImage"
    _, row = _by_channel(drive(("/a", image, lambda of: of(image, ros.header(), "jpeg", _bytes(jpeg)))))["/a"]
    assert row["is_random_access"] is None


def test_depth_images(drive: Callable[..., Any], ros: Any) -> None:
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000
    png = cv2.imencode(".png", depth)[1].tobytes()
    head = struct.pack("<iff", 0, 100.0, 2.5)
    rvl = struct.pack("<ii", 4, 3) + b"\x11\x22"
    image, raw = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"

    def compressed(declared: str, data: bytes) -> Callable[..., Any]:
        return lambda of: of(image, ros.header(), declared, _bytes(data))

    def plain(encoding: str, data: bytes, step: int) -> Callable[..., Any]:
        return lambda of: of(raw, ros.header(), 3, 4, encoding, 0, step, _bytes(data))

    metres = np.ones(12, np.float32).tobytes()
    rows = _by_channel(
        drive(
            ("/depth/a", raw, plain("16UC1", depth.tobytes(), 8)),
            ("/depth/b", raw, plain("32FC1", metres, 16)),
            ("/depth/rgb", raw, plain("rgb8", bytes(36), 12)),
            ("/thermal", raw, plain("16UC1", depth.tobytes(), 8)),
            ("/c", image, compressed("16UC1; compressedDepth png", head + png)),
            ("/d", image, compressed("32FC1; compressedDepth", head + png)),
            ("/e", image, compressed("16UC1; compressedDepth rvl", head + rvl)),
            ("/depth/f", image, compressed("16UC1; png compressed ", png)),
        )
    )
    names = ("image_format", "width_px", "height_px", "depth_encoding", "depth_unit_m", "inverse_depth")
    found = {c: (i["modality"], *(p.get(n) for n in names)) for c, (i, p) in rows.items()}
    assert found == {
        "/depth/a": ("depth", "16UC1", 4, 3, "16UC1", 0.001, None),
        "/depth/b": ("depth", "32FC1", 4, 3, "32FC1", 1.0, None),
        "/depth/rgb": ("camera", "rgb8", 4, 3, None, None, None),
        "/thermal": ("camera", "16UC1", 4, 3, None, None, None),
        "/c": ("depth", "png", 4, 3, "16UC1", 0.001, None),
        "/d": ("depth", "png", 4, 3, "32FC1", None, [100.0, 2.5]),
        "/e": ("depth", "rvl", 4, 3, "16UC1", 0.001, None),
        "/depth/f": ("depth", "png", 4, 3, "16UC1", 0.001, None),
    }
    assert np.array_equal(cv2.imdecode(_bytes(rows["/c"][1]["image"]), cv2.IMREAD_UNCHANGED), depth)
    assert rows["/depth/a"][1]["row_stride_bytes"] == 8


@pytest.mark.parametrize("data", [b"", bytes(12), bytes(40), bytes(12) + b"\x89PNG\r\n\x1a\n" + bytes(30)])
@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_compressed_depth_that_is_none(drive: Callable[..., Any], ros: Any, data: bytes, codec: str) -> None:
    image = "sensor_msgs/msg/CompressedImage"
    declared = f"16UC1; compressedDepth {codec}"
    (row,) = drive(("/a", image, lambda of: of(image, ros.header(), declared, _bytes(data)))).index
    assert (row["status"], row["reason"]) == ("undecodable", "image_header_invalid")


def test_audio_and_logs(drive: Callable[..., Any], ros: Any) -> None:
    plain, stamped = "audio_common_msgs/msg/AudioData", "audio_common_msgs/msg/AudioDataStamped"
    log = "rcl_interfaces/msg/Log"
    stamp = ros.of("builtin_interfaces/msg/Time", T0_NS // 10**9, 5)
    rows = _by_channel(
        drive(
            ("/mic", plain, lambda of: of(plain, _bytes(b"abc"))),
            ("/mic2", stamped, lambda of: of(stamped, ros.header(), of(plain, _bytes(b"def")))),
            ("/rosout", log, lambda of: of(log, stamp, 40, "planner", "no path", "plan.cpp", "run", 12)),
            ("/chatter", "std_msgs/msg/String", lambda of: of("std_msgs/msg/String", "hello")),
        )
    )
    assert [(i["modality"], i["payload_table"]) for i, _ in rows.values()] == [
        ("audio", "audio"), ("audio", "audio"), ("text_log", "text_log"), ("text_log", "text_log"),
    ]  # fmt: skip
    assert (rows["/mic"][1]["data"], rows["/mic2"][1]["data"]) == (b"abc", b"def")
    assert rows["/mic2"][0]["sensor_time_ns"] == T0_NS
    entry = rows["/rosout"][1]
    names = ("text", "log_level", "logger", "source_file", "source_function", "source_line")
    assert [entry[n] for n in names] == ["no path", "error", "planner", "plan.cpp", "run", 12]
    assert rows["/rosout"][0]["sensor_time_ns"] == T0_NS + 5
    assert [rows["/chatter"][1][n] for n in names] == ["hello", None, None, None, None, None]


def test_gnss_fixes_of_receivers(drive: Callable[..., Any], ros: Any) -> None:
    fix, pvt, best = "gps_msgs/msg/GPSFix", "ublox_msgs/msg/NavPVT", "novatel_oem7_msgs/msg/BESTPOS"
    status, solution = "gps_msgs/msg/GPSStatus", "novatel_oem7_msgs/msg/SolutionStatus"
    head = ros.header()
    nan = float("nan")
    rows = _by_channel(
        drive(
            ("/a", fix, lambda of: of(fix, head, of(status, head, 9, 18), 48.5, 11.5, nan, 90.0, 2.5, -0.5,
                                      np.arange(9.0), 2)),
            ("/b", pvt, lambda of: of(pvt, 1, 3, 1 | 128, 12, 115000000, 485000000, 520000, 20, 30, -250, 3000,
                                      4500000)),
            ("/c", best, lambda of: of(best, head, of(solution, 1), 48.5, 11.5, 500.0, 20.0, 1.0, 2.0, 3.0, 7)),
        )
    )  # fmt: skip
    assert {i["modality"] for i, _ in rows.values()} == {"gnss"}
    names = ("latitude_deg", "longitude_deg", "altitude_m", "fix_status", "ground_speed_m_s", "course_deg",
             "climb_m_s", "nbr_satellites")  # fmt: skip
    found = {c: [p[n] for n in names] for c, (_, p) in rows.items()}
    assert found["/a"] == [48.5, 11.5, None, 18, 2.5, 90.0, -0.5, 9]
    assert found["/b"] == pytest.approx([48.5, 11.5, 520.0, 2, 3.0, 45.0, 0.25, 12])
    assert found["/c"] == [48.5, 11.5, 520.0, -1, None, None, None, 7]
    assert rows["/a"][1]["covariance"] == list(range(9))
    assert rows["/b"][1]["covariance"] == pytest.approx([4e-4, 0, 0, 0, 4e-4, 0, 0, 0, 9e-4])
    assert rows["/c"][1]["covariance"] == [4.0, 0, 0, 0, 1.0, 0, 0, 0, 9.0]


def test_gnss_raw(drive: Callable[..., Any], ros: Any) -> None:
    nmea, rtcm, rawx = "nmea_msgs/msg/Sentence", "rtcm_msgs/msg/Message", "ublox_msgs/msg/RxmRAWX"
    measured = "ublox_msgs/msg/RxmRAWXMeas"
    sentence = "$GPGGA,172814.0,3723.46587704,N,12202.26957864,W,2,6,1.2,18.893,M,-25.669,M,2.0,0031*4F"
    rows = _by_channel(
        drive(
            ("/nmea", nmea, lambda of: of(nmea, ros.header(), sentence)),
            ("/rtcm", rtcm, lambda of: of(rtcm, ros.header(), _bytes(b"\xd3\x00\x01"))),
            ("/rawx", rawx, lambda of: of(rawx, 5.5, 2200, [of(measured, 2.5, 3), of(measured, 4.5, 7)])),
        )
    )
    assert {i["modality"] for i, _ in rows.values()} == {"gnss_raw"}
    assert (rows["/nmea"][1]["text"], rows["/rtcm"][1]["data"]) == (sentence, b"\xd3\x00\x01")
    row = rows["/rawx"][1]
    assert row["names"] == ["rcv_tow", "week", "meas.0.pr_mes", "meas.0.sv_id", "meas.1.pr_mes", "meas.1.sv_id"]
    assert (row["position"], row["source"]) == ([5.5, 2200.0, 2.5, 3.0, 4.5, 7.0], rawx)


def test_scans(drive: Callable[..., Any], ros: Any) -> None:
    laser, radar, one = "sensor_msgs/msg/LaserScan", "radar_msgs/msg/RadarScan", "radar_msgs/msg/RadarReturn"
    ranges = np.array([1.0, 2.0, np.inf, 9.0], np.float32)
    half_turn = np.pi / 2
    rows = _by_channel(
        drive(
            ("/scan", laser, lambda of: of(laser, ros.header(), 0.0, 3 * half_turn, half_turn, 1e-3, 0.1, 0.5, 5.0,
                                           ranges, np.array([7, 8, 9, 10], np.float32))),
            ("/radar", radar, lambda of: of(radar, ros.header(), [of(one, 2.0, half_turn, 0.0, -3.0, 12.0),
                                                                  of(one, 2.0, 0.0, half_turn, 1.0, 6.0)])),
            ("/radar/empty", radar, lambda of: of(radar, ros.header(), [])),
        )
    )  # fmt: skip
    index, row = rows["/scan"]
    assert (index["modality"], index["nbr_points"], row["offset_ns"]) == ("lidar", 4, [0, 10**6, 2 * 10**6, 3 * 10**6])
    nan = np.nan
    np.testing.assert_allclose([row["x_m"], row["y_m"]], [[1, 0, nan, nan], [0, 2, nan, nan]], atol=1e-6)
    assert (row["z_m"], row["intensity"]) == ([0.0] * 4, [7.0, 8.0, 9.0, 10.0])
    index, row = rows["/radar"]
    assert (index["modality"], row["radial_velocity_m_s"], row["amplitude_db"]) == ("radar", [-3.0, 1.0], [12.0, 6.0])
    np.testing.assert_allclose([row["x_m"], row["y_m"], row["z_m"]], [[0, 0], [2, 0], [0, 2]], atol=1e-6)
    assert rows["/radar/empty"][1]["x_m"] == []


def test_signals(drive: Callable[..., Any], ros: Any) -> None:
    field, twist, stamped = "sensor_msgs/msg/MagneticField", "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
    joy, array, flag = "sensor_msgs/msg/Joy", "std_msgs/msg/Float64MultiArray", "std_msgs/msg/Bool"
    moving = ros.of(twist, ros.vector(1.0, 2.0, 3.0), ros.vector(4.0, 5.0, 6.0))
    layout = ros.of("std_msgs/msg/MultiArrayLayout", [], 0)
    rows = _by_channel(
        drive(
            ("/mag", field, lambda of: of(field, ros.header(), ros.vector(1.0, 2.0, 3.0), np.zeros(9))),
            ("/cmd_vel", twist, lambda of: moving),
            ("/speed", stamped, lambda of: of(stamped, ros.header(), moving)),
            ("/joy", joy, lambda of: of(joy, ros.header(), np.array([0.5], np.float32), np.array([1, 0], np.int32))),
            ("/action", array, lambda of: of(array, layout, np.array([0.25, np.nan]))),
            ("/gripper", flag, lambda of: of(flag, True)),
        )
    )
    assert {c: i["modality"] for c, (i, _) in rows.items()} == {
        "/mag": "robot_state", "/cmd_vel": "action", "/speed": "robot_state", "/joy": "robot_state",
        "/action": "action", "/gripper": "robot_state",
    }  # fmt: skip
    row = rows["/mag"][1]
    assert row["names"] == [f"magnetic_field.{axis}" for axis in "xyz"]
    assert (row["units"], row["position"]) == (["T"] * 3, [1.0, 2.0, 3.0])
    assert rows["/cmd_vel"][1]["units"] == ["m/s"] * 3 + ["rad/s"] * 3
    assert rows["/cmd_vel"][1]["position"] == rows["/speed"][1]["position"] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert (rows["/speed"][0]["frame_id"], rows["/cmd_vel"][0]["sensor_time_ns"]) == ("sensor", None)
    row = rows["/joy"][1]
    assert (row["names"], row["position"]) == (["axes.0", "buttons.0", "buttons.1"], [0.5, 1.0, 0.0])
    assert rows["/action"][1]["position"][0] == 0.25
    assert rows["/gripper"][1]["position"] == [1.0]


def test_more_numbers_than_a_signal_has_stay_raw(drive: Callable[..., Any], ros: Any) -> None:
    array = "std_msgs/msg/Float64MultiArray"
    layout = ros.of("std_msgs/msg/MultiArrayLayout", [], 0)
    (row,) = drive(("/big", array, lambda of: of(array, layout, np.zeros(5000)))).index
    assert (row["status"], row["reason"]) == ("raw", "message_too_large")


def test_foxglove_protobuf_homes(tmp_path: Path, decode: Callable[..., Any]) -> None:
    pose = PoseInFrame(timestamp=STAMP, frame_id="map")
    pose.pose.position.x, pose.pose.orientation.w = 3.0, 1.0
    boxes = SceneUpdate()
    entity = boxes.entities.add(timestamp=STAMP, frame_id="map", id="7")
    entity.metadata.add(key="Category", value="car")
    cube = entity.cubes.add()
    cube.pose.orientation.w, cube.size.x = 1.0, 4.5
    drawing = SceneUpdate()
    drawing.entities.add(id="1").lines.add()
    sent = {
        "/log": Log(timestamp=STAMP, level=Log.WARNING, message="hot", name="cpu", file="a.py", line=3),
        "/mic": RawAudio(timestamp=STAMP, data=b"\1\2", format="pcm-s16", sample_rate=16000, number_of_channels=1),
        "/scan": LaserScan(timestamp=STAMP, start_angle=0, end_angle=1, ranges=[1, 2], intensities=[3, 4]),
        "/depth": RawImage(timestamp=STAMP, width=2, height=1, encoding="16UC1", step=4, data=b"\1\0\2\0"),
        "/pose": pose,
        "/boxes": boxes,
        "/drawing": drawing,
    }
    rows = _by_channel(_protobuf(tmp_path, decode, {t: [m] for t, m in sent.items()}))
    assert {t: i["modality"] for t, (i, _) in rows.items()} == {
        "/log": "text_log", "/mic": "audio", "/scan": "lidar", "/depth": "depth", "/pose": "ego_pose",
        "/boxes": "annotation", "/drawing": "annotation",
    }  # fmt: skip
    assert rows["/log"][1]["log_level"] == "warning"
    assert (rows["/mic"][1]["sample_rate_hz"], rows["/mic"][1]["nbr_audio_channels"]) == (16000, 1)
    np.testing.assert_allclose(rows["/scan"][1]["y_m"], [0, 2 * np.sin(1)], atol=1e-6)
    assert rows["/pose"][1]["world_from_ego"]["tx_m"] == 3.0
    box = rows["/boxes"][1]
    assert (box["category"], box["track_id"], box["size_m"]) == ("car", "7", [4.5, 0.0, 0.0])
    assert (rows["/drawing"][0]["status"], rows["/drawing"][0]["reason"]) == ("raw", "scene_update_not_boxes")


def test_foxglove_json_goes_through_the_same_handlers(tmp_path: Path, decode: Callable[..., Any], jpeg: bytes) -> None:
    stamp = {"sec": T0_NS // 10**9, "nsec": 7}
    at = {"position": {"x": 0, "y": 0, "z": 10}, "orientation": {"x": 0, "y": 0, "z": 0, "w": 1}}
    fields = [{"name": n, "offset": 4 * i, "type": 7} for i, n in enumerate("xyz")]
    points = base64.b64encode(np.arange(6, dtype="<f4").tobytes()).decode()
    sent: dict[str, tuple[str, Any]] = {
        "/image": ("CompressedImage", {"data": base64.b64encode(jpeg).decode(), "format": "jpeg"}),
        "/points": ("PointCloud", {"pose": at, "point_stride": 12, "fields": fields, "data": points}),
        "/fix": ("LocationFix", {"latitude": 48, "longitude": 11.5, "altitude": 5, "position_covariance_type": 0,
                                 "position_covariance": [0] * 9}),
        "/log": ("Log", {"level": 4, "message": "m", "name": "n", "file": "", "line": 0}),
        "/tf": ("FrameTransform", {"parent_frame_id": "a", "child_frame_id": "b", "translation": at["position"],
                                   "rotation": at["orientation"]}),
    }  # fmt: skip
    path = tmp_path / "json.mcap"
    with RecordingWriter(path) as writer:
        for topic, (name, message) in sent.items():
            writer.add_json_channel(topic, f"foxglove.{name}", {})
            writer.write(topic, {"timestamp": stamp, "frame_id": "f"} | message, T0_NS)
    rows = _by_channel(decode(path))
    assert {t: i["modality"] for t, (i, _) in rows.items()} == {
        "/image": "camera", "/points": "lidar", "/fix": "gnss", "/log": "text_log", "/tf": "transform",
    }  # fmt: skip
    assert {i["sensor_time_ns"] for i, _ in rows.values()} == {T0_NS + 7}
    assert rows["/image"][1]["image"] == jpeg
    assert rows["/points"][1]["z_m"] == [12.0, 15.0]
    assert rows["/tf"][1]["parent_from_child"]["tz_m"] == 10.0
