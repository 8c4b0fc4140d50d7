"""What keyframes may match, channel by channel: prepared once, looked up scene by scene."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import Modality
from scenelake.synchronise.assign import Assignment
from scenelake.synchronise.match import VALUE_COLUMNS, Candidates, near_positions, pose_candidates, with_values
from scenelake.synchronise.row_sources import Rows
from scenelake.synchronise.streams import DriveStreams, Stream, one_chunk, rows_by_channel
from scenelake.synchronise.values import payload_rows
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.blocks import compress, count_where, positions_where
from scenelake.timebase.scratch import Scratch

FAST_TABLES = {Modality.IMU: "imu", Modality.ROBOT_STATE: "robot_state", Modality.EGO_POSE: "ego_pose"}
_PAYLOAD = ("sample_data_id", "channel", "timestamp_ns")


@dataclass(frozen=True, slots=True)
class ChannelCandidates:
    """One channel's rows, and those of them that are in a scene, which alone can match."""

    stream: Stream
    modality: Modality
    every: Candidates
    assigned: Candidates


def matched_modality(stream: Stream, pose_channels: frozenset[str]) -> Modality:
    """What a channel is matched as: a transform channel that carries ego poses is one of ego poses."""
    is_pose = stream.modality is Modality.TRANSFORM and stream.channel in pose_channels
    return Modality.EGO_POSE if is_pose else stream.modality


class CandidateSource:
    """Prepares the candidates of a drive's channels.

    Values of fast sensors are read where a keyframe can meet them alone, by one pass over their table in which its
    rows are held against the messages one by one. A channel whose rows are not those of its messages in order, or that
    has no value where a keyframe needs one, is looked up as a whole: some 200 bytes of memory a message.

    Args:
        drive: its index.
        streams: with the times that rule.
        derived: ``ego_pose`` rows found in transforms.
        fast: tables of ``FAST_TABLES`` by name.
        targets_ns: (m,) keyframes of the drive.
    """

    def __init__(
        self,
        drive: DriveStreams,
        streams: Mapping[str, Stream],
        derived: pa.Table,
        fast: Mapping[str, Rows],
        assignment: Assignment,
        targets_ns: Int64Array,
        scratch: Scratch,
    ) -> None:
        self._drive = drive
        self._derived = derived
        self._fast = fast
        self._assignment = assignment
        self._scratch = scratch
        self._near = {
            s.channel: self._near_values(s, targets_ns) for s in streams.values() if s.modality in FAST_TABLES
        }
        for modality, table in FAST_TABLES.items():
            self._read_near(modality, fast[table])

    def of(self, stream: Stream, modality: Modality) -> ChannelCandidates:
        """The candidates of a channel that is matched as a modality."""
        if modality is not stream.modality:
            every = pose_candidates(stream, self._drive, self._derived)
        elif modality in FAST_TABLES:
            near = self._near[stream.channel].candidates()
            every = near if near is not None else self._looked_up(stream, modality)
        else:
            every = Candidates(stream.decoded_rows, stream.decoded_ns)
        assigned = self._assigned(every)
        self._scratch.drop_pages()
        return ChannelCandidates(stream, modality, every, assigned)

    def _assigned(self, every: Candidates) -> Candidates:
        def is_inside(start: int, end: int) -> BoolArray:
            return self._assignment.is_inside(every.timestamps_ns[start:end])

        if every.values is not None:
            return every.where(is_inside(0, len(every)))
        if count_where(len(every), is_inside) == len(every):
            return every
        rows, stamps_ns = (compress(a, is_inside, self._scratch) for a in (every.rows, every.timestamps_ns))
        return Candidates(rows, stamps_ns)

    def _near_values(self, stream: Stream, targets_ns: Int64Array) -> "_NearValues":
        stamps_ns = stream.decoded_ns
        near = [near_positions(targets_ns, stamps_ns)]

        def is_inside(start: int, end: int) -> BoolArray:
            return self._assignment.is_inside(stamps_ns[start:end])

        assigned_ns = compress(stamps_ns, is_inside, self._scratch)
        if len(assigned_ns) < len(stamps_ns):
            positions = positions_where(len(stamps_ns), is_inside, self._scratch)
            near.append(positions[near_positions(targets_ns, assigned_ns)])
        return _NearValues(self._drive, stream, np.unique(np.concatenate(near)), self._scratch)

    def _read_near(self, modality: Modality, rows: Rows) -> None:
        if not any(n.stream.modality is modality for n in self._near.values()):
            return
        for batch in rows.batches((*_PAYLOAD[:2], *VALUE_COLUMNS[modality])):
            ids = one_chunk(batch["sample_data_id"])
            for channel, found in zip(*rows_by_channel(batch), strict=True):
                if channel in self._near:
                    self._near[channel].add(ids, found, batch)

    def _looked_up(self, stream: Stream, modality: Modality) -> Candidates:
        parts = list(self._rows_of(stream.channel, modality))
        table = pa.concat_tables(parts).combine_chunks() if parts else None
        if table is None:
            return Candidates(stream.decoded_rows[:0], stream.decoded_ns[:0], np.empty((0, 0)))
        found = payload_rows(table, stream.channel, self._drive.ids_of(stream.decoded_rows))
        known = found >= 0
        return with_values(
            modality, stream.decoded_rows[known], stream.decoded_ns[known], table.take(pa.array(found[known]))
        )

    def _rows_of(self, channel: str, modality: Modality) -> Iterator[pa.Table]:
        rows = self._fast[FAST_TABLES[modality]]
        names = (*_PAYLOAD, *VALUE_COLUMNS[modality])
        schema = pa.schema([rows.schema.field(name) for name in names])
        for batch in rows.batches(names):
            mine = dict(zip(*rows_by_channel(batch), strict=True)).get(channel)
            if mine is not None:
                yield batch.take(pa.array(mine)).cast(schema)


class _NearValues:
    """Values of some messages of a channel, picked from its table while that is read.

    Args:
        near: (k,) positions among the decoded messages in time order, ascending.
    """

    def __init__(self, drive: DriveStreams, stream: Stream, near: Int64Array, scratch: Scratch) -> None:
        self.stream = stream
        self._rows, self._times_ns = stream.decoded_rows[near], stream.decoded_ns[near]
        recorded = drive.by_channel[stream.channel]
        in_order = compress(recorded.rows, lambda start, end: recorded.is_decoded[start:end], scratch)
        self._count = len(in_order)
        numbers = np.searchsorted(in_order, self._rows)
        self._order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._order]
        self._ids = drive.ids_of(self._rows[self._order])
        self._parts: list[pa.Table] = []
        self._widths: Counter[int] = Counter()
        self._passed = 0
        self._is_aligned = True

    def add(self, ids: pa.Array, found: Int64Array, batch: pa.Table) -> None:
        """Picks from the channel's next rows, which are ``found`` in a batch that has these ids."""
        low, high = np.searchsorted(self._numbers, [self._passed, self._passed + len(found)]).tolist()
        if low < high:
            picked = pa.array(found[self._numbers[low:high] - self._passed])
            self._is_aligned &= ids.take(picked).equals(self._ids.slice(low, high - low))
            self._parts.append(batch.select(VALUE_COLUMNS[self.stream.modality]).take(picked))
        self._passed += len(found)
        if self.stream.modality is Modality.ROBOT_STATE:
            lengths = pc.list_value_length(one_chunk(batch["position"]).take(pa.array(found))).drop_null()
            self._widths.update({row["values"]: row["counts"] for row in lengths.value_counts().to_pylist()})

    def candidates(self) -> Candidates | None:
        """The messages that were asked for, in time order; None where their rows or values are not all there."""
        if not self._is_aligned or self._passed != self._count or not self._parts:
            return None
        back = np.argsort(self._order, kind="stable")
        table = pa.concat_tables(self._parts).take(pa.array(back))
        # The joints of most rows, as it is where all rows are looked at; of as many rows the fewer.
        width = min(self._widths, key=lambda joints: (-self._widths[joints], joints), default=None)
        made = with_values(self.stream.modality, self._rows, self._times_ns, table, width)
        return made if len(made) == len(self._rows) else None
