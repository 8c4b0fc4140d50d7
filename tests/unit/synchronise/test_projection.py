"""LiDAR into the cameras of real recordings, against their raw calibration files read here by hand."""

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather
from tests.unit.synchronise.stages import mount, points_of, synchronise_recording

from scenelake.contracts.tables import MESSAGE_INDEX
from scenelake.convert.converters import CONVERTERS
from scenelake.geometry.camera import project
from scenelake.geometry.motion_compensation import compensate_points
from scenelake.geometry.poses import invert, transform
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.row_sources import TableRows, read_all

AV2_LOG = "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"


@pytest.fixture
def synchronised(real_data, tmp_path):
    def run(converter, folder):
        recording = tmp_path / "recording.mcap"
        CONVERTERS[converter](real_data(folder), recording)
        return synchronise_recording(recording, tmp_path / "s3")

    return run


def by_hand(points, ego_from_lidar, ego_from_camera, k, distortion, size):
    """With 4x4 matrices and OpenCV: pixels of the points that are in front of the camera and in the image."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    in_camera = np.ascontiguousarray((homogeneous @ (np.linalg.inv(ego_from_camera) @ ego_from_lidar).T)[:, :3])
    pixels, _ = cv2.projectPoints(in_camera, np.zeros(3), np.zeros(3), k, distortion)
    pixels = pixels.reshape(-1, 2)
    straight = in_camera[:, :2] / in_camera[:, 2:] @ k[:2, :2].T + k[:2, 2]
    # The polynomials are fitted within the image: what a pinhole sees far outside is none of their business.
    near = (np.abs(straight - np.array(size) / 2) < np.array(size)).all(axis=1)
    inside = (in_camera[:, 2] > 0.1) & near & ((pixels >= -0.5) & (pixels < np.array(size) - 0.5)).all(axis=1)
    return pixels, inside


def from_lake(found, lidar_channel, camera_channel):
    """The first sweep's points in a camera by the tables alone."""
    row = next(r for r in found.payload("lidar_sweep") if r["channel"] == lidar_channel)
    points = points_of(row)
    camera = found.sensor(camera_channel)
    in_ego = transform(mount(row["sensor"]), points)
    k, size = np.reshape(camera["intrinsics"], (3, 3)), (camera["width_px"], camera["height_px"])
    in_camera = transform(invert(mount(camera)), in_ego)
    return points, project(in_camera, k, np.array(camera["distortion"]), camera["camera_model"], size)


def agree(expected, inside, found):
    assert inside.sum() > 500
    np.testing.assert_array_equal(found.is_visible, inside)
    np.testing.assert_allclose(found.pixels[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize("camera", ["CAM_FRONT", "CAM_BACK_LEFT"])
def test_nuscenes_lidar_falls_where_the_raw_calibration_puts_it(synchronised, real_data, camera):
    found = synchronised("nuscenes", "nuscenes_one_keyframe")
    folder = next(real_data("nuscenes_one_keyframe").rglob("*.pkl")).parent
    with next(folder.glob("*.pkl")).open("rb") as file:
        (sample,) = pickle.load(file)["data_list"]
    raw = np.fromfile(folder / Path(sample["lidar_points"]["lidar_path"]).name, np.float32).reshape(-1, 5)[:, :3]
    image = sample["images"][camera]
    points, seen = from_lake(found, "/lidar/LIDAR_TOP/points", f"/camera/{camera}/image")
    np.testing.assert_array_equal(points, raw)
    ego_from_lidar, ego_from_camera = np.array(sample["lidar_points"]["lidar2ego"]), np.array(image["cam2ego"])
    k = np.array(image["cam2img"])
    agree(*by_hand(raw.astype(np.float64), ego_from_lidar, ego_from_camera, k, None, (1600, 900)), seen)
    drive = found.drive
    assert (drive["ego_pose_channel"], drive["world_frame_id"]) == ("/pose", "map")
    row = found.payload("lidar_sweep")[0]
    refused = compensate_points(points, row["offset_ns"], row["timestamp_ns"], found.trajectory(), mount(row["sensor"]))
    assert refused.problem == "no_point_time: the points have no offset_ns"


def matrix_of_row(row):
    """4x4 from the feather file's row, the rotation by Rodrigues' formula on the quaternion's axis and angle."""
    q = np.array([row["qw"], row["qx"], row["qy"], row["qz"]])
    angle = 2 * np.arccos(np.clip(q[0], -1, 1))
    axis = q[1:] / max(np.linalg.norm(q[1:]), 1e-15)
    out = np.eye(4)
    out[:3, :3], _ = cv2.Rodrigues(axis * angle)
    out[:3, 3] = [row["tx_m"], row["ty_m"], row["tz_m"]]
    return out


def with_image(found, camera, stamp_ns):
    """The drive as it were with one more message: an image, of which the log has none."""
    index = read_all(found.input.index)
    row = dict.fromkeys(MESSAGE_INDEX.columns) | index.slice(0, 1).to_pylist()[0]
    row |= {"sample_data_id": "image", "channel": f"/camera/{camera}/image", "modality": "camera", "status": "decoded"}
    row |= {"timestamp_ns": stamp_ns, "frame_id": camera, "payload_table": None}
    index = pa.concat_tables([index, pa.Table.from_pylist([row], schema=index.schema)])
    tables = synchronise_drive(replace(found.input, index=TableRows(index)), SynchroniseConfig()).tables
    return replace(found, tables=dict(tables))


@pytest.mark.parametrize("camera", ["ring_front_center", "stereo_front_left"])
def test_av2_lidar_falls_where_the_raw_calibration_puts_it(synchronised, real_data, camera):
    found = synchronised("av2", "av2_log_7fab2350")
    log = real_data("av2_log_7fab2350") / AV2_LOG
    sweep = min((log / "sensors/lidar").glob("*.feather"))
    found = with_image(found, camera, int(sweep.stem))
    rows = feather.read_table(log / "calibration/egovehicle_SE3_sensor.feather").to_pylist()
    extrinsics = {row["sensor_name"]: row for row in rows}
    rows = feather.read_table(log / "calibration/intrinsics.feather").to_pylist()
    lens = {row["sensor_name"]: row for row in rows}[camera]
    raw = feather.read_table(sweep)
    xyz = np.stack([raw[n].to_numpy().astype(np.float64) for n in "xyz"], axis=1)
    points, seen = from_lake(found, "/lidar/points", f"/camera/{camera}/image")
    np.testing.assert_array_equal(points, xyz)
    k = np.array([[lens["fx_px"], 0, lens["cx_px"]], [0, lens["fy_px"], lens["cy_px"]], [0, 0, 1]])
    distortion = np.array([lens["k1"], lens["k2"], 0.0, 0.0, lens["k3"]])
    size = (lens["width_px"], lens["height_px"])
    agree(*by_hand(xyz, np.eye(4), matrix_of_row(extrinsics[camera]), k, distortion, size), seen)


def test_av2_sweeps_are_said_to_be_compensated_already(synchronised):
    found = synchronised("av2", "av2_log_7fab2350")
    row = found.payload("lidar_sweep")[0]
    assert row["sensor"]["is_motion_compensated"] is True
    assert mount(row["sensor"]).tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert (found.drive["ego_pose_channel"], found.drive["world_frame_id"]) == ("/pose", "city")
    assert found.trajectory().at(row["offset_ns"] + row["timestamp_ns"]).is_valid.all()
