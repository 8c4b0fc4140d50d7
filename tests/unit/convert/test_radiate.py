"""RADIATE against an independent reading of its own files."""

import csv
import hashlib
import json
import math
import re
from decimal import Decimal

import cv2
import numpy as np
import pytest
import yaml

from scenelake.contracts.errors import BadInputError
from scenelake.convert import radiate

SEQUENCE = "data/radiate/tiny_foggy"
IMAGES = {
    "/camera/zed_left/image": "zed_left",
    "/camera/zed_right/image": "zed_right",
    "/radar/polar/image": "Navtech_Polar",
    "/radar/cartesian/image": "Navtech_Cartesian",
}
GPS_TOPICS = ("/gps/fix", "/gps/twist", "/imu")


@pytest.fixture(scope="module")
def source(real_data):
    return real_data("radiate_tiny_foggy")


@pytest.fixture(scope="module")
def converted(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("radiate") / "drop.mcap"
    return radiate.convert(source, out)


@pytest.fixture(scope="module")
def recorded(converted, read_recording):
    return read_recording(converted.out)


def raw_stamps(source, name):
    """(frame, ns) of every line, by Decimal arithmetic."""
    text = (source / SEQUENCE / f"{name}.txt").read_text()
    pairs = re.findall(r"Frame: (\d+) Time: ([0-9.]+)", text)
    assert pairs
    return [(frame, int(Decimal(seconds) * 10**9)) for frame, seconds in pairs]


def existing(source, name, suffix):
    return [(f, t) for f, t in raw_stamps(source, name) if (source / SEQUENCE / name / f"{f}.{suffix}").is_file()]


def test_counts_are_the_recordings_own(converted, recorded):
    assert recorded.counts() == {
        "/annotations/radar": 18,
        "/camera/zed_left/camera_info": 1,
        "/camera/zed_left/image": 50,
        "/camera/zed_right/camera_info": 1,
        "/camera/zed_right/image": 50,
        "/gps/fix": 250,
        "/gps/twist": 250,
        "/imu": 250,
        "/lidar/velo_lidar/points": 42,
        "/radar/cartesian/image": 18,
        "/radar/polar/image": 18,
        "/tf_static": 1,
    }
    assert {topic.topic: topic.nbr_messages for topic in converted.topics} == recorded.counts()
    assert converted.nbr_messages == 949


@pytest.mark.parametrize(("topic", "name"), IMAGES.items())
def test_image_bytes_and_stamps_are_the_files(source, recorded, topic, name):
    expected = existing(source, name, "png")
    messages = recorded.on(topic)
    assert len(messages) == len(expected)
    for message, (frame, stamp_ns) in zip(messages, expected, strict=True):
        assert bytes(message.body.data) == (source / SEQUENCE / name / f"{frame}.png").read_bytes()
        assert (message.header_ns, message.log_time_ns, message.publish_time_ns) == (stamp_ns,) * 3
        assert message.body.format == "png"


def test_left_camera_takes_the_stamps_that_the_right_one_shares(source, recorded):
    assert [m.header_ns for m in recorded.on("/camera/zed_left/image")] == [
        t for _, t in raw_stamps(source, "zed_right")
    ]


def test_radar_images_say_that_they_are_radar(recorded):
    for topic in ("/radar/polar/image", "/radar/cartesian/image"):
        assert recorded.channel_metadata[topic] == {"scenelake.modality": "radar"}


def test_points_are_the_files(source, recorded):
    expected = existing(source, "velo_lidar", "csv")
    messages = recorded.on("/lidar/velo_lidar/points")
    assert [m.header_ns for m in messages] == [t for _, t in expected]
    for message, (frame, _) in list(zip(messages, expected, strict=True))[::7]:
        with (source / SEQUENCE / "velo_lidar" / f"{frame}.csv").open() as file:
            rows = np.array([[float(value) for value in row] for row in csv.reader(file)])
        points = cloud_of(message.body)
        for column, name in enumerate(("x", "y", "z", "intensity", "ring")):
            assert np.array_equal(points[name], rows[:, column].astype(points.dtype[name]))


def cloud_of(body):
    types = {7: "<f4", 4: "<u2"}
    dtype = np.dtype({
        "names": [f.name for f in body.fields],
        "formats": [types[f.datatype] for f in body.fields],
        "offsets": [f.offset for f in body.fields],
        "itemsize": body.point_step,
    })  # fmt: skip
    points = np.frombuffer(bytes(body.data), dtype)
    assert len(points) == body.width
    return points


@pytest.mark.parametrize("topic", GPS_TOPICS)
def test_gps_clock_keeps_its_offset_duplicates_and_backward_jump(source, recorded, topic):
    stamps = [m.log_time_ns for m in recorded.on(topic)]
    assert stamps == [t for _, t in raw_stamps(source, "GPS_IMU_Twist")]
    assert [m.header_ns for m in recorded.on(topic)] == stamps
    steps = np.diff(stamps)
    assert (steps == 0).sum() == 125
    assert steps[steps < 0].tolist() == [-360_187_000]
    radar_start = recorded.on("/radar/cartesian/image")[0].log_time_ns
    assert round((stamps[0] - radar_start) / 1e9, 1) == 64.0


def test_gps_values_are_the_files(source, recorded):
    for index in (0, 27, 28, 249):
        frame = raw_stamps(source, "GPS_IMU_Twist")[index][0]
        text = (source / SEQUENCE / "GPS_IMU_Twist" / f"{frame}.txt").read_text()
        numbers = [float(number) for number in re.split(r"[,\s]+", text.strip())]
        fix, imu, twist = (recorded.on(topic)[index].body for topic in ("/gps/fix", "/imu", "/gps/twist"))
        assert [fix.latitude, fix.longitude, fix.altitude, *fix.position_covariance] == numbers[:12]
        q, w, a = imu.orientation, imu.angular_velocity, imu.linear_acceleration
        assert [q.x, q.y, q.z, q.w, w.x, w.y, w.z, a.x, a.y, a.z] == numbers[12:22]
        covariances = (imu.orientation_covariance, imu.angular_velocity_covariance, imu.linear_acceleration_covariance)
        assert [*covariances[0], *covariances[1], *covariances[2]] == numbers[22:49]
        v, r = twist.twist.linear, twist.twist.angular
        assert [v.x, v.y, v.z, r.x, r.y, r.z] == numbers[49:]


def test_twist_is_north_and_east_as_the_fixes_move(recorded):
    fixes = [m.body for m in recorded.on("/gps/fix")][100::2]
    twists = [m.body.twist.linear for m in recorded.on("/gps/twist")][100::2]
    seconds = (recorded.on("/gps/fix")[-2].log_time_ns - recorded.on("/gps/fix")[100].log_time_ns) / 1e9
    metres_per_degree = math.pi / 180 * 6_378_137
    north = (fixes[-1].latitude - fixes[0].latitude) * metres_per_degree / seconds
    east = (fixes[-1].longitude - fixes[0].longitude) * metres_per_degree / seconds
    east *= math.cos(math.radians(fixes[0].latitude))
    assert np.mean([v.x for v in twists]) == pytest.approx(north, abs=1.0)
    assert np.mean([v.y for v in twists]) == pytest.approx(east, abs=1.0)


def test_boxes_are_the_annotated_ones_in_metres(source, recorded):
    tracks = json.loads((source / SEQUENCE / "annotations/annotations.json").read_text())
    frames = raw_stamps(source, "Navtech_Cartesian")
    messages = recorded.on("/annotations/radar")
    assert [m.header_ns for m in messages] == [t for _, t in frames]
    nbr_boxes = 0
    for message, (frame, _) in zip(messages, frames, strict=True):
        visible = [t for t in tracks if t["bboxes"][int(frame) - 1]]
        assert [d.id for d in message.body.detections] == [str(t["id"]) for t in visible]
        assert message.body.header.frame_id == "radar"
        for detection, track in zip(message.body.detections, visible, strict=True):
            assert detection.results[0].hypothesis.class_id == track["class_name"]
            assert np.allclose(
                sorted(corners_px(detection).tolist()), sorted(drawn_px(track["bboxes"][int(frame) - 1]).tolist())
            )
            assert (detection.bbox.size.z, detection.bbox.center.position.z) == (0.0, 0.0)
            nbr_boxes += 1
    assert nbr_boxes == 42


def test_length_is_along_the_direction_of_travel(recorded):
    """The oncoming bus and car move against the radar's y; their boxes' x must point the same way."""
    for track_id in ("1", "2"):
        boxes = [d.bbox for m in recorded.on("/annotations/radar") for d in m.body.detections if d.id == track_id]
        first, last = boxes[0].center.position, boxes[-1].center.position
        moved = np.array([last.x - first.x, last.y - first.y])
        q = boxes[0].center.orientation
        ahead = rotation(q.w, q.x, q.y, q.z)[:2, 0]
        assert ahead @ moved > 0.9 * np.linalg.norm(moved)
        assert np.linalg.norm(moved) > 10
        assert all(box.size.x > box.size.y for box in boxes)


def corners_px(detection):
    """Corners of a box in the radar frame (x right, y forward), in pixels of the Cartesian image."""
    yaw = 2 * math.atan2(detection.bbox.center.orientation.z, detection.bbox.center.orientation.w)
    half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2 * [detection.bbox.size.x, detection.bbox.size.y]
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    metres = half @ turn.T + [detection.bbox.center.position.x, detection.bbox.center.position.y]
    return np.round(np.array([576, 576]) + metres / 0.173611 * [1, -1], 6)


def drawn_px(box):
    """Corners as the SDK draws them: rotation by -angle about the centre, in image axes (y down)."""
    left, top, width, height = box["position"]
    theta = math.radians(-box["rotation"])
    turn = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * [width, height]
    return np.round(half @ turn.T + [left + width / 2, top + height / 2], 6)


def test_all_tracks_are_named_even_where_their_radar_frames_are_missing(converted, recorded):
    tracks = json.loads(recorded.metadata["radiate.tracks"]["tracks"])
    assert [track["id"] for track in tracks] == list(range(1, 18))
    assert sum(track["nbr_boxes"] for track in tracks) == 409
    seen = {d.id for m in recorded.on("/annotations/radar") for d in m.body.detections}
    assert seen == {"1", "2", "3", "4"}
    assert any("42 boxes of 4 tracks" in remark and "367 more" in remark for remark in converted.remarks)


def test_nothing_is_left_out_in_silence(converted, recorded):
    text = "\n".join(converted.remarks)
    assert "zed_left: 50 of 100 stamps have no file" in text
    assert "velo_lidar: 18 of 60 files have no stamp" in text
    assert "125 stamps repeat" in text
    assert "jump back by 360187000 ns" in text
    assert "starts 64005288728 ns after the radar's" in text
    unstamped = recorded.metadata["radiate.left_out.velo_lidar"]["files_without_stamp"].split(",")
    assert unstamped == [f"{n:06d}" for n in [*range(1, 18), 60]]
    assert recorded.metadata["scenelake.drive"]["license"] == "CC BY-NC-SA 4.0 (non-commercial)"


def parent_from_child(recorded):
    found = {}
    for t in recorded.on("/tf_static")[0].body.transforms:
        q, v = t.transform.rotation, t.transform.translation
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(q.w, q.x, q.y, q.z)
        matrix[:3, 3] = v.x, v.y, v.z
        found[t.child_frame_id] = (t.header.frame_id, matrix)
    return found


def rotation(w, x, y, z):
    axis = np.array([x, y, z])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) * (w * w - axis @ axis) + 2 * np.outer(axis, axis) + 2 * w * cross


def base_from(frame, tree):
    matrix = np.eye(4)
    while frame != "base_link":
        frame, step = tree[frame]
        matrix = step @ matrix
    return matrix


def sdk_camera_from_lidar(calibration, camera):
    """``Calibration.LidarToLeft`` (or right) of the SDK, step by step."""
    t = np.subtract(calibration["lidar_calib"]["T"], calibration[camera]["T"])
    a, b, c = np.radians(np.subtract(calibration["lidar_calib"]["R"], calibration[camera]["R"]))
    rx = [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
    ry = [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]
    rz = [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]
    swap = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] = (swap @ np.array(rx) @ np.array(ry) @ np.array(rz)).T
    matrix[:3, 3] = t
    return matrix


@pytest.mark.parametrize(("camera", "section"), [("zed_left", "left_cam_calib"), ("zed_right", "right_cam_calib")])
def test_calibration_is_the_sdks(source, recorded, camera, section):
    calibration = yaml.safe_load((source / "config/default-calib.yaml").read_text())
    tree = parent_from_child(recorded)
    camera_from_lidar = np.linalg.inv(base_from(camera, tree)) @ base_from("velo_lidar", tree)
    assert np.allclose(camera_from_lidar, sdk_camera_from_lidar(calibration, section), atol=1e-9)
    info = recorded.on(f"/camera/{camera}/camera_info")[0].body
    c = calibration[section]
    assert info.k.tolist() == [c["fx"], 0, c["cx"], 0, c["fy"], c["cy"], 0, 0, 1]
    assert info.d.tolist() == [c["k1"], c["k2"], c["p1"], c["p2"], c["k3"]]
    assert (info.distortion_model, info.width, info.height) == ("plumb_bob", 672, 376)
    assert info.header.frame_id == camera


def test_lidar_falls_on_what_the_camera_sees(recorded):
    """Fog is bright and returns nothing: pixels that the LiDAR hits must be darker than the sky, frame after frame."""
    tree = parent_from_child(recorded)
    camera_from_lidar = np.linalg.inv(base_from("zed_left", tree)) @ base_from("velo_lidar", tree)
    info = recorded.on("/camera/zed_left/camera_info")[0].body
    images = recorded.on("/camera/zed_left/image")
    for sweep in recorded.on("/lidar/velo_lidar/points")[9::8]:
        image = min(images, key=lambda m: abs(m.header_ns - sweep.header_ns))
        gray = cv2.imdecode(np.frombuffer(bytes(image.body.data), np.uint8), cv2.IMREAD_GRAYSCALE)
        points = cloud_of(sweep.body)
        xyz1 = np.stack([points["x"], points["y"], points["z"], np.ones(len(points))])
        xyz = (camera_from_lidar @ xyz1)[:3].T
        xyz = xyz[xyz[:, 2] > 2.0]
        pixels, _ = cv2.projectPoints(xyz, np.zeros(3), np.zeros(3), info.k.reshape(3, 3), info.d)
        u, v = pixels[:, 0].T.round().astype(int)
        is_inside = (u >= 0) & (u < info.width) & (v >= 0) & (v < info.height)
        assert is_inside.sum() > 2000
        assert np.median(v[is_inside]) > info.height / 2
        assert gray[v[is_inside], u[is_inside]].mean() + 50 < gray[: info.height // 4].mean()


def test_same_bytes_again_also_from_the_inner_folder(source, converted, tmp_path):
    again = radiate.convert(source / SEQUENCE, tmp_path / "again.mcap")
    assert digest(again.out) == digest(converted.out)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def tree(tmp_path):
    """A sequence of three sweeps; the second has no stamp, the last stamp no sweep."""
    root = tmp_path / "sequence"
    (root / "velo_lidar").mkdir(parents=True)
    for number in (1, 2, 3):
        (root / "velo_lidar" / f"00000{number}.csv").write_text("1.5,2.0,-0.25,10,24\n" * number)
    (root / "velo_lidar.txt").write_text(
        "Frame: 000001 Time: 5.25\nFrame: 000003 Time: 4.75\nFrame: 000004 Time: 6.0\n"
    )
    return root


def test_small_tree_converts_with_remarks(tree, tmp_path, read_recording):
    report = radiate.convert(tree, tmp_path / "out.mcap")
    recorded = read_recording(report.out)
    sweeps = recorded.on("/lidar/velo_lidar/points")
    assert [(m.log_time_ns, m.body.width) for m in sweeps] == [(5_250_000_000, 1), (4_750_000_000, 3)]
    assert cloud_of(sweeps[1].body)[2].tolist() == (1.5, 2.0, -0.25, 10.0, 24)
    text = "\n".join(report.remarks)
    assert "velo_lidar: 1 of 3 stamps have no file" in text
    assert "velo_lidar: 1 of 3 files have no stamp" in text
    assert "jump back by 500000000 ns" in text
    assert "zed_left: absent" in text
    assert "calibration: no" in text


@pytest.mark.parametrize("line", ["Frame: 000002 Time: soon", "000002 5.0", "Frame: 000002 Time: 5.0000000001"])
def test_malformed_stamp_names_file_and_line(tree, tmp_path, line):
    (tree / "velo_lidar.txt").write_text(f"Frame: 000001 Time: 5.25\n{line}\n")
    with pytest.raises(BadInputError, match=r"velo_lidar\.txt line 2: expected 'Frame"):
        radiate.convert(tree, tmp_path / "out.mcap")


@pytest.mark.parametrize("text", ["1,2,3\n", "1,2,3,4,x\n", "1,2,3,4,1.5\n", "1,2,3,4,5\n1,2\n"])
def test_malformed_points_are_named_and_leave_no_file(tree, tmp_path, text):
    (tree / "velo_lidar" / "000003.csv").write_text(text)
    with pytest.raises(BadInputError, match=r"000003\.csv: expected"):
        radiate.convert(tree, tmp_path / "out.mcap")
    assert [path.name for path in tmp_path.iterdir()] == ["sequence"]


def test_malformed_gps_names_file_and_line(tree, tmp_path):
    (tree / "GPS_IMU_Twist").mkdir()
    (tree / "GPS_IMU_Twist" / "000001.txt").write_text("1,2,3\n4,5\n")
    (tree / "GPS_IMU_Twist.txt").write_text("Frame: 000001 Time: 1.0\n")
    with pytest.raises(BadInputError, match=r"000001\.txt line 2: expected 3 numbers"):
        radiate.convert(tree, tmp_path / "out.mcap")


@pytest.mark.parametrize("text", ["{", "[1]", '[{"id": 1}]'])
def test_malformed_annotations_are_named(tree, tmp_path, text):
    (tree / "annotations").mkdir()
    (tree / "annotations" / "annotations.json").write_text(text)
    (tree / "Navtech_Cartesian").mkdir()
    (tree / "Navtech_Cartesian" / "000001.png").write_bytes(b"png")
    (tree / "Navtech_Cartesian.txt").write_text("Frame: 000001 Time: 1.0\n")
    with pytest.raises(BadInputError, match="not RADIATE annotations"):
        radiate.convert(tree, tmp_path / "out.mcap")


@pytest.mark.parametrize("text", ["[", "left_cam_calib: 1", "lidar_calib: {T: [1], R: [1]}"])
def test_malformed_calibration_is_named(tree, tmp_path, text):
    (tree / "config").mkdir()
    (tree / "config" / "default-calib.yaml").write_text(text)
    with pytest.raises(BadInputError, match="not a RADIATE calibration"):
        radiate.convert(tree, tmp_path / "out.mcap")
