"""Does the inertial sensor measure what it should, and with its usual noise?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality
from scenelake.quality.checks import Bound, Check, Measurement
from scenelake.quality.ego_path import EgoPath, ego_paths
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.quality.series import longest_run_ns, messages, noise, quantile, quantum, stamps_of, vectors
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array
from scenelake.timebase.running import runs_of

_MS = 1_000_000
_SECOND_NS = 1_000_000_000

STANDARD_GRAVITY_M_S2 = 9.80665
"""3rd CGPM, 1901. Anywhere on the Earth's surface it is between 9.76 and 9.84."""

NOT_FINITE = Check(
    "imu.not_finite", "1", "share", Bound.MAX, 0.0,
    "Share of the messages in which a number of a vector that the sensor measures is missing, infinite or absurd.",
    "Whoever integrates an IMU is lost after the first one.",
)  # fmt: skip
SATURATION = Check(
    "imu.saturation", "1", "share", Bound.MAX, 0.002,
    "Share of the messages in which an axis shows its largest or smallest value, where that value piles up.",
    "Own measurement: none in comma2k19's phone, in robot_localization's Xsens and Jackal, in RADIATE's unit.",
)  # fmt: skip
BIAS_AT_REST = Check(
    "imu.bias_at_rest", "1", "rad/s", Bound.MAX, 0.03,
    "Length of the mean turn rate while the robot stands.",
    "Zero-rate offset of consumer parts: 1 deg/s typical (Bosch BMI088 datasheet); this is 1.7 deg/s.",
)  # fmt: skip
GRAVITY_NORM = Check(
    "imu.gravity_norm", "1", "m/s²", Bound.MAX, 0.5,
    "How far the length of the mean specific force is from standard gravity, at rest where the robot stands.",
    "Zero-g offset of consumer parts: 50 mg (InvenSense MPU-6050 datasheet); a car that reaches 30 m/s in 20 s adds "
    "0.12 m/s².",
)  # fmt: skip
STUCK = Check(
    "imu.stuck", "1", "ns", Bound.MAX, 100.0 * _MS,
    "Longest time in which every number of the messages stays the same.",
    "Noise moves the last bit of some axis nearly every time; five periods allow for a driver that repeats itself.",
    per_scale=5.0,
)  # fmt: skip
STUCK_AXIS = Check(
    "imu.stuck_axis", "1", "ns", Bound.MAX, 2_000.0 * _MS,
    "Longest time in which one axis, that is not zero throughout, stays the same while another of its vector moves.",
    "Own measurement: 58 ms at most in comma2k19's phone, 0 in the IMUs of robot_localization's bags.",
)  # fmt: skip
NOISE_ACCELERATION = Check(
    "imu.noise_acceleration", "1", "m/s²", Bound.MAX, 5.0,
    "White noise of the specific force, vibration included: of the worst axis, from second differences.",
    "Half of gravity; a phone in a car shows 0.5 (comma2k19).",
)  # fmt: skip
NOISE_TURN_RATE = Check(
    "imu.noise_turn_rate", "1", "rad/s", Bound.MAX, 0.3,
    "White noise of the turn rate, vibration included: of the worst axis, from second differences.",
    "Ten times what a phone in a car shows (comma2k19).",
)  # fmt: skip
NOISE_RISE = Check(
    "imu.noise_rise", "1", "1", Bound.MAX, 2.0,
    "Noise of the worse vector against what 99 of 100 of this robot's scenes stay below.",
    "Twice that is no rougher road.",
)  # fmt: skip
RESOLUTION_LOSS = Check(
    "imu.resolution_loss", "2", "1", Bound.MAX, 1.5,
    "Step between neighbouring values against the sensor's usual one; steps that noise hides do not count, and an axis"
    " that shows one value all along tells none.",
    "A bit that is stuck doubles the step.",
)  # fmt: skip
UNITS = Check(
    "imu.units", "1", "1", Bound.MAX, 5.0,
    "Factor between the values and what gravity and the robot's own turns make of them.",
    "g for m/s² is 9.8, degrees for radians 57; no bias or scale error reaches five.",
)  # fmt: skip

CHECKS = (
    NOT_FINITE, SATURATION, BIAS_AT_REST, GRAVITY_NORM, STUCK, STUCK_AXIS, NOISE_ACCELERATION, NOISE_TURN_RATE,
    NOISE_RISE, RESOLUTION_LOSS, UNITS,
)  # fmt: skip

AXES = ("acceleration x", "acceleration y", "acceleration z", "turn rate x", "turn rate y", "turn rate z")

MIN_MESSAGES = 20
"""Fewer give no noise, no rail and no mean."""

_MIN_AT_RAIL = 4
_PILE = 5.0
"""The outermost level holds so many times as many values as the three next to it on average. The crest of a sine
holds three times as many; a rail, all that lies beyond it."""

_CALM_RAD_S, _CALM_M_S2 = 0.01, 0.1
"""Spread within a second of an IMU that stands, where no pose tells; a car on the road shows five times that."""

_SHAKEN_RAD_S = 0.1
"""Spread within a second of an IMU that does not stand whatever the poses say: they may be frozen."""

_MIN_MEAN_NS = 5 * _SECOND_NS
"""Shorter means of the specific force hold the robot's own acceleration."""

_MIN_TURN_RAD_S = 0.05
_IN_G = (0.8, 1.25)
_MIN_FORCE_M_S2 = 2.0
"""A mean that is no gravity in g and less than this holds no gravity at all: the driver took it out, which is no
matter of units, and which ``imu.gravity_norm`` says."""


@dataclass(frozen=True, slots=True)
class _Imu:
    """One IMU in one scene.

    Attributes:
        values: (n, 6) specific force, then turn rate; columns that are never there are NaN.
        measured: axes with a value that is not zero.
    """

    scene: SceneFacts
    channel: str
    rows: pa.Table
    stamps_ns: Int64Array
    values: FloatArray
    ego: EgoPath | None
    period_ns: int = field(init=False)
    measured: Int64Array = field(init=False)

    def __post_init__(self) -> None:
        steps = np.diff(self.stamps_ns)
        object.__setattr__(self, "period_ns", int(np.median(steps)) if len(steps) else 0)
        is_there = (np.isfinite(self.values) & (self.values != 0.0)).any(axis=0)
        object.__setattr__(self, "measured", np.flatnonzero(is_there))

    @property
    def force(self) -> FloatArray:
        return self.values[:, :3]

    @property
    def turn(self) -> FloatArray:
        return self.values[:, 3:]

    def says(
        self,
        check: Check,
        measured: float | None,
        description: str,
        evidence: Mapping[str, Any] | None = None,
        scale: float | None = None,
    ) -> Measurement:
        said = f"{self.channel}: {description}"
        finite = None if measured is None or not np.isfinite(measured) else float(measured)
        return Measurement(self.scene, self.channel, check, finite, said, evidence or {}, scale, Modality.IMU)


def measure_imus(facts: DriveFacts) -> Iterator[Measurement]:
    """Every check of every IMU in every scene; None where too little was recorded."""
    paths = ego_paths(facts)
    for scene, channel, rows in facts.groups("imu"):
        values = np.hstack([vectors(rows, name, 3) for name in ("linear_acceleration_m_s2", "angular_velocity_rad_s")])
        imu = _Imu(scene, channel, rows, stamps_of(rows), values, paths.get(scene.scene_id))
        yield _not_finite(imu)
        if len(rows) < MIN_MESSAGES or not len(imu.measured):
            for check in CHECKS[1:]:
                yield imu.says(check, None, f"{len(rows)} messages are too few, or they hold zeros alone")
            continue
        yield _saturation(imu)
        rest = _at_rest(imu)
        yield _bias(imu, rest)
        yield _gravity(imu, rest)
        yield from _stuck(imu)
        yield from _noise(imu, facts)
        yield _resolution(imu, facts)
        yield _units(imu)


def _not_finite(imu: _Imu) -> Measurement:
    is_given = np.isfinite(imu.values).any(axis=0)
    bad = np.flatnonzero(~np.isfinite(imu.values[:, is_given]).all(axis=1)) if is_given.any() else imu.stamps_ns[:0]
    share = len(bad) / max(len(imu.rows), 1) if is_given.any() else 1.0
    said = f"{len(bad) if is_given.any() else len(imu.rows)} of {len(imu.rows)} messages lack a number"
    return imu.says(NOT_FINITE, share, said, {"messages": messages(imu.rows, bad)} if len(bad) else {})


def _saturation(imu: _Imu) -> Measurement:
    at_rail = np.zeros(len(imu.stamps_ns), np.bool_)
    rails = {}
    for axis in imu.measured.tolist():
        for side in (1.0, -1.0):
            found = _rail(side * imu.values[:, axis])
            if found is not None:
                at_rail |= found
                rails[AXES[axis]] = float(imu.values[found, axis][0])
    firsts, lasts = runs_of(at_rail)
    longest = int((imu.stamps_ns[lasts] - imu.stamps_ns[firsts]).max()) if len(firsts) else 0
    where = " and ".join(f"{axis} at {rail:g}" for axis, rail in rails.items())
    said = f"{np.count_nonzero(at_rail)} of {len(at_rail)} messages at the end of the range" + (where and f", {where}")
    evidence = {"rails": rails, "longest_ns": longest, "messages": messages(imu.rows, firsts)} if rails else {}
    return imu.says(SATURATION, float(at_rail.mean()), said, evidence)


def _rail(values: FloatArray) -> BoolArray | None:
    """Which of (n,) values lie at their greatest, where that is a rail; None where it is not."""
    finite = values[np.isfinite(values)]
    top = finite.max(initial=-np.inf)
    near = 1e-6 * max(abs(float(top)), 1e-12)
    with np.errstate(invalid="ignore"):
        at_top = np.asarray(values >= top - near)
    count = int(np.count_nonzero(at_top))
    if count < _MIN_AT_RAIL or count > 0.9 * len(finite):
        return None
    _, counts = np.unique(finite[finite < top - near], return_counts=True)
    return at_top if count >= _PILE * float(counts[-3:].mean()) else None


def _at_rest(imu: _Imu) -> BoolArray:
    """Messages of full seconds in which the robot stands: by its poses, or by the calm of the IMU without any."""
    second = (imu.stamps_ns - imu.stamps_ns[0]) // _SECOND_NS
    _, starts, which, counts = np.unique(second, return_index=True, return_inverse=True, return_counts=True)
    spread = _spread(imu.values, starts, counts)
    # Turn rates alone are as calm in a steady bend.
    with np.errstate(invalid="ignore"):
        is_calm = (spread[:, :3] < _CALM_M_S2).all(axis=1) & (spread[:, 3:] < _CALM_RAD_S).all(axis=1)
        is_shaken = (spread[:, 3:] > _SHAKEN_RAD_S).any(axis=1) | (counts < MIN_MESSAGES // 2)
    calm, shaken = np.asarray(is_calm)[which], np.asarray(is_shaken)[which]
    if imu.ego is None:
        return np.asarray(calm & ~shaken)
    stands, is_known = imu.ego.at_rest(imu.stamps_ns)
    return np.asarray(np.where(is_known, stands, calm) & ~shaken)


def _spread(values: FloatArray, starts: Int64Array, counts: Int64Array) -> FloatArray:
    """Standard deviation of each column in each block of rows: (blocks, w); NaN where a number is missing."""
    mean = np.add.reduceat(values, starts, axis=0) / counts[:, None]
    left = values - np.repeat(mean, counts, axis=0)
    return np.asarray(np.sqrt(np.add.reduceat(left**2, starts, axis=0) / counts[:, None]))


def _mean(values: FloatArray) -> FloatArray:
    """Mean of the complete rows: (w,); NaN of none."""
    complete = values[np.isfinite(values).all(axis=1)]
    return np.asarray(complete.mean(axis=0)) if len(complete) else np.full(values.shape[1], np.nan)


def _bias(imu: _Imu, rest: BoolArray) -> Measurement:
    mean = _mean(imu.turn[rest])
    if not np.isfinite(mean).all():
        return imu.says(BIAS_AT_REST, None, "the robot never stands, or turn rates are missing")
    size = float(np.linalg.norm(mean))
    said = f"turns at {size:.4f} rad/s while the robot stands"
    return imu.says(BIAS_AT_REST, size, said, {"mean_rad_s": mean.tolist(), "nbr_messages": int(rest.sum())})


def _gravity(imu: _Imu, rest: BoolArray) -> Measurement:
    stands = np.count_nonzero(rest) >= MIN_MESSAGES
    if not stands and imu.stamps_ns[-1] - imu.stamps_ns[0] < _MIN_MEAN_NS:
        return imu.says(GRAVITY_NORM, None, "the robot does not stand, and the scene is too short for a mean")
    mean = _mean(imu.force[rest] if stands else imu.force)
    size = float(np.linalg.norm(mean))
    if not np.isfinite(size):
        return imu.says(GRAVITY_NORM, None, "specific force is not recorded")
    said = f"mean specific force of {size:.3f} m/s² {'at rest' if stands else 'over the scene'}"
    evidence = {"mean_m_s2": mean.tolist(), "is_at_rest": bool(stands)}
    return imu.says(GRAVITY_NORM, abs(size - STANDARD_GRAVITY_M_S2), said, evidence)


def _stuck(imu: _Imu) -> Iterator[Measurement]:
    same = np.diff(imu.values[:, imu.measured], axis=0) == 0.0
    lasted_ns, start_ns = longest_run_ns(same.all(axis=1), imu.stamps_ns)
    said = f"the same numbers for {lasted_ns / _SECOND_NS:.3f} s"
    yield imu.says(STUCK, float(lasted_ns), said, {"start_ns": start_ns}, float(imu.period_ns))
    worst = (0, 0, "no axis")
    for column, axis in enumerate(imu.measured.tolist()):
        others = [i for i, a in enumerate(imu.measured.tolist()) if a // 3 == axis // 3 and a != axis]
        if others:
            run = longest_run_ns(same[:, column], imu.stamps_ns)
            inside = (imu.stamps_ns[:-1] >= run[1]) & (imu.stamps_ns[1:] <= run[1] + run[0])
            # One axis may hold its value a message longer than a sensor that is stuck as a whole.
            if inside.any() and same[inside][:, others].all(axis=1).mean() < 0.5:
                worst = max(worst, (*run, AXES[axis]))
    said = f"{worst[2]} stays the same for {worst[0] / _SECOND_NS:.3f} s"
    yield imu.says(STUCK_AXIS, float(worst[0]), said, {"axis": worst[2], "start_ns": worst[1]})


def _noise(imu: _Imu, facts: DriveFacts) -> Iterator[Measurement]:
    rises = {}
    for check, values, unit in ((NOISE_ACCELERATION, imu.force, "m/s²"), (NOISE_TURN_RATE, imu.turn, "rad/s")):
        sizes = noise(values)
        if not np.isfinite(sizes).any():
            yield imu.says(check, None, "not recorded")
            continue
        worst = float(np.nanmax(sizes))
        yield imu.says(check, worst, f"noise of {worst:.4g} {unit}", {"axes": _listed(sizes)})
        usual = facts.baselines.of(imu.channel, check.name)
        if usual is not None and usual.p99 > 0.0:
            rises[check.name] = worst / usual.p99
    if not rises:
        yield imu.says(NOISE_RISE, None, "this sensor's usual noise is not known")
        return
    most = max(rises, key=lambda name: rises[name])
    yield imu.says(NOISE_RISE, rises[most], f"{rises[most]:.2f} times the usual noise ({most})", {"rises": rises})


def _resolution(imu: _Imu, facts: DriveFacts) -> Measurement:
    """The step of each axis goes into the evidence as a statistic, which later baselines are fitted to."""
    sizes = noise(imu.values)
    steps: dict[str, float] = {}
    losses: dict[str, float] = {}
    untold: list[str] = []
    for axis, name in enumerate(AXES):
        step = _step(imu.values[:, axis])
        usual = facts.baselines.of(imu.channel, f"{RESOLUTION_LOSS.name}:{name}")
        if step is not None:
            steps[name] = step
        if step is not None and usual is not None:
            hidden = 0.2 * float(np.nan_to_num(sizes[axis]))
            losses[name] = step / max(usual.median, hidden, 1e-12)
        elif usual is not None:
            untold.append(name)
    worst = max(losses, key=lambda name: losses[name], default=None)
    if worst is None or (untold and losses[worst] <= RESOLUTION_LOSS.limit):
        said = f"{' and '.join(untold)} shows one value" if untold else "this sensor's usual steps are not known"
        return imu.says(RESOLUTION_LOSS, None, said, {"statistics": steps})
    said = f"{worst} moves in steps of {steps[worst]:.3g}, {losses[worst]:.2f} times the usual"
    return imu.says(RESOLUTION_LOSS, losses[worst], said, {"statistics": steps, "worst": worst})


def _step(values: FloatArray) -> float | None:
    """Between the levels that (n,) values take; None with one or none."""
    levels = np.unique(values[np.isfinite(values)])
    return float(levels[1] - levels[0]) if len(levels) == 2 else quantum(values)


def _units(imu: _Imu) -> Measurement:
    factors = {}
    size = float(np.linalg.norm(_mean(imu.force)))
    if size > _MIN_FORCE_M_S2 or _IN_G[0] < size < _IN_G[1]:
        factors["specific force"] = size / STANDARD_GRAVITY_M_S2
    if imu.ego is not None:
        # Of both the ninth decile of the turn rate's size, which needs no common axes and no common clock.
        true_rad_s = quantile(np.linalg.norm(imu.ego.motion.angular_rad_s, axis=1), 0.9)
        if true_rad_s > _MIN_TURN_RAD_S:
            factor = quantile(np.linalg.norm(imu.turn, axis=1), 0.9) / true_rad_s
            # Noise in the poses alone makes the IMU look too slow.
            factors["turn rate"] = max(factor, 1.0)
    factors = {name: factor for name, factor in factors.items() if np.isfinite(factor) and factor > 0.0}
    off = {name: max(factor, 1.0 / factor) for name, factor in factors.items()}
    if not off:
        return imu.says(UNITS, None, "neither gravity nor a turn to compare with")
    worst = max(off, key=lambda name: off[name])
    said = f"{worst} is {factors[worst]:.3g} times what it should be"
    return imu.says(UNITS, off[worst], said, {"factors": factors})


def _listed(values: FloatArray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


MEASURES = (measure_imus,)
