"""Synchronises one drive: pure, from Arrow tables to Arrow tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts import ids
from scenelake.contracts.stages import UNASSIGNED_SCHEMA, ChannelClock, ClockFault, DropVerdict
from scenelake.contracts.tables import GOLD, decoded_schema
from scenelake.geometry.arrow_poses import pose_array
from scenelake.synchronise.anchor import anchor_columns
from scenelake.synchronise.assign import (
    Assignment,
    assign,
    assigned_table,
    data_stretches,
    measure_clocks,
    unassigned_reasons,
)
from scenelake.synchronise.clock_faults import find_faults
from scenelake.synchronise.clock_model import ClockModel, model_clock
from scenelake.synchronise.clock_tables import fault_table, segment_table
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import (
    COMPENSATED_METADATA,
    DriveInput,
    SynchronisedDrive,
    drive_metadata,
    recording_sequence,
)
from scenelake.synchronise.ego_poses import find_ego_poses
from scenelake.synchronise.geometry import ChannelCalibrations, calibrate
from scenelake.synchronise.keyframes import keyframes_of
from scenelake.synchronise.repair import repair_times
from scenelake.synchronise.rows import choose, table_from_columns, table_of
from scenelake.synchronise.scenes import EpisodeMark, choose_reference
from scenelake.synchronise.streams import LEFT_OUT, Stream, column_ns, recording_order, streams_of
from scenelake.synchronise.sync_index import DriveSamples, build_sync_error, build_sync_index, sample_columns
from scenelake.synchronise.transforms import transform_tree
from scenelake.synchronise.values import rows_by_id
from scenelake.timebase.arrays import Int64Array
from scenelake.timebase.slots import drive_date_of


def synchronise_drive(drive: DriveInput, config: SynchroniseConfig) -> SynchronisedDrive:
    """Makes every table of a drive that synchronise owns (``contracts.stages``), and its clocks.

    A drive without a scene has empty scene tables and all of its messages in ``unassigned``.
    """
    index = recording_order(drive.index)
    recorded = streams_of(index)
    metadata = drive_metadata(recording_sequence(drive.objects, drive.plan))
    models, faults = _clocks_as_recorded(recorded, drive, metadata.get("clock"), config)
    index, repaired = repair_times(index, drive.tables, recorded, config)
    drive = replace(drive, tables=repaired)
    timestamps_ns = column_ns(index, "timestamp_ns")
    streams = streams_of(index) if LEFT_OUT in index.column_names else recorded
    assignment = assign(drive.plan.drive_id, streams, timestamps_ns, _episode_marks(drive.tables["episode"]), config)
    clocks = measure_clocks(streams, assignment.reference, config, models)
    tree = transform_tree(drive.tables["transform"])
    ego = find_ego_poses(drive.tables, tree, config)
    tables = dict(drive.tables) | {"ego_pose": pa.concat_tables([drive.tables["ego_pose"], ego.derived])}
    dates = [drive_date_of(s.window.start_ns) for s in assignment.scenes]
    samples, sample = _samples(drive.plan.drive_id, assignment, timestamps_ns, dates, config)
    rig_id = metadata.get("rig_id") or drive.plan.vehicle
    compensated = frozenset(metadata.get(COMPENSATED_METADATA, "").split())
    sensors, calibrations = calibrate(
        streams, drive.tables["calibration"], tree, rig_id=rig_id, compensated=compensated, config=config
    )
    start_ns, exclusive_end_ns = _drive_span(drive, assignment, timestamps_ns)
    drive_date = drive_date_of(start_ns)
    of_drive = {"drive_id": drive.plan.drive_id, "drive_date": drive_date}
    anchor = anchor_columns(ego, drive.tables["gnss"], tree, config)
    drive_row = (
        _drive_row(drive, metadata, assignment)
        | anchor
        | {
            "rig_id": rig_id,
            "start_ns": start_ns,
            "exclusive_end_ns": exclusive_end_ns,
        }
    )
    made = {
        "drive": table_of([drive_row | of_drive], GOLD["drive"].schema),
        "raw_object": table_of([row | of_drive for row in _raw_objects(drive)], GOLD["raw_object"].schema),
        "scene": _scenes(drive, metadata, assignment, samples, dates, config),
        "sample": sample,
        "sample_data": _sample_data(
            drive.plan.drive_id, index, timestamps_ns, streams, assignment, calibrations, dates
        ),
        "sync_index": build_sync_index(index, streams, tables, assignment, samples, config),
        "calibrated_sensor": table_of([row | of_drive for row in sensors], GOLD["calibrated_sensor"].schema),
        "sync_error": build_sync_error(streams, assignment),
        "clock_fault": fault_table(drive.plan.drive_id, drive_date, faults, config),
        "clock_segment": segment_table(drive.plan.drive_id, models),
        "unassigned": _unassigned(index, streams, clocks, assignment),
        "ego_pose": _ego_poses(drive.plan.drive_id, ego.derived, index, assignment, dates),
    }
    return SynchronisedDrive(made, clocks)


def _clocks_as_recorded(
    streams: Mapping[str, Stream], drive: DriveInput, said_of_clock: str | None, config: SynchroniseConfig
) -> tuple[dict[str, ClockModel], list[ClockFault]]:
    """Clocks and their faults before any repair."""
    models = {s.channel: model for s in streams.values() if (model := model_clock(s, config)) is not None}
    is_episodic = any(mark.event == "start" for mark in _episode_marks(drive.tables["episode"]))
    clocks = measure_clocks(streams, choose_reference(streams, is_episodic=is_episodic), config)
    return models, find_faults(models, clocks, config, said_of_clock)


def _episode_marks(table: pa.Table) -> list[EpisodeMark]:
    rows = table.select(["timestamp_ns", "event", "episode_index", "task"]).to_pylist()
    return [EpisodeMark(**row) for row in rows if row["event"] in ("start", "end")]


def _drive_span(drive: DriveInput, assignment: Assignment, timestamps_ns: Int64Array) -> tuple[int, int]:
    """Of the scenes; of all messages where there is no scene; of the drop's arrival where there is no message."""
    if assignment.extents:
        return assignment.extents[0].start_ns, max(e.exclusive_end_ns for e in assignment.extents)
    if len(timestamps_ns):
        return int(timestamps_ns.min()), int(timestamps_ns.max()) + 1
    received_ns = min(o.drop.received_at_ns for o in drive.objects)
    return received_ns, received_ns + 1


def _drive_row(drive: DriveInput, metadata: Mapping[str, str], assignment: Assignment) -> dict[str, Any]:
    copied = ("robot_type", "embodiment", "software_version", "location")
    return {name: metadata.get(name) for name in copied} | {
        "fleet": drive.plan.fleet,
        "robot_id": drive.plan.vehicle,
        "drive_name": drive.plan.drive,
        "reference_channel": assignment.reference.channel if assignment.reference else None,
    }


def _raw_objects(drive: DriveInput) -> list[dict[str, Any]]:
    rows = []
    for item in sorted(drive.objects, key=lambda o: o.drop.drop_id):
        problems = [
            f"{p.reason}: {p.detail} [bytes {p.start_byte}, {p.exclusive_end_byte})" for p in item.outcome.problems
        ]
        rows.append(
            {
                "object_sha256": item.outcome.object_sha256,
                "drop_id": item.drop.drop_id,
                "recording_id": item.outcome.object_sha256,
                "uri": item.drop.uri,
                "s3_version_id": item.drop.version_id,
                "etag": item.drop.etag,
                "size_bytes": item.outcome.size_bytes,
                "format": item.outcome.format,
                "received_at_ns": item.drop.received_at_ns,
                "is_salvaged": item.outcome.verdict is DropVerdict.SALVAGED,
                "problem": "; ".join(problems) or None,
            }
        )
    return rows


def _samples(
    drive_id: str,
    assignment: Assignment,
    timestamps_ns: Int64Array,
    dates: Sequence[date],
    config: SynchroniseConfig,
) -> tuple[DriveSamples, pa.Table]:
    reference_ns = assignment.reference.decoded_ns if assignment.reference else None
    keyframes = tuple(
        keyframes_of(scene, stretches, reference_ns, config)
        for scene, stretches in zip(assignment.scenes, data_stretches(assignment, timestamps_ns), strict=True)
    )
    rows = []
    for scene_id, chosen, drive_date in zip(assignment.scene_ids, keyframes, dates, strict=True):
        stamps = chosen.timestamps_ns.tolist()
        names: list[str | None] = [ids.sample_id(scene_id, ns) for ns in stamps]
        links = zip([None, *names[:-1]], names, [*names[1:], None], strict=True) if names else ()
        for number, ((before, name, after), ns) in enumerate(zip(links, stamps, strict=True)):
            rows.append(
                {
                    "sample_id": name,
                    "scene_id": scene_id,
                    "drive_id": drive_id,
                    "frame_index": number,
                    "timestamp_ns": ns,
                    "prev_sample_id": before,
                    "next_sample_id": after,
                    "is_key_frame": bool(chosen.is_key_frame[number]),
                    "drive_date": drive_date,
                }
            )
    counts = [len(k.timestamps_ns) for k in keyframes]
    scene_of_sample = np.repeat(np.arange(len(counts)), counts)
    columns = sample_columns(drive_id, assignment.scene_ids, dates, scene_of_sample, [r["sample_id"] for r in rows])
    return DriveSamples(keyframes, columns), table_of(rows, GOLD["sample"].schema)


def _scenes(
    drive: DriveInput,
    metadata: Mapping[str, str],
    assignment: Assignment,
    samples: DriveSamples,
    dates: Sequence[date],
    config: SynchroniseConfig,
) -> pa.Table:
    language = drive.tables["language"].sort_by("timestamp_ns")
    said_ns = column_ns(language, "timestamp_ns")
    rows = []
    for number, (scene, extent) in enumerate(zip(assignment.scenes, assignment.extents, strict=True)):
        said = language["text"].slice(*_offset_and_length(extent.slice_of(said_ns))).to_pylist()
        is_episode = scene.kind == "episode"
        spoken = next((text for text in said if text), None) if is_episode else None
        rows.append(
            {
                "scene_id": assignment.scene_ids[number],
                "drive_id": drive.plan.drive_id,
                "start_ns": extent.start_ns,
                "exclusive_end_ns": extent.exclusive_end_ns,
                "kind": scene.kind,
                "task": scene.task or spoken or metadata.get("task"),
                "description": metadata.get("description"),
                "nbr_samples": len(samples.keyframes[number].timestamps_ns),
                "segmentation_policy": config.segmentation_policy,
                "drive_date": dates[number],
            }
        )
    return table_of(rows, GOLD["scene"].schema)


def _offset_and_length(run: slice) -> tuple[int, int]:
    return run.start, run.stop - run.start


def _sample_data(
    drive_id: str,
    index: pa.Table,
    timestamps_ns: Int64Array,
    streams: Mapping[str, Stream],
    assignment: Assignment,
    calibrations: Mapping[str, ChannelCalibrations],
    dates: Sequence[date],
) -> pa.Table:
    calibration_of_row = np.full(len(timestamps_ns), -1, np.int64)
    calibration_ids: list[str] = []
    for channel, known in calibrations.items():
        rows = streams[channel].rows
        calibration_of_row[rows] = len(calibration_ids) + known.positions(timestamps_ns[rows])
        calibration_ids.extend(known.calibrated_sensor_ids)
    moving = _moving_extrinsics(len(timestamps_ns), streams, calibrations)
    assigned, rows = assigned_table(index, assignment)
    scene_of_row = assignment.scene_of_row[rows]
    schema = GOLD["sample_data"].schema
    columns = {name: assigned[name] for name in assigned.column_names if name in schema.names} | {
        "scene_id": choose(scene_of_row, assignment.scene_ids, pa.string()),
        "drive_id": pa.repeat(drive_id, len(rows)),
        "drive_date": choose(scene_of_row, dates, pa.date32()),
        "calibrated_sensor_id": choose(calibration_of_row[rows], calibration_ids, pa.string()),
    }
    if moving is not None:
        columns["ego_from_sensor"] = moving.take(pa.array(rows))
    return table_from_columns(columns, schema, len(rows))


def _moving_extrinsics(
    nbr_rows: int, streams: Mapping[str, Stream], calibrations: Mapping[str, ChannelCalibrations]
) -> pa.Array | None:
    """``ego_from_sensor`` over the index of the sensors that move against the ego; None where none does."""
    moving = {channel: known.moving.values for channel, known in calibrations.items() if known.moving is not None}
    if not moving:
        return None
    pose_of_row = np.zeros(nbr_rows, np.int64)
    first = 1
    for channel, values in moving.items():
        pose_of_row[streams[channel].rows] = first + np.arange(len(values))
        first += len(values)
    return pose_array(np.concatenate([np.full((1, 7), np.nan), *moving.values()])).take(pa.array(pose_of_row))


def _unassigned(
    index: pa.Table, streams: Mapping[str, Stream], clocks: Sequence[ChannelClock], assignment: Assignment
) -> pa.Table:
    codes, reasons = unassigned_reasons(streams, clocks, assignment)
    if LEFT_OUT in index.column_names:
        left_out = index[LEFT_OUT].combine_chunks().dictionary_encode()
        code = np.asarray(pc.fill_null(left_out.indices, -1).to_numpy(zero_copy_only=False))
        codes = np.where(code >= 0, len(reasons) + code, codes)
        reasons = [*reasons, *left_out.dictionary.to_pylist()]
    rows = np.flatnonzero(codes >= 0)
    outside = index.select(["sample_data_id", "object_sha256", "channel", "timestamp_ns"]).take(pa.array(rows))
    columns = {name: outside[name] for name in outside.column_names}
    columns["reason"] = choose(codes[rows], reasons, pa.string())
    return table_from_columns(columns, UNASSIGNED_SCHEMA, len(rows))


def _ego_poses(
    drive_id: str, derived: pa.Table, index: pa.Table, assignment: Assignment, dates: Sequence[date]
) -> pa.Table:
    """Poses from transforms or GNSS, of the messages that are in a scene, as gold ``ego_pose`` rows."""
    if not len(derived):
        return GOLD["ego_pose"].schema.empty_table()
    rows = rows_by_id(index, derived["sample_data_id"].combine_chunks())
    scene_of_row = np.where(rows >= 0, assignment.scene_of_row[np.maximum(rows, 0)], -1)
    inside = np.flatnonzero(scene_of_row >= 0)
    kept = derived.take(pa.array(inside))
    columns = {name: kept[name] for name in decoded_schema("ego_pose").names} | {
        "scene_id": choose(scene_of_row[inside], assignment.scene_ids, pa.string()),
        "drive_id": pa.repeat(drive_id, len(inside)),
        "drive_date": choose(scene_of_row[inside], dates, pa.date32()),
    }
    return table_from_columns(columns, GOLD["ego_pose"].schema, len(inside))
