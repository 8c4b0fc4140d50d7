"""Channels of a simulated recording: schedules with their faults, merged and written in log-time order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.simulate.clock import Schedule, plan_schedule
from scenelake.simulate.config import SECOND_NS, Camera, Sensor
from scenelake.simulate.faults import (
    BLACK,
    BlackFrames,
    DroppedFrames,
    FrozenCamera,
    dropped,
    image_sources,
    true_mount,
)
from scenelake.simulate.geometry import Floats, Integers, Transform, generator
from scenelake.simulate.rasteriser import Lens
from scenelake.simulate.truth import JsonObject, fault_truth, sensor_truth

Progress = Callable[[float], None]
Render = Callable[[int, Transform, np.random.Generator], bytes]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: when its messages are and how message k is made."""

    topic: str
    schedule: Schedule
    make: Callable[[int], Any]


@dataclass(frozen=True)
class SensorPlan:
    """One sensor's messages as planned, with what its faults do to them.

    Attributes:
        seed: everything that the sensor draws comes from this and its topic.
        offset_ns: (n,) true times since the start, of all planned messages.
        kept: (m,) indices of the planned messages that are not dropped.
    """

    sensor: Sensor
    faults: tuple[Any, ...]
    seed: tuple[int, ...]
    start_ns: int
    duration_ns: int
    planned: Schedule
    offset_ns: Integers
    kept: Integers
    taken: dict[int, Integers] = field(default_factory=dict)

    @classmethod
    def of(
        cls, sensor: Sensor, faults: Sequence[Any], seed: tuple[int, ...], start_ns: int, duration_ns: int
    ) -> "SensorPlan":
        own = tuple(f for f in faults if f.sensor == sensor.topic)
        random = generator(*seed, sensor.topic, "schedule")
        planned = plan_schedule(sensor, own, start_ns, duration_ns, random)
        offset_ns = planned.true_ns - start_ns
        lost = dropped(own, offset_ns, generator(*seed, sensor.topic, "dropped").random(len(planned)))
        is_kept = np.ones(len(planned), dtype=np.bool_)
        for mask in lost.values():
            is_kept &= ~mask
        taken = {i: planned.true_ns[mask] for i, mask in lost.items()}
        kept = np.flatnonzero(is_kept)
        return cls(sensor, own, seed, start_ns, duration_ns, planned, offset_ns, kept, taken)

    @property
    def written(self) -> Schedule:
        return self.planned.take(self.kept)

    @property
    def time_s(self) -> Floats:
        """True times (m,) of the written messages in seconds since the start."""
        return self.offset_ns[self.kept] / SECOND_NS

    def random(self, index: int) -> np.random.Generator:
        """The generator of one planned message, so that no fault disturbs the noise of others."""
        return generator(*self.seed, self.sensor.topic, index)

    def mount(self, index: int) -> Transform:
        """Where the sensor truly sits at a planned message."""
        return true_mount(self.sensor.ego_from_sensor(), self.faults, int(self.offset_ns[index]))

    def truth(self, modality: str) -> JsonObject:
        return sensor_truth(self.sensor, modality, self.written, len(self.planned))

    def fault_truths(self) -> list[JsonObject]:
        end_ns = self.start_ns + self.duration_ns
        return [
            fault_truth(fault, self.sensor, self.start_ns, end_ns, self._affected_ns(i).tolist())
            for i, fault in enumerate(self.faults)
        ]

    def _affected_ns(self, position: int) -> Integers:
        fault = self.faults[position]
        if isinstance(fault, DroppedFrames):
            return self.taken[position]
        written, offset_ns = self.written.true_ns, self.offset_ns[self.kept]
        covered = fault.covers(offset_ns)
        if isinstance(fault, FrozenCamera | BlackFrames):
            sources = image_sources(self.faults, self.offset_ns)[self.kept]
            changed = sources == BLACK if isinstance(fault, BlackFrames) else (sources != self.kept) & (sources >= 0)
            covered = covered & changed
        affected: Integers = written[covered]
        return affected


class FrameSource:
    """Gives each message of a camera its JPEG: rendered, repeated while frozen, or black."""

    def __init__(self, plan: SensorPlan, lens: Lens, render: Render) -> None:
        self._plan = plan
        self._lens = lens
        self._render = render
        self._sources = image_sources(plan.faults, plan.offset_ns)
        self._held: tuple[int, bytes] | None = None

    def jpeg(self, index: int) -> bytes:
        """Image of a planned message, kept until the next one because a frozen camera asks for it again."""
        source = int(self._sources[index])
        if self._held is None or self._held[0] != source:
            self._held = (source, self._image(source))
        return self._held[1]

    def _image(self, source: int) -> bytes:
        if source == BLACK:
            return self._lens.black()
        plan = self._plan
        return self._render(int(plan.offset_ns[source]), plan.mount(source), plan.random(source))


def calibration_schedule(plan: SensorPlan, rate_hz: float) -> Schedule:
    """The camera's own times, thinned to about a rate; a calibration is published even where images are lost."""
    if not isinstance(plan.sensor, Camera):
        raise TypeError(f"{plan.sensor.topic} is not a camera")
    every = max(round(plan.sensor.rate_hz / rate_hz), 1)
    return plan.planned.take(slice(None, None, every))


def write_channels(
    writer: RecordingWriter, channels: Sequence[Channel], progress: Progress | None = None
) -> dict[str, int]:
    """Makes and writes all messages in log-time order, one at a time.

    Returns:
        Messages written per topic.
    """
    log_ns = np.concatenate([c.schedule.log_ns for c in channels])
    owner = np.repeat(np.arange(len(channels)), [len(c.schedule) for c in channels])
    index = np.concatenate([np.arange(len(c.schedule)) for c in channels])
    order = np.lexsort((index, owner, log_ns))
    step = max(len(order) // 100, 1)
    for done, at in enumerate(order.tolist()):
        channel, k = channels[owner[at]], int(index[at])
        schedule = channel.schedule
        writer.write(channel.topic, channel.make(k), int(schedule.log_ns[k]), int(schedule.publish_ns[k]))
        if progress is not None and done % step == 0:
            progress(done / len(order))
    if progress is not None:
        progress(1.0)
    return {c.topic: len(c.schedule) for c in channels}
