"""One nuScenes keyframe against an independent reading; hostile pickles."""

import pickle

import cv2
import numpy as np
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.convert import nuscenes
from scenelake.convert.plain_pickle import load_plain

STAMPS_US = {
    "CAM_BACK": 1532402927637525,
    "CAM_BACK_LEFT": 1532402927647423,
    "CAM_BACK_RIGHT": 1532402927627893,
    "CAM_FRONT": 1532402927612460,
    "CAM_FRONT_LEFT": 1532402927604844,
    "CAM_FRONT_RIGHT": 1532402927620339,
}
LIDAR_US = 1532402927647951


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data("nuscenes_one_keyframe") / "nuscenes"


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    return nuscenes.convert(folder.parent, tmp_path_factory.mktemp("nuscenes") / "drop.mcap")


@pytest.fixture(scope="module")
def recorded(converted, read_recording):
    return read_recording(converted.out)


@pytest.fixture(scope="module")
def info(folder):
    return load_plain(next(folder.glob("*.pkl")).read_bytes(), "info")


def rotation(q):
    axis = np.array([q.x, q.y, q.z])
    cross = np.array([[0, -q.z, q.y], [q.z, 0, -q.x], [-q.y, q.x, 0]])
    return np.eye(3) * (q.w * q.w - axis @ axis) + 2 * np.outer(axis, axis) + 2 * q.w * cross


def base_from(recorded, frame):
    t = next(t for t in recorded.on("/tf_static")[0].body.transforms if t.child_frame_id == frame)
    assert t.header.frame_id == "base_link"
    v = t.transform.translation
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(t.transform.rotation), (v.x, v.y, v.z)
    return matrix


def points_of(recorded):
    body = recorded.on("/lidar/LIDAR_TOP/points")[0].body
    return np.frombuffer(bytes(body.data), "<f4").reshape(body.width, 5).astype(np.float64)


@pytest.mark.parametrize(("camera", "stamp_us"), STAMPS_US.items())
def test_images_are_the_files_at_the_stamps_of_their_names(folder, recorded, camera, stamp_us):
    (message,) = recorded.on(f"/camera/{camera}/image")
    path = next(folder.glob(f"*__{camera}__{stamp_us}.jpg"))
    assert bytes(message.body.data) == path.read_bytes()
    assert message.header_ns == message.log_time_ns == stamp_us * 1000


def test_points_are_the_files_bytes(folder, recorded):
    (message,) = recorded.on("/lidar/LIDAR_TOP/points")
    assert bytes(message.body.data) == next(folder.glob("*.pcd.bin")).read_bytes()
    assert (message.body.width, message.header_ns) == (34688, LIDAR_US * 1000)
    assert [f.name for f in message.body.fields] == ["x", "y", "z", "intensity", "ring"]


def test_calibration_and_pose_are_the_pickles(info, recorded):
    sample = info["data_list"][0]
    assert np.allclose(base_from(recorded, "LIDAR_TOP"), sample["lidar_points"]["lidar2ego"], atol=1e-6)
    for camera, image in sample["images"].items():
        assert np.allclose(base_from(recorded, camera), image["cam2ego"], atol=1e-6)
        body = recorded.on(f"/camera/{camera}/camera_info")[0].body
        assert np.array_equal(body.k.reshape(3, 3), image["cam2img"])
        encoded = bytes(recorded.on(f"/camera/{camera}/image")[0].body.data)
        assert cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (body.height, body.width)
    pose = recorded.on("/pose")[0].body.pose
    expected = np.array(sample["ego2global"])
    assert [pose.position.x, pose.position.y, pose.position.z] == expected[:3, 3].tolist()
    assert np.allclose(rotation(pose.orientation), expected[:3, :3], atol=1e-6)


def test_boxes_project_onto_the_2d_boxes_of_the_front_camera(info, recorded):
    """The pickle's own 2D centres, less the ego's motion between LiDAR and camera (0.3 m in 35 ms)."""
    camera_from_lidar = np.linalg.inv(base_from(recorded, "CAM_FRONT")) @ base_from(recorded, "LIDAR_TOP")
    k = recorded.on("/camera/CAM_FRONT/camera_info")[0].body.k.reshape(3, 3)
    centers = [d.bbox.center.position for d in recorded.on("/annotations/boxes")[0].body.detections]
    xyz = np.array([camera_from_lidar[:3] @ [c.x, c.y, c.z, 1.0] for c in centers])
    xyz = xyz[xyz[:, 2] > 10.0]
    pixels = (xyz @ k.T)[:, :2] / xyz[:, 2:]
    expected = np.array([box["center_2d"] for box in info["data_list"][0]["cam_instances"]["CAM_FRONT"]
                         if box["depth"] > 12.0])  # fmt: skip
    assert len(expected) > 20
    nearest = np.linalg.norm(pixels[:, None] - expected[None], axis=2).min(axis=0)
    assert np.median(nearest) < 5.0


def test_points_fall_into_the_boxes_as_the_dataset_counted(recorded):
    xyz = points_of(recorded)[:, :3]
    details = recorded.on("/annotations/details")[0].body
    counts = []
    for d in recorded.on("/annotations/boxes")[0].body.detections:
        c, s = d.bbox.center, d.bbox.size
        inside = np.abs((xyz - [c.position.x, c.position.y, c.position.z]) @ rotation(c.orientation))
        counts.append(int((inside <= np.array([s.x, s.y, s.z]) / 2).all(axis=1).sum()))
    difference = np.abs(np.array(counts) - details["num_lidar_pts"])
    assert len(counts) == 69
    assert difference.sum() < 0.05 * sum(details["num_lidar_pts"])


def test_boxes_keep_class_pose_size_and_details(info, recorded):
    sample = info["data_list"][0]
    names = {label: name for name, label in info["metainfo"]["categories"].items()}
    detections = recorded.on("/annotations/boxes")[0].body.detections
    details = recorded.on("/annotations/details")[0].body
    for i, (d, instance) in enumerate(zip(detections, sample["instances"], strict=True)):
        p, q, s = d.bbox.center.position, d.bbox.center.orientation, d.bbox.size
        *values, yaw = instance["bbox_3d"]
        assert [p.x, p.y, p.z, s.x, s.y, s.z] == values
        assert 2 * np.arctan2(q.z, q.w) == pytest.approx(yaw)
        assert d.results[0].hypothesis.class_id == names.get(instance["bbox_label_3d"], "other")
        assert details["num_lidar_pts"][i] == instance["num_lidar_pts"]
        velocity = [np.nan if value is None else value for value in details["velocity_m_s"][i]]
        assert np.array_equal(velocity, instance["velocity"], equal_nan=True)


def test_same_bytes_again_and_remarks(folder, converted, tmp_path):
    again = nuscenes.convert(folder, tmp_path / "again.mcap")
    assert again.out.read_bytes() == converted.out.read_bytes()
    text = "\n".join(converted.remarks)
    assert "cam_instances: 84 2D boxes" in text
    assert "boxes: 1 of 69 have no class; category other" in text


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "keyframes"
    folder.mkdir()
    name = "log__LIDAR_TOP__7.pcd.bin"
    (folder / name).write_bytes(np.zeros(10, "<f4").tobytes())
    (folder / "log__CAM_BACK__8.jpg").write_bytes(b"unused")
    eye = np.eye(4).tolist()
    sample = {"lidar_points": {"lidar_path": name, "lidar2ego": eye}, "images": {}, "instances": [], "ego2global": eye}
    info = {"metainfo": {"categories": {}, "version": "v0"}, "data_list": [sample]}
    (folder / "info.pkl").write_bytes(pickle.dumps(info))
    return folder


def test_small_tree_converts(tree, tmp_path, read_recording):
    report = nuscenes.convert(tree, tmp_path / "out.mcap")
    recorded = read_recording(report.out)
    assert recorded.on("/lidar/LIDAR_TOP/points")[0].log_time_ns == 7000
    assert "1 files are not named by the info pickle; not converted" in report.remarks


def test_hostile_pickle_is_refused_and_runs_nothing(tree, tmp_path):
    trap = tmp_path / "trap"
    for call in (Call(eval, f"open({str(trap)!r}, 'w')"), Call(trap.touch), Call(getattr, object, "__subclasses__")):
        (tree / "info.pkl").write_bytes(pickle.dumps({"data_list": call}))
        with pytest.raises(BadInputError, match="is not allowed") as caught:
            nuscenes.convert(tree, tmp_path / "out.mcap")
        assert caught.value.reason == "unsafe_pickle"
    assert not trap.exists()
    assert not (tmp_path / "out.mcap").exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x02", b"garbage", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", pickle.dumps(np.zeros(3)),
     pickle.dumps(np.array(["x"], dtype=object)[:1])],
    ids=["empty", "cut off", "garbage", "frame beyond memory", "array", "object array"],
)  # fmt: skip
def test_bad_pickles_are_bad_input(data):
    with pytest.raises(BadInputError, match="info"):
        load_plain(data, "info")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_pickles_and_numpy_scalars_load(protocol):
    value = {"a": [1, 2.5, None, True, ("x", b"y")], "b": np.float64(0.1), "c": np.int64(-3), "d": np.bool_(True)}
    loaded = load_plain(pickle.dumps(value, protocol=protocol), "value")
    assert loaded == {"a": [1, 2.5, None, True, ("x", b"y")], "b": 0.1, "c": -3, "d": True}
    assert [type(loaded[key]) for key in "bcd"] == [float, int, bool]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "info.pkl").write_bytes(pickle.dumps([])), "not a nuScenes info"),
        (lambda folder: (folder / "info.pkl").unlink(), "expected one info"),
        (lambda folder: (folder / "log__LIDAR_TOP__7.pcd.bin").write_bytes(b"123"), "no whole number"),
    ],
    ids=["other content", "no pickle", "cut off points"],
)
def test_damage_is_named_and_leaves_no_file(tree, tmp_path, damage, message):
    damage(tree)
    with pytest.raises(BadInputError, match=message):
        nuscenes.convert(tree, tmp_path / "out.mcap")
    assert not (tmp_path / "out.mcap").exists()
