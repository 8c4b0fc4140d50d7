import numpy as np
import pyarrow as pa
import pytest

from scenelake.contracts.tables import decoded_schema
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.geometry import poses_from_transforms
from scenelake.synchronise.transforms import IDENTITY, POSE_FIELDS, Edge, TransformTree, compose, invert

START = 85_000_000 * 20_000_000_000
MS = 1_000_000
S = np.sqrt(0.5)
QUARTER_LEFT = [S, 0.0, 0.0, S]


def pose(x=0.0, y=0.0, z=0.0, q=(1.0, 0.0, 0.0, 0.0)):
    return np.array([x, y, z, *q], np.float64)


def as_struct(values):
    return dict(zip(POSE_FIELDS, np.asarray(values).tolist(), strict=True))


def test_compose_turns_then_moves():
    a_from_b, b_from_c = pose(1, 0, 0, QUARTER_LEFT), pose(2, 0, 0)
    np.testing.assert_allclose(compose(a_from_b, b_from_c), pose(1, 2, 0, QUARTER_LEFT), atol=1e-12)
    np.testing.assert_allclose(compose(a_from_b, invert(a_from_b)), IDENTITY, atol=1e-12)


def test_a_chain_is_resolved_from_the_ego_frame_down():
    tree = TransformTree(
        [
            Edge("base_footprint", "base_link", pose(0, 0, 0.5)),
            Edge("base_link", "roof", pose(1, 0, 1, QUARTER_LEFT)),
            Edge("roof", "lidar", pose(0.5, 0, 0)),
            Edge("base_footprint", "bumper", pose(2, 0, 0.4)),
        ]
    )
    np.testing.assert_allclose(tree.resolve("base_link", "/lidar").pose, pose(1, 0.5, 1, QUARTER_LEFT), atol=1e-12)
    np.testing.assert_allclose(tree.resolve("base_link", "bumper").pose, pose(2, 0, -0.1), atol=1e-12)
    np.testing.assert_allclose(tree.resolve("base_link", "base_link").pose, IDENTITY)


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ([], "not connected"),
        ([("map", "base_link"), ("rig", "lidar")], "not connected"),
        ([("a", "lidar"), ("b", "a"), ("lidar", "b")], "on a cycle"),
        ([("lidar", "lidar")], "on a cycle"),
        ([("base_link", "lidar"), ("roof", "lidar")], "2 parents"),
    ],
    ids=["no-edges", "two-trees", "cycle", "own-parent", "two-parents"],
)
def test_what_cannot_be_resolved_says_why(edges, reason):
    resolved = TransformTree(Edge(p, c, pose()) for p, c in edges).resolve("base_link", "lidar")
    assert resolved.pose is None
    assert reason in resolved.problem


def test_a_later_transform_between_the_same_frames_replaces_the_earlier():
    tree = TransformTree([Edge("base_link", "lidar", pose(1)), Edge("base_link", "lidar", pose(2))])
    assert tree.resolve("base_link", "lidar").pose[0] == 2.0


@pytest.mark.parametrize("bad", [pose(q=(0, 0, 0, 0)), pose(x=np.nan)])
def test_a_transform_that_is_none_leaves_the_sensor_unresolved(bad):
    assert (
        "no rigid transform" in TransformTree([Edge("base_link", "lidar", bad)]).resolve("base_link", "lidar").problem
    )


def static(parent, child, parent_from_child):
    return lambda _: {
        "parent_frame_id": parent,
        "child_frame_id": child,
        "parent_from_child": as_struct(parent_from_child),
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
    assert all(s["ego_from_sensor"] == as_struct(pose(1)) and s["rig_id"] == "rig7" for s in front)
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


def moving(parent):
    return lambda i: {
        "parent_frame_id": parent,
        "child_frame_id": "base_link",
        "parent_from_child": as_struct(pose(float(i))),
        "is_static": False,
    }


def test_ego_poses_come_out_of_transforms_and_are_matched(recording):
    stamps = START + np.arange(40) * 100 * MS
    recording.add("/lidar", "lidar", stamps + 50 * MS, frame_id="lidar")
    recording.add("/tf", "transform", stamps, payload=("transform", moving("map")))
    tables = build(recording)
    poses = tables["ego_pose"]
    assert len(poses) == 40
    assert set(poses["source"].to_pylist()) == {"transform"}
    assert poses["scene_id"].null_count == poses["drive_date"].null_count == 0
    rows = [r for r in tables["sync_index"].to_pylist() if r["channel"] == "/tf"]
    assert len(rows) == 8
    assert {(r["modality"], r["method"], r["is_match"]) for r in rows} == {("ego_pose", "slerp", True)}
    np.testing.assert_allclose(rows[1]["value"], pose(5.5), atol=1e-9)


def test_of_several_world_frames_the_best_gives_one_pose_a_message():
    rows = []
    for i in range(3):
        for parent in ("odom", "/map", "elsewhere"):
            rows.append({"sample_data_id": str(i), "channel": "/tf", "timestamp_ns": i, **moving(parent)(i)})
    table = pa.Table.from_pylist(rows, schema=decoded_schema("transform"))
    poses = poses_from_transforms(table, SynchroniseConfig())
    assert poses["frame_id"].to_pylist() == ["/map"] * 3
    assert poses["sample_data_id"].to_pylist() == ["0", "1", "2"]
