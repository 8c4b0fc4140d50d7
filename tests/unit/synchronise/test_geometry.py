import numpy as np
import pytest

from scenelake.geometry.poses import struct_from_pose
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig

START = 85_000_000 * 20_000_000_000
MS = 1_000_000
TURNED = [np.cos(0.01), 0.0, 0.0, np.sin(0.01)]


def pose(x=0.0, y=0.0, z=0.0, q=(1.0, 0.0, 0.0, 0.0)):
    return np.array([x, y, z, *q], np.float64)


def static(parent, child, parent_from_child):
    return lambda _: {
        "parent_frame_id": parent,
        "child_frame_id": child,
        "parent_from_child": struct_from_pose(parent_from_child),
        "is_static": True,
    }


def camera_info(focal, frame="front_optical"):
    return {
        "frame_id": frame,
        "camera_model": "plumb_bob",
        "intrinsics": [focal, 0.0, 320.0, 0.0, focal, 240.0, 0.0, 0.0, 1.0],
        "distortion": [0.0] * 5,
        "width_px": 640,
        "height_px": 480,
    }


def build(recording, **kwargs):
    return synchronise_drive(recording.drive(**kwargs), SynchroniseConfig()).tables


def test_calibrations_have_validity_and_the_frames_point_to_them(recording):
    stamps = START + np.arange(40) * 100 * MS
    recording.add(
        "/tf_static", "transform", [START], payload=("transform", static("base_link", "front_optical", pose(1)))
    )
    recording.add("/camera/front/image/compressed", "camera", stamps, frame_id="front_optical")
    recording.add("/camera/rear/image/compressed", "camera", stamps, frame_id="rear_optical")
    recording.add("/lidar", "lidar", stamps, frame_id="lidar")
    infos = [camera_info(500.0), camera_info(500.0), camera_info(510.0), camera_info(500.0)]
    times = [START + ms * MS for ms in (50, 1000, 2000, 3000)]
    recording.add("/camera/front/camera_info", "calibration", times, payload=("calibration", infos.__getitem__))
    tables = build(recording, metadata={"rig_id": "rig7"})
    sensors = tables["calibrated_sensor"].to_pylist()
    front = [s for s in sensors if s["channel"] == "/camera/front/image/compressed"]
    assert [(s["valid_from_ns"] - START, s["valid_to_ns"] and s["valid_to_ns"] - START) for s in front] == [
        (0, 2000 * MS),
        (2000 * MS, 3000 * MS),
        (3000 * MS, None),
    ]
    assert [s["intrinsics"][0] for s in front] == [500.0, 510.0, 500.0]
    assert all(s["ego_from_sensor"] == struct_from_pose(pose(1)) and s["rig_id"] == "rig7" for s in front)
    rear, lidar = (next(s for s in sensors if s["channel"] == c) for c in ("/camera/rear/image/compressed", "/lidar"))
    assert rear["intrinsics"] is None
    assert lidar["ego_from_sensor"] is None
    assert "frame 'lidar' is not connected to 'base_link'" in lidar["source"]
    known = {s["calibrated_sensor_id"]: s for s in sensors}
    assert len(known) == len(sensors) == 5
    rows = tables["sample_data"].to_pylist()
    images = [r for r in rows if r["channel"] == "/camera/front/image/compressed"]
    assert len(images) == 40
    for row in images:
        sensor = known[row["calibrated_sensor_id"]]
        assert sensor["valid_from_ns"] <= row["timestamp_ns"] < (sensor["valid_to_ns"] or 2**62)
    assert {r["calibrated_sensor_id"] for r in rows if r["channel"] == "/tf_static"} == {None}


@pytest.mark.parametrize(
    ("topic", "info_frame", "is_found"),
    [
        ("/camera/front/camera_info", "x", True),
        ("/camera/camera_info", "x", True),
        ("/camera/fro/camera_info", "x", False),
        ("/info/front", "front_optical", True),
        ("/camera_info", "x", False),
    ],
    ids=["same-namespace", "outer-namespace", "prefix-of-a-word", "by-frame", "root"],
)
def test_calibration_finds_its_camera(recording, topic, info_frame, is_found):
    recording.add("/camera/front/image", "camera", [START], frame_id="front_optical")
    recording.add(topic, "calibration", [START], payload=("calibration", lambda _: camera_info(5.0, info_frame)))
    sensors = build(recording)["calibrated_sensor"].to_pylist()
    assert [s["intrinsics"] is not None for s in sensors] == [is_found]


def test_a_camera_without_frame_or_calibration_has_no_calibrated_sensor(recording):
    recording.add("/cam", "camera", [START])
    tables = build(recording)
    assert len(tables["calibrated_sensor"]) == 0
    assert tables["sample_data"]["calibrated_sensor_id"].to_pylist() == [None]


def changing(poses):
    return lambda i: static("base_link", "lidar", poses[i])(i)


def test_a_calibration_that_changes_mid_drive_is_told_apart_to_the_nanosecond(recording):
    """Extrinsics and intrinsics change at different times; each message has the one that held at its own."""
    turn_ns, zoom_ns = START + 1_234_567_891, START + 2_000_000_003
    stamps = sorted([START, turn_ns - 1, turn_ns, turn_ns + 1, zoom_ns - 1, zoom_ns, zoom_ns + 1])
    recording.add("/lidar", "lidar", stamps, frame_id="lidar")
    recording.add("/cam/image", "camera", stamps, frame_id="cam")
    both = [[("lidar", pose(1)), ("cam", pose(0, 1))], [("lidar", pose(1.02)), ("cam", pose(0, 1, 0, TURNED))]]
    for at, number in ((START, 0), (START + 5, 0), (turn_ns, 1)):
        for child, value in both[number]:
            recording.add("/tf_static", "transform", [at], payload=("transform", static("base_link", child, value)))
    infos = [camera_info(500.0, "cam"), camera_info(505.0, "cam")]
    recording.add("/cam/camera_info", "calibration", [START + 9, zoom_ns], payload=("calibration", infos.__getitem__))
    tables = build(recording)
    sensors = tables["calibrated_sensor"].to_pylist()
    spans = {
        name: [(s["valid_from_ns"], s["valid_to_ns"]) for s in sensors if s["channel"] == name]
        for name in ("/lidar", "/cam/image")
    }
    assert spans["/lidar"] == [(START, turn_ns), (turn_ns, None)]
    assert spans["/cam/image"] == [(START, turn_ns), (turn_ns, zoom_ns), (zoom_ns, None)]
    known = {s["calibrated_sensor_id"]: s for s in sensors}
    assert len(known) == 5
    for row in tables["sample_data"].to_pylist():
        sensor = known.get(row["calibrated_sensor_id"])
        at, number = row["timestamp_ns"], int(row["timestamp_ns"] >= turn_ns)
        if row["channel"] == "/lidar":
            assert sensor["ego_from_sensor"] == struct_from_pose(both[number][0][1])
        elif row["channel"] == "/cam/image":
            np.testing.assert_allclose(list(sensor["ego_from_sensor"].values()), both[number][1][1], atol=1e-12)
            assert sensor["intrinsics"][0] == (500.0 if at < zoom_ns else 505.0)


def test_of_two_settings_at_one_stamp_the_last_recorded_holds(recording):
    recording.add("/lidar", "lidar", [START, START + 7], frame_id="lidar")
    poses = [pose(1), pose(2), pose(3)]
    recording.add("/tf_static", "transform", [START, START + 7, START + 7], payload=("transform", changing(poses)))
    sensors = build(recording)["calibrated_sensor"].to_pylist()
    assert [s["ego_from_sensor"]["tx_m"] for s in sensors] == [1.0, 3.0]


def moving(parent, child, at):
    return lambda i: {
        "parent_frame_id": parent,
        "child_frame_id": child,
        "parent_from_child": struct_from_pose(at(i)),
        "is_static": False,
    }


def test_a_sensor_that_moves_has_its_extrinsics_at_each_message(recording):
    """A camera on a mast that rises 1 m a second: resolved through a static link, by the message's own time."""
    images = START + np.array([0, 150, 990, 1400, 2000]) * MS
    recording.add("/cam/image", "camera", images, frame_id="cam")
    recording.add("/tf_static", "transform", [START], payload=("transform", static("mast", "cam", pose(0.5))))
    risen = START + np.array([*range(0, 1100, 100), 2000]) * MS
    at = {i: pose(0, 0, (int(ns) - START) / 1e9) for i, ns in enumerate(risen)}
    recording.add("/tf", "transform", risen, payload=("transform", moving("base_link", "mast", at.__getitem__)))
    tables = build(recording)
    (sensor,) = tables["calibrated_sensor"].to_pylist()
    assert sensor["ego_from_sensor"] is None
    assert "moving ('base_link' from 'mast'), at each message; 1 of 5 messages have none" in sensor["source"]
    rows = [r for r in tables["sample_data"].to_pylist() if r["channel"] == "/cam/image"]
    heights = [r["ego_from_sensor"] and round(r["ego_from_sensor"]["tz_m"], 9) for r in rows]
    assert heights == [0.0, 0.15, 0.99, None, 2.0]
    assert all(r["ego_from_sensor"]["tx_m"] == 0.5 for r in rows if r["ego_from_sensor"])
    others = [r["ego_from_sensor"] for r in tables["sample_data"].to_pylist() if r["channel"] != "/cam/image"]
    assert set(others) == {None}


def test_a_mount_published_on_tf_that_never_moves_is_a_static_one(recording):
    stamps = START + np.arange(20) * 100 * MS
    recording.add("/lidar", "lidar", stamps, frame_id="lidar")
    recording.add("/tf", "transform", stamps, payload=("transform", moving("base_link", "lidar", lambda _: pose(1))))
    (sensor,) = build(recording)["calibrated_sensor"].to_pylist()
    assert sensor["ego_from_sensor"] == struct_from_pose(pose(1))


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ([("a", "lidar"), ("b", "a"), ("lidar", "b")], "on a cycle"),
        ([("base_link", "lidar"), ("roof", "lidar")], "frame 'lidar' has 2 parents: base_link, roof"),
        ([("rig", "lidar")], "frame 'lidar' is not connected to 'base_link'"),
    ],
    ids=["cycle", "two-parents", "missing-link"],
)
def test_a_tree_that_cannot_be_resolved_is_a_reason_in_the_row(recording, edges, reason):
    recording.add("/lidar", "lidar", [START], frame_id="lidar")
    for parent, child in edges:
        recording.add("/tf_static", "transform", [START], payload=("transform", static(parent, child, pose())))
    (sensor,) = build(recording)["calibrated_sensor"].to_pylist()
    assert sensor["ego_from_sensor"] is None
    assert reason in sensor["source"]


def test_points_that_are_compensated_already_are_said_to_be(recording):
    recording.add("/lidar", "lidar", [START], frame_id="lidar")
    recording.add("/other", "lidar", [START], frame_id="lidar")
    sensors = build(recording, metadata={"motion_compensated": "/lidar"})["calibrated_sensor"].to_pylist()
    assert {s["channel"]: s["is_motion_compensated"] for s in sensors} == {"/lidar": True, "/other": None}
