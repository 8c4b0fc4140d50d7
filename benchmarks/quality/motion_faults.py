"""What goes wrong with an IMU, with odometry and with a receiver, in their recorded numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.quality.camera_faults import some, stretch
from benchmarks.quality.kinds import Kind, moving, standing, turning
from benchmarks.quality.recording import Rows, Track
from benchmarks.quality.rigs import GNSS, IMU, ODOMETRY

_AXES = ("x", "y", "z")
_M_PER_DEG = 111_320.0


def _imu(track: Track, rows: Rows, change: Callable[[np.ndarray, int], np.ndarray]) -> Track:
    """Changes specific force and turn rate, (6,), of each message."""

    def edit(message: Any, position: int) -> Any:
        parts = (message.linear_acceleration, message.angular_velocity)
        values = change(np.array([getattr(part, axis) for part in parts for axis in _AXES]), position)
        for part, three in zip(parts, (values[:3], values[3:]), strict=True):
            for axis, value in zip(_AXES, three.tolist(), strict=True):
                setattr(part, axis, value)
        return message

    return track.edited(rows, edit)


def imu_not_finite(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the messages holds a NaN."""

    def spoil(values: np.ndarray, _: int) -> np.ndarray:
        values[int(random.integers(6))] = np.nan
        return values

    return _imu(track, some(rows, strength, random), spoil)


def imu_saturated(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The range of the vertical axis ends where a share of its values lies beyond."""
    force = np.array([track.message(row).linear_acceleration.z for row in rows.tolist()])
    rail = float(np.quantile(force, 1.0 - strength))

    def clip(values: np.ndarray, _: int) -> np.ndarray:
        values[2] = min(values[2], rail)
        return values

    return _imu(track, rows, clip)


def gyro_bias(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Turn rates about the vertical are off by so many rad/s."""
    return _imu(track, rows, lambda values, _: values + np.array([0, 0, 0, 0, 0, strength]))


def gyro_scale(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Turn rates are a share too large."""
    return _imu(track, rows, lambda values, _: values * np.array([1, 1, 1, *[1 + strength] * 3]))


def force_scale(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Specific force is a share too small; 0.9 is about g in place of m/s²."""
    return _imu(track, rows, lambda values, _: values * np.array([*[1 - strength] * 3, 1, 1, 1]))


def imu_stuck(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """For so many seconds all numbers are those of before."""
    held = stretch(track, rows, strength, random)
    first: list[np.ndarray] = []

    def hold(values: np.ndarray, _: int) -> np.ndarray:
        first.append(values)
        return first[0]

    return _imu(track, held, hold)


def axis_stuck(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """For so many seconds one axis of the specific force keeps its value."""
    held = stretch(track, rows, strength, random)
    axis = int(random.integers(3))
    first: list[float] = []

    def hold(values: np.ndarray, _: int) -> np.ndarray:
        first.append(values[axis])
        values[axis] = first[0]
        return values

    return _imu(track, held, hold)


def force_noise(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """So many m/s² of white noise come on top of the specific force."""
    return _imu(track, rows, lambda v, _: v + np.array([*random.normal(0.0, strength, 3), 0, 0, 0]))


def turn_noise(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """So many rad/s of white noise come on top of the turn rates."""
    return _imu(track, rows, lambda v, _: v + np.array([0, 0, 0, *random.normal(0.0, strength, 3)]))


def noise_rise(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """All axes are so many times as noisy as the sensor usually is, as its own messages show."""
    values = np.array([[getattr(track.message(row).angular_velocity, a) for a in _AXES] for row in rows[:400].tolist()])
    own = float(np.median(np.abs(np.diff(values, 2, axis=0)))) / 0.6745 / np.sqrt(6.0)
    added = own * np.sqrt(max(strength**2 - 1.0, 0.0))
    return _imu(track, rows, lambda v, _: v + np.array([0, 0, 0, *random.normal(0.0, added, 3)]))


def coarse(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The lowest bits of the specific force are stuck: it moves in steps of so many m/s²."""

    def rounded(values: np.ndarray, _: int) -> np.ndarray:
        values[:3] = np.rint(values[:3] / strength) * strength
        return values

    return _imu(track, rows, rounded)


def late(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """What messages say is so many seconds old; their stamps are not."""
    behind = np.searchsorted(track.stamp_ns, track.stamp_ns[rows] - round(strength * 1e9))
    sources = {int(row): int(source) for row, source in zip(rows, np.maximum(behind, 0), strict=True)}
    ordered = [int(row) for row in rows]

    def older(message: Any, position: int) -> Any:
        source = track.message(sources[ordered[position]])
        source.header = message.header
        return source

    return track.edited(rows, older)


def odometry_scale(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The speed that odometry reports is a share too large, as of a worn tyre; its poses are not."""

    def faster(message: Any, _: int) -> Any:
        for axis in _AXES:
            speed = message.twist.twist.linear
            setattr(speed, axis, getattr(speed, axis) * (1.0 + strength))
        return message

    return track.edited(rows, faster)


def speed_late(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The speed that odometry reports is so many seconds old; its poses are not."""
    behind = np.searchsorted(track.stamp_ns, track.stamp_ns[rows] - round(strength * 1e9))
    sources = np.maximum(behind, 0).tolist()

    def older(message: Any, position: int) -> Any:
        message.twist = track.message(int(sources[position])).twist
        return message

    return track.edited(rows, older)


def pose_jump(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """From some moment on to the end of the scene, poses are so many metres aside."""
    first = int(random.integers(len(rows) // 4, 3 * len(rows) // 4))

    def aside(message: Any, _: int) -> Any:
        message.pose.pose.position.y += strength
        return message

    return track.edited(rows[first:], aside)


def heading_jump(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """From some moment on to the end of the scene, poses are turned by so many rad."""
    first = int(random.integers(len(rows) // 4, 3 * len(rows) // 4))
    sin, cos = np.sin(strength / 2), np.cos(strength / 2)

    def turned(message: Any, _: int) -> Any:
        q = message.pose.pose.orientation
        q.w, q.x, q.y, q.z = (
            cos * q.w - sin * q.z, cos * q.x - sin * q.y, cos * q.y + sin * q.x, cos * q.z + sin * q.w,
        )  # fmt: skip
        return message

    return track.edited(rows[first:], turned)


def pose_frozen(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """For so many seconds the pose is the one before; speed and stamps go on."""
    held = stretch(track, rows, strength, random)
    source = track.message(int(held[0]) - 1).pose if len(held) else None

    def hold(message: Any, _: int) -> Any:
        message.pose = source
        return message

    return track.edited(held, hold)


def pose_noise(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The speed that poses make swings by so many m/s², against what an IMU feels."""
    stamps_s = (track.stamp_ns[rows] - track.stamp_ns[rows[0]]) / 1e9
    rate = 2 * np.pi / 5.0
    along_m = strength / rate**2 * np.sin(rate * stamps_s)

    def swing(message: Any, position: int) -> Any:
        message.pose.pose.position.x += float(along_m[position])
        return message

    return track.edited(rows, swing)


def turn_residual(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The turn rate swings by so many rad/s that the poses do not have."""
    stamps_s = (track.stamp_ns[rows] - track.stamp_ns[rows[0]]) / 1e9
    swing = strength * np.sin(2 * np.pi / 3.0 * stamps_s)
    return _imu(track, rows, lambda values, k: values + np.array([0, 0, 0, 0, 0, swing[k]]))


def no_fix(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the receiver's messages has no fix."""

    def lose(message: Any, _: int) -> Any:
        message.status.status = -1
        return message

    return track.edited(some(rows, strength, random), lose)


def fix_jump(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """One fix in the midst of the scene is so many metres to the north."""
    row = rows[int(random.integers(len(rows) // 4, 3 * len(rows) // 4))]

    def aside(message: Any, _: int) -> Any:
        message.latitude += strength / _M_PER_DEG
        return message

    return track.edited(np.array([row]), aside)


def fix_drift(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Fixes swing by so many metres to and fro along the road, once in the scene, as reflections make them."""
    share = (track.stamp_ns[rows] - track.stamp_ns[rows[0]]) / 20e9

    def drift(message: Any, position: int) -> Any:
        cos = np.cos(np.radians(message.latitude))
        message.longitude += strength * np.sin(2 * np.pi * share[position]) / (_M_PER_DEG * cos)
        return message

    return track.edited(rows, drift)


KINDS = (
    Kind("IMU not finite", "imu.not_finite", IMU, "share", (0.001, 0.005, 0.02, 0.1, 0.5), 0.001, imu_not_finite),
    Kind("IMU saturated", "imu.saturation", IMU, "share", (0.001, 0.003, 0.01, 0.03, 0.1), 0.01, imu_saturated),
    Kind("gyro bias at rest", "imu.bias_at_rest", IMU, "rad/s", (0.005, 0.015, 0.04, 0.1, 0.3), 0.04, gyro_bias,
         fits=standing),
    Kind("accelerometer scale", "imu.gravity_norm", IMU, "share", (0.01, 0.03, 0.06, 0.2, 0.5), 0.06, force_scale),
    Kind("IMU in other units", "imu.units", IMU, "share", (0.3, 0.6, 0.85, 0.88, 0.898), 0.88, force_scale),
    Kind("IMU stuck", "imu.stuck", IMU, "s", (0.05, 0.1, 0.3, 1.0, 5.0), 0.3, imu_stuck),
    Kind("axis stuck", "imu.stuck_axis", IMU, "s", (0.5, 1.0, 3.0, 6.0, 12.0), 3.0, axis_stuck),
    Kind("accelerometer noise", "imu.noise_acceleration", IMU, "m/s²", (0.5, 2.0, 6.0, 12.0, 30.0), 6.0, force_noise),
    Kind("gyro noise", "imu.noise_turn_rate", IMU, "rad/s", (0.03, 0.1, 0.4, 1.0, 3.0), 0.4, turn_noise),
    Kind("gyro noisier than usual", "imu.noise_rise", IMU, "times", (1.2, 1.7, 3.0, 5.0, 10.0), 3.0, noise_rise),
    Kind("bits stuck", "imu.resolution_loss", IMU, "m/s²", (0.005, 0.02, 0.1, 0.3, 1.0), 0.1, coarse,
         fits=moving),
    Kind("IMU lags", "motion.turn_rate_lag", IMU, "s", (0.01, 0.03, 0.08, 0.2, 0.5), 0.08, late, fits=turning),
    Kind("gyro scale", "motion.turn_rate_scale", IMU, "share", (0.02, 0.06, 0.15, 0.3, 1.0), 0.3, gyro_scale,
         fits=turning),
    Kind("gyro bias in motion", "motion.turn_rate_offset", IMU, "rad/s", (0.005, 0.015, 0.04, 0.1, 0.3), 0.04,
         gyro_bias, fits=moving),
    Kind("gyro swings", "motion.turn_rate_residual", IMU, "rad/s", (0.03, 0.06, 0.15, 0.3, 1.0), 0.15, turn_residual,
         fits=moving),
    Kind("odometry scale", "motion.speed_disagreement", ODOMETRY, "share", (0.01, 0.03, 0.1, 0.2, 0.5), 0.1,
         odometry_scale, fits=moving),
    Kind("odometry speed late", "motion.speed_lag", ODOMETRY, "s", (0.05, 0.15, 0.4, 0.6, 0.8), 0.4, speed_late,
         fits=moving),
    Kind("poses against IMU", "motion.acceleration_residual", ODOMETRY, "m/s²", (0.2, 0.5, 1.5, 3.0, 6.0), 3.0,
         pose_noise, fits=moving, channel=IMU),
    Kind("pose jumps", "motion.pose_jump", ODOMETRY, "m", (0.1, 0.3, 1.0, 3.0, 10.0), 1.0, pose_jump),
    Kind("heading jumps", "motion.heading_jump", ODOMETRY, "rad", (0.03, 0.1, 0.3, 0.6, 1.5), 0.3, heading_jump),
    Kind("pose frozen", "motion.pose_frozen", ODOMETRY, "s", (0.2, 0.4, 1.0, 3.0, 8.0), 1.0, pose_frozen,
         fits=moving),
    Kind("no fix", "gnss.no_fix", GNSS, "share", (0.03, 0.08, 0.2, 0.5, 1.0), 0.2, no_fix),
    Kind("fix jumps", "gnss.jump", GNSS, "m", (2.0, 5.0, 12.0, 30.0, 100.0), 12.0, fix_jump),
    Kind("fixes drift", "gnss.drift", GNSS, "m", (1.0, 3.0, 10.0, 30.0, 100.0), 30.0, fix_drift, fits=moving),
)  # fmt: skip
