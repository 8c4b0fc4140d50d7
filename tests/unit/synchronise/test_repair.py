"""Named repairs change what they say, mark every row that they change, and nothing else."""

import numpy as np
import pytest
from pydantic import ValidationError

from scenelake.simulate.config import DEFAULT_START_NS, SECOND_NS
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.clock_rules import ClockRule
from scenelake.synchronise.config import SynchroniseConfig

MS = 1_000_000
START = DEFAULT_START_NS


def ticks(count, period_ms=100, start=START):
    return start + np.arange(count, dtype=np.int64) * period_ms * MS


def late(stamps, latency_ms=5):
    """Log times with a little queueing, which never goes below the latency."""
    return (np.asarray(stamps) + latency_ms * MS + np.arange(len(stamps)) * 7919 % 200_000).tolist()


def repaired(recording, *rules, config=None):
    settings = (config or SynchroniseConfig()).model_copy(update={"clock_rules": tuple(ClockRule(**r) for r in rules)})
    return synchronise_drive(recording.drive(), settings).tables


def times_of(tables, channel):
    rows = [row for row in tables["sample_data"].to_pylist() if row["channel"] == channel]
    return [row["timestamp_ns"] for row in rows], {row["clock_policy"] for row in rows}


def test_nothing_is_repaired_by_default(recording):
    recording.add("/lidar", "lidar", [*ticks(10), *ticks(10)], logged_ns=late(ticks(20)))
    times, policies = times_of(repaired(recording), "/lidar")
    assert (sorted(times), policies) == (sorted([*ticks(10), *ticks(10)]), {None})


def test_a_shift_brings_a_clock_that_is_off_into_the_scenes(recording):
    recording.add("/lidar", "lidar", ticks(50))
    recording.add("/gnss", "gnss", ticks(50, start=START + 64 * SECOND_NS))
    before = repaired(recording)
    assert set(before["unassigned"]["channel"].to_pylist()) == {"/gnss"}
    after = repaired(recording, {"channel": "/gnss", "repairs": ["shift"], "shift_ns": -64 * SECOND_NS})
    assert times_of(after, "/gnss") == (ticks(50).tolist(), {"shift"})
    assert times_of(after, "/lidar")[1] == {None}
    assert len(after["unassigned"]) == 0
    fault = after["clock_fault"].to_pylist()[0]
    assert (fault["fault_kind"], fault["clock_policy"]) == ("clock_off", "shift")


@pytest.mark.parametrize(("repair", "basis"), [("follow_log_time", "log"), ("follow_publish_time", "publish")])
def test_another_clock_rules_and_the_row_names_it(recording, repair, basis):
    recording.add("/lidar", "lidar", ticks(20), logged_ns=late(ticks(20)))
    tables = repaired(recording, {"modality": "lidar", "repairs": [repair]})
    rows = tables["sample_data"].to_pylist()
    assert [row["timestamp_ns"] for row in rows] == late(ticks(20))
    assert {(row["timestamp_basis"], row["clock_policy"]) for row in rows} == {(basis, repair)}


def test_duplicates_are_left_out_with_a_reason_and_the_account_holds(recording):
    stamps = np.repeat(ticks(25), 2)
    recording.add("/lidar", "lidar", ticks(25))
    names = recording.add("/imu", "imu", stamps)
    tables = repaired(recording, {"channel": "/imu", "repairs": ["drop_duplicates"]})
    left_out = tables["unassigned"].to_pylist()
    assert {row["reason"] for row in left_out} == {"duplicate_stamp"}
    assert sorted(row["sample_data_id"] for row in left_out) == sorted(names[1::2])
    assert times_of(tables, "/imu") == (ticks(25).tolist(), {None})


def test_backward_stamps_are_left_out(recording):
    recording.add("/lidar", "lidar", [START, START + 200 * MS, START + 100 * MS, START + 300 * MS])
    tables = repaired(recording, {"repairs": ["drop_backward"]})
    assert times_of(tables, "/lidar")[0] == [START, START + 200 * MS, START + 300 * MS]
    assert tables["unassigned"]["reason"].to_pylist() == ["backward_stamp"]


@pytest.mark.parametrize(
    "stamps",
    [ticks(100) // 1_000_000, ticks(100) // 1_000, ticks(100) - (315_964_800 - 18) * SECOND_NS],
    ids=["ms", "us", "gps"],
)
def test_an_epoch_is_corrected_by_its_exact_rule(recording, stamps):
    recording.add("/lidar", "lidar", stamps, logged_ns=late(ticks(100)))
    tables = repaired(recording, {"repairs": ["correct_epoch"]})
    assert times_of(tables, "/lidar") == (ticks(100).tolist(), {"correct_epoch"})


def test_an_epoch_that_is_right_is_left_alone(recording):
    recording.add("/lidar", "lidar", ticks(100), logged_ns=late(ticks(100)))
    assert times_of(repaired(recording, {"repairs": ["correct_epoch"]}), "/lidar") == (ticks(100).tolist(), {None})


def test_jumps_are_taken_back_and_only_jumped_messages_are_marked(recording):
    true = ticks(600)
    stamps = true + 80 * MS * ((np.arange(600) >= 200) & (np.arange(600) < 300))
    recording.add("/lidar", "lidar", stamps, logged_ns=late(true))
    tables = repaired(recording, {"repairs": ["remove_jumps"]})
    times = np.array(times_of(tables, "/lidar")[0])
    assert np.abs(times - true).max() < MS
    marked = [row["clock_policy"] == "remove_jumps" for row in tables["sample_data"].to_pylist()]
    assert marked == ((np.arange(600) >= 200) & (np.arange(600) < 300)).tolist()


def test_offset_and_drift_are_taken_out_up_to_the_latency_that_was_given(recording):
    true = ticks(600)
    stamps = true + 340 * MS + (true - START) * 120 // 1_000_000
    recording.add("/lidar", "lidar", stamps, logged_ns=late(true))
    tables = repaired(recording, {"repairs": ["remove_offset"], "latency_ns": 5 * MS})
    assert np.abs(np.array(times_of(tables, "/lidar")[0]) - true).max() < MS


def test_a_tub_is_retimed_from_its_first_stamp(recording):
    recording.add("/camera", "camera", ticks(50, period_ms=3))
    tables = repaired(recording, {"repairs": ["retime"], "rate_hz": 20.0})
    assert times_of(tables, "/camera")[0] == ticks(50, period_ms=50).tolist()


def test_values_are_matched_at_the_repaired_time(recording):
    def measured(i):
        return {"linear_acceleration_m_s2": [float(i), 0.0, 0.0], "angular_velocity_rad_s": [0.0, 0.0, 0.0]}

    recording.add("/lidar", "lidar", ticks(20))
    recording.add("/imu", "imu", ticks(200, period_ms=10, start=START + 7 * SECOND_NS), payload=("imu", measured))
    tables = repaired(recording, {"channel": "/imu", "repairs": ["shift"], "shift_ns": -7 * SECOND_NS})
    rows = [row for row in tables["sync_index"].to_pylist() if row["channel"] == "/imu"]
    assert [row["value"][0] for row in rows] == [0.0, 50.0, 100.0, 150.0]


def test_repairs_are_applied_in_order_and_named_together(recording):
    recording.add("/lidar", "lidar", np.repeat(ticks(10), 2))
    rule = {"repairs": ["shift", "drop_duplicates"], "shift_ns": 5 * MS}
    times, policies = times_of(repaired(recording, rule), "/lidar")
    assert (times, policies) == ((ticks(10) + 5 * MS).tolist(), {"shift+drop_duplicates"})


def test_the_first_rule_that_fits_decides(recording):
    recording.add("/a", "lidar", ticks(10))
    recording.add("/b", "lidar", ticks(10))
    tables = repaired(recording, {"channel": "/a"}, {"modality": "lidar", "repairs": ["shift"], "shift_ns": MS})
    assert times_of(tables, "/a") == (ticks(10).tolist(), {None})
    assert times_of(tables, "/b") == ((ticks(10) + MS).tolist(), {"shift"})


def test_a_repair_that_would_leave_time_is_not_made(recording):
    recording.add("/lidar", "lidar", ticks(10))
    rule = {"repairs": ["shift"], "shift_ns": -START - SECOND_NS}
    assert times_of(repaired(recording, rule), "/lidar") == (ticks(10).tolist(), {None})


@pytest.mark.parametrize("rule", [{"repairs": ["remove_offset"], "latency_ns": 5 * MS}, {"repairs": ["remove_jumps"]}])
def test_late_data_does_not_change_the_repair_of_scenes_that_it_does_not_touch(recording, rule):
    def object_of(number, drift_ppm):
        true = ticks(400, start=START + number * 40 * SECOND_NS)
        stamps = true + 90 * MS * (np.arange(400) >= 150) + (true - true[0]) * drift_ppm // 1_000_000
        recording.add("/lidar", "lidar", stamps, logged_ns=late(true), object_sha256=f"{number:064x}")

    object_of(1, 30)
    first = repaired(recording, rule)["sample_data"].to_pylist()
    object_of(0, -70)
    object_of(2, 200)
    both = {row["sample_data_id"]: row for row in repaired(recording, rule)["sample_data"].to_pylist()}
    assert len(first) == 400
    assert [both[row["sample_data_id"]]["timestamp_ns"] for row in first] == [row["timestamp_ns"] for row in first]


@pytest.mark.parametrize(
    "rule",
    [
        {"repairs": ["shift"]},
        {"repairs": ["remove_offset"]},
        {"repairs": ["retime"]},
        {"repairs": ["shift", "shift"], "shift_ns": 1},
        {"repairs": ["guess"]},
        {"repair": ["shift"]},
    ],
)
def test_a_rule_that_says_too_little_is_rejected(rule):
    with pytest.raises(ValidationError):
        ClockRule(**rule)
