"""Do the sensors that feel the robot's motion tell of one and the same motion, at the same time?"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import Modality
from scenelake.quality.agreement import MIN_OVERLAP, Agreement, averaged, compare
from scenelake.quality.checks import Bound, Check, Measurement
from scenelake.quality.ego_path import MOVING_M_S, STEP_NS, EgoPath, ego_paths
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.quality.series import bounded, quantile, scalars, stamps_of, vectors
from scenelake.timebase.arrays import FloatArray, Int64Array

_MS = 1_000_000
_SECOND_NS = 1_000_000_000

TURN_RATE_LAG = Check(
    "motion.turn_rate_lag", "1", "ns", Bound.MAX, 50.0 * _MS,
    "How far the IMU's turns lie from those of the poses in time.",
    "At 0.5 rad/s, 50 ms turn a point cloud by 1.4 degrees.",
)  # fmt: skip
TURN_RATE_SCALE = Check(
    "motion.turn_rate_scale", "1", "1", Bound.MAX, 0.1,
    "How far the IMU's turn rate is for certain from 1 times that of the poses; 2 for a sign that is wrong.",
    "Sensitivity of consumer gyroscopes: 3 % (InvenSense MPU-6050 datasheet), and as much for a mount that leans.",
)  # fmt: skip
TURN_RATE_OFFSET = Check(
    "motion.turn_rate_offset", "1", "rad/s", Bound.MAX, 0.03,
    "Median of the IMU's turn rate less that of the poses.",
    "As for imu.bias_at_rest, which needs a robot that stands.",
)  # fmt: skip
TURN_RATE_RESIDUAL = Check(
    "motion.turn_rate_residual", "1", "rad/s", Bound.MAX, 0.1,
    "95th percentile of the difference between the turn rates of IMU and poses, offset and lag taken out.",
    "Poses 100 ms apart with 0.2 degrees of noise make 0.1 rad/s.",
    per_scale=0.2,
)  # fmt: skip
SPEED_DISAGREEMENT = Check(
    "motion.speed_disagreement", "1", "m/s", Bound.MAX, 0.5,
    "Median difference between the speed that a channel reports and that of the poses, while the robot moves.",
    "Speed of a single-frequency GNSS receiver: 0.05 m/s (u-blox M8 datasheet), of wheels 5 % for tyres, pressure and "
    "load; poses 100 ms apart with 5 cm of noise make 0.5 m/s.",
    per_scale=0.05,
)  # fmt: skip
SPEED_LAG = Check(
    "motion.speed_lag", "1", "ns", Bound.MAX, 300.0 * _MS,
    "How far the changes of speed that a channel reports lie from those of the poses in time.",
    "Own measurement: a receiver is 150 ms late and a car's bus 100 ms early (comma2k19); twice that.",
)  # fmt: skip
ACCELERATION_RESIDUAL = Check(
    "motion.acceleration_residual", "1", "m/s²", Bound.MAX, 1.0,
    "95th percentile of the difference between the forward acceleration of IMU and poses, second by second.",
    "A hill of 5 % holds 0.5 m/s² of gravity, which an IMU without attitude cannot tell from acceleration.",
    per_scale=0.5,
)  # fmt: skip

_TURN_CHECKS = (TURN_RATE_LAG, TURN_RATE_SCALE, TURN_RATE_OFFSET, TURN_RATE_RESIDUAL)
CHECKS = (*_TURN_CHECKS, SPEED_DISAGREEMENT, SPEED_LAG, ACCELERATION_RESIDUAL)

MIN_TURN_RAD_S = 0.05
"""Three degrees a second: a robot that turns on the spot moves."""

MIN_SPEED_CHANGE_M_S = 0.5
MIN_ACCELERATION_M_S2 = 0.3
"""Spread of what a lag or a direction is told by."""

_MAX_GAP_NS = 250 * _MS
_SPEED_GAP_NS = 2_500 * _MS
"""Widest gap of a sensor's own messages that its signal is drawn across; receivers at 0.5 Hz report speed."""

_SMOOTH = _SECOND_NS // STEP_NS
_MIN_WINDOWS = 10
_MIN_FORCE_M_S2 = 0.3

_SPEED_NAME = re.compile(r"(^|[_./ ])(wheel_?|ground_?|vehicle_?|ego_?|forward_?)?(speed|velocity)([_./ ]|$)", re.I)
_M_S_PER: Mapping[str, float] = {
    "m/s": 1.0, "m_s": 1.0, "mps": 1.0, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pair:
    """A channel of a scene that is compared with the poses there."""

    scene: SceneFacts
    channel: str
    modality: Modality
    ego: EgoPath | None

    def says(
        self,
        check: Check,
        measured: float | None,
        description: str,
        evidence: Mapping[str, Any] | None = None,
        scale: float | None = None,
    ) -> Measurement:
        said = f"{self.channel}: {description}"
        known = None if measured is None or not np.isfinite(measured) else float(measured)
        size = None if scale is None or not np.isfinite(scale) else float(scale)
        return Measurement(self.scene, self.channel, check, known, said, evidence or {}, size, self.modality)

    def evidence(self, found: Agreement | None) -> dict[str, Any]:
        told: dict[str, Any] = {"pose_channel": self.ego.channel if self.ego else None}
        if found is not None:
            told |= {
                "nbr_points": found.nbr_points,
                "correlation": round(found.correlation, 4),
                "lag_ns": None if found.lag_ns is None else int(found.lag_ns),
                "lag_error_ns": None if found.lag_error_ns is None else int(found.lag_error_ns),
            }
        return told


def measure_motion(facts: DriveFacts) -> Iterator[Measurement]:
    """Every sensor that feels the motion against the poses."""
    paths = ego_paths(facts)
    yield from _measure_turn_rates(facts, paths)
    yield from _measure_speeds(facts, paths)
    yield from _measure_accelerations(facts, paths)


def _measure_turn_rates(facts: DriveFacts, paths: Mapping[str, EgoPath]) -> Iterator[Measurement]:
    """Lag, scale, offset and residual of every IMU's turn rate."""
    ups = _ups(facts)
    for scene, channel, rows in facts.groups("imu"):
        ego = paths.get(scene.scene_id)
        turn = vectors(rows, "angular_velocity_rad_s", 3)
        up = ups.get((scene.scene_id, _frame(rows)))
        pair = _Pair(scene, channel, Modality.IMU, ego)
        found = None
        if ego is not None and up is not None:
            found = compare(ego.yaw_rad_s, averaged(stamps_of(rows), turn @ up, ego.grid_ns, _MAX_GAP_NS))
        if ego is None or found is None:
            why = "poses, turn rates and specific force together do not cover two seconds, or nothing changes"
            yield from (pair.says(check, None, why) for check in _TURN_CHECKS)
            continue
        yield from _turn_measurements(pair, ego, found)


def _turn_measurements(pair: _Pair, ego: EgoPath, found: Agreement) -> Iterator[Measurement]:
    evidence = pair.evidence(found)
    lag_ns = found.lag_ns
    said = "no turn that tells a lag" if lag_ns is None else f"turns {lag_ns / _MS:+.1f} ms after the poses"
    yield pair.says(TURN_RATE_LAG, None if lag_ns is None else abs(lag_ns), said, evidence)
    if np.isfinite(found.slope_low):
        said = f"turn rate between {found.slope_low:.3f} and {found.slope_high:.3f} times the poses'"
        yield pair.says(TURN_RATE_SCALE, found.scale_error, said, evidence)
    else:
        yield pair.says(TURN_RATE_SCALE, None, "no turn that tells a scale", evidence)
    said = f"turn rate {found.offset:+.4f} rad/s from the poses'"
    yield pair.says(TURN_RATE_OFFSET, abs(found.offset), said, evidence)
    turns = quantile(np.abs(ego.yaw_rad_s), 0.95)
    said = f"turn rate differs from the poses' by up to {found.residual:.4f} rad/s"
    if ego.is_moving or turns > MIN_TURN_RAD_S:
        yield pair.says(TURN_RATE_RESIDUAL, found.residual, said, evidence, turns)
    else:
        yield pair.says(TURN_RATE_RESIDUAL, None, "the robot hardly moves", evidence)


def _measure_speeds(facts: DriveFacts, paths: Mapping[str, EgoPath]) -> Iterator[Measurement]:
    """Speed of receivers, of buses, and of the twists that come with poses."""
    for scene, channel, modality, stamps_ns, speed_m_s in _speeds(facts):
        ego = paths.get(scene.scene_id)
        pair = _Pair(scene, channel, modality, ego)
        if ego is None:
            yield from (pair.says(check, None, "no poses to compare with") for check in (SPEED_DISAGREEMENT, SPEED_LAG))
            continue
        mine = averaged(stamps_ns, speed_m_s, ego.grid_ns, _SPEED_GAP_NS)
        with np.errstate(invalid="ignore"):
            moves = np.isfinite(mine) & (np.fmax(ego.speed_m_s, mine) > MOVING_M_S) & np.isfinite(ego.speed_m_s)
        if np.count_nonzero(moves) < MIN_OVERLAP:
            why = "the robot hardly moves while both are known"
            yield from (pair.says(check, None, why) for check in (SPEED_DISAGREEMENT, SPEED_LAG))
            continue
        yield from _speed_measurements(pair, ego, mine, np.flatnonzero(moves))


def _speed_measurements(pair: _Pair, ego: EgoPath, mine: FloatArray, moves: Int64Array) -> Iterator[Measurement]:
    median = float(np.median(mine[moves] - ego.speed_m_s[moves]))
    # Of the sizes, so that a channel that is too fast here and too slow there is not found right.
    size = float(np.median(np.abs(mine[moves] - ego.speed_m_s[moves])))
    usual = float(np.median(ego.speed_m_s[moves]))
    found = compare(ego.speed_m_s, mine)
    evidence = pair.evidence(found) | {"median_difference_m_s": median, "median_speed_m_s": usual}
    said = f"speed differs from the poses' by {size:.3f} m/s (median) at {usual:.2f} m/s"
    yield pair.says(SPEED_DISAGREEMENT, size, said, evidence, usual)
    tells = found is not None and np.std(ego.speed_m_s[moves]) > MIN_SPEED_CHANGE_M_S
    lag_ns = found.lag_ns if tells and found is not None else None
    said = "no change of speed that tells" if lag_ns is None else f"speed {lag_ns / _MS:+.0f} ms after the poses'"
    yield pair.says(SPEED_LAG, None if lag_ns is None else abs(lag_ns), said, evidence)


def _measure_accelerations(facts: DriveFacts, paths: Mapping[str, EgoPath]) -> Iterator[Measurement]:
    """Forward acceleration of every IMU.

    Where forward is in the sensor is fitted: it needs no extrinsics, and cannot be wrong about a mount that leans.
    """
    for scene, channel, rows in facts.groups("imu"):
        ego = paths.get(scene.scene_id)
        pair = _Pair(scene, channel, Modality.IMU, ego)
        force = vectors(rows, "linear_acceleration_m_s2", 3)
        if ego is None or not np.nan_to_num(force).any():
            yield pair.says(ACCELERATION_RESIDUAL, None, "no poses or no specific force")
            continue
        stamps_ns = stamps_of(rows)
        felt = np.stack([averaged(stamps_ns, force[:, i], ego.grid_ns, _MAX_GAP_NS) for i in range(3)], axis=1)
        yield _forward(pair, ego, felt)


def _forward(pair: _Pair, ego: EgoPath, felt: FloatArray) -> Measurement:
    """Compares means over a second, every half second."""
    first = np.arange(0, len(ego.grid_ns) - _SMOOTH, _SMOOTH // 2)
    gained = (ego.speed_m_s[first + _SMOOTH] - ego.speed_m_s[first]) * _SECOND_NS / (_SMOOTH * STEP_NS)
    aside = _means(ego.speed_m_s * ego.yaw_rad_s, first)
    force = np.stack([_means(felt[:, i], first) for i in range(3)], axis=1)
    both = np.isfinite(gained) & np.isfinite(aside) & np.isfinite(force).all(axis=1)
    posed = np.stack([gained, aside], axis=1)[both]
    if len(posed) < _MIN_WINDOWS or posed[:, 0].std() < MIN_ACCELERATION_M_S2:
        return pair.says(ACCELERATION_RESIDUAL, None, "the robot hardly changes its speed")
    forward, ahead = _ahead(posed - posed.mean(axis=0), force[both])
    left = ahead - (posed[:, 0] - posed[:, 0].mean())
    residual = float(np.quantile(np.abs(left), 0.95))
    said = f"forward acceleration differs from the poses' by up to {residual:.3f} m/s²"
    evidence = {"pose_channel": ego.channel, "forward_in_sensor": forward.tolist(), "nbr_seconds": len(posed) // 2}
    return pair.says(ACCELERATION_RESIDUAL, residual, said, evidence, float(np.quantile(np.abs(posed[:, 0]), 0.95)))


def _means(values: FloatArray, first: Int64Array) -> FloatArray:
    """Means over ``_SMOOTH`` points from each of some on; NaN where one of them is."""
    if len(values) < _SMOOTH:
        return np.full(len(first), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, _SMOOTH)
    return np.asarray(windows[first].mean(axis=1))


def _ahead(posed: FloatArray, force: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The direction (3,) of forward in the sensor, and the force along it (n,), less its mean.

    Of all level directions, the one that brings the level force nearest to what the poses tell, (n, 2) forward and
    left, by least squares over turns about the vertical.
    """
    middle = force.mean(axis=0)
    up = middle / max(float(np.linalg.norm(middle)), 1e-9)
    some = np.eye(3)[int(np.abs(up).argmin())]
    east = some - up * float(some @ up)
    east /= max(float(np.linalg.norm(east)), 1e-9)
    plane = np.stack([east, np.cross(up, east)], axis=1)
    level = (force - middle) @ plane
    along = float((posed * level).sum())
    across = float((posed[:, 0] * level[:, 1] - posed[:, 1] * level[:, 0]).sum())
    size = max(float(np.hypot(along, across)), 1e-9)
    forward = np.asarray(plane @ (np.array([along, across]) / size))
    return forward, np.asarray((force - middle) @ forward)


def _ups(facts: DriveFacts) -> dict[tuple[str, str], FloatArray]:
    """By scene and frame: the direction (3,) that points up, which the specific force does on average.

    A gyroscope that comes without an accelerometer takes it from the one in its frame.
    """
    sums: dict[tuple[str, str], FloatArray] = {}
    for scene, _, rows in facts.groups("imu"):
        force = vectors(rows, "linear_acceleration_m_s2", 3)
        complete = force[np.isfinite(force).all(axis=1)]
        if len(complete):
            key = (scene.scene_id, _frame(rows))
            sums[key] = sums.get(key, np.zeros(3)) + complete.mean(axis=0)
    ups = {key: (total, float(np.linalg.norm(total))) for key, total in sums.items()}
    return {key: total / size for key, (total, size) in ups.items() if size > _MIN_FORCE_M_S2}


def _frame(rows: pa.Table) -> str:
    return rows["frame_id"][0].as_py() or ""


_Speed = tuple[SceneFacts, str, Modality, Int64Array, FloatArray]


def _speeds(facts: DriveFacts) -> Iterator[_Speed]:
    """Channels that report a speed: scene, channel, modality, times (n,) and m/s (n,), which has no sign."""
    for scene, channel, rows in facts.groups("gnss"):
        speed = scalars(rows, "ground_speed_m_s")
        if np.isfinite(speed).any():
            yield scene, channel, Modality.GNSS, stamps_of(rows), np.abs(speed)
    for scene, channel, rows in facts.groups("ego_pose"):
        twist = vectors(rows, "linear_velocity_m_s", 3)
        # A driver without a twist fills it with zeros.
        if np.isfinite(twist).any() and np.nanmax(np.abs(twist)) > 0.0:
            yield scene, channel, Modality.EGO_POSE, stamps_of(rows), np.linalg.norm(twist, axis=1)
    for scene, channel, rows in facts.groups("robot_state"):
        said = _reported_speed(rows)
        if said is not None:
            yield scene, channel, Modality.ROBOT_STATE, stamps_of(rows), said


def _reported_speed(rows: pa.Table) -> FloatArray | None:
    """Mean of the signals whose names and units are those of a speed, in m/s: (n,); None where there is none."""
    names, units = _listed(rows, "names"), _listed(rows, "units")
    if not names or len(names) != len(units):
        return None
    columns = {
        i: _M_S_PER[unit.strip().lower()]
        for i, (name, unit) in enumerate(zip(names, units, strict=True))
        if _SPEED_NAME.search(name) and unit.strip().lower() in _M_S_PER
    }
    if not columns:
        return None
    values = vectors(rows, "position", len(names))[:, list(columns)] * np.array(list(columns.values()))
    return np.asarray(np.abs(bounded(values)).mean(axis=1))


def _listed(rows: pa.Table, name: str) -> list[str]:
    """The first list of a column of names, as all messages of a channel have the same."""
    given = pc.drop_null(rows[name].slice(0, 1))
    return [str(word) for word in given[0].as_py()] if len(given) else []


MEASURES = (measure_motion,)
