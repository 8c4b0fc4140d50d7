"""Faults that stamps show by themselves: repeats, steps back, holes, jitter, and rates that no sensor has."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scenelake.contracts.ids import canonical_json
from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import ClockFault, ClockFaultKind
from scenelake.synchronise.clock_model import ClockModel
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.running import runs_of

_TOGETHER = 10
"""Faults with at most so many good messages between them are one."""
_MAX_OF_A_KIND = 256
"""Of a channel; where there are more, those that are further apart are told together as well."""
_JITTER_WINDOW = 32
_STEADY = frozenset({Modality.CAMERA, Modality.DEPTH, Modality.LIDAR, Modality.RADAR, Modality.IMU})
"""Sensors that measure by a clock: steps without a period are a fault of theirs."""
_SECOND_NS = 1_000_000_000


def fault(
    model: ClockModel,
    kind: ClockFaultKind,
    first: int,
    last: int,
    size_ns: int | None,
    nbr_affected: int,
    **evidence: Any,
) -> ClockFault:
    """A fault of the messages ``first`` to ``last`` of a channel."""
    start_ns, exclusive_end_ns = model.interval(first, last)
    return ClockFault(
        kind, model.channel, model.modality, start_ns, exclusive_end_ns, model.basis, size_ns, nbr_affected,
        canonical_json({"first_message": first, "last_message": last, **evidence}),
    )  # fmt: skip


def stamp_faults(model: ClockModel, config: SynchroniseConfig) -> Iterator[ClockFault]:
    """All faults of one channel's stamps, kind by kind, each in order of its messages."""
    steps_ns = np.diff(model.stamps_ns)
    if Modality(model.modality) not in config.bursty_modalities:
        yield from _repeats(model, steps_ns)
    yield from _steps_back(model, steps_ns)
    if model.steps.is_periodic:
        jumps = np.array([s.start - 1 for s in model.segments[1:]], np.int64)
        is_jump = np.zeros(len(steps_ns), np.bool_)
        is_jump[jumps] = True
        yield from _holes(model, steps_ns, ~is_jump)
        yield from _jitter(model, steps_ns, ~is_jump, config)
    elif Modality(model.modality) in _STEADY and len(steps_ns) >= _JITTER_WINDOW:
        share = model.steps.spread_ns / max(model.steps.period_ns, 1)
        evidence = {"period_ns": model.steps.period_ns, "spread_share": round(share, 3)}
        yield fault(
            model, ClockFaultKind.JITTER, 0, len(steps_ns), model.steps.spread_ns, len(model.stamps_ns), **evidence
        )


def _repeats(model: ClockModel, steps_ns: Int64Array) -> Iterator[ClockFault]:
    is_repeat = steps_ns == 0
    for first, last in zip(*_clusters(is_repeat), strict=True):
        count = int(np.count_nonzero(is_repeat[first : last + 1]))
        yield fault(model, ClockFaultKind.DUPLICATE_STAMPS, int(first), int(last) + 1, 0, count)


def _clusters(is_set: BoolArray, together: int = _TOGETHER) -> tuple[Int64Array, Int64Array]:
    """Runs of true values that are to be told as one."""
    firsts, lasts = runs_of(is_set, together)
    while len(firsts) > _MAX_OF_A_KIND:
        together *= 4
        firsts, lasts = runs_of(is_set, together)
    return firsts, lasts


def _steps_back(model: ClockModel, steps_ns: Int64Array) -> Iterator[ClockFault]:
    """Stamps before the one of the message before, up to where the stamps reach new time again."""
    is_back = steps_ns < 0
    if not is_back.any():
        return
    highest = np.maximum.accumulate(model.stamps_ns)
    for first, end in zip(*_clusters(is_back), strict=True):
        last = max(int(np.searchsorted(highest, highest[end], side="right")) - 1, int(end) + 1)
        back = steps_ns[first : end + 1]
        evidence = {
            "nbr_steps": int(np.count_nonzero(back < 0)),
            "from_ns": int(model.stamps_ns[first]),
            "to_ns": int(model.stamps_ns[first + 1]),
        }
        yield fault(
            model, ClockFaultKind.BACKWARD_STAMP, int(first) + 1, last, int(back.min()), last - int(first), **evidence
        )


def conversion_faults(models: Mapping[str, ClockModel], config: SynchroniseConfig) -> list[ClockFault]:
    """Channels whose stamps are of when a file was written or converted, not of when something was measured.

    A camera at 300 Hz shows it; a channel that has the very same stamps was written with it.
    """
    found = {
        model.channel: evidence
        for model in models.values()
        if (evidence := _implausible_rate(model, config)) is not None
    }
    for model in models.values():
        for channel in list(found):
            if model.channel not in found and np.array_equal(model.stamps_ns, models[channel].stamps_ns):
                found[model.channel] = {"same_stamps_as": channel}
    return [
        fault(models[c], ClockFaultKind.CONVERSION_STAMPS, 0, (n := len(models[c].stamps_ns)) - 1, None, n, **evidence)
        for c, evidence in found.items()
    ]


def _implausible_rate(model: ClockModel, config: SynchroniseConfig) -> dict[str, Any] | None:
    limit_hz = config.max_rates_hz.get(Modality(model.modality))
    period_ns = model.steps.period_ns
    if limit_hz is None or len(model.stamps_ns) < _JITTER_WINDOW or period_ns * limit_hz >= _SECOND_NS:
        return None
    span_ns = int(model.stamps_ns.max() - model.stamps_ns.min())
    return {"max_rate_hz": limit_hz, "period_ns": period_ns, "span_ns": span_ns} if period_ns else None


def _holes(model: ClockModel, steps_ns: Int64Array, is_step: BoolArray) -> Iterator[ClockFault]:
    """Where an even channel left out beats; holes that are near each other are told together."""
    period_ns = model.steps.period_ns
    is_hole = is_step & (2 * steps_ns > 3 * period_ns)
    # A late stamp makes a long step and then a short one, and a repeated stamp a step of nothing before a long one.
    beside = np.concatenate([[period_ns], steps_ns, [period_ns]])
    is_hole &= 2 * (steps_ns + np.minimum(beside[:-2], beside[2:])) > 5 * period_ns
    missing = (steps_ns + period_ns // 2) // period_ns - 1
    for first, last in zip(*_clusters(is_hole), strict=True):
        inside = slice(int(first), int(last) + 1)
        lengths = steps_ns[inside][is_hole[inside]]
        start_ns, end_ns = (int(model.times_ns[i]) for i in (int(first), int(last) + 1))
        nbr_missing = int(missing[inside][is_hole[inside]].sum())
        evidence = {"nbr_holes": len(lengths), "period_ns": period_ns, "first_message": int(first) + 1}
        yield ClockFault(
            ClockFaultKind.MISSING_MESSAGES, model.channel, model.modality, start_ns + 1, max(end_ns, start_ns + 2),
            model.basis, int(lengths.max()), nbr_missing, canonical_json(evidence),
        )  # fmt: skip


def _jitter(
    model: ClockModel, steps_ns: Int64Array, is_step: BoolArray, config: SynchroniseConfig
) -> Iterator[ClockFault]:
    """Stretches of messages whose steps scatter by more than a share of the period."""
    period_ns = model.steps.period_ns
    nbr_windows = len(steps_ns) // _JITTER_WINDOW
    if nbr_windows == 0:
        return
    whole = slice(0, nbr_windows * _JITTER_WINDOW)
    is_beat = is_step & (steps_ns > 0) & (2 * steps_ns < 3 * period_ns)
    off_ns = np.where(is_beat, np.abs(steps_ns - period_ns), 0)[whole].reshape(nbr_windows, -1)
    beats = np.maximum(np.count_nonzero(is_beat[whole].reshape(nbr_windows, -1), axis=1), 1)
    # A mean distance m of normal steps is a standard deviation of 1.2533 m.
    spread_ns = 1.2533 * off_ns.sum(axis=1) / beats
    for first, last in zip(*_clusters(spread_ns > config.max_jitter_share * period_ns, 1), strict=True):
        start, end = max(int(first) - 1, 0) * _JITTER_WINDOW, (int(last) + 2) * _JITTER_WINDOW
        is_off = is_step[start:end] & (np.abs(steps_ns[start:end] - period_ns) > 4 * model.steps.spread_ns)
        start, end = start + int(is_off.argmax()), start + len(is_off) - int(is_off[::-1].argmax())
        size_ns = round(float(spread_ns[first : last + 1].max()))
        yield fault(model, ClockFaultKind.JITTER, start, end, size_ns, end - start + 1, period_ns=period_ns)
