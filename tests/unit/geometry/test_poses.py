"""Composition, inversion and the forms of a rotation hold to each other for any pose."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from tests.unit.geometry.strategies import poses, quaternions, vectors

from scenelake.contracts.columns import POSE
from scenelake.geometry.arrow_poses import pose_array, pose_matrix
from scenelake.geometry.poses import (
    IDENTITY,
    compose,
    invert,
    matrix_of,
    multiply,
    normalised,
    pose_from_struct,
    pose_of,
    quaternion_of,
    rotate,
    rotation_matrix,
    rotation_vector,
    struct_from_pose,
    transform,
)

S = np.sqrt(0.5)
LEFT = [S, 0.0, 0.0, S]


def same_rotation(p, q):
    return np.abs(np.sum(p * q, axis=-1)) > 1 - 1e-12


def test_compose_turns_then_moves():
    a_from_b, b_from_c = np.array([1.0, 0, 0, *LEFT]), np.array([2.0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(compose(a_from_b, b_from_c), [1, 2, 0, *LEFT], atol=1e-12)
    np.testing.assert_allclose(transform(a_from_b, np.array([2.0, 0, 0])), [1, 2, 0], atol=1e-12)


@settings(deadline=None)
@given(a=poses(), b=poses(), c=poses(), point=vectors)
def test_composition_is_associative_invertible_and_what_its_matrices_do(a, b, c, point):
    np.testing.assert_allclose(transform(compose(a, b), point), transform(a, transform(b, point)), atol=1e-9)
    left, right = compose(compose(a, b), c), compose(a, compose(b, c))
    np.testing.assert_allclose(left[:3], right[:3], atol=1e-9)
    assert same_rotation(left[3:], right[3:])
    np.testing.assert_allclose(matrix_of(compose(a, b)), matrix_of(a) @ matrix_of(b), atol=1e-9)
    for nothing in (compose(a, invert(a)), compose(invert(a), a)):
        np.testing.assert_allclose(nothing[:3], 0.0, atol=1e-9)
        assert same_rotation(nothing[3:], IDENTITY[3:])


@settings(deadline=None)
@given(q=quaternions(), v=vectors)
def test_quaternion_matrix_and_rotation_vector_are_one_rotation(q, v):
    matrix = rotation_matrix(q)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    np.testing.assert_allclose(matrix @ v, rotate(q, v), atol=1e-10)
    back = quaternion_of(matrix)
    assert back[0] >= 0
    assert same_rotation(back, q)
    vector = rotation_vector(q)
    angle = np.linalg.norm(vector)
    assert angle <= np.pi + 1e-12
    axis = vector / angle if angle > 0 else vector
    assert same_rotation(np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis)]), q)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_a_quaternion(axis):
    q = np.zeros(4)
    q[1 + axis] = 1.0
    assert same_rotation(quaternion_of(rotation_matrix(q)), q)


def test_functions_take_many_at_once():
    random = np.random.default_rng(1)
    many = normalised(random.normal(size=(5, 7)))
    points = random.normal(size=(5, 3))
    for i in range(5):
        np.testing.assert_allclose(compose(many, many[::-1])[i], compose(many[i], many[4 - i]), atol=1e-12)
        np.testing.assert_allclose(transform(many, points)[i], transform(many[i], points[i]), atol=1e-12)
        np.testing.assert_allclose(pose_of(rotation_matrix(many[:, 3:]), many[:, :3])[i, :3], many[i, :3])
    assert same_rotation(quaternion_of(rotation_matrix(many[:, 3:])), many[:, 3:]).all()
    np.testing.assert_allclose(multiply(many[:, 3:], many[0, 3:])[2], multiply(many[2, 3:], many[0, 3:]))


def test_what_is_no_rigid_transform_is_nan():
    rows = np.array(
        [[1, 2, 3, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [np.nan, 0, 0, 1, 0, 0, 0], [0, 0, 0, np.inf, 0, 0, 0]]
    )
    made = normalised(rows)
    np.testing.assert_array_equal(made[0], [1, 2, 3, 1, 0, 0, 0])
    assert np.isnan(made[1:]).all()


def test_poses_survive_structs_and_columns():
    random = np.random.default_rng(2)
    many = normalised(random.normal(size=(4, 7)))
    np.testing.assert_array_equal(pose_from_struct(struct_from_pose(many[0])), many[0])
    many[2] = np.nan
    column = pose_array(many)
    assert column.type == POSE
    assert column.null_count == 1
    np.testing.assert_array_equal(pose_matrix(pa.chunked_array([column])), many)
    assert pose_matrix(pa.chunked_array([], POSE)).shape == (0, 7)
