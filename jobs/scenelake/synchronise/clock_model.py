"""One channel's clock against the recorder's: where it ran evenly, and what of it nobody can see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from scenelake.contracts.modalities import Modality, TimestampBasis
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import Stream
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.blocks import blocks, compress, gather, sorting_order
from scenelake.timebase.clock_segments import MAX_DRIFT_PPM, ClockSegment, segment_clock
from scenelake.timebase.observed_clock import ObservedClock, Segmentation, SegmentStart, Steps, measure_steps
from scenelake.timebase.scratch import IN_MEMORY, Scratch

_SAME_NS = 1_000
"""Log times that never leave the stamps by more were copied from them."""
_LEAST_MESSAGES = 8
_LATENCY_NS = 100_000_000
_CAUSAL_NS = 500_000
"""A message cannot be logged before it is stamped; so much is forgiven to two clocks that are set by a third."""

NO_STAMPS = "the messages have no stamp of their own, so there is no sensor clock to see"
NO_LOG = "log times are missing"
COPIED = "the log times are the stamps themselves: drift, jumps and offset of this clock leave no trace"
ERRATIC = "the clock jumps all the time: no line fits it"
TOO_FEW = "too few messages to tell a clock from a latency"
CONSTANT = (
    "a constant offset of this clock and a constant latency look the same: log_minus_stamp_ns is their difference"
)


@dataclass(frozen=True, slots=True)
class ClockModel:
    """What can be said of one channel's clock.

    Attributes:
        stamps_ns: (n,) int64, n at least 1, in the order in which the messages arrived; where no arrival is known,
            in recording order.
        times_ns: (n,) int64: the clock that intervals are told in: log times where they are a clock of their own.
        basis: which clock that is.
        segments: of the stamps against the log times; none where those are no clock of their own.
        unobservable: what cannot be seen, and why.
        tolerance_ns: settings of the clock that differ by no more are one.
    """

    channel: str
    modality: str
    stamps_ns: Int64Array
    times_ns: Int64Array
    basis: str
    steps: Steps
    segments: tuple[ClockSegment, ...]
    unobservable: str
    tolerance_ns: int

    @property
    def has_log_clock(self) -> bool:
        return bool(self.segments)

    @property
    def usual(self) -> ClockSegment | None:
        """The longest segment with the setting that is taken for the right one.

        Which setting is right cannot be told from one channel alone. A message is not logged before it is stamped,
        and rarely long after: of the settings whose latency is plausible by that, the one that rules longest.
        """
        if not self.segments:
            return None
        settings = np.array(self.settings_ns(), np.int64)
        floors = np.array([s.line.floor_ns for s in self.segments], np.int64)
        spans = np.array([self.times_ns[s.end - 1] - self.times_ns[s.start] for s in self.segments], np.int64)
        causal = floors[floors >= -_CAUSAL_NS]
        limit_ns = (int(causal.min()) if len(causal) else int(floors.max())) + _LATENCY_NS
        is_plausible = (floors >= -_CAUSAL_NS) & (floors <= limit_ns)
        are_alike = np.abs(settings[:, None] - settings[None, :]) <= self.tolerance_ns
        is_all_plausible = ~(are_alike & ~is_plausible[None, :]).any(axis=1)
        best = int(np.lexsort((-np.arange(len(settings)), are_alike @ spans, is_all_plausible))[-1])
        alike = [s for s, is_alike in zip(self.segments, are_alike[best].tolist(), strict=True) if is_alike]
        return max(alike, key=len)

    @property
    def is_same_rate(self) -> bool:
        """Stamps and log times count the same seconds, to 1%."""
        return self.usual is not None and abs(self.usual.line.drift_ppm) < MAX_DRIFT_PPM

    @property
    def jumps(self) -> tuple[ClockSegment, ...]:
        return tuple(s for s in self.segments if s.begins is SegmentStart.CLOCK_JUMP)

    def settings_ns(self) -> list[int]:
        """Per segment, how far its clock is set ahead of the first one's.

        Steady drift is left out of it: of the drifts of the segments, the least one. What another one gains counts.
        """
        settings = [0][: len(self.segments)]
        usual_ppm = min((s.line.drift_ppm for s in self.segments), key=abs, default=0.0)
        for before, segment in pairwise(self.segments):
            span_ns = int(self.times_ns[segment.start] - self.times_ns[before.start])
            gained_ns = round(span_ns * (before.line.drift_ppm - usual_ppm) * 1e-6)
            jumped_ns = -segment.jump_ns if segment.begins is SegmentStart.CLOCK_JUMP else 0
            settings.append(settings[-1] + gained_ns + jumped_ns)
        return settings

    def excesses_ns(self) -> list[int]:
        """Per segment, how far its clock is set ahead of the usual setting."""
        settings, usual = self.settings_ns(), self.usual
        usual_ns = next((o for s, o in zip(self.segments, settings, strict=True) if s is usual), 0)
        return [setting - usual_ns for setting in settings]

    def interval(self, first: int, last: int) -> tuple[int, int]:
        """Half-open interval of messages ``first`` to ``last``, both among them."""
        times = self.times_ns[first : last + 1]
        return int(times.min()), int(times.max()) + 1


def model_clock(stream: Stream, config: SynchroniseConfig, scratch: Scratch = IN_MEMORY) -> ClockModel | None:
    """Models a channel's clock from its stamps and log times as recorded; None without a usable message."""
    if len(stream) == 0:
        return None
    return model_times(
        stream.channel, stream.modality, stream.recorded_ns, stream.log_ns, stream.timestamp_basis, config, scratch
    )


def model_times(
    channel: str,
    modality: Modality,
    stamps_ns: Int64Array,
    log_ns: Int64Array | None,
    basis: str,
    config: SynchroniseConfig,
    scratch: Scratch = IN_MEMORY,
) -> ClockModel:
    """The same for times (n,), n at least 1, in recording order.

    Args:
        basis: the clock that most stamps came from.
        scratch: where arrays as long as the channel are put.
    """
    why = _why_not(stamps_ns, log_ns, basis)
    segments: tuple[ClockSegment, ...] = ()
    times_ns = stamps_ns
    if why is None and log_ns is not None:
        order = sorting_order(log_ns, scratch)
        if order is not None:
            stamps_ns, log_ns = gather(stamps_ns, order, scratch), gather(log_ns, order, scratch)
        segments = _segments(stamps_ns, log_ns, config, scratch)
        times_ns, basis, why = log_ns, str(TimestampBasis.LOG), CONSTANT if segments else ERRATIC
    return ClockModel(
        channel,
        str(modality),
        stamps_ns,
        times_ns,
        basis,
        measure_steps(stamps_ns),
        segments,
        why or NO_LOG,
        config.min_clock_jump_ns,
    )


def _segments(
    stamps_ns: Int64Array, log_ns: Int64Array, config: SynchroniseConfig, scratch: Scratch
) -> tuple[ClockSegment, ...]:
    """Segments of all messages, from those that do not just repeat the stamp of the one before them."""
    limits = Segmentation(min_jump_ns=config.min_clock_jump_ns, min_kink_ppm=config.min_drift_ppm)

    def is_new(start: int, end: int) -> BoolArray:
        before = stamps_ns[max(start - 1, 0) : end]
        return np.concatenate([np.ones(1 if start == 0 else 0, np.bool_), before[1:] != before[:-1]])

    stamps, arrivals = (compress(times, is_new, scratch) for times in (stamps_ns, log_ns))
    found = segment_clock(ObservedClock(stamps, arrivals, measure_steps(stamps), limits))
    if len(stamps) == len(stamps_ns):
        return found
    starts = _positions(is_new, len(stamps_ns), [s.start for s in found])
    bounds = [*starts, len(stamps_ns)]
    return tuple(replace(s, start=a, end=b) for s, (a, b) in zip(found, pairwise(bounds), strict=True))


def _positions(is_set: Callable[[int, int], BoolArray], count: int, numbers: Sequence[int]) -> list[int]:
    """Where the set positions with these numbers (ascending) lie among ``count``."""
    found: list[int] = []
    passed = 0
    for start, end in blocks(count):
        inside = np.flatnonzero(is_set(start, end))
        while len(found) < len(numbers) and numbers[len(found)] < passed + len(inside):
            found.append(start + int(inside[numbers[len(found)] - passed]))
        passed += len(inside)
    return found


def _why_not(stamps_ns: Int64Array, log_ns: Int64Array | None, basis: str) -> str | None:
    """Why a channel's clock cannot be held against the log times; None where it can."""
    if basis != TimestampBasis.SENSOR:
        return NO_STAMPS
    if log_ns is None:
        return NO_LOG
    if len(stamps_ns) < _LEAST_MESSAGES:
        return TOO_FEW
    is_copied = all(
        bool((np.abs(log_ns[start:end] - stamps_ns[start:end]) <= _SAME_NS).all())
        for start, end in blocks(len(stamps_ns))
    )
    return COPIED if is_copied else None
