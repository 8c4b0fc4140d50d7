"""``sample_data`` and ``unassigned``: what becomes of every message of the index, some rows at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import MessageStatus
from scenelake.contracts.stages import UNASSIGNED_SCHEMA
from scenelake.contracts.tables import GOLD, MESSAGE_INDEX
from scenelake.geometry.arrow_poses import pose_array
from scenelake.synchronise.assign import Assignment
from scenelake.synchronise.geometry import POSE_WIDTH, ChannelCalibrations
from scenelake.synchronise.repair import Repaired
from scenelake.synchronise.rows import choose
from scenelake.synchronise.streams import Stream, column_ns, one_chunk, rows_by_channel
from scenelake.timebase.arrays import BoolArray, Int64Array

READ = tuple(n for n in MESSAGE_INDEX.columns if n in (*GOLD["sample_data"].columns, *UNASSIGNED_SCHEMA.names))


@dataclass(frozen=True, slots=True)
class MessageRows:
    """What decides what becomes of a message.

    Attributes:
        streams: with the times that rule, by channel.
        repaired: None where nothing was repaired.
        dates: of the scenes.
        usual_reason: why messages are in no scene, of channels that ``reasons`` does not name.
    """

    drive_id: str
    streams: Mapping[str, Stream]
    assignment: Assignment
    repaired: Repaired | None
    calibrations: Mapping[str, ChannelCalibrations]
    dates: Sequence[date]
    usual_reason: str
    reasons: Mapping[str, str]

    def of(self, batch: pa.Table, start: int) -> tuple[pa.Table, pa.Table]:
        """Rows of ``sample_data`` and of ``unassigned``, in the order of the index; texts may be dictionary-encoded.

        Args:
            batch: columns ``READ`` of the index's rows from ``start`` on.
        """
        times_ns = column_ns(batch, "timestamp_ns")
        is_usable = np.asarray(pc.not_equal(one_chunk(batch["status"]), MessageStatus.UNDECODABLE).to_numpy(False))
        left_out = np.full(len(batch), -1, np.int8)
        if self.repaired is not None:
            batch, times_ns = self._with_repairs(batch, start, times_ns, self.repaired)
            left_out = self.repaired.left_out[start : start + len(batch)]
            is_usable &= left_out < 0
        scenes = np.where(is_usable, self.assignment.scene_of(times_ns), -1)
        inside = self._sample_data(batch, start, times_ns, scenes)
        return inside, self._unassigned(batch, is_usable & (scenes < 0), left_out)

    def _with_repairs(
        self, batch: pa.Table, start: int, recorded_ns: Int64Array, repaired: Repaired
    ) -> tuple[pa.Table, Int64Array]:
        times_ns = repaired.times_of(start, recorded_ns)
        basis = repaired.basis_of(start, one_chunk(batch["timestamp_basis"]).cast(pa.string()))
        for name, column in (("timestamp_ns", pa.array(times_ns)), ("timestamp_basis", basis)):
            batch = batch.set_column(batch.column_names.index(name), name, column)
        policies = repaired.policies[start : start + len(batch)]
        return batch.append_column("clock_policy", choose(policies, repaired.names, pa.string())), times_ns

    def _sample_data(self, batch: pa.Table, start: int, times_ns: Int64Array, scenes: Int64Array) -> pa.Table:
        is_assigned = scenes >= 0
        codes, names, poses = self._calibrated(batch, start, times_ns)
        if not is_assigned.all():
            batch, scenes, codes = batch.filter(pa.array(is_assigned)), scenes[is_assigned], codes[is_assigned]
            poses = poses if poses is None else poses[is_assigned]
        first = int(scenes.min(initial=len(self.dates)))
        scene_ids = self.assignment.scene_ids[first : int(scenes.max(initial=-1)) + 1]
        columns: dict[str, Any] = {name: one_chunk(batch[name]) for name in batch.column_names} | {
            "scene_id": _encoded(scenes - first, scene_ids),
            "drive_id": _encoded(np.zeros(len(batch), np.int64), [self.drive_id]),
            "drive_date": choose(scenes, self.dates, pa.date32()),
            "calibrated_sensor_id": _encoded(codes, names),
        }
        if poses is not None:
            columns["ego_from_sensor"] = pose_array(poses)
        return _table(columns, GOLD["sample_data"].schema, len(batch))

    def _calibrated(
        self, batch: pa.Table, start: int, times_ns: Int64Array
    ) -> tuple[Int64Array, list[str], np.ndarray | None]:
        """Which calibration applies to each row, and where the sensor was on the ego where it moves against it."""
        codes, names = np.full(len(batch), -1, np.int64), list[str]()
        is_moving = any(known.moving is not None for known in self.calibrations.values())
        poses = np.full((len(batch), POSE_WIDTH), np.nan) if is_moving else None
        for channel, rows in zip(*rows_by_channel(batch), strict=True):
            known = self.calibrations.get(channel)
            if known is None:
                continue
            codes[rows] = len(names) + known.positions(times_ns[rows])
            names.extend(known.calibrated_sensor_ids)
            if poses is not None and known.moving is not None:
                of_stream = self.streams[channel].rows
                position = np.minimum(np.searchsorted(of_stream, rows + start), len(of_stream) - 1)
                is_there = of_stream[position] == rows + start
                poses[rows[is_there]] = known.moving[position[is_there]]
        return codes, names, poses

    def _unassigned(self, batch: pa.Table, is_outside: BoolArray, left_out: np.ndarray) -> pa.Table:
        rows = np.flatnonzero(is_outside | (left_out >= 0))
        outside = batch.select([n for n in UNASSIGNED_SCHEMA.names if n in batch.column_names]).take(pa.array(rows))
        columns: dict[str, Any] = {name: one_chunk(outside[name]) for name in outside.column_names}
        reasons = [self.usual_reason, *self.reasons.values()]
        codes = np.zeros(len(batch), np.int64)
        for number, channel in enumerate(self.reasons, start=1):
            codes[np.asarray(pc.equal(one_chunk(batch["channel"]), channel).to_numpy(False))] = number
        if self.repaired is not None:
            codes = np.where(left_out >= 0, len(reasons) + left_out.astype(np.int64), codes)
            reasons.extend(self.repaired.reasons)
        columns["reason"] = choose(codes[rows], reasons, pa.string())
        return _table(columns, UNASSIGNED_SCHEMA, len(rows))


def _encoded(codes: Int64Array, values: Sequence[str]) -> pa.DictionaryArray:
    """``values[code]`` for each code, null for -1: (n,) dictionary-encoded."""
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(values), pa.string()))


def _table(columns: Mapping[str, Any], schema: pa.Schema, nbr_rows: int) -> pa.Table:
    """A table with the schema's columns; those that are not given are null."""
    made = [columns[f.name] if f.name in columns else pa.nulls(nbr_rows, f.type) for f in schema]
    fields = [f.with_type(column.type) for f, column in zip(schema, made, strict=True)]
    return pa.Table.from_arrays(made, schema=pa.schema(fields))
