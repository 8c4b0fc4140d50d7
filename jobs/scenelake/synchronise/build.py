"""Synchronises one drive: pure, from rows of tables to rows of tables, some at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts import ids
from scenelake.contracts.stages import CLOCK_SEGMENT_SCHEMA, SYNC_ERROR_SCHEMA, UNASSIGNED_SCHEMA, ChannelClock
from scenelake.contracts.tables import GOLD, decoded_schema
from scenelake.geometry.transform_tree import TransformTree
from scenelake.synchronise.anchor import anchor_columns
from scenelake.synchronise.assign import Assignment, assign, data_stretches, measure_clocks, unassigned_reasons
from scenelake.synchronise.candidates import CandidateSource, matched_modality
from scenelake.synchronise.clock_faults import find_faults
from scenelake.synchronise.clock_model import model_clock
from scenelake.synchronise.clock_tables import fault_table, segment_table
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drive_rows import drive_columns, raw_object_rows, scene_rows
from scenelake.synchronise.drives import (
    COMPENSATED_METADATA,
    DriveInput,
    SynchronisedDrive,
    drive_metadata,
    recording_sequence,
)
from scenelake.synchronise.ego_poses import EgoPoses, find_ego_poses
from scenelake.synchronise.geometry import ChannelCalibrations, calibrate
from scenelake.synchronise.keyframes import Keyframes, keyframes_of
from scenelake.synchronise.message_rows import READ, MessageRows
from scenelake.synchronise.repair import Repaired, repair_times, shift_rows
from scenelake.synchronise.row_sources import TableRows, read_all
from scenelake.synchronise.rows import choose, table_from_columns, table_of
from scenelake.synchronise.scenes import EpisodeMark, choose_reference
from scenelake.synchronise.streams import DriveStreams, Stream, column_ns, read_streams
from scenelake.synchronise.sync_index import (
    SceneSamples,
    build_sync_error,
    build_sync_index,
    measured_channels,
    sample_columns,
)
from scenelake.synchronise.transforms import transform_tree
from scenelake.synchronise.values import rows_by_id
from scenelake.timebase.scratch import IN_MEMORY, Scratch
from scenelake.timebase.slots import drive_date_of

SAMPLES_AT_ONCE = 4096
"""Samples of scenes that are matched together."""
SLOW_TABLES = ("transform", "gnss", "calibration", "episode", "language")
"""Tables that are in memory as a whole."""

Write = Callable[[str, pa.Table], None]
"""Takes some rows of a table, whose name it is told; texts may be dictionary-encoded."""

_HANDED_OVER = {
    "sync_error": SYNC_ERROR_SCHEMA, "unassigned": UNASSIGNED_SCHEMA, "clock_segment": CLOCK_SEGMENT_SCHEMA,
}  # fmt: skip
_MADE = (
    "drive", "raw_object", "scene", "sample", "sample_data", "sync_index", "calibrated_sensor", "sync_error",
    "clock_fault", "clock_segment", "unassigned", "ego_pose",
)  # fmt: skip


def made_schemas() -> dict[str, pa.Schema]:
    """The tables that synchronise leaves."""
    return {name: _HANDED_OVER[name] if name in _HANDED_OVER else GOLD[name].schema for name in _MADE}


def synchronise_drive(drive: DriveInput, config: SynchroniseConfig, scratch: Scratch = IN_MEMORY) -> SynchronisedDrive:
    """``synchronise_into`` with its tables in memory."""
    schemas = made_schemas()
    parts = {name: [schema.empty_table()] for name, schema in schemas.items()}
    clocks = synchronise_into(drive, config, lambda name, rows: parts[name].append(rows.cast(schemas[name])), scratch)
    return SynchronisedDrive({name: pa.concat_tables(rows).combine_chunks() for name, rows in parts.items()}, clocks)


def synchronise_into(
    drive: DriveInput, config: SynchroniseConfig, write: Write, scratch: Scratch
) -> tuple[ChannelClock, ...]:
    """Makes every table of a drive that synchronise owns (``contracts.stages``), and returns its clocks.

    A drive without a scene has empty scene tables and all of its messages in ``unassigned``.

    Where ``scratch`` has a folder memory does not grow with the messages: arrays as long as a channel lie in files, and
    the index and the tables of fast sensors are read and written some rows at a time. What is in memory as a whole
    grows slowly: scenes, what keyframes need, and ``SLOW_TABLES`` (docs/decisions/0018).
    """
    recorded = read_streams(drive.index, scratch)
    slow = {name: read_all(drive.tables[name]) for name in SLOW_TABLES}
    metadata = drive_metadata(recording_sequence(drive.objects, drive.plan))
    marks = _episode_marks(slow["episode"])
    is_episodic = any(mark.event == "start" for mark in marks)
    models = {}
    for stream in recorded.by_channel.values():
        model = model_clock(stream, config, scratch)
        if model is not None:
            models[stream.channel] = model
        scratch.drop_pages()
    reference = choose_reference(recorded.by_channel, is_episodic=is_episodic)
    clocks = measure_clocks(recorded.by_channel, reference, config, models)
    faults = find_faults(models, clocks, config, metadata.get("clock"))
    write("clock_segment", segment_table(drive.plan.drive_id, models))
    scratch.drop_pages()
    streams, repaired = repair_times(recorded, config, scratch)
    if repaired is not None:
        slow = {name: shift_rows(table, recorded, repaired) for name, table in slow.items()}
        marks = _episode_marks(slow["episode"])
    assignment = assign(drive.plan.drive_id, streams, marks, config)
    if repaired is not None:
        clocks = measure_clocks(streams, assignment.reference, config, models)
    made = _Drive(drive, slow, metadata, recorded, streams, repaired, assignment, config, scratch)
    write("clock_fault", fault_table(drive.plan.drive_id, made.drive_date, faults, config))
    made.write_drive(write)
    made.write_messages(write, clocks)
    made.write_samples(write)
    return clocks


def _episode_marks(table: pa.Table) -> list[EpisodeMark]:
    rows = table.select(["timestamp_ns", "event", "episode_index", "task"]).to_pylist()
    return [EpisodeMark(**row) for row in rows if row["event"] in ("start", "end")]


@dataclass(frozen=True)
class _Drive:
    """A drive whose clocks are known and whose scenes are cut.

    Attributes:
        slow: ``SLOW_TABLES``, at the times that rule.
        recorded: the drive's messages before any repair.
        streams: with the times that rule, by channel.
    """

    given: DriveInput
    slow: Mapping[str, pa.Table]
    metadata: Mapping[str, str]
    recorded: DriveStreams
    streams: Mapping[str, Stream]
    repaired: Repaired | None
    assignment: Assignment
    config: SynchroniseConfig
    scratch: Scratch

    @cached_property
    def drive_id(self) -> str:
        return self.given.plan.drive_id

    @cached_property
    def span_ns(self) -> tuple[int, int]:
        """Of the scenes; of all messages where there is no scene; of the drop's arrival where there is no message."""
        if extents := self.assignment.extents:
            return extents[0].start_ns, max(e.exclusive_end_ns for e in extents)
        if self.recorded.span_ns is None:
            received_ns = min(o.drop.received_at_ns for o in self.given.objects)
            return received_ns, received_ns + 1
        first_ns, last_ns = self.recorded.span_ns if self.repaired is None else self._repaired_span(self.repaired)
        return first_ns, last_ns + 1

    def _repaired_span(self, repaired: Repaired) -> tuple[int, int]:
        bounds: list[int] = []
        start = 0
        for batch in self.recorded.index.batches(["timestamp_ns"]):
            times_ns = repaired.times_of(start, column_ns(batch, "timestamp_ns"))
            bounds = [min([*bounds, int(times_ns.min())]), max([*bounds, int(times_ns.max())])]
            start += len(batch)
        return bounds[0], bounds[1]

    @cached_property
    def drive_date(self) -> date:
        return drive_date_of(self.span_ns[0])

    @cached_property
    def dates(self) -> list[date]:
        """Of the scenes."""
        return [drive_date_of(s.window.start_ns) for s in self.assignment.scenes]

    @cached_property
    def keyframes(self) -> tuple[Keyframes, ...]:
        """Of the scenes."""
        reference, scenes = self.assignment.reference, self.assignment.scenes
        reference_ns = reference.decoded_ns if reference is not None else None
        stretches = data_stretches(self.assignment, self.streams) if reference is None else [[] for _ in scenes]
        return tuple(
            keyframes_of(scene, held, reference_ns, self.config) for scene, held in zip(scenes, stretches, strict=True)
        )

    def write_drive(self, write: Write) -> None:
        """Writes what there is one row of, or a few, for the drive, a scene or a sensor; and derived poses."""
        of_drive = {"drive_id": self.drive_id, "drive_date": self.drive_date}
        start_ns, exclusive_end_ns = self.span_ns
        row = drive_columns(self.given, self.metadata, self.assignment) | of_drive
        row |= {"rig_id": self.rig_id, "start_ns": start_ns, "exclusive_end_ns": exclusive_end_ns}
        row |= anchor_columns(self.ego, self.slow["gnss"], self.tree, self.config)
        scenes = scene_rows(
            self.given, self.slow["language"], self.metadata, self.assignment, self.keyframes, self.dates, self.config
        )
        rows = {
            "drive": [row],
            "raw_object": [row | of_drive for row in raw_object_rows(self.given)],
            "scene": scenes,
            "calibrated_sensor": [row | of_drive for row in self.calibrations[0]],
        }
        for name, made in rows.items():
            write(name, table_of(made, GOLD[name].schema))
        write("ego_pose", self._derived_poses())

    def write_messages(self, write: Write, clocks: Sequence[ChannelClock]) -> None:
        """Writes what became of every message, in the order of the index."""
        usual, reasons = unassigned_reasons(clocks, self.assignment)
        rows = MessageRows(
            self.drive_id, self.streams, self.assignment, self.repaired, self.calibrations[1], self.dates, usual,
            reasons,
        )  # fmt: skip
        start = 0
        for batch in self.recorded.index.batches(READ):
            inside, outside = rows.of(batch, start)
            for name, made in (("sample_data", inside), ("unassigned", outside)):
                if len(made):
                    write(name, made)
            start += len(batch)
            self.scratch.drop_pages()

    def write_samples(self, write: Write) -> None:
        """Writes samples, what each channel has for them, and how well channels agree: some scenes at a time."""
        targets_ns = np.concatenate([np.empty(0, np.int64), *(k.timestamps_ns for k in self.keyframes)])
        fast = self.given.tables
        derived = self.ego.derived
        source = CandidateSource(self.recorded, self.streams, derived, fast, self.assignment, targets_ns, self.scratch)
        pose_channels = frozenset(derived["channel"].unique().to_pylist())
        matched = ((s, matched_modality(s, pose_channels)) for s in self.streams.values())
        channels = [source.of(s, m) for s, m in matched if m in self.config.rules] if len(targets_ns) else []
        measured = measured_channels(self.streams, self.assignment, self.scratch)
        self.scratch.drop_pages()
        for scenes in self._scenes_at_once():
            samples, rows = self._samples(scenes)
            write("sample", rows)
            write("sync_index", build_sync_index(self.recorded, channels, self.assignment, samples, self.config))
            write("sync_error", build_sync_error(measured, self.assignment, scenes))
            self.scratch.drop_pages()

    def _scenes_at_once(self) -> Iterator[range]:
        """Scenes in order, as many together as have ``SAMPLES_AT_ONCE`` samples."""
        first, count = 0, 0
        for number, keyframes in enumerate(self.keyframes):
            count += len(keyframes.timestamps_ns)
            if count >= SAMPLES_AT_ONCE or number + 1 == len(self.keyframes):
                yield range(first, number + 1)
                first, count = number + 1, 0

    def _samples(self, scenes: range) -> tuple[SceneSamples, pa.Table]:
        names: list[str] = []
        before: list[str | None] = []
        after: list[str | None] = []
        keyframes = self.keyframes[scenes.start : scenes.stop]
        for number, chosen in zip(scenes, keyframes, strict=True):
            scene_id = self.assignment.scene_ids[number]
            of_scene = [ids.sample_id(scene_id, ns) for ns in chosen.timestamps_ns.tolist()]
            names += of_scene
            before += [None, *of_scene][: len(of_scene)]
            after += [*of_scene[1:], None][: len(of_scene)]
        counts = [len(k.timestamps_ns) for k in keyframes]
        scene_of_sample = np.repeat(np.array(scenes, np.int64), counts)
        common = sample_columns(self.drive_id, self.assignment.scene_ids, self.dates, scene_of_sample, names)
        of_sample = common | {
            "prev_sample_id": pa.array(before, pa.string()),
            "next_sample_id": pa.array(after, pa.string()),
            "frame_index": pa.array(np.concatenate([np.arange(n) for n in counts])),
            "timestamp_ns": pa.array(np.concatenate([k.timestamps_ns for k in keyframes])),
            "is_key_frame": pa.array(np.concatenate([k.is_key_frame for k in keyframes])),
        }
        table = table_from_columns(of_sample, GOLD["sample"].schema, len(scene_of_sample))
        return SceneSamples(scenes, keyframes, common), table

    def _derived_poses(self) -> pa.Table:
        """Poses from transforms or GNSS, of the messages that are in a scene, as gold ``ego_pose`` rows."""
        derived = self.ego.derived
        scene_of_row = np.full(len(derived), -1, np.int64)
        for channel in derived["channel"].unique().to_pylist():
            mine = np.flatnonzero(np.asarray(pc.equal(derived["channel"], channel)))
            stream = self.streams[channel]
            wanted = derived["sample_data_id"].take(pa.array(mine)).combine_chunks()
            found = rows_by_id(self.recorded.ids_of(stream.rows), wanted)
            known = found >= 0
            scene_of_row[mine[known]] = self.assignment.scene_of(stream.recorded_ns[found[known]])
        inside = np.flatnonzero(scene_of_row >= 0)
        kept = derived.take(pa.array(inside))
        columns = {name: kept[name] for name in decoded_schema("ego_pose").names} | {
            "scene_id": choose(scene_of_row[inside], self.assignment.scene_ids, pa.string()),
            "drive_id": pa.repeat(self.drive_id, len(inside)),
            "drive_date": choose(scene_of_row[inside], self.dates, pa.date32()),
        }
        return table_from_columns(columns, GOLD["ego_pose"].schema, len(inside))

    @cached_property
    def rig_id(self) -> str:
        return self.metadata.get("rig_id") or self.given.plan.vehicle

    @cached_property
    def tree(self) -> TransformTree:
        return transform_tree(self.slow["transform"])

    @cached_property
    def ego(self) -> EgoPoses:
        poses = self.given.tables["ego_pose"]
        if self.repaired is not None:
            poses = TableRows(self._moved("ego_pose"))
        return find_ego_poses(poses, self.slow, lambda: self._moved("imu"), self.tree, self.config)

    def _moved(self, table: str) -> pa.Table:
        """The whole of a table, at the times that rule."""
        rows = read_all(self.given.tables[table])
        return rows if self.repaired is None else shift_rows(rows, self.recorded, self.repaired)

    @cached_property
    def calibrations(self) -> tuple[list[dict[str, Any]], dict[str, ChannelCalibrations]]:
        """Rows of ``calibrated_sensor``, and the calibrations of channels."""
        compensated = frozenset(self.metadata.get(COMPENSATED_METADATA, "").split())
        return calibrate(
            self.streams, self.slow["calibration"], self.tree, rig_id=self.rig_id, compensated=compensated,
            config=self.config, scratch=self.scratch,
        )  # fmt: skip
