"""Signals that findings complain of, from the rows of a held scene: what to draw, and which part is at fault."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.arrow_vectors import list_matrix
from scenelake.geometry.wgs84 import enu_from_geodetic
from scenelake.review.timeline import marks_of
from scenelake.timebase.arrays import FloatArray, Int64Array

MAX_PANELS = 6
_MAX_JOINTS = 6
_LARGEST = 1e15
"""No quantity here is larger in its unit; what is would leave nothing else to be seen."""

_SPEED_STEP_NS = 200_000_000
"""Speeds of poses are told over it: from one pose to the next they are noise."""

_SILENT = ("pass", "unknown")
_WORST_FIRST = ("reject", "quarantine", "warn")

Interval = tuple[int, int]
ReadRows = Callable[[str], pa.Table]


class Signal(StrEnum):
    """What is drawn for a finding."""

    INERTIAL = "inertial"
    SPEED = "speed"
    POSE = "pose"
    FIX = "fix"
    JOINTS = "joints"
    CLOCK = "clock"


_SIGNAL_OF = (
    ("imu.", Signal.INERTIAL), ("motion.turn_rate", Signal.INERTIAL), ("motion.acceleration", Signal.INERTIAL),
    ("calibration.imu_", Signal.INERTIAL), ("motion.speed_", Signal.SPEED), ("motion.", Signal.POSE),
    ("gnss.", Signal.FIX), ("robot.", Signal.JOINTS), ("time.", Signal.CLOCK), ("duplicate_stamps", Signal.CLOCK),
    ("backward_jumps", Signal.CLOCK), ("clock_offset", Signal.CLOCK), ("epoch", Signal.CLOCK),
    ("implausible_rate", Signal.CLOCK),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trace:
    """A line: values (n,) at times (n,), ascending; NaN leaves a gap."""

    label: str
    stamps_ns: Int64Array
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines on one pair of axes."""

    unit: str
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """What findings on one channel complain of.

    Attributes:
        said: what each of them says.
        marks_ns: intervals at fault, half-open; none where it is the scene as a whole.
    """

    channel: str
    said: tuple[str, ...]
    plots: tuple[Plot, ...]
    marks_ns: tuple[Interval, ...]


def signal_of(check_name: str) -> Signal | None:
    """What shows a check's finding; None where pictures and the timeline do."""
    return next((signal for start, signal in _SIGNAL_OF if check_name.startswith(start)), None)


def has_signals(checks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any of a scene's findings (rows of ``qc_result``) has a panel."""
    return any(True for _ in _complaints(checks))


def panels(checks: Sequence[Mapping[str, Any]], rows: ReadRows) -> Iterator[Panel]:
    """At most ``MAX_PANELS``, those of the worst findings first.

    Findings on a channel that name the same time, or none, share one.

    Args:
        checks: rows of ``qc_result`` of the scene.
        rows: reads a gold table of the scene.
    """
    clocks = cache(lambda channel: _clock_marks(rows, channel))
    alike: dict[tuple[Signal, str | None, tuple[Interval, ...]], list[Mapping[str, Any]]] = {}
    for signal, row in _complaints(checks):
        channel = row.get("channel")
        told = clocks(channel) if signal is Signal.CLOCK else marks_of(row.get("evidence"), row.get("measured"))
        alike.setdefault((signal, channel, tuple(sorted(set(told)))), []).append(row)
    for (signal, channel, marks_ns), findings in list(alike.items())[:MAX_PANELS]:
        evidence = [_evidence(row) for row in findings]
        plots = tuple(plot for plot in _PLOTS[signal](rows, channel, evidence) if plot.traces)
        said = tuple(str(row.get("reason") or row["check_name"]) for row in findings)
        yield Panel(channel or "the recorder", said, plots, marks_ns)


def _complaints(checks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Signal, Mapping[str, Any]]]:
    """Findings that have a signal, the worst first."""
    found = [row for row in checks if row["verdict"] not in _SILENT]
    order = {verdict: place for place, verdict in enumerate(_WORST_FIRST)}
    for row in sorted(found, key=lambda r: (order.get(r["verdict"], 9), r["check_name"], r.get("channel") or "")):
        signal = signal_of(row["check_name"])
        if signal is not None and (row.get("channel") or signal is Signal.CLOCK):
            yield signal, row


def _evidence(row: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        told = json.loads(row.get("evidence") or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _of(rows: ReadRows, table: str, channel: str | None) -> tuple[pa.Table, Int64Array]:
    """A channel's rows of a table and their times (n,), ascending."""
    found = rows(table)
    mine = found.filter(pc.equal(found["channel"], pa.scalar(channel, pa.string()))).sort_by("timestamp_ns")
    return mine, np.asarray(mine["timestamp_ns"].to_numpy(), np.int64)


def _seen(values: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(values) <= _LARGEST, values, np.nan)


def _axes(stamps_ns: Int64Array, values: FloatArray, names: Sequence[str]) -> tuple[Trace, ...]:
    """A line for each column of (n, k) values that has any."""
    seen = _seen(values)
    return tuple(
        Trace(name, stamps_ns, seen[:, k]) for k, name in enumerate(names) if np.isfinite(seen[:, k]).any()
    )  # fmt: skip


def _inertial(rows: ReadRows, channel: str | None, _: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    mine, stamps_ns = _of(rows, "imu", channel)
    for column, unit in (
        ("linear_acceleration_m_s2", "specific force, m/s²"),
        ("angular_velocity_rad_s", "turn rate, rad/s"),
    ):
        yield Plot(unit, _axes(stamps_ns, list_matrix(mine[column], 3), "xyz"))


def _pose(rows: ReadRows, channel: str | None, _: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    stamps_ns, poses = _poses(rows, channel)
    known = poses[np.isfinite(poses).all(axis=1)]
    start_m = known[0, :2] if len(known) else np.zeros(2)
    yield Plot("position from the first, m", _axes(stamps_ns, poses[:, :2] - start_m, "xy"))
    qw, qx, qy, qz = poses[:, 3:].T
    heading_rad = np.asarray(np.arctan2(2.0 * (qw * qz + qx * qy), 1.0 - 2.0 * (qy**2 + qz**2)), np.float64)
    known_at = np.flatnonzero(np.isfinite(heading_rad))
    heading_rad[known_at] = np.unwrap(heading_rad[known_at])
    yield Plot("heading, rad", _axes(stamps_ns, heading_rad[:, None], ("heading",)))


def _poses(rows: ReadRows, channel: str | None) -> tuple[Int64Array, FloatArray]:
    mine, stamps_ns = _of(rows, "ego_pose", channel)
    return stamps_ns, _seen(pose_matrix(mine["world_from_ego"]))


def _speed(rows: ReadRows, channel: str | None, evidence: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    """The channel's speed and that of the poses that it was compared with."""
    own = _reported_speeds(rows, channel)
    posed = next((str(e["pose_channel"]) for e in evidence if e.get("pose_channel")), None)
    grid_ns, speed_m_s = _speed_of_poses(*_poses(rows, posed))
    if not len(grid_ns):
        yield Plot("speed, m/s", own)
        return
    yield Plot("speed, m/s", (*own, Trace(f"poses, {posed}", grid_ns, speed_m_s)))
    less = (
        Trace(one.label, one.stamps_ns, one.values - np.interp(one.stamps_ns, grid_ns, speed_m_s)) for one in own
    )  # fmt: skip
    yield Plot("less the poses' speed, m/s", tuple(less))


def _reported_speeds(rows: ReadRows, channel: str | None) -> tuple[Trace, ...]:
    mine, stamps_ns = _of(rows, "gnss", channel)
    if len(mine):
        speed = np.asarray(mine["ground_speed_m_s"].to_numpy(zero_copy_only=False), np.float64)
        return _axes(stamps_ns, speed[:, None], ("receiver",))
    mine, stamps_ns = _of(rows, "ego_pose", channel)
    if len(mine):
        twist = list_matrix(mine["linear_velocity_m_s"], 3)
        return _axes(stamps_ns, np.linalg.norm(twist, axis=1)[:, None], ("twist",))
    mine, stamps_ns = _of(rows, "robot_state", channel)
    names = _names(mine)
    chosen = [k for k, name in enumerate(names) if "speed" in name.lower() or "velocity" in name.lower()]
    values = list_matrix(mine["position"], len(names))
    return _axes(stamps_ns, values[:, chosen], [names[k] for k in chosen])


def _speed_of_poses(stamps_ns: Int64Array, poses: FloatArray) -> tuple[Int64Array, FloatArray]:
    keep = np.array(np.isfinite(poses[:, :3]).all(axis=1), np.bool_)
    keep[1:] &= np.diff(stamps_ns) > 0
    at_ns, places_m = stamps_ns[keep], poses[keep, :3]
    if len(at_ns) < 2:
        return at_ns[:0], places_m[:0, 0]
    grid_ns = np.arange(at_ns[0], at_ns[-1] + 1, _SPEED_STEP_NS, dtype=np.int64)
    path_m = np.stack([np.interp(grid_ns - at_ns[0], at_ns - at_ns[0], places_m[:, k]) for k in range(3)], axis=1)
    steps_m = np.linalg.norm(np.diff(path_m, axis=0), axis=1)
    return grid_ns[:-1] + _SPEED_STEP_NS // 2, steps_m * 1e9 / _SPEED_STEP_NS


def _fix(rows: ReadRows, channel: str | None, _: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    mine, stamps_ns = _of(rows, "gnss", channel)
    columns = [mine[name].to_numpy(zero_copy_only=False) for name in ("latitude_deg", "longitude_deg", "altitude_m")]
    fixes = np.stack(columns, axis=1).astype(np.float64)
    fixes[:, 2] = np.nan_to_num(fixes[:, 2])
    with np.errstate(invalid="ignore"):
        fixes[~(np.abs(fixes[:, :2]) <= (90.0, 180.0)).all(axis=1)] = np.nan
    known = fixes[np.isfinite(fixes).all(axis=1)]
    if len(known):
        enu_m = enu_from_geodetic(fixes, known[0])
        yield Plot("position from the first, m", _axes(stamps_ns, enu_m[:, :2], ("east", "north")))
        steps_m = np.linalg.norm(np.diff(enu_m[:, :2], axis=0), axis=1)
        yield Plot("step from fix to fix, m", _axes(stamps_ns[1:], steps_m[:, None], ("step",)))


def _joints(rows: ReadRows, channel: str | None, evidence: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    """The joints that findings name, of this channel and of that which it was compared with; else the liveliest."""
    named = {str(e["joint"]) for e in evidence if e.get("joint")}
    others = [str(e["state_channel"]) for e in evidence if e.get("state_channel")]
    positions: list[Trace] = []
    for name in dict.fromkeys([channel, *others]):
        mine, stamps_ns = next(
            (found for table in ("robot_state", "action") if len((found := _of(rows, table, name))[0])), (None, None)
        )
        if mine is None or stamps_ns is None:
            continue
        values = _seen(list_matrix(mine["position"]))
        words = _names(mine)
        labels = [words[k] if k < len(words) else f"value {k}" for k in range(values.shape[1])]
        chosen = [k for k, label in enumerate(labels) if label in named] or _liveliest(values)
        shown = [f"{labels[k]} ({name})" if others else labels[k] for k in chosen]
        positions += _axes(stamps_ns, values[:, chosen], shown)
    yield Plot("position", tuple(positions))
    yield Plot("step", tuple(Trace(t.label, t.stamps_ns[1:], np.diff(t.values)) for t in positions))


def _liveliest(values: FloatArray) -> list[int]:
    finite = np.isfinite(values)
    spread = np.where(finite, values, -np.inf).max(axis=0, initial=-np.inf)
    spread = spread - np.where(finite, values, np.inf).min(axis=0, initial=np.inf)
    return sorted(np.argsort(-spread, kind="stable")[:_MAX_JOINTS].tolist())


def _names(rows: pa.Table) -> list[str]:
    given = pc.drop_null(rows["names"].slice(0, 1))
    return [str(word or "") for word in given[0].as_py()] if len(given) else []


def _clock(rows: ReadRows, channel: str | None, _: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    """What the sensor's clock shows less the recorder's, and the steps of its stamps in the order of recording."""
    found = rows("sample_data")
    leads, steps = [], []
    for name in _spoken_of(found, channel):
        mine = found.filter(pc.equal(found["channel"], pa.scalar(name))).sort_by("log_time_ns")
        at_ns = np.asarray(mine["timestamp_ns"].to_numpy(), np.int64)
        log_ns = np.asarray(pc.coalesce(mine["log_time_ns"], mine["timestamp_ns"]).to_numpy(), np.int64)
        is_known = np.asarray(pc.is_valid(mine["sensor_time_ns"]).to_numpy(), np.bool_)
        sensor_ns = np.asarray(pc.fill_null(mine["sensor_time_ns"], 0).to_numpy(), np.int64)
        lead_ns = np.where(is_known, sensor_ns - log_ns, 0)
        if is_known.any():
            usual_ns = int(np.median(lead_ns[is_known]))
            values = np.where(is_known, (lead_ns - usual_ns) / 1e6, np.nan)
            order = np.argsort(at_ns, kind="stable")
            leads.append(Trace(f"{name}, less {usual_ns / 1e6:,.1f} ms", at_ns[order], values[order]))
        stamps_ns = np.where(is_known, sensor_ns, at_ns)
        order = np.argsort(at_ns[1:], kind="stable")
        steps.append(Trace(name, at_ns[1:][order], np.diff(stamps_ns)[order] / 1e6))
    yield Plot("stamp less log time, ms", tuple(leads))
    yield Plot("step from stamp to stamp, ms", tuple(steps))


def _spoken_of(messages: pa.Table, channel: str | None) -> list[str]:
    """The channel; for the recorder's clock, which all share, those that speak most."""
    if channel is not None:
        return [channel] if pc.any(pc.equal(messages["channel"], pa.scalar(channel))).as_py() else []
    counts = messages.group_by("channel").aggregate([("timestamp_ns", "count")]).to_pylist()
    ranked = sorted(counts, key=lambda c: (-c["timestamp_ns_count"], c["channel"]))
    return [count["channel"] for count in ranked[:_MAX_JOINTS]]


def _clock_marks(rows: ReadRows, channel: str | None) -> list[Interval]:
    """Clock faults of a channel in its ruling time: their intervals are in the clock that they were found in."""
    messages = rows("sample_data")
    mine = messages if channel is None else messages.filter(pc.equal(messages["channel"], pa.scalar(channel)))
    found: list[Interval] = []
    for fault in rows("clock_fault").to_pylist():
        if fault["channel"] != channel:
            continue
        leads = pc.drop_null(pc.subtract(mine[f"{fault['timestamp_basis']}_time_ns"], mine["timestamp_ns"]))
        lead_ns = int(np.median(np.asarray(leads.to_numpy(), np.int64))) if len(leads) else 0
        found.append((fault["start_ns"] - lead_ns, fault["exclusive_end_ns"] - lead_ns))
    return found


_PLOTS: Mapping[Signal, Callable[[ReadRows, str | None, Sequence[Mapping[str, Any]]], Iterator[Plot]]] = {
    Signal.INERTIAL: _inertial, Signal.SPEED: _speed, Signal.POSE: _pose, Signal.FIX: _fix, Signal.JOINTS: _joints,
    Signal.CLOCK: _clock,
}  # fmt: skip
