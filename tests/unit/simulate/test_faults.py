"""Each fault is in the data as the truth file says, and nothing else is touched."""

import json

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from scenelake.contracts.errors import ConfigurationError
from scenelake.simulate.clock import plan_schedule
from scenelake.simulate.config import SECOND_NS, Imu
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.faults import (
    FAULT_TYPES,
    BlackFrames,
    ClockDrift,
    ClockOffset,
    DroppedFrames,
    FrozenCamera,
    Miscalibration,
    fault_help,
    fault_options,
    parse_fault,
)
from scenelake.simulate.geometry import generator

FRONT, LEFT, LIDAR = "/camera/front/image", "/camera/left/image", "/lidar/top/points"
TEXTS = (
    f"frozen_camera:sensor={FRONT},start=1,end=2",
    f"black_frames:sensor={LEFT},start=0.5,end=1.5",
    f"dropped_frames:sensor={LIDAR},start=1,end=2,fraction=0.5",
    "clock_offset:sensor=/radar/front/points,start=1,end=2,offset_ms=-250.5",
    "clock_drift:sensor=/imu/data,start=1,drift_ppm=4000",
    f"miscalibration:sensor={LEFT},yaw_deg=2.0,dz_m=0.1",
)


@pytest.fixture(scope="module")
def faulty(tools, tmp_path_factory):
    path = tmp_path_factory.mktemp("faulty") / "faulty.mcap"
    truth = simulate_drive(tools.config(faults=tuple(parse_fault(t) for t in TEXTS)), path)
    return tools.read(path), json.loads(truth.read_text())


def _fault(truth, kind):
    return next(f for f in truth["faults"] if f["kind"] == kind)


def _sensor(truth, topic):
    return next(s for s in truth["sensors"] if s["topic"] == topic)


def _inside(truth, fault, topic):
    times = np.array(_sensor(truth, topic)["true_time_ns"])
    return (times >= fault["start_ns"]) & (times < fault["exclusive_end_ns"])


def test_a_frozen_camera_repeats_the_last_image_before_with_stamps_that_go_on(faulty, messages):
    found, truth = faulty
    fault = _fault(truth, "frozen_camera")
    inside = _inside(truth, fault, FRONT)
    images = [m.message.data.tobytes() for m in found[FRONT]]
    healthy = [m.message.data.tobytes() for m in messages[FRONT]]
    first = int(np.argmax(inside))
    assert fault["affected_messages"] == inside.sum() == 5
    assert all(images[i] == images[first - 1] for i in np.flatnonzero(inside))
    assert [images[i] for i in np.flatnonzero(~inside)] == [healthy[i] for i in np.flatnonzero(~inside)]
    assert len({m.stamp_ns for m in found[FRONT]}) == len(images)


def test_black_frames_are_black(faulty):
    found, truth = faulty
    inside = _inside(truth, _fault(truth, "black_frames"), LEFT)
    means = np.array([cv2.imdecode(m.message.data, cv2.IMREAD_COLOR).mean() for m in found[LEFT]])
    assert _fault(truth, "black_frames")["affected_messages"] == inside.sum() == 4
    assert means[inside].max() < 1
    assert means[~inside].min() > 50


def test_dropped_messages_are_gone_and_the_others_unchanged(faulty, messages):
    found, truth = faulty
    fault = _fault(truth, "dropped_frames")
    lost = set(fault["affected_true_time_ns"])
    kept = {m.stamp_ns: m.data for m in found[LIDAR]}
    healthy = {m.stamp_ns: m.data for m in messages[LIDAR]}
    assert set(healthy) - set(kept) == lost
    assert 1 <= len(lost) < 10
    assert all(fault["start_ns"] <= t < fault["exclusive_end_ns"] for t in lost)
    assert all(healthy[t] == data for t, data in kept.items())


def test_a_clock_offset_is_in_the_stamps_and_not_in_the_log_times(faulty, messages):
    found, truth = faulty
    topic = "/radar/front/points"
    inside = _inside(truth, _fault(truth, "clock_offset"), topic)
    shift = np.array([a.stamp_ns - b.stamp_ns for a, b in zip(found[topic], messages[topic], strict=True)])
    assert inside.sum() == 13
    assert set(shift[inside]) == {-250_500_000}
    assert set(shift[~inside]) == {0}
    assert [m.log_ns for m in found[topic]] == [m.log_ns for m in messages[topic]]


def test_a_clock_drift_is_the_slope_of_stamps_against_log_times(faulty):
    found, truth = faulty
    fault = _fault(truth, "clock_drift")
    stamp = np.array([m.stamp_ns for m in found["/imu/data"]])
    log = np.array([m.log_ns for m in found["/imu/data"]])
    late = log >= fault["start_ns"] + 10_000_000
    slope, _ = np.polyfit((log[late] - log[0]) / 1e9, (stamp - log)[late] / 1e9, 1)
    assert slope * 1e6 == pytest.approx(4000, rel=0.05)
    assert fault["exclusive_end_ns"] == truth["exclusive_end_ns"]


def test_the_published_mount_is_off_by_the_stated_angle_and_the_image_shows_it(faulty, messages, tools):
    found, truth = faulty
    true = _fault(truth, "miscalibration")["true_ego_from_sensor"]
    published, translation = tools.mounts(found)["camera_left"]
    quaternion = type("Q", (), {name: true[f"q{name}"] for name in "wxyz"})
    turn = tools.rotation(quaternion) @ published.T
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(2.0, abs=1e-6)
    assert true["tz_m"] - translation[2] == pytest.approx(0.1)
    assert tools.mounts(messages)["camera_left"][0] == pytest.approx(published)
    healthy, askew = (cv2.imdecode(m[LEFT][0].message.data, cv2.IMREAD_GRAYSCALE) for m in (messages, found))
    (moved, _), _ = cv2.phaseCorrelate(healthy.astype(np.float64), askew.astype(np.float64))
    focal_px = found["/camera/left/camera_info"][0].message.k[0]
    assert moved == pytest.approx(focal_px * np.tan(np.radians(2.0)), abs=2.0)


def test_counts_of_the_truth_are_those_of_the_file(faulty):
    found, truth = faulty
    assert truth["channels"] == {topic: len(m) for topic, m in found.items()}
    assert len(truth["faults"]) == len(TEXTS)
    sensor = _sensor(truth, LIDAR)
    assert (
        sensor["planned_messages"] - sensor["written_messages"] == _fault(truth, "dropped_frames")["affected_messages"]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXTS[0], FrozenCamera(sensor=FRONT, start_offset_ns=SECOND_NS, exclusive_end_offset_ns=2 * SECOND_NS)),
        ("black_frames:sensor=/a", BlackFrames(sensor="/a")),
        ("dropped_frames:sensor=/a,fraction=0.25", DroppedFrames(sensor="/a", fraction=0.25)),
        ("clock_offset:sensor=/a,offset_ms=0.000001", ClockOffset(sensor="/a", offset_ns=1)),
        ("clock_drift:sensor=/a,drift_ppm=-3.5", ClockDrift(sensor="/a", drift_ppm=-3.5)),
        ("miscalibration:sensor=/a,roll_deg=1,dx_m=-0.2", Miscalibration(sensor="/a", roll_deg=1, dx_m=-0.2)),
    ],
)
def test_faults_are_read_from_text(text, expected):
    assert parse_fault(text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("melted:sensor=/a", "unknown kind 'melted'"),
        ("frozen_camera", "sensor"),
        ("frozen_camera:sensor=/a,fraction=1", "fraction=1"),
        ("frozen_camera:sensor=/a,start", "start"),
        ("frozen_camera:sensor=/a,start=soon", "must be a number"),
        ("frozen_camera:sensor=/a,start=inf", "must be a number"),
        ("frozen_camera:sensor=/a,start=3,end=2", "end must be after start"),
        ("dropped_frames:sensor=/a,fraction=1.5", "fraction"),
        ("clock_offset:sensor=/a", "offset_ns"),
    ],
)
def test_a_bad_fault_is_refused_with_its_reason(text, named):
    with pytest.raises(ConfigurationError, match=named):
        parse_fault(text)


def test_help_names_every_kind_and_option():
    text = fault_help()
    for kind in FAULT_TYPES:
        assert kind in text
        assert {"sensor", "start", "end"} <= set(fault_options(kind))
    assert "offset_ms" in text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("frozen_camera:sensor=/camera/rear/image", "no sensor"),
        (f"black_frames:sensor={LIDAR}", "not a camera"),
        ("miscalibration:sensor=/odometry,yaw_deg=1", "not a camera, LiDAR or radar"),
    ],
)
def test_a_fault_must_fit_its_sensor(tools, text, named):
    with pytest.raises(ValidationError, match=named):
        tools.config(faults=(parse_fault(text),))


STAMPS = plan_schedule(Imu(topic="/imu/data", frame_id="imu", rate_hz=100), [], 10**18, 4 * SECOND_NS, generator(1))


def stamped(text):
    """The same sensor with a fault of its stamps: its schedule, and which messages are in the interval."""
    fault = parse_fault(text)
    imu = Imu(topic="/imu/data", frame_id="imu", rate_hz=100)
    schedule = plan_schedule(imu, [fault], 10**18, 4 * SECOND_NS, generator(1))
    assert (schedule.true_ns == STAMPS.true_ns).all()
    assert (schedule.log_ns == STAMPS.log_ns).all()
    return schedule, fault.covers(schedule.true_ns - 10**18)


def test_stamp_jitter_scatters_the_interval_and_nothing_else():
    schedule, inside = stamped("stamp_jitter:sensor=/imu/data,start=1,end=3,jitter_ms=1.5")
    moved = schedule.stamp_ns - STAMPS.stamp_ns
    assert not moved[~inside].any()
    assert 1_200_000 < moved[inside].std() < 1_800_000
    assert np.abs(moved).max() <= 4_500_000


def test_repeated_stamps_are_those_of_the_message_before():
    schedule, inside = stamped("repeated_stamps:sensor=/imu/data,start=1,end=3,every=4")
    repeats = np.flatnonzero(np.diff(schedule.stamp_ns) == 0) + 1
    assert inside[repeats].all()
    assert (np.diff(repeats) == 4).all()
    assert len(repeats) == 49


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        ("milliseconds", lambda utc: utc // 1_000_000),
        ("microseconds", lambda utc: utc // 1_000),
        ("gps_epoch", lambda utc: utc - 315_964_782 * SECOND_NS),
        ("gps_time_of_week", lambda utc: (utc - 315_964_782 * SECOND_NS) % (604_800 * SECOND_NS)),
    ],
)
def test_a_wrong_epoch_is_the_same_instant_told_otherwise(epoch, expected):
    schedule, inside = stamped(f"wrong_epoch:sensor=/imu/data,start=1,end=3,epoch={epoch}")
    assert (schedule.stamp_ns[inside] == expected(STAMPS.stamp_ns[inside])).all()
    assert (schedule.stamp_ns[~inside] == STAMPS.stamp_ns[~inside]).all()


def test_time_since_boot_keeps_its_steps():
    schedule, _ = stamped("wrong_epoch:sensor=/imu/data,epoch=boot_time")
    assert (np.diff(schedule.stamp_ns) == np.diff(STAMPS.stamp_ns)).all()
    assert schedule.stamp_ns.max() < 3600 * SECOND_NS
