"""What is wrong with a drive's clocks: each channel's against the recorder's, and the recorder's against them all."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scenelake.contracts.ids import canonical_json
from scenelake.contracts.stages import ChannelClock, ClockFault, ClockFaultKind
from scenelake.synchronise.clock_model import ERRATIC, ClockModel
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.stamp_faults import conversion_faults, fault, stamp_faults
from scenelake.timebase.arrays import Int64Array
from scenelake.timebase.blocks import count_where
from scenelake.timebase.clock_segments import ClockSegment
from scenelake.timebase.epochs import SECOND_NS, epoch_of, likely_epoch, misreading_of
from scenelake.timebase.observed_clock import SegmentStart

STEP_INDEX = "time_from_step_index"
"""How decode's metadata names the clock of a dataset that has none."""


def find_faults(
    models: Mapping[str, ClockModel],
    clocks: Sequence[ChannelClock],
    config: SynchroniseConfig,
    said_of_clock: str | None = None,
) -> list[ClockFault]:
    """Every fault of a drive, by channel, kind and start.

    Args:
        models: by channel, of the stamps as recorded.
        clocks: measured on the same stamps; they say which channel lies apart from the reference.
        said_of_clock: what the recording's metadata says of its clock.
    """
    apart = {c.channel: c.offset_from_reference_ns for c in clocks if c.offset_from_reference_ns is not None}
    found = _recorder_faults(models, config)
    blamed = {f.fault_kind for f in found}
    converted = conversion_faults(models, config)
    found += converted
    is_made_up = said_of_clock is not None and said_of_clock.startswith(STEP_INDEX)
    if is_made_up and models:
        found.append(
            _of_recorder(ClockFaultKind.MADE_UP_STAMPS, list(models.values()), None, None, clock=said_of_clock)
        )
    meaningless = {f.channel for f in converted}
    for model in models.values():
        if model.channel in meaningless:
            continue
        if not is_made_up:
            found += stamp_faults(model, config)
        if model.unobservable == ERRATIC:
            last = len(model.stamps_ns) - 1
            found.append(fault(model, ClockFaultKind.ERRATIC_CLOCK, 0, last, None, last + 1))
        found += _epoch_faults(
            model, apart.get(model.channel), config, is_log_blamed=ClockFaultKind.LOG_CLOCK_OFF in blamed
        )
        found += _jump_faults(model, config, is_log_blamed=ClockFaultKind.LOG_CLOCK_JUMP in blamed)
        found += _drift_faults(model, config)
    # Of two that begin together the longer one tells both.
    found.sort(key=lambda f: (f.channel or "", f.fault_kind, f.start_ns, f.exclusive_end_ns))
    return list({(f.channel, f.fault_kind, f.start_ns): f for f in found}.values())


def offset_ns(model: ClockModel) -> int:
    """Stamp less log time of a message with the least delay at the usual setting: the offset less the latency."""
    segment = model.usual
    return -segment.line.floor_ns if segment is not None else 0


def _epoch_faults(
    model: ClockModel, apart_ns: int | None, config: SynchroniseConfig, *, is_log_blamed: bool
) -> Iterator[ClockFault]:
    """Stamps that count from elsewhere or in another unit, or lie apart from the recorder's or the other sensors'."""
    last = len(model.stamps_ns) - 1
    middle = model.usual.start if model.usual is not None else last // 2
    off_ns = offset_ns(model)
    is_far = model.has_log_clock and not is_log_blamed and abs(off_ns) >= config.max_latency_ns
    is_log_utc = epoch_of(int(model.times_ns[middle])) == "utc"
    epoch = _misread_epoch(model, middle) if is_far or not model.has_log_clock else None
    if epoch is not None:
        yield fault(model, ClockFaultKind.EPOCH, 0, last, off_ns if model.has_log_clock else None, last + 1, **epoch)
    elif model.has_log_clock and not model.is_same_rate:
        rate = 1.0 + (model.usual.line.drift_ppm * 1e-6 if model.usual else 0.0)
        yield fault(
            model, ClockFaultKind.RATE_MISMATCH, 0, last, None, last + 1, stamp_seconds_in_a_log_second=round(rate, 9)
        )
    elif is_far and is_log_utc:
        yield fault(model, ClockFaultKind.CLOCK_OFF, 0, last, off_ns, last + 1, against="log times")
    elif apart_ns is not None:
        yield fault(
            model, ClockFaultKind.CLOCK_OFF, 0, last, apart_ns, last + 1, against="first stamp of the reference"
        )


def _misread_epoch(model: ClockModel, position: int) -> dict[str, Any] | None:
    """Which epoch or unit the stamps are in about a message, where it is not ns of UTC."""
    stamp_ns, log_ns = int(model.stamps_ns[position]), int(model.times_ns[position])
    if model.has_log_clock and epoch_of(log_ns) == "utc":
        found = misreading_of(stamp_ns, log_ns)
        if found is not None:
            return {"epoch": found.name, "utc_is_stamp_times": found.scale, "plus_ns": found.shift_ns}
    is_utc = epoch_of(stamp_ns) == "utc"
    return None if is_utc else {"epoch": likely_epoch(stamp_ns, model.steps.period_ns)}


def _jump_faults(model: ClockModel, config: SynchroniseConfig, *, is_log_blamed: bool) -> Iterator[ClockFault]:
    """Runs of segments whose clock was set otherwise than usual; and changes of latency."""
    excesses_ns = model.excesses_ns()
    number = 0
    while number < len(model.segments):
        end = number + 1
        while end < len(excesses_ns) and abs(excesses_ns[end] - excesses_ns[number]) <= model.tolerance_ns:
            end += 1
        size_ns = excesses_ns[number]
        first, last = model.segments[number].start, model.segments[end - 1].end - 1
        if abs(size_ns) > model.tolerance_ns:
            epoch = _misread_epoch(model, first) if abs(size_ns) >= config.max_latency_ns else None
            jumps = [-s.jump_ns for s in model.segments[number : end + 1] if s.begins is SegmentStart.CLOCK_JUMP]
            kind = _kind_of_jump(model, number, size_ns) if epoch is None else ClockFaultKind.EPOCH
            yield fault(model, kind, first, last, size_ns, last - first + 1, jumps_ns=jumps, **(epoch or {}))
        number = end
    for segment in model.segments:
        if segment.begins is SegmentStart.LATENCY_CHANGE and not is_log_blamed:
            count = len(model.stamps_ns) - segment.start
            yield fault(
                model, ClockFaultKind.LATENCY_CHANGE, segment.start, len(model.stamps_ns) - 1, segment.jump_ns, count
            )


def _kind_of_jump(model: ClockModel, number: int, size_ns: int) -> ClockFaultKind:
    """A leap second is a step of a second at a midnight of UTC."""
    at_ns = int(model.times_ns[model.segments[number].start])
    from_midnight_ns = (at_ns + 2 * SECOND_NS) % (24 * 3600 * SECOND_NS)
    is_leap = abs(abs(size_ns) - SECOND_NS) <= 2_000_000 and from_midnight_ns <= 4 * SECOND_NS
    return ClockFaultKind.LEAP_SECOND if is_leap else ClockFaultKind.CLOCK_JUMP


def _drift_faults(model: ClockModel, config: SynchroniseConfig) -> Iterator[ClockFault]:
    """Runs of segments whose stamps gain or lose on the log times by more than an honest oscillator does."""
    if not model.is_same_rate:
        return
    run: list[ClockSegment] = []
    for segment in (*model.segments, None):
        if segment is not None and _is_drifting(segment, config) and (not run or _alike(run[-1], segment)):
            run.append(segment)
            continue
        if run:
            yield _drift_fault(model, run)
        run = [segment] if segment is not None and _is_drifting(segment, config) else []


def _is_drifting(segment: ClockSegment, config: SynchroniseConfig) -> bool:
    line = segment.line
    return abs(line.drift_ppm) > config.min_drift_ppm + 3.0 * line.drift_error_ppm


def _alike(before: ClockSegment, segment: ClockSegment) -> bool:
    return before.line.drift_ppm == segment.line.drift_ppm


def _drift_fault(model: ClockModel, run: Sequence[ClockSegment]) -> ClockFault:
    first, last = run[0].start, run[-1].end - 1
    line = run[0].line
    gained_ns = round(int(model.times_ns[last] - model.times_ns[first]) * line.drift_ppm * 1e-6)
    evidence = {"drift_ppm": round(line.drift_ppm, 3), "drift_error_ppm": round(line.drift_error_ppm, 3)}
    return fault(model, ClockFaultKind.CLOCK_DRIFT, first, last, gained_ns, last - first + 1, **evidence)


def _recorder_faults(models: Mapping[str, ClockModel], config: SynchroniseConfig) -> list[ClockFault]:
    """What all sensors agree that the log times got wrong."""
    judges = [m for m in models.values() if m.has_log_clock and m.is_same_rate]
    found = []
    offsets = np.array([offset_ns(m) for m in judges], np.int64)
    if len(judges) >= 2:
        middle_ns = int(np.sort(offsets)[len(offsets) // 2])
        agree = np.abs(offsets - middle_ns) <= config.max_latency_ns
        if abs(middle_ns) >= config.max_latency_ns and agree.all():
            found.append(_of_recorder(ClockFaultKind.LOG_CLOCK_OFF, judges, None, -middle_ns))
    found += _log_jumps(judges, config)
    return found


def _log_jumps(judges: Sequence[ClockModel], config: SynchroniseConfig) -> list[ClockFault]:
    """Steps of the least delay, with stamps that go on evenly, of the same size at the same time in most channels."""
    steps = sorted(
        (int(m.times_ns[s.start]), s.jump_ns, m.channel)
        for m in judges
        for s in m.segments
        if s.begins is SegmentStart.LATENCY_CHANGE
    )
    found: list[ClockFault] = []
    while steps:
        at_ns, jump_ns, _ = steps[0]
        same = [
            s for s in steps
            if s[0] - at_ns <= SECOND_NS + abs(jump_ns) and abs(s[1] - jump_ns) <= 2 * config.min_clock_jump_ns
        ]  # fmt: skip
        channels = {s[2] for s in same}
        if len(channels) >= 2 and 2 * len(channels) > len(judges):
            found.append(_of_recorder(ClockFaultKind.LOG_CLOCK_JUMP, judges, at_ns, jump_ns, nbr_agree=len(channels)))
        steps = [s for s in steps if s not in same]
    return found


def _of_recorder(
    kind: ClockFaultKind, judges: Sequence[ClockModel], start_ns: int | None, size_ns: int | None, **evidence: Any
) -> ClockFault:
    first_ns = min(int(m.times_ns.min()) for m in judges) if start_ns is None else start_ns
    end_ns = max(int(m.times_ns.max()) for m in judges) + 1
    count = sum(_nbr_since(m.times_ns, first_ns) for m in judges)
    told = canonical_json({"nbr_channels": len(judges), **evidence})
    return ClockFault(kind, None, None, first_ns, end_ns, judges[0].basis, size_ns, count, told)


def _nbr_since(times_ns: Int64Array, first_ns: int) -> int:
    return count_where(len(times_ns), lambda start, end: times_ns[start:end] >= first_ns)
