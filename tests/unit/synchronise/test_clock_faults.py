"""Every injected fault is reported with its interval; clean clocks report nothing; what cannot be seen is said."""

import json

import numpy as np
import pytest

from scenelake.simulate.config import DEFAULT_START_NS, SECOND_NS, Camera, Gnss, Imu, Lidar, Radar
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig

MS = 1_000_000
CAMERA = Camera(topic="/camera", frame_id="c", rate_hz=10, jitter_ns=300_000, latency_jitter_ns=500_000)
LIDAR = Lidar(topic="/lidar", frame_id="l", rate_hz=10, jitter_ns=200_000)
RADAR = Radar(topic="/radar", frame_id="r", rate_hz=13, jitter_ns=200_000)
IMU = Imu(topic="/imu", frame_id="i", rate_hz=100, jitter_ns=100_000)
GNSS = Gnss(topic="/gnss", frame_id="g", rate_hz=1)
SENSORS = (CAMERA, LIDAR, RADAR, IMU, GNSS)


@pytest.fixture
def faults_of(recording, simulated):
    """The fault rows of a simulated drive, with their evidence read."""

    def run(*faults, sensors=SENSORS, seconds=60, seed=1):
        simulated(sensors, *faults, seconds=seconds, seed=seed)
        return rows_of(recording)

    return run


def rows_of(recording, **metadata):
    rows = synchronise_drive(recording.drive(metadata=metadata), SynchroniseConfig()).tables["clock_fault"].to_pylist()
    return [row | {"evidence": json.loads(row["evidence"])} for row in rows]


def kinds(rows):
    return [(row["fault_kind"], row["channel"]) for row in rows]


def assert_interval(row, start_s, end_s, tolerance_s=0.25):
    found = [(row[name] - DEFAULT_START_NS) / SECOND_NS for name in ("start_ns", "exclusive_end_ns")]
    assert found == pytest.approx([start_s, end_s], abs=tolerance_s)


@pytest.mark.parametrize("seed", range(3))
def test_clean_sensors_have_no_fault(faults_of, seed):
    assert faults_of(seed=seed) == []


@pytest.mark.parametrize("topic", [s.topic for s in SENSORS if s is not GNSS])
@pytest.mark.parametrize("offset_ms", [-200, -12, 8, 50, 3000])
def test_a_clock_that_is_set_wrong_for_a_while(faults_of, topic, offset_ms):
    rows = faults_of(f"clock_offset:sensor={topic},start=20,end=35,offset_ms={offset_ms}")
    found = [row for row in rows if row["fault_kind"] != "backward_stamp"]
    assert kinds(found) == [("clock_jump", topic)]
    assert_interval(found[0], 20, 35)
    assert abs(found[0]["size_ns"] - offset_ms * MS) < MS
    backward = [row for row in rows if row["fault_kind"] == "backward_stamp"]
    assert bool(backward) == (abs(offset_ms) >= 200 or (topic == "/imu" and abs(offset_ms) >= 12))


def test_a_step_back_that_lasts_is_told_from_a_step_ahead_before_it(faults_of):
    rows = faults_of("clock_offset:sensor=/imu,start=10,offset_ms=-360")
    assert kinds(rows) == [("backward_stamp", "/imu"), ("clock_jump", "/imu")]
    assert_interval(rows[1], 10, 60)
    assert abs(rows[1]["size_ns"] + 360 * MS) < MS
    assert_interval(rows[0], 10, 10.36)


@pytest.mark.parametrize(("topic", "drift_ppm"), [("/imu", 40), ("/imu", -90), ("/camera", 150), ("/lidar", -150)])
def test_drift_for_a_while(faults_of, topic, drift_ppm):
    rows = faults_of(f"clock_drift:sensor={topic},start=30,end=90,drift_ppm={drift_ppm}", seconds=120)
    found = next(row for row in rows if row["fault_kind"] == "clock_drift")
    assert {row["channel"] for row in rows} == {topic}
    assert found["evidence"]["drift_ppm"] == pytest.approx(drift_ppm, abs=5)
    assert_interval(found, 30, 90, tolerance_s=4)
    assert found["size_ns"] == pytest.approx(drift_ppm * 60_000, rel=0.1)


def test_drift_of_a_whole_drive(recording, simulated):
    simulated([CAMERA.model_copy(update={"clock_drift_ppm": 60.0}), LIDAR])
    (row,) = rows_of(recording)
    assert (row["fault_kind"], row["channel"]) == ("clock_drift", "/camera")
    assert row["evidence"]["drift_ppm"] == pytest.approx(60, abs=5)
    assert_interval(row, 0, 60)


def test_drops_in_an_interval_and_a_hole(faults_of):
    rows = faults_of(
        "dropped_frames:sensor=/camera,start=20,end=30,fraction=0.5", "dropped_frames:sensor=/imu,start=40,end=42"
    )
    assert kinds(rows) == [("missing_messages", "/camera"), ("missing_messages", "/imu")]
    assert_interval(rows[0], 20, 30, tolerance_s=1)
    assert_interval(rows[1], 40, 42)
    assert abs(rows[1]["nbr_affected"] - 200) <= 1
    assert abs(rows[1]["size_ns"] - 2 * SECOND_NS) < 20 * MS


def test_jitter_in_an_interval(faults_of):
    rows = faults_of("stamp_jitter:sensor=/imu,start=20,end=30,jitter_ms=1.5")
    assert kinds(rows) == [("jitter", "/imu")]
    assert_interval(rows[0], 20, 30)
    assert rows[0]["size_ns"] == pytest.approx(1.5 * MS * 2**0.5, rel=0.25)


def test_repeated_stamps_in_an_interval(faults_of):
    rows = faults_of("repeated_stamps:sensor=/imu,start=20,end=30")
    assert kinds(rows) == [("duplicate_stamps", "/imu")]
    assert_interval(rows[0], 20, 30)
    assert rows[0]["nbr_affected"] == pytest.approx(500, abs=2)


@pytest.mark.parametrize(
    ("epoch", "name"),
    [
        ("boot_time", "boot_time"),
        ("gps_epoch", "gps_epoch"),
        ("gps_time_of_week", "gps_time_of_week"),
        ("milliseconds", "milliseconds_as_nanoseconds"),
        ("microseconds", "microseconds_as_nanoseconds"),
    ],
)
def test_stamps_in_another_epoch_or_unit(faults_of, epoch, name):
    rows = [row for row in faults_of(f"wrong_epoch:sensor=/imu,epoch={epoch}") if row["fault_kind"] == "epoch"]
    assert kinds(rows) == [("epoch", "/imu")]
    assert rows[0]["evidence"]["epoch"] == name
    assert_interval(rows[0], 0, 60)


def test_an_epoch_that_changes_within_the_drive(faults_of):
    rows = [row for row in faults_of("wrong_epoch:sensor=/camera,start=20,end=30,epoch=boot_time")]
    assert kinds(rows) == [("backward_stamp", "/camera"), ("epoch", "/camera")]
    assert_interval(rows[1], 20, 30)


@pytest.mark.parametrize(("offset_ms", "kind"), [(64_000, "clock_off"), (-64_000, "clock_off"), (18_000, "epoch")])
def test_a_clock_that_is_off_for_the_whole_drive(faults_of, offset_ms, kind):
    (row,) = faults_of(f"clock_offset:sensor=/gnss,offset_ms={offset_ms}")
    assert (row["fault_kind"], row["channel"]) == (kind, "/gnss")
    assert abs(row["size_ns"] - offset_ms * MS) < 5 * MS
    assert_interval(row, 0, 60, tolerance_s=1.5)


def test_a_constant_latency_is_said_to_be_unobservable(recording, simulated):
    simulated([CAMERA, LIDAR])
    clocks = {c.channel: c for c in synchronise_drive(recording.drive(), SynchroniseConfig()).clocks}
    assert "constant" in clocks["/camera"].unobservable
    assert clocks["/lidar"].log_minus_stamp_ns == pytest.approx(LIDAR.latency_ns, abs=MS)
    assert abs(clocks["/lidar"].drift_ppm) < 5


def test_log_times_that_were_copied_from_the_stamps_show_nothing(recording):
    recording.add("/lidar", "lidar", DEFAULT_START_NS + np.arange(100) * 100 * MS)
    (clock,) = synchronise_drive(recording.drive(), SynchroniseConfig()).clocks
    assert (clock.drift_ppm, clock.log_minus_stamp_ns) == (None, None)
    assert "stamps themselves" in clock.unobservable


def test_a_jump_of_the_recorders_clock_is_not_told_of_every_sensor(recording, simulated):
    truth = simulated([CAMERA, LIDAR, IMU])
    for row in recording.rows:
        row["log_time_ns"] += 70 * MS * (row["log_time_ns"] > DEFAULT_START_NS + 30 * SECOND_NS)
    rows = rows_of(recording)
    assert len(truth) == 3
    assert kinds(rows) == [("log_clock_jump", None)]
    assert abs(rows[0]["size_ns"] - 70 * MS) < MS
    assert_interval(rows[0], 30, 60)


def test_log_times_of_a_later_replay_blame_the_recorder(recording, simulated):
    simulated([CAMERA, LIDAR, IMU])
    for row in recording.rows:
        row["log_time_ns"] += 86_400 * SECOND_NS * 3
    (row,) = rows_of(recording)
    assert (row["fault_kind"], row["channel"]) == ("log_clock_off", None)
    assert abs(row["size_ns"] - 3 * 86_400 * SECOND_NS) < SECOND_NS


def test_stamps_that_run_at_another_rate_have_no_drift(recording):
    stamps = DEFAULT_START_NS + np.arange(200) * 100 * MS
    logged = DEFAULT_START_NS + 5 * MS + np.arange(200) * 10 * MS
    recording.add("/lidar", "lidar", stamps, logged_ns=logged.tolist())
    done = synchronise_drive(recording.drive(), SynchroniseConfig())
    assert "rate_mismatch" in done.tables["clock_fault"]["fault_kind"].to_pylist()
    assert done.clocks[0].drift_ppm is None


def test_a_leap_second_at_midnight(recording):
    midnight = DEFAULT_START_NS - DEFAULT_START_NS % (86_400 * SECOND_NS)
    true = midnight - 30 * SECOND_NS + np.arange(600) * 100 * MS
    stamps = true - SECOND_NS * (true >= midnight)
    recording.add("/lidar", "lidar", stamps, logged_ns=(true + 5 * MS + np.arange(600) % 7 * 1000).tolist())
    rows = rows_of(recording)
    assert ("leap_second", "/lidar") in kinds(rows)


def test_a_clock_that_jumps_all_the_time(recording):
    true = DEFAULT_START_NS + np.arange(4000) * 100 * MS
    stamps = true + np.repeat(np.random.default_rng(0).integers(0, 10, 200) * SECOND_NS, 20)
    recording.add("/lidar", "lidar", stamps, logged_ns=(true + 5 * MS + np.arange(4000) % 7 * 1000).tolist())
    assert ("erratic_clock", "/lidar") in kinds(rows_of(recording))


def test_hostile_stamps_make_a_bounded_number_of_rows(recording):
    random = np.random.default_rng(0)
    recording.add("/imu", "imu", random.integers(0, 2**62, 3000), logged_ns=random.integers(0, 2**62, 3000).tolist())
    recording.add("/lidar", "lidar", random.integers(0, 50, 30_000) + DEFAULT_START_NS)
    assert 0 < len(rows_of(recording)) < 600


def test_times_made_up_from_step_numbers_are_said_to_be(recording):
    recording.add("/camera", "camera", DEFAULT_START_NS + np.arange(20) * 200 * MS)
    rows = rows_of(recording, clock="time_from_step_index at 5 Hz")
    assert kinds(rows) == [("made_up_stamps", None)]
