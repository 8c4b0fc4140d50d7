"""Doppler of what stands still, by finite differences of its distance."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.geometry.strategies import poses, vectors

from scenelake.geometry.doppler import compensate_doppler
from scenelake.geometry.poses import compose, invert, multiply, transform


@settings(deadline=None)
@given(
    ego=poses(),
    mount=poses(),
    target=vectors,
    velocity=vectors,
    rate=st.lists(st.floats(-2, 2), min_size=3, max_size=3),
)
def test_what_stands_still_has_none_left(ego, mount, target, velocity, rate):
    rate = np.array(rate)
    step_s = 1e-5

    def seen(after_s):
        angle = np.linalg.norm(rate) * after_s / 2
        axis = rate / max(np.linalg.norm(rate), 1e-12)
        turn = np.array([np.cos(angle), *(np.sin(angle) * axis)])
        moved = np.concatenate([transform(ego, velocity * after_s), multiply(ego[3:], turn)])
        return transform(invert(compose(moved, mount)), target)

    distance = np.linalg.norm(seen(0.0))
    if distance < 1.0:
        return
    measured = (np.linalg.norm(seen(step_s)) - np.linalg.norm(seen(-step_s))) / (2 * step_s)
    left = compensate_doppler(seen(0.0)[None], np.array([measured]), mount, velocity, rate)
    # Differences of distances of 1e2 m over 1e-5 s are good to about 1e-8 m / 1e-5 s.
    np.testing.assert_allclose(left, 0.0, atol=5e-3)


def test_a_point_at_the_radar_has_no_direction():
    mount = np.array([3.0, 0, 0.5, 1, 0, 0, 0])
    points = np.array([[0.0, 0, 0], [10, 0, 0]])
    left = compensate_doppler(points, np.array([0.0, -5.0]), mount, np.array([5.0, 0, 0]), np.zeros(3))
    assert np.isnan(left[0])
    assert left[1] == 0.0
