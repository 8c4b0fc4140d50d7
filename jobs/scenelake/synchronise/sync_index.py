"""Builds the ``sync_index`` and ``sync_error`` tables of a drive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scenelake.contracts.columns import COLUMNS
from scenelake.contracts.stages import SYNC_ERROR_SCHEMA
from scenelake.contracts.tables import GOLD
from scenelake.synchronise.assign import Assignment
from scenelake.synchronise.candidates import ChannelCandidates
from scenelake.synchronise.config import MatchRule, SynchroniseConfig
from scenelake.synchronise.keyframes import Keyframes
from scenelake.synchronise.match import ChannelMatches, SceneTargets, match_scenes, tolerance_of
from scenelake.synchronise.rows import choose, list_array, nullable, table_from_columns, table_of
from scenelake.synchronise.streams import DriveStreams, Stream
from scenelake.synchronise.sync_error import MEASURED_MODALITIES, measure_sync_error
from scenelake.timebase.arrays import Int64Array
from scenelake.timebase.blocks import compress
from scenelake.timebase.scratch import Scratch


@dataclass(frozen=True, slots=True)
class SceneSamples:
    """Keyframes of some scenes that follow each other, and the columns that identify their rows.

    Attributes:
        scenes: which ones, of the assignment's.
        keyframes: one per scene.
        columns: ``sample_id``, ``scene_id``, ``drive_id`` and ``drive_date`` of all samples in order.
    """

    scenes: range
    keyframes: tuple[Keyframes, ...]
    columns: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return sum(len(k.timestamps_ns) for k in self.keyframes)


def build_sync_index(
    drive: DriveStreams,
    channels: Sequence[ChannelCandidates],
    assignment: Assignment,
    samples: SceneSamples,
    config: SynchroniseConfig,
) -> pa.Table:
    """One row per sample and channel that has a rule, also for channels that are absent.

    Args:
        channels: those that have a rule.
    """
    schema = GOLD["sync_index"].schema
    windows = [assignment.scenes[i].window for i in samples.scenes]
    parts = []
    for channel in channels if len(samples) else ():
        rule = config.rules[channel.modality]
        stamps = [k.timestamps_ns for k in samples.keyframes]
        targets = [
            SceneTargets(w, ns, np.full(len(ns), tolerance_of(rule, channel.stream, w)))
            for w, ns in zip(windows, stamps, strict=True)
        ]
        matches = match_scenes(
            targets, channel.every, channel.assigned, rule.method, config, is_episodic=assignment.is_episodic
        )
        tolerances_ns = np.concatenate([t.tolerances_ns for t in targets])
        parts.append(_rows(drive, channel, rule, tolerances_ns, matches, samples, config))
    if not parts:
        return schema.empty_table()
    by_sample = np.arange(len(parts) * len(samples)).reshape(len(parts), len(samples)).T.ravel()
    return pa.concat_tables(parts).combine_chunks().take(pa.array(by_sample))


def _rows(
    drive: DriveStreams,
    channel: ChannelCandidates,
    rule: MatchRule,
    tolerances_ns: Int64Array,
    matches: ChannelMatches,
    samples: SceneSamples,
    config: SynchroniseConfig,
) -> pa.Table:
    count = len(samples)
    is_match = matches.is_match
    columns = dict(samples.columns) | {
        "channel": pa.repeat(channel.stream.channel, count),
        "modality": pa.repeat(str(channel.modality), count),
        "sample_data_id": drive.ids_of(matches.rows),
        "delta_ns": nullable(matches.delta_ns, matches.has_delta),
        "method": pa.repeat(str(rule.method), count),
        "tolerance_ns": pa.array(tolerances_ns),
        "is_match": pa.array(is_match),
        "policy_version": pa.repeat(config.policy_version, count),
    }
    if matches.values is not None:
        columns["value"] = list_array(matches.values, is_match, COLUMNS["value"][0])
    return table_from_columns(columns, GOLD["sync_index"].schema, count)


def measured_channels(streams: Mapping[str, Stream], assignment: Assignment, scratch: Scratch) -> dict[str, Int64Array]:
    """Stamps in scenes of the channels whose error against the reference is measured; none for a fixed grid."""
    reference = assignment.reference
    if reference is None:
        return {}
    return {
        stream.channel: _inside(stream.decoded_ns, assignment, scratch)
        for stream in streams.values()
        if stream is not reference and stream.modality in MEASURED_MODALITIES
    }


def _inside(stamps_ns: Int64Array, assignment: Assignment, scratch: Scratch) -> Int64Array:
    return compress(stamps_ns, lambda start, end: assignment.is_inside(stamps_ns[start:end]), scratch)


def build_sync_error(measured: Mapping[str, Int64Array], assignment: Assignment, scenes: range) -> pa.Table:
    """One row per scene and measured channel other than the reference.

    Args:
        measured: non-decreasing stamps by channel.
        scenes: which ones, of the assignment's.
    """
    reference = assignment.reference
    rows = []
    every_ns = reference.decoded_ns if reference is not None else np.empty(0, np.int64)
    for number in scenes:
        reference_ns = every_ns[assignment.scenes[number].window.slice_of(every_ns)]
        for channel, inside_ns in measured.items():
            error = measure_sync_error(reference_ns, inside_ns)
            rows.append(
                {
                    "scene_id": assignment.scene_ids[number],
                    "channel": channel,
                    "reference_channel": reference.channel if reference is not None else None,
                    "nbr_reference": error.nbr_reference,
                    "median_abs_delta_ns": error.median_abs_delta_ns,
                    "p99_abs_delta_ns": error.p99_abs_delta_ns,
                    "max_abs_delta_ns": error.max_abs_delta_ns,
                }
            )
    return table_of(rows, SYNC_ERROR_SCHEMA)


def sample_columns(
    drive_id: str, scene_ids: Sequence[str], dates: Sequence[object], scene_of_sample: np.ndarray, sample_ids: list[str]
) -> dict[str, pa.Array]:
    """The identifying columns of ``SceneSamples``."""
    return {
        "sample_id": pa.array(sample_ids, pa.string()),
        "scene_id": choose(scene_of_sample, scene_ids, pa.string()),
        "drive_id": pa.repeat(drive_id, len(sample_ids)),
        "drive_date": choose(scene_of_sample, dates, pa.date32()),
    }
