"""An IMU's rotation and lag are those of the robot's turning, as far as it turns."""

import numpy as np
import pytest

from scenelake.geometry.poses import compose, multiply, pose_of, quaternion_of, rotate
from scenelake.geometry.trajectory import Trajectory
from scenelake.quality.calibration.motion import ImuMotion, compare_turning

STEP_NS = 10_000_000
MOUNT = pose_of(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([0.4, 0, 0.6]))


def drive(rates_of, *, seconds: int = 60, lag_ns: int = 0, error: np.ndarray | None = None, noise_rad_s: float = 0.003):
    """Stamps and readings of an IMU, its given pose, and the trajectory: turning by ``rates_of`` in the ego's axes."""
    random = np.random.default_rng(5)
    stamps = np.arange(0, seconds * 1_000_000_000, STEP_NS, dtype=np.int64)
    rates = rates_of(stamps / 1e9)
    turns = np.zeros((len(stamps), 4))
    turns[0] = [1, 0, 0, 0]
    for k in range(1, len(stamps)):
        half = 0.25 * (rates[k] + rates[k - 1]) * STEP_NS / 1e9
        turns[k] = multiply(turns[k - 1], np.array([1.0, *half]) / np.sqrt(1 + half @ half))
    poses = np.concatenate([np.zeros((len(stamps), 3)), turns], axis=1)
    inverse = MOUNT[3:] * [1, -1, -1, -1]
    readings = rotate(inverse, rates) + random.normal(0, noise_rad_s, rates.shape) + [0.01, -0.02, 0.005]
    given = MOUNT if error is None else compose(_turn(-error), MOUNT)
    return stamps + lag_ns, readings, given, Trajectory.of(stamps, poses)


def _turn(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    return np.concatenate([np.zeros(3), [np.cos(angle / 2)], np.sin(angle / 2) * vector / angle])


def all_axes(t: np.ndarray) -> np.ndarray:
    return np.stack([0.2 * np.sin(1.3 * t), 0.15 * np.sin(0.9 * t + 1), 0.4 * np.sin(0.5 * t)], axis=1)


def on_a_plane(t: np.ndarray) -> np.ndarray:
    return np.stack([0 * t, 0 * t, 0.4 * np.sin(0.5 * t)], axis=1)


@pytest.mark.parametrize("error_deg", [(0, 0, 0.01), (3, 0, 0), (0, -2, 5), (0, 0, 90)], ids=str)
def test_the_rotation_is_found(error_deg: tuple[float, float, float]) -> None:
    found = compare_turning(*drive(all_axes, error=np.radians(error_deg)))
    assert isinstance(found, ImuMotion)
    np.testing.assert_allclose(np.degrees(found.rotation_rad), error_deg, atol=0.3)
    assert (np.degrees(found.sigma_rad) < 0.3).all()
    assert abs(found.lag_ns) < 3_000_000


@pytest.mark.parametrize("lag_ns", [-80_000_000, 40_000_000])
def test_the_lag_is_found(lag_ns: int) -> None:
    found = compare_turning(*drive(all_axes, lag_ns=lag_ns))
    assert isinstance(found, ImuMotion)
    assert abs(found.lag_ns - lag_ns) < 3_000_000
    assert found.lag_sigma_ns < 3_000_000


def test_a_long_drive_is_compared_at_some_of_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenelake.quality.calibration.motion.MAX_TIMES", 600)
    found = compare_turning(*drive(all_axes, lag_ns=20_000_000, error=np.radians([0.0, 3.0, 0.0])))
    assert isinstance(found, ImuMotion)
    np.testing.assert_allclose(np.degrees(found.rotation_rad), [0, 3, 0], atol=0.5)
    assert abs(found.lag_ns - 20_000_000) < 4_000_000


def test_turning_on_a_plane_does_not_show_the_angle_about_its_axis() -> None:
    found = compare_turning(*drive(on_a_plane, error=np.radians([2.0, 0.0, 0.0])))
    assert isinstance(found, ImuMotion)
    assert np.isinf(found.sigma_rad[2]) or np.degrees(found.sigma_rad[2]) > 2
    np.testing.assert_allclose(np.degrees(found.rotation_rad[:2]), [2.0, 0.0], atol=0.4)


def test_a_robot_that_goes_straight_on_shows_nothing() -> None:
    found = compare_turning(*drive(lambda t: 0.001 * all_axes(t)))
    assert isinstance(found, str)
    assert "hardly turns" in found


def test_few_readings_and_readings_elsewhere_show_nothing() -> None:
    stamps, rates, given, trajectory = drive(all_axes)
    assert "too few" in str(compare_turning(stamps[:50], rates[:50], given, trajectory))
    late = compare_turning(stamps + 10**12, rates, given, trajectory)
    assert isinstance(late, str)
    assert "do not cover" in late
    assert quaternion_of(np.eye(3))[0] == 1
