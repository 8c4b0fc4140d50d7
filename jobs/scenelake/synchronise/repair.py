"""Applies the repairs that rules name to the times of a drive, and says so in every row that they change.

A repair sees one object and channel at a time (docs/decisions/0014), and looks at its messages block by block. Payload
rows keep the time that was recorded: ``sample_data.timestamp_ns`` is the repaired one.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import Modality, TimestampBasis
from scenelake.synchronise.clock_model import ClockModel, model_times
from scenelake.synchronise.clock_rules import ClockRule, Repair, rule_for
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import DriveStreams, Stream
from scenelake.synchronise.values import rows_by_id
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.blocks import blocks, compress, sorting_order
from scenelake.timebase.epochs import misreading_of
from scenelake.timebase.scratch import IN_MEMORY, Scratch
from scenelake.timebase.slots import SLOT_NS

_END_NS = np.iinfo(np.int64).max // SLOT_NS * SLOT_NS
_MILLI = 1_000
_BASES = tuple(TimestampBasis)
_REASONS = ("duplicate_stamp", "backward_stamp")

_Times = Callable[[int, int], Int64Array]
"""Times of messages ``[start, end)``."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What repairs made of a drive's times. Arrays are over the index and may lie in files.

    Attributes:
        names: of the rules that repaired.
        timestamps_ns: (n,) int64; 0 where nothing was looked at.
        policies: (n,) int8 position in ``names``, -1 for rows that are as recorded.
        bases: (n,) int8 position in ``TimestampBasis`` of the clock that rules instead, -1 where none does.
        left_out: (n,) int8 position in ``reasons``, -1 for rows that stay.
        is_seen: (n,) bool: the row's channel has a rule.
    """

    names: tuple[str, ...]
    timestamps_ns: Int64Array
    policies: np.ndarray
    bases: np.ndarray
    left_out: np.ndarray
    is_seen: BoolArray
    reasons: tuple[str, ...] = _REASONS

    def times_of(self, start: int, recorded_ns: Int64Array) -> Int64Array:
        """Ruling times of rows from ``start`` on, given those that were recorded."""
        run = slice(start, start + len(recorded_ns))
        return np.where(self.is_seen[run], self.timestamps_ns[run], recorded_ns)

    def basis_of(self, start: int, recorded: pa.Array) -> pa.Array:
        """``timestamp_basis`` of rows from ``start`` on, given what was recorded."""
        codes = self.bases[start : start + len(recorded)]
        return pc.coalesce(pa.array([str(b) for b in _BASES]).take(pa.array(codes, mask=codes < 0)), recorded)


@dataclass(slots=True)
class _Object:
    """Times of one channel in one object, in recording order; repairs replace them.

    Attributes:
        left_out: (n,) int8 position in ``_REASONS``, -1 for messages that stay.
    """

    channel: str
    modality: Modality
    ruling_ns: Int64Array
    basis: str
    log_ns: Int64Array | None
    publish_ns: Int64Array | None
    left_out: np.ndarray
    config: SynchroniseConfig
    scratch: Scratch

    def __len__(self) -> int:
        return len(self.ruling_ns)

    def model(self) -> ClockModel:
        return model_times(
            self.channel, self.modality, self.ruling_ns, self.log_ns, self.basis, self.config, self.scratch
        )


def repair_times(
    drive: DriveStreams, config: SynchroniseConfig, scratch: Scratch = IN_MEMORY
) -> tuple[dict[str, Stream], Repaired | None]:
    """The streams of a drive with repaired times, and what was repaired; as they are, and None, where no rule fits."""
    rules = {s.channel: rule_for(config.clock_rules, s.channel, s.modality) for s in drive.by_channel.values()}
    names = tuple(sorted({rule.name for rule in rules.values() if rule is not None and rule.name}))
    streams = dict(drive.by_channel)
    if not names:
        return streams, None
    policies, bases, left_out = (scratch.array(len(drive), np.int8) for _ in range(3))
    for codes in (policies, bases, left_out):
        codes.fill(-1)
    timestamps_ns, is_seen = scratch.array(len(drive), np.int64), scratch.array(len(drive), np.bool_)
    repaired = Repaired(names, timestamps_ns, policies, bases, left_out, is_seen)
    for channel, rule in rules.items():
        if rule is not None and rule.name is not None:
            streams[channel] = _repair_channel(streams[channel], rule, repaired, config, scratch)
    return streams, repaired


def _repair_channel(
    stream: Stream, rule: ClockRule, repaired: Repaired, config: SynchroniseConfig, scratch: Scratch
) -> Stream:
    ruling_ns = scratch.array(len(stream), np.int64)
    left_out = scratch.array(len(stream), np.int8)
    left_out.fill(-1)
    moved: Counter[str] = Counter()
    for first, last in pairwise((*stream.objects, len(stream))):
        run = slice(first, last)
        log_ns, publish_ns = (None if t is None else t[run] for t in (stream.log_ns, stream.publish_ns))
        times = _Object(
            stream.channel, stream.modality, stream.recorded_ns[run], stream.timestamp_basis, log_ns, publish_ns,
            left_out[run], config, scratch,
        )  # fmt: skip
        _repair(times, rule)
        is_other_clock = times.basis != stream.timestamp_basis
        moved[times.basis] += (last - first) if is_other_clock else 0
        for start, end in blocks(last, first):
            rows, made_ns = stream.rows[start:end], times.ruling_ns[start - first : end - first]
            ruling_ns[start:end] = made_ns
            repaired.timestamps_ns[rows], repaired.is_seen[rows] = made_ns, True
            repaired.left_out[rows] = left_out[start:end]
            changed = rows[(made_ns != stream.recorded_ns[start:end]) | (left_out[start:end] >= 0) | is_other_clock]
            repaired.policies[changed] = repaired.names.index(rule.name or "")
            if is_other_clock:
                repaired.bases[rows] = _BASES.index(TimestampBasis(times.basis))
    return _without_left_out(stream, ruling_ns, left_out, moved, scratch)


def _without_left_out(
    stream: Stream, ruling_ns: Int64Array, left_out: np.ndarray, moved: Counter[str], scratch: Scratch
) -> Stream:
    def is_kept(start: int, end: int) -> BoolArray:
        return np.asarray(left_out[start:end] < 0)

    rows, kept_ns = (compress(a, is_kept, scratch) for a in (stream.rows, ruling_ns))
    is_decoded = compress(stream.is_decoded, is_kept, scratch)
    log_ns, publish_ns = (
        None if t is None else compress(t, is_kept, scratch) for t in (stream.log_ns, stream.publish_ns)
    )
    bases = Counter(stream.bases)
    bases.update(moved)
    bases[stream.timestamp_basis] -= sum(moved.values())
    kept = replace(stream, rows=rows, is_decoded=is_decoded, log_ns=log_ns, publish_ns=publish_ns, bases=bases)
    return kept.sorted_by(kept_ns, scratch)


def _repair(times: _Object, rule: ClockRule) -> None:
    """Applies a rule's repairs in order."""
    for repair in rule.repairs:
        made = _REPAIRS[repair](times, rule)
        if made is None:
            continue
        repaired_ns = times.scratch.array(len(times), np.int64)
        for start, end in blocks(len(times)):
            repaired_ns[start:end] = made(start, end)
        # A time that nothing can be made of (before 1970 or after 2262) is worse than the recorded one.
        if int(repaired_ns.min()) >= 0 and int(repaired_ns.max()) < _END_NS:
            times.ruling_ns = repaired_ns


def _of(values: Int64Array) -> _Times:
    return lambda start, end: values[start:end]


def _follow(name: TimestampBasis) -> Callable[[_Object, ClockRule], _Times | None]:
    def follow(times: _Object, _: ClockRule) -> _Times | None:
        chosen = times.log_ns if name is TimestampBasis.LOG else times.publish_ns
        if chosen is None:
            return None
        times.basis = str(name)
        return _of(chosen)

    return follow


def _shift(times: _Object, rule: ClockRule) -> _Times:
    before_ns = times.ruling_ns
    return lambda start, end: before_ns[start:end] + (rule.shift_ns or 0)


def _correct_epoch(times: _Object, _: ClockRule) -> _Times | None:
    log_ns, before_ns = times.log_ns, times.ruling_ns
    if log_ns is None:
        return None
    least = []
    for start, end in blocks(len(times)):
        delays_ns = log_ns[start:end] - before_ns[start:end]
        at = int(delays_ns.argmin())
        least.append((int(delays_ns[at]), start + at))
    soonest = min(least)[1]
    found = misreading_of(int(before_ns[soonest]), int(log_ns[soonest]))
    return None if found is None else lambda start, end: before_ns[start:end] * found.scale + found.shift_ns


def _remove_jumps(times: _Object, _: ClockRule) -> _Times | None:
    model = times.model()
    if not model.has_log_clock or times.log_ns is None:
        return None
    excess_ns = np.array(model.excesses_ns(), np.int64)
    # Noise between alike settings is no reason to move a stamp.
    excess_ns[np.abs(excess_ns) <= times.config.min_clock_jump_ns] = 0
    return _less(times, model, lambda segment, at_ns: np.full(len(at_ns), excess_ns[segment]))


def _remove_offset(times: _Object, rule: ClockRule) -> _Times | None:
    model = times.model()
    if not model.has_log_clock or times.log_ns is None:
        return None
    latency_ns = rule.latency_ns or 0
    return _less(times, model, lambda segment, at_ns: latency_ns - model.segments[segment].line.at(at_ns))


def _less(times: _Object, model: ClockModel, error_ns: Callable[[int, Int64Array], Int64Array]) -> _Times:
    """Times less the error of their segment's clock, which is told for arrivals; segments are in order of arrival."""
    before_ns = times.ruling_ns
    errors_ns = times.scratch.array(len(times), np.int64)
    for number, segment in enumerate(model.segments):
        for start, end in blocks(segment.end, segment.start):
            errors_ns[start:end] = error_ns(number, model.times_ns[start:end])
    if times.log_ns is not None and (order := sorting_order(times.log_ns, times.scratch)) is not None:
        by_arrival, errors_ns = errors_ns, times.scratch.array(len(times), np.int64)
        errors_ns[order] = by_arrival
    return lambda start, end: before_ns[start:end] - errors_ns[start:end]


def _retime(times: _Object, rule: ClockRule) -> _Times:
    rate_mhz = round((rule.rate_hz or 1.0) * _MILLI)
    first_ns = int(times.ruling_ns[0])

    def beats(start: int, end: int) -> Int64Array:
        seconds, rest = np.divmod(np.arange(start, end, dtype=np.int64) * _MILLI, rate_mhz)
        return np.asarray(first_ns + seconds * 1_000_000_000 + rest * 1_000_000_000 // rate_mhz)

    return beats


def _leave_out(reason: str) -> Callable[[_Object, ClockRule], None]:
    def leave_out(times: _Object, _: ClockRule) -> None:
        highest_ns = int(times.ruling_ns[0])
        for start, end in blocks(len(times) - 1):
            here_ns = times.ruling_ns[start : end + 1]
            highest = np.maximum(np.maximum.accumulate(here_ns), highest_ns)
            highest_ns = int(highest[-1])
            is_bad = here_ns[1:] == here_ns[:-1] if reason == _REASONS[0] else here_ns[1:] < highest[:-1]
            left_out = times.left_out[start + 1 : end + 1]
            left_out[is_bad & (left_out < 0)] = _REASONS.index(reason)

    return leave_out


_REPAIRS: dict[Repair, Callable[[_Object, ClockRule], _Times | None]] = {
    Repair.FOLLOW_LOG_TIME: _follow(TimestampBasis.LOG),
    Repair.FOLLOW_PUBLISH_TIME: _follow(TimestampBasis.PUBLISH),
    Repair.SHIFT: _shift,
    Repair.CORRECT_EPOCH: _correct_epoch,
    Repair.REMOVE_JUMPS: _remove_jumps,
    Repair.REMOVE_OFFSET: _remove_offset,
    Repair.RETIME: _retime,
    Repair.DROP_DUPLICATES: _leave_out("duplicate_stamp"),
    Repair.DROP_BACKWARD: _leave_out("backward_stamp"),
}


def shift_rows(table: pa.Table, drive: DriveStreams, repaired: Repaired) -> pa.Table:
    """Rows of a decoded table moved by as much as their message.

    Args:
        drive: its messages as recorded.
    """
    by_ns = np.zeros(len(table), np.int64)
    for channel in table["channel"].unique().to_pylist():
        stream = drive.by_channel.get(channel)
        if stream is None or not len(stream) or not repaired.is_seen[stream.rows[0]]:
            continue
        mine = np.flatnonzero(pc.equal(table["channel"], channel).to_numpy())
        found = rows_by_id(drive.ids_of(stream.rows), table["sample_data_id"].take(pa.array(mine)).combine_chunks())
        known = found >= 0
        moved_ns = repaired.timestamps_ns[stream.rows] - stream.recorded_ns
        by_ns[mine[known]] = moved_ns[found[known]]
    if not by_ns.any():
        return table
    position = table.column_names.index("timestamp_ns")
    column = pc.add(table["timestamp_ns"].combine_chunks(), pa.array(by_ns))
    return table.set_column(position, table.schema.field(position), column)
