"""Points of a sweep at one time: against a loop over single points, and what cannot be done."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.geometry.strategies import poses

from scenelake.geometry.motion_compensation import NO_EXTRINSIC, NO_POINT_TIME, POSE_GAP, compensate_points
from scenelake.geometry.poses import compose, invert, normalised, transform
from scenelake.geometry.trajectory import Trajectory

BASE = 1_760_000_000_000_000_000
MS = 1_000_000


def drive(seed=0, count=30):
    """A wild ride: 30 m/s and up to 90 degrees a second about every axis, a pose each 20 ms."""
    random = np.random.default_rng(seed)
    stamps = BASE + np.arange(count, dtype=np.int64) * 20 * MS
    place = np.cumsum(random.normal(0.4, 0.2, (count, 3)), axis=0)
    turn = np.cumsum(random.normal(0, 0.03, (count, 3)), axis=0)
    return Trajectory.of(stamps, normalised(np.hstack([place, np.ones((count, 1)), turn])))


@settings(deadline=None, max_examples=30)
@given(mount=poses(), target=st.integers(0, 500), seed=st.integers(0, 5))
def test_each_point_is_where_it_would_be_seen_at_the_target(mount, target, seed):
    """A world of fixed points, each seen at its own time, comes out as seen all at once."""
    trajectory, random = drive(seed), np.random.default_rng(seed)
    world = random.normal(0, 40, (60, 3))
    stamp_ns = BASE + 100 * MS
    offsets = random.integers(-100 * MS, 100 * MS, 60)
    seen = np.stack(
        [
            transform(invert(compose(trajectory.at(np.array([stamp_ns + o])).values[0], mount)), p)
            for o, p in zip(offsets, world, strict=True)
        ]
    )
    target_ns = BASE + target * MS
    found = compensate_points(seen, offsets, stamp_ns, trajectory, mount, target_ns=target_ns)
    expected = transform(invert(compose(trajectory.at(np.array([target_ns])).values[0], mount)), world)
    assert found.problem is None
    np.testing.assert_allclose(found.points_m, expected, atol=1e-6)


def test_an_ego_that_stands_still_moves_no_point_and_nan_stays():
    still = Trajectory.of(drive().stamps_ns, np.tile([3.0, 2, 1, 1, 0, 0, 0], (30, 1)))
    points = np.array([[1.0, 2, 3], [np.nan, 0, 0]])
    found = compensate_points(points, np.array([0, 50 * MS]), BASE, still, np.array([1.0, 0, 2, 1, 0, 0, 0]))
    np.testing.assert_allclose(found.points_m[0], points[0], atol=1e-12)
    assert np.isnan(found.points_m[1]).any()


def test_points_that_are_compensated_already_are_moved_as_one():
    trajectory, mount = drive(), np.array([1.0, 0, 2, 1, 0, 0, 0])
    points, offsets = np.random.default_rng(0).normal(size=(9, 3)), np.arange(9) * 10 * MS
    left = compensate_points(points, offsets, BASE, trajectory, mount, is_compensated=True)
    np.testing.assert_array_equal(left.points_m, points)
    whole = compensate_points(points, offsets, BASE, trajectory, mount, target_ns=BASE + 70 * MS, is_compensated=True)
    rigid = compensate_points(points, np.zeros(9, np.int64), BASE, trajectory, mount, target_ns=BASE + 70 * MS)
    np.testing.assert_array_equal(whole.points_m, rigid.points_m)
    nowhere = Trajectory.of(np.empty(0, np.int64), np.empty((0, 7)))
    assert compensate_points(points, None, BASE, nowhere, mount, is_compensated=True).problem is None


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"offset_ns": None}, NO_POINT_TIME, "no offset_ns"),
        ({"ego_from_sensor": None}, NO_EXTRINSIC, "not known"),
        ({"ego_from_sensor": np.full(7, np.nan)}, NO_EXTRINSIC, "not known"),
        ({"stamp_ns": BASE - 1}, POSE_GAP, f"2 of 4 times, the first {BASE - 1}"),
        ({"target_ns": BASE + 9_000 * MS}, POSE_GAP, "1 of 4 times"),
        ({"trajectory": Trajectory.of(np.empty(0, np.int64), np.empty((0, 7)))}, POSE_GAP, "there are no ego poses"),
    ],
)
def test_what_cannot_be_done_says_why(change, code, words):
    given_ = {
        "points_m": np.zeros((4, 3)),
        "offset_ns": np.array([0, 5, 5, 10]),
        "stamp_ns": BASE,
        "trajectory": drive(),
        "ego_from_sensor": np.array([1.0, 0, 2, 1, 0, 0, 0]),
    }
    found = compensate_points(**(given_ | change))
    assert found.points_m is None
    assert found.problem.startswith(f"{code}: ")
    assert words in found.problem


def test_an_empty_sweep_is_an_empty_sweep():
    found = compensate_points(np.empty((0, 3)), np.empty(0, np.int64), BASE, drive(), np.array([0.0, 0, 0, 1, 0, 0, 0]))
    assert found.points_m.shape == (0, 3)
