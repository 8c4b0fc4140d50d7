"""Interpolated poses and the velocities between them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.geometry.strategies import poses

from scenelake.geometry.poses import compose, invert, rotation_vector, transform
from scenelake.geometry.trajectory import MAX_POSE_GAP_NS, VELOCITY_HALF_WINDOW_NS, Trajectory

BASE = 1_760_000_000_000_000_000
MS = 1_000_000


def array(values):
    return np.array(values, np.int64)


@settings(deadline=None)
@given(a=poses(), b=poses(), moved=poses(), share=st.floats(0.0, 1.0))
def test_between_two_poses_the_turn_is_even_short_and_in_any_frame_the_same(a, b, moved, share):
    gap = 200 * MS
    at = round(share * gap)
    trajectory = Trajectory.of(array([BASE, BASE + gap]), np.stack([a, b]))
    found = trajectory.at(array([BASE, BASE + at, BASE + gap]))
    assert found.is_valid.all()
    np.testing.assert_allclose(np.linalg.norm(found.values[:, 3:], axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(found.values[1, :3], a[:3] + (b[:3] - a[:3]) * at / gap, atol=1e-9)
    whole = np.linalg.norm(rotation_vector(compose(invert(a), b)[3:]))
    so_far = np.linalg.norm(rotation_vector(compose(invert(a), found.values[1])[3:]))
    # A half turn has two shortest arcs, and which one is taken hangs on the last bit.
    if whole < np.pi - 1e-6:
        assert so_far == pytest.approx(whole * at / gap, abs=1e-6)
        elsewhere = Trajectory.of(trajectory.stamps_ns, compose(moved, trajectory.poses)).at(array([BASE + at]))
        expected = compose(moved, found.values[1])
        np.testing.assert_allclose(elsewhere.values[0, :3], expected[:3], atol=1e-8)
        assert abs(elsewhere.values[0, 3:] @ expected[3:]) > 1 - 1e-9


@settings(deadline=None)
@given(first=poses(), second=poses(), at=st.integers(0, 100))
def test_the_sign_of_a_quaternion_and_the_order_of_the_rows_change_nothing(first, second, at):
    stamps = array([BASE, BASE + 100])
    flipped = np.stack([first, second])
    flipped[1, 3:] *= -1
    one = Trajectory.of(stamps, np.stack([first, second])).at(array([BASE + at]))
    other = Trajectory.of(stamps[::-1], flipped[::-1]).at(array([BASE + at]))
    turn = compose(invert(first), second)[3:]
    if np.linalg.norm(rotation_vector(turn)) < np.pi - 1e-6:
        np.testing.assert_allclose(one.values[:, :3], other.values[:, :3], atol=1e-9)
        assert abs(one.values[0, 3:] @ other.values[0, 3:]) > 1 - 1e-9


def test_nothing_is_extrapolated_and_no_wide_gap_is_bridged():
    still = np.tile([0.0, 0, 0, 1, 0, 0, 0], (4, 1))
    gap = MAX_POSE_GAP_NS
    trajectory = Trajectory.of(array([BASE, BASE + gap, BASE + 2 * gap + 1, BASE + 2 * gap + 2]), still)
    times = array([BASE - 1, BASE, BASE + 1, BASE + gap, BASE + gap + 1, BASE + 2 * gap + 1, BASE + 2 * gap + 3])
    assert trajectory.at(times).is_valid.tolist() == [False, True, True, True, False, True, False]


def test_bad_and_repeated_poses_are_left_out():
    rows = np.array([[1.0, 0, 0, 2, 0, 0, 0], [9, 0, 0, 1, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0], [3, 0, 0, 1, 0, 0, 0]])
    trajectory = Trajectory.of(array([BASE, BASE, BASE + 5, BASE + 10]), rows)
    assert trajectory.stamps_ns.tolist() == [BASE, BASE + 10]
    np.testing.assert_array_equal(trajectory.poses[:, :4], [[1, 0, 0, 1], [3, 0, 0, 1]])


@pytest.mark.parametrize("speed_m_s", [0.0, 30.0])
def test_velocities_are_those_of_a_helix_in_the_ego_frame(speed_m_s):
    yaw_rate = 0.5
    stamps = BASE + np.arange(50) * 20 * MS
    elapsed = (stamps - BASE) / 1e9
    yaw = yaw_rate * elapsed
    radius = speed_m_s / yaw_rate
    zero = np.zeros_like(yaw)
    turn = np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], axis=1)
    place = np.stack([radius * np.sin(yaw), radius * (1 - np.cos(yaw)), 0.2 * elapsed], axis=1)
    trajectory = Trajectory.of(stamps, np.hstack([place, turn]))
    found = trajectory.velocities_at(stamps + 7 * MS)
    assert found.is_valid[:-1].all()
    assert not found.is_valid[-1]
    inner = found.linear_m_s[5:-6]
    np.testing.assert_allclose(inner, np.tile([speed_m_s, 0.0, 0.2], (len(inner), 1)), atol=6e-3)
    np.testing.assert_allclose(found.angular_rad_s[:-1], np.tile([0, 0, yaw_rate], (49, 1)), atol=1e-9)


def test_a_velocity_needs_a_stretch_of_poses():
    still = np.tile([0.0, 0, 0, 1, 0, 0, 0], (2, 1))
    short = Trajectory.of(array([BASE, BASE + VELOCITY_HALF_WINDOW_NS - 1]), still)
    assert not short.velocities_at(array([BASE])).is_valid.any()
    assert not Trajectory.of(array([]), np.empty((0, 7))).velocities_at(array([BASE])).is_valid.any()
    np.testing.assert_array_equal(transform(still[0], np.ones(3)), np.ones(3))
