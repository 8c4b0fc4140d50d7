"""When each sensor measures, what its clock says, and when its message is published and logged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenelake.simulate.config import Sensor
from scenelake.simulate.faults import clock_error_ns, drift_ns, faulty_stamps
from scenelake.simulate.geometry import Integers


@dataclass(frozen=True, slots=True)
class Schedule:
    """One channel's messages, in order; all arrays are (n,) int64 ns UTC.

    Attributes:
        true_ns: when the sensor measured.
        stamp_ns: what its own clock said then; the header stamp.
        publish_ns, log_ns: when the message was published and reached the recorder, by the true clock.
    """

    true_ns: Integers
    stamp_ns: Integers
    publish_ns: Integers
    log_ns: Integers

    def __len__(self) -> int:
        return len(self.true_ns)

    def take(self, rows: Any) -> "Schedule":
        """The messages at an index, mask or slice."""
        return Schedule(self.true_ns[rows], self.stamp_ns[rows], self.publish_ns[rows], self.log_ns[rows])

    @classmethod
    def at(cls, times_ns: Sequence[int]) -> "Schedule":
        """Messages whose four times are one, for channels that are no sensor's."""
        times = np.array(times_ns, dtype=np.int64)
        return cls(times, times, times, times)


def grid_ns(rate_hz: float, duration_ns: int, phase_ns: int = 0) -> Integers:
    """Multiples of the period from the phase up to the duration, exclusive, without accumulated rounding."""
    rate_mhz = round(rate_hz * 1000)
    span_ns = max(duration_ns - phase_ns, 0)
    count = -(-span_ns * rate_mhz // 1_000_000_000_000)
    return phase_ns + (np.arange(count, dtype=np.int64) * 1_000_000_000_000) // rate_mhz


def plan_schedule(
    sensor: Sensor, faults: Sequence[Any], start_ns: int, duration_ns: int, random: np.random.Generator
) -> Schedule:
    """Times of all messages of one sensor, before any is dropped.

    Args:
        faults: the sensor's own faults; those of its clock change the stamps.
    """
    nominal = grid_ns(sensor.rate_hz, duration_ns, sensor.phase_ns)
    limit = min(3 * sensor.jitter_ns, int(250_000_000 / sensor.rate_hz))
    jitter = np.clip(random.normal(0.0, sensor.jitter_ns, len(nominal)), -limit, limit).astype(np.int64)
    offset = np.clip(nominal + jitter, 0, duration_ns - 1)
    error = sensor.clock_offset_ns + drift_ns(offset, sensor.clock_drift_ppm) + clock_error_ns(faults, offset)
    latency = sensor.latency_ns + random.exponential(1.0, len(nominal)) * sensor.latency_jitter_ns
    transport = 100_000 + random.exponential(1.0, len(nominal)) * 100_000
    true_ns = start_ns + offset
    publish_ns = np.maximum.accumulate(true_ns + latency.astype(np.int64))
    log_ns = np.maximum.accumulate(publish_ns + transport.astype(np.int64))
    return Schedule(true_ns, faulty_stamps(faults, offset, true_ns + error), publish_ns, log_ns)
