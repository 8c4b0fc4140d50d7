"""Whether an IMU turns as the ego does: its rotation to the ego, and its lag, from angular rates alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scenelake.geometry.poses import multiply, rotate, rotation_vector
from scenelake.geometry.trajectory import VELOCITY_HALF_WINDOW_NS, Trajectory
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

MIN_READINGS = 200
MIN_TURNING_RAD_S = 0.01
"""Spread of the turning rate: below 0.6°/s a car drives straight on, and rates are noise."""
MAX_LAG_NS = 300_000_000
LAG_STEP_NS = 5_000_000
_COARSE = 4
"""Steps of the first search, and times that it leaves out."""
_GRID_NS = 10_000_000
MAX_TIMES = 8_000
"""At which the rates are compared: every half second of an hour, in 8 MB and half a second of CPU."""
_RUN_NS = 2_000_000_000
"""Errors of poses last about so long; readings nearer than that are taken as one."""
_NBR_ITERATIONS = 30
_CONVERGED_RAD = 1e-7
_WEAK = 1e-4
"""Of the strongest axis's information: an axis weaker than that was not turned about others."""


@dataclass(frozen=True, slots=True)
class ImuMotion:
    """How an IMU's turning compares with the poses'.

    Attributes:
        rotation_rad: (3,) ``ego_from_true_imu ego_from_given_imu^-1`` in the ego's axes; 0 about axes that did not
            show.
        sigma_rad: (3,); infinite about axes that did not show.
        lag_ns: the IMU's stamps less the poses'; positive where the IMU's events are stamped later.
        lag_sigma_ns: of it.
        turning_rad_s: spread of the turning rate.
    """

    rotation_rad: FloatArray
    sigma_rad: FloatArray
    lag_ns: int
    lag_sigma_ns: float
    turning_rad_s: float


def compare_turning(
    stamps_ns: Int64Array, rates_rad_s: FloatArray, ego_from_imu: FloatArray, trajectory: Trajectory
) -> ImuMotion | str:
    """Compares gyroscope readings with the poses' own turning rate.

    The first lag is where the sizes of the two rates agree best, for which no rotation is needed. The rotation and a
    constant bias are fitted by Gauss and Newton (hand-eye calibration from rotations alone: Tsai & Lenz 1989, with
    rates in place of steps), the lag again with that rotation, and the rotation with that lag. A robot that turns
    about one axis shows only how that axis lies, so the angle about it stays unknown.

    Args:
        stamps_ns: (n,) strictly increasing.
        rates_rad_s: (n, 3) in the IMU's frame.
        ego_from_imu: (7,).

    Returns:
        The comparison, or why there is none.
    """
    ok = np.isfinite(rates_rad_s).all(axis=1)
    times, rates = stamps_ns[ok], rates_rad_s[ok]
    if len(times) < MIN_READINGS or len(trajectory) < MIN_READINGS // 2:
        return f"{len(times)} readings and {len(trajectory)} poses are too few"
    first_ns, last_ns = int(times[0]) + MAX_LAG_NS, int(times[-1]) - MAX_LAG_NS
    grid = np.arange(first_ns, last_ns, max(_GRID_NS, (last_ns - first_ns) // MAX_TIMES), dtype=np.int64)
    smooth = _Smoothed.of(times, rates)
    ego = trajectory.velocities_at(grid)
    valid = ego.is_valid
    if np.count_nonzero(valid) < MIN_READINGS:
        return "the poses do not cover the readings"
    grid, wanted = grid[valid], ego.angular_rad_s[valid]
    turning = float(np.linalg.norm(wanted.std(axis=0)))
    if turning < MIN_TURNING_RAD_S:
        return f"it hardly turns: the turning rate varies by {np.degrees(turning):.2f}°/s"
    size = np.linalg.norm(wanted, axis=1, keepdims=True)
    lag_ns, _ = _lag(lambda times: np.linalg.norm(smooth.at(times), axis=1, keepdims=True), grid, size)
    turn, _ = _rotation(rotate(ego_from_imu[3:], smooth.at(grid + lag_ns)), wanted, grid)
    true = multiply(turn, ego_from_imu[3:])
    lag_ns, lag_sigma_ns = _lag(lambda times: rotate(true, smooth.at(times)), grid, wanted)
    turn, sigma = _rotation(rotate(ego_from_imu[3:], smooth.at(grid + lag_ns)), wanted, grid)
    return ImuMotion(rotation_vector(turn), sigma, lag_ns, lag_sigma_ns, turning)


@dataclass(frozen=True, slots=True)
class _Smoothed:
    """Readings averaged over the window that the poses' rate is taken over, by their running integral."""

    times_s: FloatArray
    angle_rad: FloatArray
    start_ns: int

    @classmethod
    def of(cls, times_ns: Int64Array, rates: FloatArray) -> "_Smoothed":
        seconds = (times_ns - times_ns[0]) / 1e9
        steps = 0.5 * (rates[1:] + rates[:-1]) * np.diff(seconds)[:, None]
        return cls(seconds, np.vstack([np.zeros(3), np.cumsum(steps, axis=0)]), int(times_ns[0]))

    def at(self, times_ns: Int64Array) -> FloatArray:
        middle, half = (times_ns - self.start_ns) / 1e9, VELOCITY_HALF_WINDOW_NS / 1e9
        ends = [
            np.stack([np.interp(middle + sign * half, self.times_s, axis) for axis in self.angle_rad.T], axis=1)
            for sign in (1, -1)
        ]
        return np.asarray((ends[0] - ends[1]) / (2 * half))


def _lag(rates_at: Callable[[Int64Array], FloatArray], grid_ns: Int64Array, wanted: FloatArray) -> tuple[int, float]:
    """Where the rates (m, k) agree best but for a constant, by a parabola through the best of the steps; and sigma."""
    near = _nearest_lag(rates_at, grid_ns[::_COARSE], wanted[::_COARSE])
    lags = near + np.arange(-_COARSE, _COARSE + 1) * LAG_STEP_NS
    misfits = _misfits(rates_at, grid_ns, wanted, lags)
    cost = misfits.mean(axis=1)
    best = int(np.clip(cost.argmin(), 1, len(lags) - 2))
    bend = cost[best - 1] - 2 * cost[best] + cost[best + 1]
    if bend <= 0:
        return int(lags[best]), np.inf
    slope = (misfits[best + 1] - misfits[best - 1]) / 2
    of_run = np.bincount(_runs(grid_ns), slope - slope.mean()) / len(slope)
    sigma = float(np.sqrt((of_run**2).sum()) / bend) * LAG_STEP_NS
    return int(lags[best] - (cost[best + 1] - cost[best - 1]) / (2 * bend) * LAG_STEP_NS), sigma


def _nearest_lag(rates_at: Callable[[Int64Array], FloatArray], grid_ns: Int64Array, wanted: FloatArray) -> int:
    """The best of coarse steps: rates are means over a window that is several of them long, so none is passed over."""
    step_ns = _COARSE * LAG_STEP_NS
    most = MAX_LAG_NS - step_ns
    lags = np.arange(-most, most + 1, step_ns)
    return int(lags[_misfits(rates_at, grid_ns, wanted, lags).mean(axis=1).argmin()])


def _misfits(
    rates_at: Callable[[Int64Array], FloatArray], grid_ns: Int64Array, wanted: FloatArray, lags_ns: Int64Array
) -> FloatArray:
    """(lags, m) squared differences of the rates from the wanted ones but for a constant."""
    target = wanted - wanted.mean(axis=0)
    misfits = np.empty((len(lags_ns), len(grid_ns)))
    for i, lag in enumerate(lags_ns.tolist()):
        rates = rates_at(grid_ns + lag)
        misfits[i] = ((rates - rates.mean(axis=0) - target) ** 2).sum(axis=1)
    return misfits


def _rotation(given: FloatArray, wanted: FloatArray, grid_ns: Int64Array) -> tuple[FloatArray, FloatArray]:
    """The rotation (4,) that, with a bias, takes the given rates to the wanted ones, and its sigma (3,)."""
    target = wanted - wanted.mean(axis=0)
    centred = given - given.mean(axis=0)
    turn = np.array([1.0, 0.0, 0.0, 0.0])
    for _ in range(_NBR_ITERATIONS):
        now = rotate(turn, centred)
        jacobian = -_cross_matrices(now)
        normal = np.einsum("nij,nik->jk", jacobian, jacobian)
        right = np.einsum("nij,ni->j", jacobian, target - now)
        inverse, _ = _inverse(normal)
        step = inverse @ right
        angle = float(np.linalg.norm(step))
        if angle < _CONVERGED_RAD:
            break
        step *= min(1.0, 0.5 / angle)
        angle = min(angle, 0.5)
        turn = multiply(np.array([np.cos(angle / 2), *(np.sin(angle / 2) * step / np.linalg.norm(step))]), turn)
        turn /= np.linalg.norm(turn)
    now = rotate(turn, centred)
    jacobian = -_cross_matrices(now)
    inverse, is_weak = _inverse(np.einsum("nij,nik->jk", jacobian, jacobian))
    rows = np.einsum("nij,ni->nj", jacobian, target - now)
    of_run = np.stack([np.bincount(_runs(grid_ns), column) for column in rows.T], axis=1)
    sigma = np.sqrt(np.diag(inverse @ (of_run.T @ of_run) @ inverse))
    return turn, np.where(is_weak, np.inf, sigma)


def _cross_matrices(v: FloatArray) -> FloatArray:
    """(n, 3, 3) matrices that take w to v x w."""
    matrices = np.zeros((len(v), 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        matrices[:, i, j], matrices[:, j, i] = -v[:, k], v[:, k]
    return matrices


def _inverse(normal: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Inverse over the directions that show, and which axes (3,) lie mostly along the others."""
    values, vectors = np.linalg.eigh(normal)
    shows = values > _WEAK * values[-1]
    inverse = (vectors[:, shows] / values[shows]) @ vectors[:, shows].T
    hidden = (vectors[:, ~shows] ** 2).sum(axis=1)
    return np.asarray(inverse), np.asarray(hidden > 0.5)


def _runs(grid_ns: Int64Array) -> Int64Array:
    """(n,) number of the run of ``_RUN_NS`` that each time lies in."""
    runs = (grid_ns - grid_ns[0]) // _RUN_NS
    return np.asarray(np.unique(runs, return_inverse=True)[1], np.int64)
