"""Where ego poses come from, which of them rule, and where their world lies on the Earth."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.synchronise.conftest import Recording

from scenelake.contracts.tables import decoded_schema
from scenelake.geometry.poses import POSE_FIELDS, struct_from_pose
from scenelake.geometry.wgs84 import geodetic_from_enu
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.ego_poses import poses_from_transforms
from scenelake.synchronise.transforms import transform_tree

START = 85_000_000 * 20_000_000_000
MS = 1_000_000
ORIGIN = np.array([48.1372, 11.5755, 519.0])


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0):
    return np.array([x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])


def build(recording, **kwargs):
    return synchronise_drive(recording.drive(**kwargs), SynchroniseConfig()).tables


def drive_of(tables):
    return tables["drive"].to_pylist()[0]


def link(parent, child, at):
    return lambda i: {
        "parent_frame_id": parent,
        "child_frame_id": child,
        "parent_from_child": struct_from_pose(at(i)),
        "is_static": False,
    }


def odometry(frame, child="base_link", at=lambda i: pose(float(i))):
    return lambda i: {
        "world_from_ego": struct_from_pose(at(i)),
        "frame_id": frame,
        "child_frame_id": child,
        "source": "nav_msgs/msg/Odometry",
    }


def test_ego_poses_come_out_of_transforms_and_are_matched(recording):
    stamps = START + np.arange(40) * 100 * MS
    recording.add("/lidar", "lidar", stamps + 50 * MS, frame_id="lidar")
    recording.add("/tf", "transform", stamps, payload=("transform", link("map", "base_link", lambda i: pose(float(i)))))
    tables = build(recording)
    poses = tables["ego_pose"]
    assert len(poses) == 40
    assert set(poses["source"].to_pylist()) == {"transform"}
    assert poses["scene_id"].null_count == poses["drive_date"].null_count == 0
    rows = [r for r in tables["sync_index"].to_pylist() if r["channel"] == "/tf"]
    assert len(rows) == 8
    assert {(r["modality"], r["method"], r["is_match"]) for r in rows} == {("ego_pose", "slerp", True)}
    np.testing.assert_allclose(rows[1]["value"], pose(5.5), atol=1e-9)
    drive = drive_of(tables)
    assert (drive["ego_pose_channel"], drive["ego_pose_source"]) == ("/tf", "transform on /tf")
    assert (drive["world_frame_id"], drive["anchor_source"]) == ("map", "none: no GNSS fix")


def transforms_of(*messages):
    rows = [
        {"sample_data_id": f"{channel}{i}", "channel": channel, "timestamp_ns": START + i * 100 * MS, **make(i)}
        for channel, make, numbers in messages
        for i in numbers
    ]
    return pa.Table.from_pylist(rows, schema=decoded_schema("transform"))


def found(table):
    return poses_from_transforms(table, transform_tree(table), SynchroniseConfig())


def test_of_several_world_frames_the_best_gives_one_pose_a_message():
    def at(i):
        return pose(float(i))

    table = transforms_of(*(("/tf", link(parent, "base_link", at), range(3)) for parent in ("odom", "/map", "else")))
    poses = found(table)
    assert poses["frame_id"].to_pylist() == ["map"] * 3
    assert poses["sample_data_id"].to_pylist() == ["/tf0", "/tf1", "/tf2"]


def test_a_map_above_the_odometry_is_followed_by_time():
    """map from odom at 5 Hz, odom from base_link at 10 Hz; after the last correction there is no pose."""
    table = transforms_of(
        ("/tf", link("odom", "base_link", lambda i: pose(float(i))), range(10)),
        ("/tf/map", link("map", "odom", lambda i: pose(0, 2.0 * i)), range(0, 8, 2)),
    )
    poses = found(table)
    assert set(poses["frame_id"].to_pylist()) == {"map"}
    values = [(p["tx_m"], round(p["ty_m"], 9)) for p in poses["world_from_ego"].to_pylist()]
    assert values == [(float(i), 2.0 * i) for i in range(7)]


def test_a_frame_with_no_world_above_it_gives_no_pose():
    assert len(found(transforms_of(("/tf", link("rig", "base_link", lambda _: pose()), range(3))))) == 0


@pytest.mark.parametrize(
    ("channels", "chosen"),
    [
        ({"/odom": ("odom", "base_link", 20), "/loc": ("map", "base_link", 5)}, "/loc"),
        ({"/imu_odom": ("map", "imu_link", 20), "/odom": ("odom", "base_link", 5)}, "/odom"),
        ({"/slow": ("map", "base_link", 5), "/fast": ("city", "base_link", 20)}, "/fast"),
    ],
    ids=["what-does-not-drift", "of-the-ego-itself", "the-denser"],
)
def test_which_recorded_poses_rule(recording, channels, chosen):
    recording.add("/lidar", "lidar", [START], frame_id="lidar")
    for channel, (frame, child, count) in channels.items():
        stamps = START + np.arange(count) * 50 * MS
        recording.add(channel, "ego_pose", stamps, payload=("ego_pose", odometry(frame, child)))
    assert drive_of(build(recording))["ego_pose_channel"] == chosen


def test_recorded_poses_rule_before_transforms_and_poses_of_another_frame_are_named(recording):
    stamps = START + np.arange(5) * 50 * MS
    recording.add("/odom", "ego_pose", stamps, payload=("ego_pose", odometry("map")))
    recording.add("/tf", "transform", stamps, payload=("transform", link("map", "base_link", lambda i: pose(float(i)))))
    assert drive_of(build(recording))["ego_pose_channel"] == "/odom"


def test_poses_of_another_frame_are_said_to_be(recording):
    recording.add("/odom", "ego_pose", [START], payload=("ego_pose", odometry("map", "imu_link")))
    source = drive_of(build(recording))["ego_pose_source"]
    assert source.endswith("they are poses of 'imu_link', not of 'base_link'")


class Arc:
    """A drive on a circle of 60 m at 8 m/s, in a world frame whose x axis points 40 degrees west of north."""

    heading_deg = 320.0

    def __init__(self, count=150, step_ns=100 * MS):
        self.stamps = START + np.arange(count) * step_ns
        along = np.arange(count) * step_ns / 1e9 * 8.0 / 60.0
        self.poses = np.stack([pose(60 * np.sin(a), 60 - 60 * np.cos(a), 0.3, a) for a in along])

    def geodetic(self, lever=(0.0, 0.0, 0.0)):
        angle = np.radians(90.0 - self.heading_deg)
        yaw = 2 * np.arctan2(self.poses[:, 6], self.poses[:, 3])
        x = self.poses[:, 0] + lever[0] * np.cos(yaw) - lever[1] * np.sin(yaw)
        y = self.poses[:, 1] + lever[0] * np.sin(yaw) + lever[1] * np.cos(yaw)
        z = self.poses[:, 2] + lever[2]
        east, north = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
        return geodetic_from_enu(np.stack([east, north, z], axis=1), ORIGIN)


def add_fixes(recording, stamps, geodetic, status=lambda _: 0):
    def fix(i):
        latitude, longitude, altitude = geodetic[i].tolist()
        names = {"latitude_deg": latitude, "longitude_deg": longitude, "altitude_m": altitude}
        return names | {"fix_status": status(i), "frame_id": "gnss"}

    recording.add("/fix", "gnss", stamps, frame_id="gnss", payload=("gnss", fix))


def test_the_world_is_anchored_by_fixes_less_the_antennas_place(recording):
    arc, lever = Arc(), (-1.0, 0.4, 1.7)
    recording.add("/odom", "ego_pose", arc.stamps, payload=("ego_pose", odometry("map", at=arc.poses.__getitem__)))
    mount = link("base_link", "gnss", lambda _: pose(*lever))
    recording.add("/tf_static", "transform", [START], payload=("transform", mount))
    fixes = arc.geodetic(lever)
    fixes[40] += [0.01, 0.0, 0.0]
    fixes[41] = 0.0
    add_fixes(recording, arc.stamps, fixes, status=lambda i: -1 if i == 42 else 0)
    drive = drive_of(build(recording))
    found_m = [drive[f"anchor_{name}"] for name in ("latitude_deg", "longitude_deg", "altitude_m")]
    assert (np.abs(found_m - ORIGIN) < [1e-8, 1e-8, 1e-3]).all()
    assert drive["anchor_heading_deg"] == pytest.approx(arc.heading_deg, abs=1e-4)
    assert drive["anchor_residual_m"] < 1e-3
    assert drive["anchor_source"] == "147 of 148 fixes on /fix"


@pytest.mark.parametrize(
    ("frame", "count", "reason"),
    [
        ("map", 5, "the poses span 3.2 m, expected 10 m to see a heading"),
        ("ecef", 150, "the world frame is Earth-centred"),
    ],
)
def test_a_world_that_cannot_be_anchored_says_why(recording, frame, count, reason):
    arc = Arc(count)
    recording.add("/odom", "ego_pose", arc.stamps, payload=("ego_pose", odometry(frame, at=arc.poses.__getitem__)))
    add_fixes(recording, arc.stamps, arc.geodetic())
    drive = drive_of(build(recording))
    assert drive["anchor_source"] == f"none: {reason}"
    assert drive["anchor_latitude_deg"] is drive["anchor_heading_deg"] is None


@pytest.mark.parametrize("imu_yaw_off", [None, 0.0, 1.3], ids=["no-imu", "imu-to-north", "imu-to-anywhere"])
def test_a_drive_without_poses_gets_them_from_gnss_and_imu(recording, imu_yaw_off):
    arc = Arc()
    add_fixes(recording, arc.stamps, arc.geodetic())
    turn = np.radians(90.0 - arc.heading_deg)
    yaw = 2 * np.arctan2(arc.poses[:, 6], arc.poses[:, 3]) + turn
    if imu_yaw_off is not None:
        orientations = [pose(0, 0, 0, y + imu_yaw_off)[3:].tolist() for y in yaw]
        recording.add(
            "/imu", "imu", arc.stamps, payload=("imu", lambda i: {"orientation": orientations[i], "frame_id": "imu"})
        )
    tables = build(recording)
    drive, poses = drive_of(tables), tables["ego_pose"].to_pylist()
    assert (drive["ego_pose_channel"], drive["world_frame_id"]) == ("/fix", "enu")
    assert ("IMU" in drive["ego_pose_source"]) is (imu_yaw_off is not None)
    assert "the antenna's place is not known" in drive["ego_pose_source"]
    assert drive["anchor_heading_deg"] == 90.0
    assert len(poses) == len(arc.stamps)
    headings = np.array([2 * np.arctan2(p["world_from_ego"]["qz"], p["world_from_ego"]["qw"]) for p in poses])
    error = np.abs(np.angle(np.exp(1j * (headings - yaw))))
    assert np.degrees(error[10:-10].max()) < 0.2
    start = [poses[0]["world_from_ego"][n] for n in ("tx_m", "ty_m", "tz_m")]
    np.testing.assert_allclose(start, [0, 0, 0], atol=1e-6)


def test_a_drive_that_stands_still_has_no_heading_and_so_no_poses(recording):
    add_fixes(recording, START + np.arange(20) * 100 * MS, np.tile(ORIGIN, (20, 1)))
    tables = build(recording)
    assert len(tables["ego_pose"]) == 0
    assert drive_of(tables)["ego_pose_channel"] is None
    assert "GNSS on /fix never moves 2 m in 2 s" in drive_of(tables)["ego_pose_source"]


FRAMES = st.sampled_from([None, "", "/base_link", "base_link", "map", "odom", "lidar", "gnss"])
PARTS = st.sampled_from([0.0, 1.0, -3.0, 1e200, float("nan")])
LINKS = st.tuples(FRAMES, FRAMES, st.lists(PARTS, min_size=7, max_size=7), st.sampled_from([True, False, None]))
MESSAGES = st.lists(st.tuples(st.integers(0, 400), LINKS), max_size=12)
FIXES = st.lists(st.tuples(*[st.sampled_from([None, 0.0, 48.0, 48.001, 1e9])] * 3), max_size=5)


@settings(deadline=None, max_examples=150)
@given(messages=MESSAGES, fixes=FIXES)
def test_any_transforms_and_fixes_give_rows_or_reasons(messages, fixes):
    """Frames without names, cycles, several parents, transforms that are none: never an exception."""
    recording = Recording()
    recording.add("/lidar", "lidar", [START, START + 200 * MS], frame_id="lidar")
    for at, (parent, child, parts, is_static) in messages:
        row = {"parent_frame_id": parent, "child_frame_id": child, "is_static": is_static}
        row |= {"parent_from_child": dict(zip(POSE_FIELDS, parts, strict=True))}
        recording.add("/tf", "transform", [START + at * MS], payload=("transform", lambda _, row=row: row))
    for i, fix in enumerate(fixes):
        row = dict(zip(("latitude_deg", "longitude_deg", "altitude_m"), fix, strict=True)) | {"frame_id": "gnss"}
        recording.add("/fix", "gnss", [START + i * 700 * MS], payload=("gnss", lambda _, row=row: row))
    tables = build(recording)
    (sensor,) = tables["calibrated_sensor"].to_pylist()[:1]
    assert sensor["ego_from_sensor"] or "unknown (" in sensor["source"] or "moving (" in sensor["source"]
    drive = drive_of(tables)
    assert drive["ego_pose_source"]
    assert (drive["anchor_latitude_deg"] is None) == drive["anchor_source"].startswith("none: ")
