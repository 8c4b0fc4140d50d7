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
from scenelake.timebase.blocks import are_equal, blocks
from scenelake.timebase.run_sums import Runs, RunSums

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
    nbr_steps = len(model.stamps_ns) - 1
    found = _Collected(model, config)
    for start, end in blocks(nbr_steps):
        found.add(start, end)
    if Modality(model.modality) not in config.bursty_modalities:
        yield from _repeats(model, found.repeats.runs)
    yield from _steps_back(model, found.back.runs)
    if model.steps.is_periodic:
        yield from _holes(model, found.holes.runs)
        yield from _jitter(model, found)
    elif Modality(model.modality) in _STEADY and nbr_steps >= _JITTER_WINDOW:
        share = model.steps.spread_ns / max(model.steps.period_ns, 1)
        evidence = {"period_ns": model.steps.period_ns, "spread_share": round(share, 3)}
        yield fault(model, ClockFaultKind.JITTER, 0, nbr_steps, model.steps.spread_ns, len(model.stamps_ns), **evidence)


class _Collected:
    """What the steps of a channel's stamps show, looked at block by block.

    Attributes:
        repeats, back, holes: runs of steps; the values of holes are their lengths, the sums their missing messages.
        jitter: runs of windows of ``_JITTER_WINDOW`` steps, with their spread in ns.
    """

    def __init__(self, model: ClockModel, config: SynchroniseConfig) -> None:
        self._stamps_ns = model.stamps_ns
        self._steps = model.steps
        self._jumps = np.array([s.start - 1 for s in model.segments[1:]], np.int64)
        self._limit_ns = config.max_jitter_share * model.steps.period_ns
        self.repeats, self.back, self.holes = (RunSums(_TOGETHER, _MAX_OF_A_KIND) for _ in range(3))
        self.jitter = RunSums(1, _MAX_OF_A_KIND)

    def add(self, start: int, end: int) -> None:
        """Looks at steps ``[start, end)``; a block begins where a window does."""
        steps_ns = np.diff(self._stamps_ns[start : end + 1])
        if (steps_ns <= 0).any():
            for runs, is_set in ((self.repeats, steps_ns == 0), (self.back, steps_ns < 0)):
                positions = np.flatnonzero(is_set)
                runs.add(positions + start, steps_ns[positions])
        if self._steps.is_periodic:
            is_step = self.is_step(start, end)
            self._add_holes(start, end, steps_ns, is_step)
            self._add_jitter(start, steps_ns, is_step)

    def is_step(self, start: int, end: int) -> BoolArray:
        """Which steps ``[start, end)`` are no jump of the clock."""
        is_step = np.ones(end - start, np.bool_)
        low, high = np.searchsorted(self._jumps, [start, end])
        is_step[self._jumps[low:high] - start] = False
        return is_step

    def first_and_last_off(self, start: int, end: int) -> tuple[int, ...]:
        """Of steps ``[start, end)``, those that are further from the period than usual; none where none is."""
        off_ns = np.abs(np.diff(self._stamps_ns[start : end + 1]) - self._steps.period_ns)
        is_off = self.is_step(start, end) & (off_ns > 4 * self._steps.spread_ns)
        positions = np.flatnonzero(is_off)
        return (start + int(positions[0]), start + int(positions[-1])) if len(positions) else ()

    def _add_holes(self, start: int, end: int, steps_ns: Int64Array, is_step: BoolArray) -> None:
        period_ns = self._steps.period_ns
        is_hole = is_step & (2 * steps_ns > 3 * period_ns)
        if not is_hole.any():
            return
        # A late stamp makes a long step and then a short one, and a repeated stamp a step of nothing before a long one.
        first = period_ns if start == 0 else int(self._stamps_ns[start] - self._stamps_ns[start - 1])
        is_last = end + 1 == len(self._stamps_ns)
        last = period_ns if is_last else int(self._stamps_ns[end + 1] - self._stamps_ns[end])
        beside = np.concatenate([[first], steps_ns, [last]])
        is_hole &= 2 * (steps_ns + np.minimum(beside[:-2], beside[2:])) > 5 * period_ns
        positions = np.flatnonzero(is_hole)
        missing = (steps_ns[positions] + period_ns // 2) // period_ns - 1
        self.holes.add(positions + start, steps_ns[positions], missing)

    def _add_jitter(self, start: int, steps_ns: Int64Array, is_step: BoolArray) -> None:
        period_ns = self._steps.period_ns
        nbr_windows = len(steps_ns) // _JITTER_WINDOW
        if nbr_windows == 0:
            return
        whole = slice(0, nbr_windows * _JITTER_WINDOW)
        is_beat = is_step & (steps_ns > 0) & (2 * steps_ns < 3 * period_ns)
        off_ns = np.where(is_beat, np.abs(steps_ns - period_ns), 0)[whole].reshape(nbr_windows, -1)
        beats = np.maximum(np.count_nonzero(is_beat[whole].reshape(nbr_windows, -1), axis=1), 1)
        # A mean distance m of normal steps is a standard deviation of 1.2533 m.
        spread_ns = 1.2533 * off_ns.sum(axis=1) / beats
        windows = np.flatnonzero(spread_ns > self._limit_ns)
        self.jitter.add(windows + start // _JITTER_WINDOW, spread_ns[windows])


def _repeats(model: ClockModel, runs: Runs) -> Iterator[ClockFault]:
    for first, last, count in zip(runs.firsts.tolist(), runs.lasts.tolist(), runs.counts.tolist(), strict=True):
        yield fault(model, ClockFaultKind.DUPLICATE_STAMPS, first, last + 1, 0, count)


def _steps_back(model: ClockModel, runs: Runs) -> Iterator[ClockFault]:
    """Stamps before the one of the message before, up to where the stamps reach new time again."""
    stamps_ns = model.stamps_ns
    highest, passed, reached = np.iinfo(np.int64).min, 0, 0
    for number, (first, end) in enumerate(zip(runs.firsts.tolist(), runs.lasts.tolist(), strict=True)):
        before, highest = highest, max(highest, int(stamps_ns[passed : end + 1].max()))
        passed = end + 1
        if highest > before or reached <= end:
            reached = _first_above(stamps_ns, highest, end)
        last = max(reached - 1, end + 1)
        evidence = {
            "nbr_steps": int(runs.counts[number]),
            "from_ns": int(stamps_ns[first]),
            "to_ns": int(stamps_ns[first + 1]),
        }
        size_ns = int(runs.least[number])
        yield fault(model, ClockFaultKind.BACKWARD_STAMP, first + 1, last, size_ns, last - first, **evidence)


def _first_above(values: Int64Array, limit: int, start: int) -> int:
    """Position of the first value from ``start`` on that is larger; the number of values where none is."""
    for first, end in blocks(len(values), start):
        found = np.flatnonzero(values[first:end] > limit)
        if len(found):
            return first + int(found[0])
    return len(values)


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
            if model.channel not in found and are_equal(model.stamps_ns, models[channel].stamps_ns):
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


def _holes(model: ClockModel, runs: Runs) -> Iterator[ClockFault]:
    """Where an even channel left out beats; holes that are near each other are told together."""
    for number, (first, last) in enumerate(zip(runs.firsts.tolist(), runs.lasts.tolist(), strict=True)):
        start_ns, end_ns = (int(model.times_ns[i]) for i in (first, last + 1))
        evidence = {
            "nbr_holes": int(runs.counts[number]),
            "period_ns": model.steps.period_ns,
            "first_message": first + 1,
        }
        yield ClockFault(
            ClockFaultKind.MISSING_MESSAGES, model.channel, model.modality, start_ns + 1, max(end_ns, start_ns + 2),
            model.basis, int(runs.largest[number]), int(runs.sums[number]), canonical_json(evidence),
        )  # fmt: skip


def _jitter(model: ClockModel, found: _Collected) -> Iterator[ClockFault]:
    """Stretches of messages whose steps scatter by more than a share of the period."""
    period_ns, nbr_steps = model.steps.period_ns, len(model.stamps_ns) - 1
    runs = found.jitter.runs
    for number, (first, last) in enumerate(zip(runs.firsts.tolist(), runs.lasts.tolist(), strict=True)):
        start, end = max(first - 1, 0) * _JITTER_WINDOW, min((last + 2) * _JITTER_WINDOW, nbr_steps)
        ends = [p for a, b in blocks(end, start) for p in found.first_and_last_off(a, b)]
        start, end = (ends[0], ends[-1] + 1) if ends else (start, end)
        size_ns = round(float(runs.largest[number]))
        yield fault(model, ClockFaultKind.JITTER, start, end, size_ns, end - start + 1, period_ns=period_ns)
