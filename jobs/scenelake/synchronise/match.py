"""Matches one channel to keyframes by its modality's rule."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality, SyncMethod
from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.linear import Interpolated, interpolate_linear
from scenelake.geometry.slerp import interpolate_slerp
from scenelake.synchronise.config import MatchRule, SynchroniseConfig
from scenelake.synchronise.hold import match_hold
from scenelake.synchronise.nearest import match_nearest
from scenelake.synchronise.streams import Stream, column_ns, median_period, one_chunk
from scenelake.synchronise.values import list_matrix, payload_rows
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array
from scenelake.timebase.windows import Window


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of one channel that keyframes may match.

    Attributes:
        rows: (n,) int64 positions in the drive's index.
        timestamps_ns: (n,) int64, non-decreasing.
        values: (n, w) float64 for channels that are interpolated, else None.
    """

    rows: Int64Array
    timestamps_ns: Int64Array
    values: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, mask: BoolArray) -> "Candidates":
        if mask.all():
            return self
        values = None if self.values is None else self.values[mask]
        return Candidates(self.rows[mask], self.timestamps_ns[mask], values)

    def within(self, window: Window) -> "Candidates":
        run = window.slice_of(self.timestamps_ns)
        return Candidates(self.rows[run], self.timestamps_ns[run], None if self.values is None else self.values[run])


@dataclass(frozen=True, slots=True)
class SceneTargets:
    """One scene's keyframes, and what one channel is allowed to be away from them.

    Attributes:
        keyframes_ns, tolerances_ns: (m,) int64.
    """

    window: Window
    keyframes_ns: Int64Array
    tolerances_ns: Int64Array


@dataclass(frozen=True, slots=True)
class ChannelMatches:
    """One channel's answer to m keyframes.

    Attributes:
        rows: (m,) int64 positions in the index; -1 for a miss.
        delta_ns: (m,) int64; of the nearest row also where it is a miss.
        has_delta: (m,) bool; false only where the channel has no row at all.
        values: (m, w) float64, NaN where nothing was interpolated; None for nearest and hold.
    """

    rows: Int64Array
    delta_ns: Int64Array
    has_delta: BoolArray
    values: FloatArray | None

    @property
    def is_match(self) -> BoolArray:
        return self.rows >= 0


def candidates_of(
    stream: Stream,
    modality: Modality,
    index: pa.Table,
    tables: Mapping[str, pa.Table],
    targets_ns: Int64Array,
    is_assigned: BoolArray,
) -> Candidates:
    """A channel's decoded rows in time order, with the values that its modality interpolates.

    Values of fast sensors are read where a keyframe can meet them alone.

    Args:
        stream: the channel.
        modality: what it is matched as: ``ego_pose`` for a transform channel that carries poses.
        index: the drive's index, which the stream's rows point into.
        tables: decoded payload tables by name.
        targets_ns: (m,) keyframes of the drive.
        is_assigned: over the index: the row is in a scene.
    """
    rows = stream.sorted_rows if stream.is_decoded.all() else stream.sorted_rows[stream.is_decoded]
    name = {Modality.IMU: "imu", Modality.ROBOT_STATE: "robot_state", Modality.EGO_POSE: "ego_pose"}.get(modality)
    if name is None:
        return Candidates(rows, stream.decoded_ns)
    table = tables[name]
    found = payload_rows(table, stream.channel, _ids_of(index, rows))
    if modality is not Modality.EGO_POSE and len(rows) > _FEW and (found >= 0).all():
        near = near_rows(targets_ns, stream.decoded_ns, is_assigned[rows])
        some = _with_values(modality, rows[near], table.take(pa.array(found[near])))
        if len(some) == len(near):
            return some
    return _candidates(modality, rows, found, table)


_FEW = 10_000
"""Below, a channel's values are all read."""


def _ids_of(index: pa.Table, rows: Int64Array) -> pa.Array:
    """``sample_data_id`` of rows, without a copy where they are a run."""
    ids = one_chunk(index["sample_data_id"])
    is_run = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1 and bool((rows[1:] > rows[:-1]).all())
    return ids.slice(rows[0], len(rows)) if is_run else ids.take(pa.array(rows))


def near_rows(targets_ns: Int64Array, stamps_ns: Int64Array, is_assigned: BoolArray) -> Int64Array:
    """Positions that any match of the targets can name: the rows about each, and the first with the same stamp.

    Those of the assigned rows alone are among them, and so are those of all, which a miss is measured to.
    """
    chosen = []
    every = np.arange(len(stamps_ns))
    for positions in (every,) if is_assigned.all() else (every, np.flatnonzero(is_assigned)):
        stamps = stamps_ns if positions is every else stamps_ns[positions]
        right = np.searchsorted(stamps, targets_ns, side="left")
        about = np.unique(np.clip(np.concatenate([right - 1, right]), 0, max(len(stamps) - 1, 0)))[: len(stamps)]
        first = np.searchsorted(stamps, stamps[about], side="left")
        chosen += [positions[about], positions[first]]
    return np.asarray(np.unique(np.concatenate(chosen)))


def _candidates(modality: Modality, rows: Int64Array, found: Int64Array, table: pa.Table) -> Candidates:
    if len(found) < len(table) or not (np.diff(found) == 1).all():
        rows, table = rows[found >= 0], table.take(pa.array(found[found >= 0]))
    return _with_values(modality, rows, table)


def _with_values(modality: Modality, rows: Int64Array, table: pa.Table) -> Candidates:
    """Rows in time order, of a table of the same rows; those without any value are left out."""
    if modality is Modality.IMU:
        halves = [list_matrix(table[n], 3) for n in ("linear_acceleration_m_s2", "angular_velocity_rad_s")]
        values = np.hstack(halves)
    elif modality is Modality.ROBOT_STATE:
        values = list_matrix(table["position"])
    else:
        values = pose_matrix(table["world_from_ego"])
    # A pose in a transform message has a stamp of its own; elsewhere it is the message's.
    timestamps_ns = column_ns(table, "timestamp_ns")
    has_value = ~np.asarray(np.isnan(values).all(axis=1))
    found_rows = Candidates(rows, timestamps_ns, values)
    if (timestamps_ns[1:] < timestamps_ns[:-1]).any():
        order = np.argsort(timestamps_ns, kind="stable")
        found_rows, has_value = Candidates(rows[order], timestamps_ns[order], values[order]), has_value[order]
    return found_rows.where(has_value)


def tolerance_of(rule: MatchRule, stream: Stream, window: Window) -> int:
    """The rule's tolerance for this channel in one scene, in ns.

    The period is measured in the scene alone, so that data of other scenes that comes later leaves it as it is.
    """
    if not rule.is_at_least_half_period:
        return rule.tolerance_ns
    period_ns = median_period(stream.sorted_ns[window.slice_of(stream.sorted_ns)])
    return max(rule.tolerance_ns, (period_ns or 0) // 2)


def match_channel(
    targets_ns: Int64Array, candidates: Candidates, method: SyncMethod, tolerance_ns: Int64Array
) -> ChannelMatches:
    """Matches keyframes to candidates, each within its own tolerance.

    For linear and SLERP the row named is the nearest one, for provenance, and the tolerance bounds the gap
    between the two rows around the keyframe.
    """
    nearest = match_nearest(targets_ns, candidates.timestamps_ns)
    indices, delta_ns, has_delta = nearest.indices, nearest.delta_ns, nearest.indices >= 0
    values: FloatArray | None = None
    if method is SyncMethod.NEAREST:
        is_match = has_delta & (np.abs(delta_ns) <= tolerance_ns)
    elif method is SyncMethod.HOLD:
        held = match_hold(targets_ns, candidates.timestamps_ns, tolerance_ns)
        has_held = held.indices >= 0
        indices, delta_ns = np.where(has_held, held.indices, indices), np.where(has_held, held.delta_ns, delta_ns)
        is_match = held.is_fresh
    else:
        interpolated = _interpolate(targets_ns, candidates, method, tolerance_ns)
        is_match, values = interpolated.is_valid, interpolated.values
    rows = np.full(len(targets_ns), -1, np.int64)
    rows[is_match] = candidates.rows[indices[is_match]]
    return ChannelMatches(rows, delta_ns, np.asarray(has_delta), values)


def _interpolate(
    targets_ns: Int64Array, candidates: Candidates, method: SyncMethod, max_gap_ns: Int64Array
) -> Interpolated:
    values = np.empty((len(candidates), 0)) if candidates.values is None else candidates.values
    if method is SyncMethod.LINEAR:
        return interpolate_linear(targets_ns, candidates.timestamps_ns, values, max_gap_ns)
    translation = interpolate_linear(targets_ns, candidates.timestamps_ns, values[:, :3], max_gap_ns)
    rotation = interpolate_slerp(targets_ns, candidates.timestamps_ns, values[:, 3:], max_gap_ns)
    is_valid = translation.is_valid & rotation.is_valid
    pose = np.hstack([translation.values, rotation.values])
    pose[~is_valid] = np.nan
    return Interpolated(pose, is_valid)


def match_scenes(
    targets: list[SceneTargets],
    candidates: Candidates,
    is_assigned: BoolArray,
    method: SyncMethod,
    config: SynchroniseConfig,
    *,
    is_episodic: bool,
) -> ChannelMatches:
    """Matches the keyframes of all scenes of a drive to one channel.

    Only rows that are in a scene can match. A scene (or drive) that has none of them still gets the distance
    to the channel's nearest row, wherever that is.

    Args:
        targets: scenes in order of time.
        candidates: the channel's rows.
        is_assigned: over the index: the row is in a scene.
    """
    assigned = candidates.where(is_assigned[candidates.rows])
    if not is_episodic and config.is_match_across_segments:
        together = np.concatenate([t.keyframes_ns for t in targets])
        groups = [(assigned, together, np.concatenate([t.tolerances_ns for t in targets]))]
    else:
        groups = [(assigned.within(t.window), t.keyframes_ns, t.tolerances_ns) for t in targets]
    parts = []
    for own, targets_ns, tolerances_ns in groups:
        if len(own):
            parts.append(match_channel(targets_ns, own, method, tolerances_ns))
        else:
            nearest = match_nearest(targets_ns, candidates.timestamps_ns)
            miss = np.full(len(targets_ns), -1, np.int64)
            width = 0 if candidates.values is None else candidates.values.shape[1]
            nothing = None if candidates.values is None else np.full((len(targets_ns), width), np.nan)
            parts.append(ChannelMatches(miss, nearest.delta_ns, np.asarray(nearest.indices >= 0), nothing))
    has_values = candidates.values is not None
    return ChannelMatches(
        np.concatenate([p.rows for p in parts]),
        np.concatenate([p.delta_ns for p in parts]),
        np.concatenate([p.has_delta for p in parts]),
        np.concatenate([p.values for p in parts if p.values is not None]) if has_values else None,
    )
