"""Argoverse 2 against an independent reading of its own feather files."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from scenelake.contracts.errors import BadInputError
from scenelake.convert import av2

LOG = "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
CLOUD_DTYPE = {1: "i1", 2: "u1", 5: "<i4", 7: "<f4"}


@pytest.fixture(scope="module")
def log(real_data):
    return real_data("av2_log_7fab2350") / LOG


@pytest.fixture(scope="module")
def converted(log, tmp_path_factory):
    return av2.convert(log.parent, tmp_path_factory.mktemp("av2") / "drop.mcap")


@pytest.fixture(scope="module")
def recorded(converted, read_recording):
    return read_recording(converted.out)


def rows_of(path):
    return feather.read_table(path).to_pylist()


def cloud_of(body):
    dtype = np.dtype({
        "names": [f.name for f in body.fields],
        "formats": [CLOUD_DTYPE[f.datatype] for f in body.fields],
        "offsets": [f.offset for f in body.fields],
        "itemsize": body.point_step,
    })  # fmt: skip
    return np.frombuffer(bytes(body.data), dtype)


def rotation(q):
    axis = np.array([q.x, q.y, q.z])
    cross = np.array([[0, -q.z, q.y], [q.z, 0, -q.x], [-q.y, q.x, 0]])
    return np.eye(3) * (q.w * q.w - axis @ axis) + 2 * np.outer(axis, axis) + 2 * q.w * cross


def test_counts(converted, recorded):
    cameras = [name for name in recorded.counts() if name.endswith("/camera_info")]
    assert len(cameras) == 9
    others = {name: count for name, count in recorded.counts().items() if name not in cameras}
    assert others == {
        "/annotations/cuboids": 156,
        "/annotations/interior_points": 156,
        "/lidar/points": 2,
        "/pose": 2706,
        "/tf_static": 1,
    }
    rows = {topic.topic: topic.nbr_source_rows for topic in converted.topics}
    assert (rows["/annotations/cuboids"], rows["/annotations/interior_points"]) == (11364, 11364)


def test_sweeps_keep_every_point_and_its_time(log, recorded):
    paths = sorted((log / "sensors/lidar").glob("*.feather"))
    messages = recorded.on("/lidar/points")
    assert [m.header_ns for m in messages] == [m.log_time_ns for m in messages] == [int(path.stem) for path in paths]
    for path, message in zip(paths, messages, strict=True):
        table, points = feather.read_table(path), cloud_of(message.body)
        assert message.body.header.frame_id == "base_link"
        assert table.num_rows == len(points)
        for name in table.column_names:
            assert np.array_equal(points[name], table.column(name).to_numpy())


def test_poses_are_the_recorded_ones(log, recorded):
    rows = rows_of(log / "city_SE3_egovehicle.feather")
    for row, message in zip(rows, recorded.on("/pose"), strict=True):
        p, q = message.body.pose.position, message.body.pose.orientation
        assert message.header_ns == message.log_time_ns == row["timestamp_ns"]
        assert message.body.header.frame_id == "city"
        names = ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz")
        assert [p.x, p.y, p.z, q.w, q.x, q.y, q.z] == [row[name] for name in names]


def test_cuboids_keep_track_category_pose_size_and_interior_points(log, recorded):
    rows = rows_of(log / "annotations.feather")
    details = {m.header_ns: dict(zip(m.body["track_uuid"], m.body["num_interior_pts"], strict=True))
               for m in recorded.on("/annotations/interior_points")}  # fmt: skip
    found = []
    for message in recorded.on("/annotations/cuboids"):
        assert message.body.header.frame_id == "base_link"
        for d in message.body.detections:
            p, q, s = d.bbox.center.position, d.bbox.center.orientation, d.bbox.size
            category = d.results[0].hypothesis.class_id
            values = [s.x, s.y, s.z, q.w, q.x, q.y, q.z, p.x, p.y, p.z, details[message.header_ns][d.id]]
            found.append([message.header_ns, d.id, category, *values])
    assert found == [list(row.values()) for row in rows]
    assert len({row[1] for row in found}) == 114


def test_points_fall_into_the_cuboids_as_the_dataset_counted(recorded):
    """Frame, box axes and centre convention at once: the counts agree only if all of them are right."""
    sweep = recorded.on("/lidar/points")[0]
    points = cloud_of(sweep.body)
    xyz = np.stack([points[name] for name in "xyz"], axis=1).astype(np.float64)
    boxes = next(m for m in recorded.on("/annotations/cuboids") if m.header_ns == sweep.header_ns)
    details = next(m for m in recorded.on("/annotations/interior_points") if m.header_ns == sweep.header_ns)
    counts = []
    for d in boxes.body.detections:
        c, s = d.bbox.center, d.bbox.size
        inside = np.abs((xyz - [c.position.x, c.position.y, c.position.z]) @ rotation(c.orientation))
        counts.append(int((inside <= np.array([s.x, s.y, s.z]) / 2).all(axis=1).sum()))
    assert len(counts) == 81
    assert counts == details.body["num_interior_pts"]


def test_calibration_is_the_recorded_one_and_looks_ahead(log, recorded):
    extrinsics = {row["sensor_name"]: row for row in rows_of(log / "calibration/egovehicle_SE3_sensor.feather")}
    transforms = recorded.on("/tf_static")[0].body.transforms
    assert {t.child_frame_id for t in transforms} == set(extrinsics)
    for t in transforms:
        row, v, q = extrinsics[t.child_frame_id], t.transform.translation, t.transform.rotation
        assert t.header.frame_id == "base_link"
        assert [v.x, v.y, v.z] == [row["tx_m"], row["ty_m"], row["tz_m"]]
        expected = np.array([row["qw"], row["qx"], row["qy"], row["qz"]])
        assert np.allclose(np.abs(np.dot([q.w, q.x, q.y, q.z], expected)), 1.0, atol=1e-12)
    for row in rows_of(log / "calibration/intrinsics.feather"):
        info = recorded.on(f"/camera/{row['sensor_name']}/camera_info")[0].body
        assert info.k.tolist() == [row["fx_px"], 0, row["cx_px"], 0, row["fy_px"], row["cy_px"], 0, 0, 1]
        assert info.d.tolist() == [row["k1"], row["k2"], 0, 0, row["k3"]]
        assert (info.width, info.height) == (row["width_px"], row["height_px"])
    front = next(t for t in transforms if t.child_frame_id == "ring_front_center").transform.rotation
    assert rotation(front)[:, 2] @ [1, 0, 0] > 0.99


def test_says_what_it_left_out(converted, recorded):
    assert set(converted.remarks) == {"map: not converted", "flow_labels.feather: not converted",
                                      "ego_motion.npz: not converted"}  # fmt: skip
    assert json.loads(recorded.metadata["scenelake.conversion"]["remarks"]) == list(converted.remarks)
    assert recorded.metadata["scenelake.drive"]["location"] == "PIT"


@pytest.fixture
def tree(tmp_path):
    log = tmp_path / "log"
    (log / "sensors/lidar").mkdir(parents=True)
    pose = {"qw": [1.0, 1.0], "qx": [0.0] * 2, "qy": [0.0] * 2, "qz": [0.0] * 2}
    pose |= {"tx_m": [0.0, 1.0], "ty_m": [0.0] * 2, "tz_m": [0.0] * 2}
    feather.write_feather(pa.table({"timestamp_ns": [200, 100], **pose}), log / "city_SE3_egovehicle.feather")
    points = {name: pa.array([1.0], pa.float32()) for name in "xyz"}
    points |= {name: pa.array([1], pa.uint8()) for name in ("intensity", "laser_number")}
    points["offset_ns"] = pa.array([5], pa.int32())
    for stem in ("150", "notes"):
        feather.write_feather(pa.table(points), log / "sensors/lidar" / f"{stem}.feather")
    return log


def test_small_tree_keeps_order_and_remarks(tree, tmp_path, read_recording):
    report = av2.convert(tree, tmp_path / "out.mcap")
    recorded = read_recording(report.out)
    assert [m.log_time_ns for m in recorded.messages] == [150, 200, 100]
    text = "\n".join(report.remarks)
    for expected in ("notes.feather: its name is no stamp", "jump back by 100 ns", "annotations.feather: absent"):
        assert expected in text
    again = av2.convert(tmp_path, tmp_path / "again.mcap")
    assert again.out.read_bytes() == report.out.read_bytes()


@pytest.mark.parametrize("name", ["city_SE3_egovehicle.feather", "sensors/lidar/150.feather"])
@pytest.mark.parametrize("damage", ["bytes", "columns"])
def test_damaged_tables_are_named_and_leave_no_file(tree, tmp_path, name, damage):
    if damage == "bytes":
        (tree / name).write_bytes(b"not feather")
    else:
        feather.write_feather(pa.table({"timestamp_ns": [1]}), tree / name)
    with pytest.raises(BadInputError, match=(tree / name).name):
        av2.convert(tree, tmp_path / "out.mcap")
    assert not (tmp_path / "out.mcap").exists()
