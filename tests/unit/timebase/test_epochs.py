"""Epochs and units, by dates whose answers are known."""

from datetime import UTC, datetime

import pytest

from scenelake.timebase.epochs import SECOND_NS, gps_ahead_of_utc_s, likely_epoch, misreading_of

UTC_NS = int(datetime(2025, 10, 9, 12, tzinfo=UTC).timestamp()) * SECOND_NS
LATENCY_NS = 12_000_000
SINCE_GPS_S = int((datetime(2025, 10, 9, 12, tzinfo=UTC) - datetime(1980, 1, 6, tzinfo=UTC)).total_seconds())


@pytest.mark.parametrize(
    ("stamp_ns", "name"),
    [
        (UTC_NS // 1_000_000, "milliseconds_as_nanoseconds"),
        (UTC_NS // 1_000, "microseconds_as_nanoseconds"),
        (UTC_NS // SECOND_NS, "seconds_as_nanoseconds"),
        ((SINCE_GPS_S + 18) * SECOND_NS, "gps_epoch"),
        (SINCE_GPS_S * SECOND_NS, "gps_epoch_without_leap_seconds"),
        ((SINCE_GPS_S + 18) % 604_800 * SECOND_NS, "gps_time_of_week"),
        (UTC_NS + 2_208_988_800 * SECOND_NS, "ntp_epoch"),
        (UTC_NS + 18 * SECOND_NS, "gps_leap_seconds"),
        (UTC_NS + 37 * SECOND_NS, "tai"),
        (UTC_NS + 7200 * SECOND_NS, "time_zone"),
        (UTC_NS - 5 * 3600 * SECOND_NS, "time_zone"),
    ],
)
def test_a_misreading_is_named_and_undone(stamp_ns, name):
    found = misreading_of(stamp_ns, UTC_NS + LATENCY_NS)
    assert found is not None
    assert found.name == name
    assert abs(stamp_ns * found.scale + found.shift_ns - UTC_NS) < SECOND_NS


@pytest.mark.parametrize("off_ns", [0, 1, -64 * SECOND_NS, 64 * SECOND_NS, SECOND_NS, 100 * 86_400 * SECOND_NS])
def test_what_no_mistake_explains_has_no_name(off_ns):
    assert misreading_of(UTC_NS + off_ns, UTC_NS + LATENCY_NS) is None


@pytest.mark.parametrize(
    ("date", "leap_s"),
    [((2008, 12, 31), 14), ((2009, 1, 1), 15), ((2016, 12, 31), 17), ((2017, 1, 1), 18), ((2030, 1, 1), 18)],
)
def test_leap_seconds(date, leap_s):
    assert gps_ahead_of_utc_s(int(datetime(*date, tzinfo=UTC).timestamp()) * SECOND_NS) == leap_s


@pytest.mark.parametrize(
    ("stamp_ns", "period_ns", "epoch"),
    [
        (UTC_NS, 100_000_000, "utc"),
        (UTC_NS // 1_000_000, 100, "milliseconds_as_nanoseconds"),
        (1_760_000 * 1_000_000, 100_000_000, "boot_time"),
        (315_966_265 * SECOND_NS, 100_000_000, "gps_epoch_start"),
        (46_408 * SECOND_NS, None, "boot_time"),
        (5_000_000_000 * SECOND_NS, None, "future"),
    ],
)
def test_what_stamps_tell_of_their_epoch(stamp_ns, period_ns, epoch):
    assert likely_epoch(stamp_ns, period_ns) == epoch
