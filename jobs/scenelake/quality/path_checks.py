"""Do the robot's poses and fixes lie on a path that a body can take?"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality
from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.linear import interpolate_linear
from scenelake.geometry.poses import invert, multiply, normalised, rotation_vector
from scenelake.geometry.wgs84 import enu_from_geodetic
from scenelake.quality.checks import Bound, Check, Measurement
from scenelake.quality.ego_path import MOVING_M_S, EgoPath, ego_paths
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.quality.series import bounded, longest_run_ns, messages, quantile, scalars, stamps_of, vectors
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

_MS = 1_000_000
_SECOND_NS = 1_000_000_000

POSE_JUMP = Check(
    "motion.pose_jump", "1", "m", Bound.MAX, 0.3,
    "Largest step between two poses beyond what the speed around it explains.",
    "Three times the 10 cm that nuScenes claims for its poses; the scale is 20 ms of stamp jitter at the scene's speed "
    "and four times the median of all steps, which noise reaches once in 1e5 steps.",
    per_scale=1.0,
)  # fmt: skip
HEADING_JUMP = Check(
    "motion.heading_jump", "1", "rad", Bound.MAX, 0.1,
    "Largest turn between two poses beyond what the turn rate around it explains.",
    "Six degrees: a point at 10 m lands a metre off; four times the median of all steps.",
    per_scale=1.0,
)  # fmt: skip
POSE_FROZEN = Check(
    "motion.pose_frozen", "1", "ns", Bound.MAX, 500.0 * _MS,
    "Longest time in which the poses stay exactly the same while an IMU, a receiver or a bus tells of motion.",
    "Half a second at walking pace is a metre.",
)  # fmt: skip
NO_FIX = Check(
    "gnss.no_fix", "1", "share", Bound.MAX, 0.1,
    "Share of the receiver's messages without a fix, or without a position on the Earth.",
    "A tunnel of two seconds in a scene of twenty.",
)  # fmt: skip
FIX_JUMP = Check(
    "gnss.jump", "1", "m", Bound.MAX, 5.0,
    "Largest step between two fixes beyond what the speed around it explains.",
    "Twice the 2.5 m (CEP) of a single-frequency receiver (u-blox M8 datasheet); the scale is as for "
    "motion.pose_jump, with 100 ms.",
    per_scale=1.0,
)  # fmt: skip
FIX_DRIFT = Check(
    "gnss.drift", "1", "m", Bound.MAX, 5.0,
    "95th percentile of how much further, or less far, the fixes moved in ten seconds than the poses did.",
    "Reflected signals shift fixes by 5 m and more for seconds; twice the CEP of a single-frequency receiver.",
    per_scale=0.05,
)  # fmt: skip

CHECKS = (POSE_JUMP, HEADING_JUMP, POSE_FROZEN, NO_FIX, FIX_JUMP, FIX_DRIFT)

MIN_POSES = 10

_AROUND = 5
"""Steps on either side whose median speed explains a step: a jump there and back does not move it."""

_HARDEST_M_S2 = 10.0
_HARDEST_RAD_S2 = 10.0
"""Acceleration that a step is allowed beyond the speed around it: tyres hold 1 g."""

_NOISE_REACH = 4.0
_POSE_JITTER_S, _FIX_JITTER_S = 0.02, 0.1

_MAX_STEP_NS = _SECOND_NS
_DRIFT_NS = 10 * _SECOND_NS
_NO_FIX = 0
"""``fix_status`` below it is none (sensor_msgs/NavSatStatus)."""

_TURNING_RAD_S = 0.05


@dataclass(frozen=True, slots=True)
class _Witness:
    """A channel that tells at times (n,) whether the robot moves (n,)."""

    channel: str
    stamps_ns: Int64Array
    moves: BoolArray


def measure_poses(facts: DriveFacts) -> Iterator[Measurement]:
    """Jumps of every channel of poses, and how long it stands still while the robot does not."""
    witnesses = _witnesses(facts)
    for scene, channel, rows in facts.groups("ego_pose"):
        poses = normalised(bounded(pose_matrix(rows["world_from_ego"])))
        stamps_ns = stamps_of(rows)
        keep = np.asarray(np.isfinite(poses).all(axis=1))
        keep[1:] &= np.diff(stamps_ns) > 0
        at = np.flatnonzero(keep)
        if len(at) < MIN_POSES:
            for check in (POSE_JUMP, HEADING_JUMP, POSE_FROZEN):
                yield _says(scene, channel, Modality.EGO_POSE, check, None, f"{len(at)} poses are too few")
            continue
        yield from _pose_jumps(scene, channel, rows, at, stamps_ns[at], poses[at])
        yield _frozen(scene, channel, stamps_ns[at], poses[at], witnesses[scene.scene_id])


def _pose_jumps(
    scene: SceneFacts, channel: str, rows: pa.Table, at: Int64Array, stamps_ns: Int64Array, poses: FloatArray
) -> Iterator[Measurement]:
    steps_s = np.diff(stamps_ns) / 1e9
    steps_m = np.diff(poses[:, :3], axis=0)
    excess_m, usual_m = _excess(steps_m, steps_s, _HARDEST_M_S2)
    scale_m = usual_m + _POSE_JITTER_S * quantile(np.linalg.norm(steps_m, axis=1) / steps_s, 0.9)
    yield _jump(scene, channel, Modality.EGO_POSE, POSE_JUMP, rows, at, excess_m, "m", scale_m)
    turns = rotation_vector(multiply(invert(poses[:-1])[:, 3:], poses[1:, 3:]))
    excess_rad, usual_rad = _excess(turns, steps_s, _HARDEST_RAD_S2)
    yield _jump(scene, channel, Modality.EGO_POSE, HEADING_JUMP, rows, at, excess_rad, "rad", usual_rad)


def _excess(steps: FloatArray, steps_s: FloatArray, hardest: float) -> tuple[FloatArray, float]:
    """How much longer each step (n, 3) is than the median speed around it and the hardest acceleration allow: (n,).

    Steps over more than a second are not judged: 0. Beside it, how far noise alone gets, by the median of all steps.
    """
    rate = steps / steps_s[:, None]
    width = min(2 * _AROUND + 1, len(rate))
    windows = np.lib.stride_tricks.sliding_window_view(rate, width, axis=0)
    middles = np.median(windows, axis=-1)
    which = np.clip(np.arange(len(rate)) - width // 2, 0, len(middles) - 1)
    off = np.linalg.norm(steps - middles[which] * steps_s[:, None], axis=1)
    is_judged = steps_s * 1e9 <= _MAX_STEP_NS
    excess = np.where(is_judged, np.maximum(off - hardest * steps_s**2, 0.0), 0.0)
    return excess, _NOISE_REACH * float(np.median(off[is_judged])) if is_judged.any() else 0.0


def _jump(
    scene: SceneFacts,
    channel: str,
    modality: Modality,
    check: Check,
    rows: pa.Table,
    at: Int64Array,
    excess: FloatArray,
    unit: str,
    scale: float,
) -> Measurement:
    worst = np.argsort(-excess, kind="stable")[:3]
    largest = float(excess[worst[0]])
    evidence = {"messages": messages(rows, at[worst + 1]), "excess": excess[worst].tolist()}
    said = f"a step of {largest:.3f} {unit} that the motion around it does not explain"
    return _says(scene, channel, modality, check, largest, said, evidence, scale)


def _frozen(
    scene: SceneFacts, channel: str, stamps_ns: Int64Array, poses: FloatArray, witnesses: Sequence[_Witness]
) -> Measurement:
    if not witnesses:
        return _says(scene, channel, Modality.EGO_POSE, POSE_FROZEN, None, "nothing else tells whether the robot moves")
    middles = stamps_ns[:-1] + np.diff(stamps_ns) // 2
    moves = np.zeros(len(middles), np.bool_)
    for witness in witnesses:
        at = np.searchsorted(witness.stamps_ns, middles)
        moves |= witness.moves[np.minimum(at, len(witness.moves) - 1)]
    same = (np.diff(poses, axis=0) == 0.0).all(axis=1)
    lasted_ns, start_ns = longest_run_ns(same & moves, stamps_ns)
    said = f"the same pose for {lasted_ns / _SECOND_NS:.2f} s in motion"
    evidence = {"start_ns": start_ns, "witnesses": [witness.channel for witness in witnesses]}
    return _says(scene, channel, Modality.EGO_POSE, POSE_FROZEN, float(lasted_ns), said, evidence)


def _witnesses(facts: DriveFacts) -> dict[str, list[_Witness]]:
    """By scene, what can tell whether the robot moves besides where it is."""
    found: defaultdict[str, list[_Witness]] = defaultdict(list)
    for table, name, limit in (
        ("imu", "angular_velocity_rad_s", _TURNING_RAD_S),
        ("gnss", "ground_speed_m_s", MOVING_M_S),
        ("ego_pose", "linear_velocity_m_s", MOVING_M_S),
    ):
        for scene, channel, rows in facts.groups(table):
            is_list = pa.types.is_list(rows.schema.field(name).type)
            sizes = np.linalg.norm(vectors(rows, name, 3), axis=1) if is_list else np.abs(scalars(rows, name))
            known = np.isfinite(sizes)
            # A driver without a twist fills it with zeros.
            if sizes[known].any():
                found[scene.scene_id].append(_Witness(channel, stamps_of(rows)[known], sizes[known] > limit))
    return found


def measure_fixes(facts: DriveFacts) -> Iterator[Measurement]:
    """Fixes that are missing, that jump, and that drift from the poses."""
    paths = ego_paths(facts)
    for scene, channel, rows in facts.groups("gnss"):
        degrees = np.stack([scalars(rows, "latitude_deg"), scalars(rows, "longitude_deg")], axis=1)
        status = scalars(rows, "fix_status")
        if not np.isfinite(degrees).any() and not np.isfinite(status).any():
            continue
        with np.errstate(invalid="ignore"):
            is_fix = np.isfinite(degrees).all(axis=1) & (np.abs(degrees) <= (90.0, 180.0)).all(axis=1)
            is_fix &= degrees.any(axis=1) & ~(status < _NO_FIX)
        share = 1.0 - float(is_fix.mean())
        said = f"{np.count_nonzero(~is_fix)} of {len(rows)} messages without a fix"
        evidence = {"messages": messages(rows, np.flatnonzero(~is_fix))} if share else {}
        yield _says(scene, channel, Modality.GNSS, NO_FIX, share, said, evidence)
        stamps_ns = stamps_of(rows)
        is_fix[1:] &= np.diff(stamps_ns) > 0
        at = np.flatnonzero(is_fix)
        if len(at) < MIN_POSES:
            for check in (FIX_JUMP, FIX_DRIFT):
                yield _says(scene, channel, Modality.GNSS, check, None, f"{len(at)} fixes are too few")
            continue
        altitude_m = np.nan_to_num(scalars(rows, "altitude_m")[at])
        fixes = np.column_stack([degrees[at], altitude_m])
        enu_m = enu_from_geodetic(fixes, fixes[0])
        enu_m[:, 2] = 0.0
        yield _fix_jump(scene, channel, rows, at, stamps_ns[at], enu_m)
        yield _fix_drift(scene, channel, stamps_ns[at], enu_m, paths.get(scene.scene_id))


def _fix_jump(
    scene: SceneFacts, channel: str, rows: pa.Table, at: Int64Array, stamps_ns: Int64Array, enu_m: FloatArray
) -> Measurement:
    """On the level: heights of receivers are three times as bad, and nothing is fused with them."""
    steps_s = np.diff(stamps_ns) / 1e9
    steps_m = np.diff(enu_m, axis=0)
    if not (steps_s <= _MAX_STEP_NS / 1e9).any():
        return _says(scene, channel, Modality.GNSS, FIX_JUMP, None, "the fixes are more than a second apart")
    excess_m, usual_m = _excess(steps_m, steps_s, _HARDEST_M_S2)
    scale_m = usual_m + _FIX_JITTER_S * quantile(np.linalg.norm(steps_m, axis=1) / steps_s, 0.9)
    return _jump(scene, channel, Modality.GNSS, FIX_JUMP, rows, at, excess_m, "m", scale_m)


def _fix_drift(
    scene: SceneFacts, channel: str, stamps_ns: Int64Array, enu_m: FloatArray, ego: EgoPath | None
) -> Measurement:
    """Lengths of displacements alone, which need no common frame."""
    if ego is None or not ego.is_moving:
        return _says(scene, channel, Modality.GNSS, FIX_DRIFT, None, "no poses to compare with, or no motion")
    trajectory = ego.trajectory
    theirs = interpolate_linear(stamps_ns, trajectory.stamps_ns, trajectory.poses[:, :3], _SECOND_NS)
    later = np.searchsorted(stamps_ns, stamps_ns + _DRIFT_NS)
    first = np.flatnonzero(later < len(stamps_ns))
    first = first[stamps_ns[later[first]] - stamps_ns[first] < 2 * _DRIFT_NS]
    first = first[theirs.is_valid[first] & theirs.is_valid[later[first]]]
    if len(first) < MIN_POSES:
        return _says(scene, channel, Modality.GNSS, FIX_DRIFT, None, "poses and fixes do not share ten seconds")
    fixed_m = np.linalg.norm(enu_m[later[first]] - enu_m[first], axis=1)
    posed_m = np.linalg.norm(theirs.values[later[first]] - theirs.values[first], axis=1)
    drift_m = float(np.quantile(np.abs(fixed_m - posed_m), 0.95))
    said = f"fixes and poses differ by {drift_m:.2f} m in ten seconds, over {np.median(posed_m):.0f} m"
    evidence = {"pose_channel": ego.channel, "nbr_pairs": len(first)}
    return _says(scene, channel, Modality.GNSS, FIX_DRIFT, drift_m, said, evidence, float(np.median(posed_m)))


def _says(
    scene: SceneFacts,
    channel: str,
    modality: Modality,
    check: Check,
    measured: float | None,
    description: str,
    evidence: Mapping[str, Any] | None = None,
    scale: float | None = None,
) -> Measurement:
    known = None if measured is None or not np.isfinite(measured) else float(measured)
    return Measurement(scene, channel, check, known, f"{channel}: {description}", evidence or {}, scale, modality)


MEASURES = (measure_poses, measure_fixes)
