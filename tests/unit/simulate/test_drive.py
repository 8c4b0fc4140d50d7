"""A recording as a whole: bytes follow from the configuration, order, times, truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from pydantic import ValidationError

from scenelake.simulate.config import SECOND_NS, DriveConfig, plan_default_drive
from scenelake.simulate.drive import simulate_drive, simulate_passes


def _bytes(config: DriveConfig, path: Path) -> tuple[bytes, bytes]:
    truth = simulate_drive(config, path)
    return path.read_bytes(), truth.read_bytes()


def test_equal_configurations_give_equal_bytes_and_another_seed_other_ones(tools, tmp_path):
    short = {"duration_ns": SECOND_NS}
    (tmp_path / "again").mkdir()
    first = _bytes(tools.config(**short), tmp_path / "a.mcap")
    again = _bytes(tools.config(**short), tmp_path / "again" / "a.mcap")
    other = _bytes(tools.config(**short, seed=6), tmp_path / "a.mcap")
    assert first == again
    assert first[0] != other[0]


def test_messages_are_in_log_time_order_after_their_publication(small_drive):
    with small_drive.open("rb") as file:
        times = [(m.log_time, m.publish_time) for _, _, m in make_reader(file).iter_messages(log_time_order=False)]
    log_ns, publish_ns = np.array(times).T
    assert len(times) > 700
    assert (np.diff(log_ns) >= 0).all()
    assert (publish_ns <= log_ns).all()


def test_truth_counts_and_times_are_those_of_the_file(small_drive, messages):
    truth = json.loads(small_drive.with_suffix(".truth.json").read_text())
    assert truth["channels"] == {topic: len(found) for topic, found in messages.items()}
    for sensor in truth["sensors"]:
        stamps = [m.stamp_ns for m in messages[sensor["topic"]]]
        expected = np.array(sensor["true_time_ns"]) + np.array(sensor["stamp_minus_true_ns"])
        assert stamps == expected.tolist()
    assert truth["start_ns"] % (20 * SECOND_NS) == 0


def test_rates_are_kept_and_jitter_is_real(messages):
    stamps = np.array([m.stamp_ns for m in messages["/lidar/top/points"]])
    assert len(stamps) == 30
    assert np.abs(np.diff(stamps) - 100_000_000).max() < 700_000
    assert len(set(np.diff(stamps))) > 10


def test_metadata_and_calibration_are_there(small_drive, messages):
    with small_drive.open("rb") as file:
        records = {m.name: m.metadata for m in make_reader(file).iter_metadata()}
    assert records["scenelake.drive"]["robot_type"] == "car"
    info = messages["/camera/front/camera_info"][0].message
    assert (info.width, info.height, info.distortion_model) == (320, 192, "plumb_bob")
    frames = {t.child_frame_id for t in messages["/tf_static"][0].message.transforms}
    assert frames == {"camera_front", "camera_left", "lidar_top", "radar_front", "imu", "gnss"}


def test_progress_rises_to_one(tools, tmp_path):
    told: list[float] = []
    simulate_drive(tools.config(duration_ns=SECOND_NS // 2), tmp_path / "a.mcap", progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_passes_share_the_world_but_no_noise(tools, tmp_path):
    paths = simulate_passes(tools.config(duration_ns=SECOND_NS), tmp_path, 2)
    truths = [json.loads(p.with_suffix(".truth.json").read_text()) for p in paths]
    first, second = (tools.read(p) for p in paths)
    assert truths[0]["pass_group"] == truths[1]["pass_group"]
    assert truths[1]["start_ns"] - truths[0]["start_ns"] == 3600 * SECOND_NS
    assert truths[0]["objects"] == truths[1]["objects"]
    images = [[m.message.data.tobytes() for m in found["/camera/front/image"]] for found in (first, second)]
    assert not set(images[0]) & set(images[1])
    places = [tools.poses(found["/odometry"]).position for found in (first, second)]
    np.testing.assert_allclose(places[0], places[1], atol=1e-9)


@pytest.mark.parametrize(
    "change",
    [{"unknown": 1}, {"duration_ns": 0}, {"seed": -1}, {"encoding": "xml"}, {"ego_speed_m_s": 100.0}],
)
def test_unknown_and_impossible_settings_are_refused(change):
    with pytest.raises(ValidationError):
        DriveConfig(**change)


def test_two_sensors_cannot_share_a_topic():
    camera = plan_default_drive().cameras[0]
    with pytest.raises(ValidationError, match="topics used twice"):
        DriveConfig(cameras=(camera, camera))


def test_a_drive_without_sensors_is_an_empty_but_legal_recording(tools, tmp_path):
    simulate_drive(DriveConfig(duration_ns=SECOND_NS), tmp_path / "bare.mcap")
    assert set(tools.read(tmp_path / "bare.mcap")) == {"/tf_static"}
