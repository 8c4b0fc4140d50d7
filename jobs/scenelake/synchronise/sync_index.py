"""Builds the ``sync_index`` and ``sync_error`` tables of a drive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scenelake.contracts.columns import COLUMNS
from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import SYNC_ERROR_SCHEMA
from scenelake.contracts.tables import GOLD
from scenelake.synchronise.assign import Assignment
from scenelake.synchronise.config import MatchRule, SynchroniseConfig
from scenelake.synchronise.keyframes import Keyframes
from scenelake.synchronise.match import ChannelMatches, SceneTargets, candidates_of, match_scenes, tolerance_of
from scenelake.synchronise.rows import choose, list_array, nullable, table_from_columns, table_of
from scenelake.synchronise.streams import Stream, one_chunk
from scenelake.synchronise.sync_error import MEASURED_MODALITIES, measure_sync_error
from scenelake.timebase.arrays import Int64Array


@dataclass(frozen=True, slots=True)
class DriveSamples:
    """Keyframes of a drive, scene by scene, and the columns that identify their rows.

    Attributes:
        keyframes: one per scene.
        columns: ``sample_id``, ``scene_id``, ``drive_id`` and ``drive_date`` of all samples in order.
    """

    keyframes: tuple[Keyframes, ...]
    columns: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return sum(len(k.timestamps_ns) for k in self.keyframes)


def matched_modality(stream: Stream, pose_channels: frozenset[str]) -> Modality:
    """What a channel is matched as: a transform channel that carries ego poses is one of ego poses."""
    is_pose = stream.modality is Modality.TRANSFORM and stream.channel in pose_channels
    return Modality.EGO_POSE if is_pose else stream.modality


def build_sync_index(
    index: pa.Table,
    streams: Mapping[str, Stream],
    tables: Mapping[str, pa.Table],
    assignment: Assignment,
    samples: DriveSamples,
    config: SynchroniseConfig,
) -> pa.Table:
    """One row per sample and channel that has a rule, also for channels that are absent.

    Args:
        tables: decoded tables; ``ego_pose`` with the poses found in transforms.
    """
    schema = GOLD["sync_index"].schema
    pose_channels = frozenset(tables["ego_pose"]["channel"].unique().to_pylist())
    parts = []
    is_assigned = assignment.is_assigned
    every_ns = np.concatenate([np.empty(0, np.int64), *(k.timestamps_ns for k in samples.keyframes)])
    scenes = [(s.window, k.timestamps_ns) for s, k in zip(assignment.scenes, samples.keyframes, strict=True)]
    for stream in streams.values() if len(samples) else ():
        modality = matched_modality(stream, pose_channels)
        rule = config.rules.get(modality)
        if rule is None:
            continue
        targets = [SceneTargets(w, ns, np.full(len(ns), tolerance_of(rule, stream, w))) for w, ns in scenes]
        matches = match_scenes(
            targets,
            candidates_of(stream, modality, index, tables, every_ns, is_assigned),
            is_assigned,
            rule.method,
            config,
            is_episodic=assignment.is_episodic,
        )
        tolerances_ns = np.concatenate([t.tolerances_ns for t in targets])
        parts.append(_rows(index, stream, modality, rule, tolerances_ns, matches, samples, config))
    if not parts:
        return schema.empty_table()
    by_sample = np.arange(len(parts) * len(samples)).reshape(len(parts), len(samples)).T.ravel()
    return pa.concat_tables(parts).combine_chunks().take(pa.array(by_sample))


def _rows(
    index: pa.Table,
    stream: Stream,
    modality: Modality,
    rule: MatchRule,
    tolerances_ns: Int64Array,
    matches: ChannelMatches,
    samples: DriveSamples,
    config: SynchroniseConfig,
) -> pa.Table:
    count = len(samples)
    is_match = matches.is_match
    columns = dict(samples.columns) | {
        "channel": pa.repeat(stream.channel, count),
        "modality": pa.repeat(str(modality), count),
        "sample_data_id": one_chunk(index["sample_data_id"]).take(pa.array(matches.rows, mask=~is_match)),
        "delta_ns": nullable(matches.delta_ns, matches.has_delta),
        "method": pa.repeat(str(rule.method), count),
        "tolerance_ns": pa.array(tolerances_ns),
        "is_match": pa.array(is_match),
        "policy_version": pa.repeat(config.policy_version, count),
    }
    if matches.values is not None:
        columns["value"] = list_array(matches.values, is_match, COLUMNS["value"][0])
    return table_from_columns(columns, GOLD["sync_index"].schema, count)


def build_sync_error(streams: Mapping[str, Stream], assignment: Assignment) -> pa.Table:
    """One row per scene and measured channel other than the reference; none for a fixed grid."""
    reference, is_assigned = assignment.reference, assignment.is_assigned
    rows = []
    measured = {
        stream.channel: stream.sorted_ns[is_assigned[stream.sorted_rows] & stream.is_decoded]
        for stream in (streams.values() if reference is not None else ())
        if stream is not reference and stream.modality in MEASURED_MODALITIES
    }
    every_ns = reference.decoded_ns if reference is not None else np.empty(0, np.int64)
    for scene, scene_id in zip(assignment.scenes, assignment.scene_ids, strict=True):
        reference_ns = every_ns[scene.window.slice_of(every_ns)]
        for channel, inside_ns in measured.items():
            error = measure_sync_error(reference_ns, inside_ns)
            rows.append(
                {
                    "scene_id": scene_id,
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
    """The identifying columns of ``DriveSamples``."""
    return {
        "sample_id": pa.array(sample_ids, pa.string()),
        "scene_id": choose(scene_of_sample, scene_ids, pa.string()),
        "drive_id": pa.repeat(drive_id, len(sample_ids)),
        "drive_date": choose(scene_of_sample, dates, pa.date32()),
    }
