"""Rotations and transforms."""

import numpy as np
import pytest

from scenelake.geometry.poses import quaternion_of
from scenelake.simulate.geometry import Transform, generator, rotation_from_rpy


@pytest.mark.parametrize(
    "rpy", [(0, 0, 0), (0.3, -0.2, 2.5), (np.pi, 0, 0), (0, np.pi, 0), (0, 0, np.pi), (3.1, 0.4, -3.0), (1, 1.5, 2)]
)
def test_quaternions_turn_vectors_as_their_matrices_do(rpy):
    rotation = rotation_from_rpy(*rpy)
    w, x, y, z = quaternion_of(rotation)
    assert w >= 0
    axis, v = np.array([x, y, z]), np.array([0.3, -1.2, 2.0])
    turned = v + 2 * w * np.cross(axis, v) + 2 * np.cross(axis, np.cross(axis, v))
    np.testing.assert_allclose(turned, rotation @ v, atol=1e-12)


def test_a_transform_and_its_inverse_cancel():
    transform = Transform(rotation_from_rpy(0.1, 0.2, 0.3), np.array([1.0, 2.0, 3.0]))
    points = generator(1).normal(size=(5, 3))
    np.testing.assert_allclose(transform.inverse().apply(transform.apply(points)), points, atol=1e-12)
    np.testing.assert_allclose((transform @ transform.inverse()).rotation, np.eye(3), atol=1e-12)


def test_generators_depend_on_every_part_of_their_key():
    draws = {generator(*key).random() for key in ((1, "a", 2), (1, "a", 3), (1, "b", 2), (2, "a", 2))}
    assert len(draws) == 4
    assert generator(1, "a").random() == generator(1, "a").random()
