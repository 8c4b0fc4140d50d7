"""Matches one channel to keyframes by its modality's rule."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality, SyncMethod
from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.arrow_vectors import list_matrix
from scenelake.geometry.linear import Interpolated, interpolate_linear
from scenelake.geometry.slerp import interpolate_slerp
from scenelake.synchronise.config import MatchRule, SynchroniseConfig
from scenelake.synchronise.hold import match_hold
from scenelake.synchronise.nearest import match_nearest
from scenelake.synchronise.streams import DriveStreams, Stream, column_ns
from scenelake.synchronise.values import payload_rows
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array
from scenelake.timebase.blocks import median_step
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


VALUE_COLUMNS = {
    Modality.IMU: ("linear_acceleration_m_s2", "angular_velocity_rad_s"),
    Modality.ROBOT_STATE: ("position",),
    Modality.EGO_POSE: ("world_from_ego",),
}
"""What is interpolated."""


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


def near_positions(targets_ns: Int64Array, stamps_ns: Int64Array) -> Int64Array:
    """Positions that any match of the targets can name: the rows about each, and the first with the same stamp."""
    right = np.searchsorted(stamps_ns, targets_ns, side="left")
    about = np.unique(np.clip(np.concatenate([right - 1, right]), 0, max(len(stamps_ns) - 1, 0)))[: len(stamps_ns)]
    return np.unique(np.concatenate([about, np.searchsorted(stamps_ns, stamps_ns[about], side="left")]))


def pose_candidates(stream: Stream, drive: DriveStreams, poses: pa.Table) -> Candidates:
    """A channel's messages in time order, with their poses."""
    rows = stream.decoded_rows
    found = payload_rows(poses, stream.channel, drive.ids_of(rows))
    if len(found) < len(poses) or not (np.diff(found) == 1).all():
        rows, poses = rows[found >= 0], poses.take(pa.array(found[found >= 0]))
    return with_values(Modality.EGO_POSE, rows, column_ns(poses, "timestamp_ns"), poses)


def with_values(
    modality: Modality, rows: Int64Array, timestamps_ns: Int64Array, table: pa.Table, width: int | None = None
) -> Candidates:
    """Rows in time order, given their times and a table of the same rows; those without any value are left out.

    Args:
        width: how many joints the robot has; None for as many as most of these rows have.
    """
    if modality is Modality.IMU:
        values = np.hstack([list_matrix(table[name], 3) for name in VALUE_COLUMNS[modality]])
    elif modality is Modality.ROBOT_STATE:
        values = list_matrix(table["position"], width)
    else:
        values = pose_matrix(table["world_from_ego"])
    has_value = ~np.asarray(np.isnan(values).all(axis=1))
    found = Candidates(rows, timestamps_ns, values)
    # A pose in a transform message has a stamp of its own; elsewhere it is the message's.
    if (timestamps_ns[1:] < timestamps_ns[:-1]).any():
        order = np.argsort(timestamps_ns, kind="stable")
        found, has_value = Candidates(rows[order], timestamps_ns[order], values[order]), has_value[order]
    return found.where(has_value)


def tolerance_of(rule: MatchRule, stream: Stream, window: Window) -> int:
    """The rule's tolerance for this channel in one scene, in ns.

    The period is measured in the scene alone, so that data of other scenes that comes later leaves it as it is.
    """
    if not rule.is_at_least_half_period:
        return rule.tolerance_ns
    period_ns = median_step(stream.sorted_ns[window.slice_of(stream.sorted_ns)])
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
    assigned: Candidates,
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
        assigned: those of them that are in a scene.
    """
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
