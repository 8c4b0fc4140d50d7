"""Applies the repairs that rules name to the times of a drive, and says so in every row that they change.

A repair sees one object and channel at a time (docs/decisions/0014). Payload rows keep the time that was recorded:
``sample_data.timestamp_ns`` is the repaired one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import Modality, TimestampBasis
from scenelake.synchronise.clock_model import ClockModel, model_times
from scenelake.synchronise.clock_rules import ClockRule, Repair, rule_for
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import LEFT_OUT, Stream, column_ns
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.epochs import misreading_of
from scenelake.timebase.slots import SLOT_NS

CLOCK_POLICY = "clock_policy"
_END_NS = np.iinfo(np.int64).max // SLOT_NS * SLOT_NS
_MILLI = 1_000


@dataclass(slots=True)
class _Times:
    """Times of one channel in one object, in recording order; repairs replace them.

    Attributes:
        left_out: (n,) position in ``_REASONS``, -1 for messages that stay.
    """

    channel: str
    modality: Modality
    ruling_ns: Int64Array
    basis: str
    log_ns: Int64Array | None
    publish_ns: Int64Array | None
    config: SynchroniseConfig
    left_out: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))

    def model(self) -> ClockModel:
        return model_times(self.channel, self.modality, self.ruling_ns, self.log_ns, self.basis, self.config)


_REASONS = ("duplicate_stamp", "backward_stamp")


def repair_times(
    index: pa.Table, tables: Mapping[str, pa.Table], streams: Mapping[str, Stream], config: SynchroniseConfig
) -> tuple[pa.Table, dict[str, pa.Table]]:
    """The index and the small tables of a drive with repaired times; both as they are where no rule fits.

    Args:
        index: in recording order.
        tables: decoded tables; rows follow their message.
        streams: of the index.

    Returns:
        The index, with columns ``clock_policy`` and ``left_out_because`` where anything was repaired; the tables.
    """
    rules = {s.channel: rule_for(config.clock_rules, s.channel, s.modality) for s in streams.values()}
    if not any(rules.values()) or not len(index):
        return index, dict(tables)
    recorded_ns = column_ns(index, "timestamp_ns")
    repaired_ns = recorded_ns.copy()
    policies = np.full(len(index), -1, np.int64)
    bases = np.full(len(index), -1, np.int64)
    left_out = np.full(len(index), -1, np.int64)
    objects = index["object_sha256"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    names = sorted({rule.name for rule in rules.values() if rule is not None and rule.name})
    for channel, rule in rules.items():
        if rule is None or rule.name is None:
            continue
        for rows, times in _by_object(streams[channel], objects, config):
            basis = times.basis
            is_changed = _repair(times, rule) | (times.basis != basis)
            changed = rows[is_changed]
            repaired_ns[rows], left_out[rows] = times.ruling_ns, times.left_out
            policies[changed] = names.index(rule.name)
            if times.basis != basis:
                bases[changed] = list(TimestampBasis).index(TimestampBasis(times.basis))
    shifted = _shifted(tables, index, repaired_ns - recorded_ns)
    return _with_columns(index, repaired_ns, bases, policies, names, left_out), shifted


def _by_object(stream: Stream, objects: Int64Array, config: SynchroniseConfig) -> list[tuple[Int64Array, _Times]]:
    of_rows = objects[stream.rows]
    found = []
    for number in np.unique(of_rows).tolist():
        mine = of_rows == number
        log_ns, publish_ns = (None if t is None else t[mine] for t in (stream.log_ns, stream.publish_ns))
        times = _Times(
            stream.channel,
            stream.modality,
            stream.recorded_ns[mine],
            stream.timestamp_basis,
            log_ns,
            publish_ns,
            config,
            np.full(int(np.count_nonzero(mine)), -1, np.int64),
        )
        found.append((stream.rows[mine], times))
    return found


def _repair(times: _Times, rule: ClockRule) -> BoolArray:
    """Applies a rule's repairs in order; which messages are not as before."""
    before_ns = times.ruling_ns
    for repair in rule.repairs:
        repaired = _REPAIRS[repair](times, rule)
        # A time that nothing can be made of (before 1970 or after 2262) is worse than the recorded one.
        if repaired is not None and bool(((repaired >= 0) & (repaired < _END_NS)).all()):
            times.ruling_ns = repaired
    return np.asarray((times.ruling_ns != before_ns) | (times.left_out >= 0))


def _follow(name: TimestampBasis) -> Callable[[_Times, ClockRule], Int64Array | None]:
    def follow(times: _Times, _: ClockRule) -> Int64Array | None:
        chosen = times.log_ns if name is TimestampBasis.LOG else times.publish_ns
        if chosen is not None:
            times.basis = str(name)
        return chosen

    return follow


def _shift(times: _Times, rule: ClockRule) -> Int64Array:
    return times.ruling_ns + (rule.shift_ns or 0)


def _correct_epoch(times: _Times, _: ClockRule) -> Int64Array | None:
    if times.log_ns is None:
        return None
    soonest = int(np.argmin(times.log_ns - times.ruling_ns))
    found = misreading_of(int(times.ruling_ns[soonest]), int(times.log_ns[soonest]))
    return None if found is None else times.ruling_ns * found.scale + found.shift_ns


def _remove_jumps(times: _Times, _: ClockRule) -> Int64Array | None:
    model = times.model()
    if not model.has_log_clock or times.log_ns is None:
        return None
    excess_ns = np.array(model.excesses_ns(), np.int64)
    # Noise between alike settings is no reason to move a stamp.
    excess_ns[np.abs(excess_ns) <= times.config.min_clock_jump_ns] = 0
    return times.ruling_ns - _in_recording_order(times.log_ns, np.repeat(excess_ns, [len(s) for s in model.segments]))


def _remove_offset(times: _Times, rule: ClockRule) -> Int64Array | None:
    model = times.model()
    if not model.has_log_clock or times.log_ns is None:
        return None
    least_ns = np.concatenate([s.line.at(model.times_ns[s.start : s.end]) for s in model.segments])
    return times.ruling_ns + _in_recording_order(times.log_ns, least_ns) - (rule.latency_ns or 0)


def _in_recording_order(log_ns: Int64Array, by_arrival: Int64Array) -> Int64Array:
    """Undoes the order of arrival that a clock's model is in."""
    result = np.empty_like(by_arrival)
    result[np.argsort(log_ns, kind="stable")] = by_arrival
    return result


def _retime(times: _Times, rule: ClockRule) -> Int64Array:
    rate_mhz = round((rule.rate_hz or 1.0) * _MILLI)
    beats = np.arange(len(times.ruling_ns), dtype=np.int64)
    seconds, rest = np.divmod(beats * _MILLI, rate_mhz)
    return np.asarray(times.ruling_ns[0] + seconds * 1_000_000_000 + rest * 1_000_000_000 // rate_mhz)


def _leave_out(reason: str) -> Callable[[_Times, ClockRule], Int64Array | None]:
    def leave_out(times: _Times, _: ClockRule) -> None:
        highest = np.maximum.accumulate(times.ruling_ns)[:-1]
        steps = times.ruling_ns[1:] - (times.ruling_ns[:-1] if reason == _REASONS[0] else highest)
        is_bad = steps == 0 if reason == _REASONS[0] else steps < 0
        times.left_out[1:][is_bad & (times.left_out[1:] < 0)] = _REASONS.index(reason)

    return leave_out


_REPAIRS: dict[Repair, Callable[[_Times, ClockRule], Int64Array | None]] = {
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


def _with_columns(
    index: pa.Table,
    repaired_ns: Int64Array,
    bases: Int64Array,
    policies: Int64Array,
    names: list[str],
    left_out: Int64Array,
) -> pa.Table:
    known = pa.array([str(b) for b in TimestampBasis]).take(pa.array(bases, mask=bases < 0))
    basis = pc.coalesce(known, index["timestamp_basis"].combine_chunks())
    for name, column in (("timestamp_ns", pa.array(repaired_ns)), ("timestamp_basis", basis)):
        position = index.column_names.index(name)
        index = index.set_column(position, index.schema.field(position), column)
    policy = pa.array(names, pa.string()).take(pa.array(policies, mask=policies < 0))
    reason = pa.array(_REASONS, pa.string()).take(pa.array(left_out, mask=left_out < 0))
    return index.append_column(CLOCK_POLICY, policy).append_column(LEFT_OUT, reason)


def _shifted(tables: Mapping[str, pa.Table], index: pa.Table, moved_ns: Int64Array) -> dict[str, pa.Table]:
    """Rows of the small tables moved by as much as their message."""
    moved = np.flatnonzero(moved_ns)
    ids = index["sample_data_id"].take(pa.array(moved)).combine_chunks()
    shifted = {}
    for name, table in tables.items():
        shifted[name] = table
        if not len(table) or not len(moved):
            continue
        found = pc.index_in(table["sample_data_id"].combine_chunks(), value_set=ids)
        by_ns = pc.fill_null(pa.array(moved_ns[moved]).take(found), 0)
        position = table.column_names.index("timestamp_ns")
        column = pc.add(table["timestamp_ns"].combine_chunks(), by_ns)
        shifted[name] = table.set_column(position, table.schema.field(position), column)
    return shifted
