"""Which clock rules a message (docs/recordings.md): its own stamp, else the publish time, else the log time."""

from dataclasses import dataclass

import numpy as np

from scenelake.contracts.modalities import TimestampBasis
from scenelake.decode.values import INT64_MAX
from scenelake.timebase.slots import SLOT_NS

END_NS = INT64_MAX // SLOT_NS * SLOT_NS
"""Times from here on (in the year 2262) cannot be used: the exclusive end of their slot does not fit int64."""

BASES = tuple(TimestampBasis)
TIME_REASONS = (None, "log_time_out_of_range", "publish_time_out_of_range", "stamp_out_of_range")


@dataclass(frozen=True, slots=True)
class RulingTimes:
    """Times of n messages.

    Attributes:
        timestamp_ns: (n,) int64.
        basis: (n,) int8, position in ``BASES``.
        sensor_time_ns, publish_time_ns, log_time_ns: (n,) int64, to be read where ``has_…`` (n,) says that the time is
            there, not negative and before ``END_NS``.
        reason: (n,) int8, position in ``TIME_REASONS``: a time that was there and could not be used.
    """

    timestamp_ns: np.ndarray
    basis: np.ndarray
    sensor_time_ns: np.ndarray
    has_sensor_time: np.ndarray
    publish_time_ns: np.ndarray
    has_publish_time: np.ndarray
    log_time_ns: np.ndarray
    has_log_time: np.ndarray
    reason: np.ndarray

    @property
    def slot_time_ns(self) -> np.ndarray:
        """Log time, which decides the payload file; the ruling time where there is none."""
        return np.where(self.has_log_time, self.log_time_ns, self.timestamp_ns)


def ruling_times(
    stamp_ns: np.ndarray | None, has_stamp: np.ndarray | None, publish_time_ns: np.ndarray, log_time_ns: np.ndarray
) -> RulingTimes:
    """Applies the rule. A stamp or publish time of zero is taken as absent; one out of range is reported.

    Args:
        stamp_ns: (n,) int64, or None where the messages have none; ``has_stamp`` (n,) bool, None for all.
        publish_time_ns, log_time_ns: (n,) uint64 as recorded.
    """
    nbr_messages = len(log_time_ns)
    has_publish, has_log = publish_time_ns < END_NS, log_time_ns < END_NS
    publish = np.where(has_publish, publish_time_ns, 0).astype(np.int64)
    logged = np.where(has_log, log_time_ns, 0).astype(np.int64)
    reason = np.where(has_publish, np.where(has_log, 0, 1), 2).astype(np.int8)
    if stamp_ns is None:
        stamp_ns, has_stamp = np.zeros(nbr_messages, np.int64), np.zeros(nbr_messages, bool)
    is_there = np.ones(nbr_messages, bool) if has_stamp is None else has_stamp
    is_in_range = (stamp_ns >= 0) & (stamp_ns < END_NS)
    has_sensor = is_there & is_in_range
    reason[is_there & ~is_in_range] = 3
    is_sensor, is_publish = has_sensor & (stamp_ns != 0), publish != 0
    timestamp = np.where(is_sensor, stamp_ns, np.where(is_publish, publish, logged))
    basis = np.where(is_sensor, 0, np.where(is_publish, 1, 2)).astype(np.int8)
    return RulingTimes(timestamp, basis, stamp_ns, has_sensor, publish, has_publish, logged, has_log, reason)
