import numpy as np
import pytest

from scenelake.synchronise.assign import measure_clocks
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.scenes import choose_reference
from scenelake.synchronise.streams import read_streams
from scenelake.timebase.epochs import YEAR_2000_NS, YEAR_2100_NS, epoch_of

T0 = 1_700_000_000_000_000_000
MS = 1_000_000
SECOND = 1_000 * MS


def clocks_of(recording):
    streams = read_streams(recording.drive().index).by_channel
    clocks = measure_clocks(streams, choose_reference(streams), SynchroniseConfig())
    return {clock.channel: clock for clock in clocks}


def regular(count, period_ms=100, start=T0):
    return start + np.arange(count, dtype=np.int64) * period_ms * MS


def test_a_clean_clock_has_nothing_to_report(recording):
    recording.add("/lidar", "lidar", regular(20))
    clock = clocks_of(recording)["/lidar"]
    assert (clock.nbr_messages, clock.median_period_ns) == (20, 100 * MS)
    assert (clock.start_ns, clock.exclusive_end_ns) == (T0, T0 + 1900 * MS + 1)
    assert (clock.nbr_duplicate_stamps, clock.nbr_backward_jumps, clock.nbr_gaps, clock.largest_gap_ns) == (0, 0, 0, 0)
    assert (clock.offset_from_reference_ns, clock.epoch, clock.timestamp_basis) == (None, "utc", "sensor")


def test_duplicates_jumps_and_gaps_are_counted_in_recording_order(recording):
    recording.add("/imu", "imu", [T0, T0, T0 + 10 * MS, T0 + 5 * MS, T0 + 5 * MS, T0 + 20 * MS, T0 + 520 * MS])
    clock = clocks_of(recording)["/imu"]
    assert clock.nbr_duplicate_stamps == 2
    assert (clock.nbr_backward_jumps, clock.largest_backward_ns) == (1, 5 * MS)
    assert (clock.nbr_gaps, clock.largest_gap_ns) == (1, 500 * MS)


def test_a_short_silence_of_a_fast_channel_is_no_gap(recording):
    recording.add("/imu", "imu", [*regular(50, 1), T0 + 149 * MS])
    assert clocks_of(recording)["/imu"].nbr_gaps == 0


def test_recording_order_is_the_order_in_the_file_not_in_the_index(recording):
    recording.add("/imu", "imu", [T0 + 30 * MS, T0, T0 + 60 * MS])
    recording.rows.reverse()
    streams = read_streams(recording.drive().index).by_channel
    assert streams["/imu"].recorded_ns.tolist() == [T0 + 30 * MS, T0, T0 + 60 * MS]


@pytest.mark.parametrize(
    ("start_s", "count", "expected_s"),
    [(64, 50, 64), (-30, 50, -30), (0, 50, None), (1, 50, None), (3, 50, None), (64, 2, None), (4.95, 50, 4.95)],
    ids=["ahead", "behind", "same", "later", "mostly-overlapping", "too-few", "barely-overlapping"],
)
def test_offset_from_the_reference(recording, start_s, count, expected_s):
    recording.add("/lidar", "lidar", regular(51))
    recording.add("/gnss", "gnss", regular(count, start=T0 + int(start_s * SECOND)))
    offset = clocks_of(recording)["/gnss"].offset_from_reference_ns
    assert offset == (None if expected_s is None else int(expected_s * SECOND))


def test_a_latched_channel_before_the_drive_is_no_offset(recording):
    recording.add("/lidar", "lidar", regular(51))
    recording.add("/camera_info", "calibration", regular(4, start=T0 - 60 * SECOND))
    assert clocks_of(recording)["/camera_info"].offset_from_reference_ns is None


@pytest.mark.parametrize(
    ("stamp", "epoch"),
    [
        (5 * SECOND, "boot_time"),
        (YEAR_2000_NS - 1, "boot_time"),
        (YEAR_2000_NS, "utc"),
        (YEAR_2100_NS - 1, "utc"),
        (YEAR_2100_NS, "future"),
    ],
)
def test_epoch(stamp, epoch):
    assert epoch_of(stamp) == epoch


def test_undecodable_messages_have_no_clock(recording):
    recording.add("/cam", "camera", regular(3), status="undecodable")
    assert clocks_of(recording) == {}
