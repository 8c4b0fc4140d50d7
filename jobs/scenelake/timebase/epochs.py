"""Epochs and units that stamps are mistaken in, told from a stamp and the UTC time at which it arrived.

Offsets: the GPS epoch is 1980-01-06 and the NTP epoch 1900-01-01 (RFC 5905); GPS time has no leap seconds and TAI is
19 s ahead of it (IS-GPS-200; IERS Bulletin C).
"""

from bisect import bisect_right
from dataclasses import dataclass

SECOND_NS = 1_000_000_000
GPS_EPOCH_S = 315_964_800
WEEK_S = 604_800
NTP_EPOCH_S = -2_208_988_800
TAI_AHEAD_OF_GPS_S = 19
YEAR_2000_NS = 946_684_800 * SECOND_NS
"""No recorder of today ran before: earlier stamps count from the boot of a machine."""
YEAR_2100_NS = 4_102_444_800 * SECOND_NS

_LEAP_SECONDS = (
    (1136073600, 14), (1230768000, 15), (1341100800, 16), (1435708800, 17), (1483228800, 18),
)  # fmt: skip
"""UTC from which GPS is ahead of it by so many seconds (2006, 2009, 2012, 2015, 2017; none announced since)."""
_TOLERANCE_NS = SECOND_NS // 2
_ZONE_NS = 900 * SECOND_NS
_WIDEST_ZONE_NS = 14 * 3600 * SECOND_NS
_UNITS = (("microseconds", 1_000), ("milliseconds", 1_000_000), ("seconds", SECOND_NS))
_CLOCK_ERROR_NS = 24 * 3600 * SECOND_NS
"""A stamp in the wrong unit may come from a clock that is off as well."""


@dataclass(frozen=True, slots=True)
class Misreading:
    """UTC is ``stamp * scale + shift_ns``, up to the latency and the clock's own offset."""

    name: str
    scale: int
    shift_ns: int


def epoch_of(timestamp_ns: int) -> str:
    """``utc``, ``boot_time`` before the year 2000, or ``future`` from the year 2100."""
    if timestamp_ns < YEAR_2000_NS:
        return "boot_time"
    return "future" if timestamp_ns >= YEAR_2100_NS else "utc"


def gps_ahead_of_utc_s(utc_ns: int) -> int:
    """Leap seconds between GPS and UTC; 14 also before 2006."""
    position = bisect_right(_LEAP_SECONDS, utc_ns // SECOND_NS, key=lambda row: row[0])
    return _LEAP_SECONDS[max(position - 1, 0)][1]


def misreading_of(stamp_ns: int, arrival_ns: int) -> Misreading | None:
    """The known mistake that explains a stamp, given when the message arrived; None where none does.

    Args:
        stamp_ns: as recorded.
        arrival_ns: UTC of a message with little delay.
    """
    for unit, scale in _UNITS:
        if abs(stamp_ns * scale - arrival_ns) < _CLOCK_ERROR_NS:
            return Misreading(f"{unit}_as_nanoseconds", scale, 0)
    leap_ns = gps_ahead_of_utc_s(arrival_ns) * SECOND_NS
    from_gps_ns = GPS_EPOCH_S * SECOND_NS - leap_ns
    weeks = (arrival_ns - from_gps_ns) // (WEEK_S * SECOND_NS)
    shifts = {
        "gps_epoch": from_gps_ns,
        "gps_epoch_without_leap_seconds": GPS_EPOCH_S * SECOND_NS,
        "gps_time_of_week": from_gps_ns + weeks * WEEK_S * SECOND_NS,
        "ntp_epoch": NTP_EPOCH_S * SECOND_NS,
        "gps_leap_seconds": -leap_ns,
        "tai": -leap_ns - TAI_AHEAD_OF_GPS_S * SECOND_NS,
    }
    for name, shift_ns in shifts.items():
        if abs(arrival_ns - stamp_ns - shift_ns) <= _TOLERANCE_NS:
            return Misreading(name, 1, shift_ns)
    return _time_zone(stamp_ns, arrival_ns)


def _time_zone(stamp_ns: int, arrival_ns: int) -> Misreading | None:
    quarters, rest_ns = divmod(stamp_ns - arrival_ns + _TOLERANCE_NS, _ZONE_NS)
    is_zone = quarters != 0 and abs(quarters * _ZONE_NS) <= _WIDEST_ZONE_NS and rest_ns <= 2 * _TOLERANCE_NS
    return Misreading("time_zone", 1, -quarters * _ZONE_NS) if is_zone else None


def likely_epoch(stamp_ns: int, period_ns: int | None) -> str:
    """What stamps count from as far as they tell themselves, with no arrival to compare them to.

    Args:
        period_ns: median step of the stamps; sensors do not measure every microsecond, so shorter is another unit.
    """
    for unit, scale in _UNITS:
        is_short = period_ns is not None and 0 < period_ns < 2_000 and scale > 1_000
        if is_short and YEAR_2000_NS <= stamp_ns * scale < YEAR_2100_NS:
            return f"{unit}_as_nanoseconds"
    if GPS_EPOCH_S <= stamp_ns // SECOND_NS < GPS_EPOCH_S + WEEK_S:
        return "gps_epoch_start"
    return epoch_of(stamp_ns)
