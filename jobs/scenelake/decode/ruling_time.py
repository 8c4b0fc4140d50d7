"""Which clock rules a message (docs/recordings.md): its own stamp, else the publish time, else the log time."""

from dataclasses import dataclass

from scenelake.contracts.modalities import TimestampBasis
from scenelake.decode.values import INT64_MAX
from scenelake.timebase.slots import SLOT_NS

END_NS = INT64_MAX // SLOT_NS * SLOT_NS
"""Times from here on (in the year 2262) cannot be used: the exclusive end of their slot does not fit int64."""


@dataclass(frozen=True, slots=True)
class RulingTime:
    """Times of one message, each None where it is absent, negative or not before ``END_NS``.

    Attributes:
        reason: a time that was there and could not be used; None when all is well.
    """

    timestamp_ns: int
    basis: TimestampBasis
    sensor_time_ns: int | None
    publish_time_ns: int | None
    log_time_ns: int | None
    reason: str | None

    @property
    def slot_time_ns(self) -> int:
        """Log time, which decides the payload file; the ruling time where there is none."""
        return self.timestamp_ns if self.log_time_ns is None else self.log_time_ns


def ruling_time(stamp_ns: int | None, publish_time_ns: int, log_time_ns: int) -> RulingTime:
    """Applies the rule. A stamp or publish time of zero is taken as absent; one out of range is reported."""
    reason = None
    sensor, publish, logged = stamp_ns, _in_range(publish_time_ns), _in_range(log_time_ns)
    if logged is None:
        reason = "log_time_out_of_range"
    if publish is None:
        reason = "publish_time_out_of_range"
    if sensor is not None and _in_range(sensor) is None:
        sensor, reason = None, "stamp_out_of_range"
    if sensor:
        timestamp_ns, basis = sensor, TimestampBasis.SENSOR
    elif publish:
        timestamp_ns, basis = publish, TimestampBasis.PUBLISH
    else:
        timestamp_ns, basis = logged or 0, TimestampBasis.LOG
    return RulingTime(timestamp_ns, basis, sensor, publish, logged, reason)


def _in_range(time_ns: int) -> int | None:
    return time_ns if 0 <= time_ns < END_NS else None
