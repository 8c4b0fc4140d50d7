"""Chains of transforms by time, and why there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.geometry.strategies import poses

from scenelake.geometry.poses import IDENTITY, compose, invert
from scenelake.geometry.transform_tree import Edge, TransformTree

BASE = 1_760_000_000_000_000_000
MS = 1_000_000
S = np.sqrt(0.5)
LEFT = [S, 0.0, 0.0, S]


def pose(x=0.0, y=0.0, z=0.0, q=(1.0, 0.0, 0.0, 0.0)):
    return np.array([x, y, z, *q], np.float64)


def fixed(parent, child, value=None):
    return Edge(parent, child, np.array([BASE]), (pose() if value is None else value)[None])


def at(tree, target, source, time_ns=BASE):
    return tree.resolve(target, source).chain.at(np.array([time_ns])).values[0]


def test_a_chain_is_resolved_from_the_ego_frame_down():
    tree = TransformTree(
        [
            fixed("base_footprint", "base_link", pose(0, 0, 0.5)),
            fixed("base_link", "roof", pose(1, 0, 1, LEFT)),
            fixed("roof", "lidar", pose(0.5, 0, 0)),
            fixed("base_footprint", "bumper", pose(2, 0, 0.4)),
        ]
    )
    np.testing.assert_allclose(at(tree, "base_link", "/lidar"), pose(1, 0.5, 1, LEFT), atol=1e-12)
    np.testing.assert_allclose(at(tree, "base_link", "bumper"), pose(2, 0, -0.1), atol=1e-12)
    np.testing.assert_allclose(at(tree, "base_link", "base_link"), IDENTITY)
    assert tree.ancestors("lidar") == ("roof", "base_link", "base_footprint")


@settings(deadline=None, max_examples=50)
@given(values=st.lists(poses(), min_size=6, max_size=6), parents=st.tuples(*[st.integers(0, i) for i in range(6)]))
def test_a_tree_agrees_with_a_walk_over_any_shape(values, parents):
    """Frame i + 1 hangs on a frame before it; world poses are multiplied up by hand."""
    tree = TransformTree(fixed(f"f{p}", f"f{i + 1}", v) for i, (p, v) in enumerate(zip(parents, values, strict=True)))
    world = [IDENTITY]
    for parent, value in zip(parents, values, strict=True):
        world.append(compose(world[parent], value))
    for a in range(7):
        for b in range(7):
            expected = compose(invert(world[a]), world[b])
            found = at(tree, f"f{a}", f"f{b}")
            np.testing.assert_allclose(found[:3], expected[:3], atol=1e-6)
            assert abs(found[3:] @ expected[3:]) > 1 - 1e-9


def test_a_setting_holds_until_the_next_and_the_first_before_it():
    values = np.stack([pose(1), pose(2), pose(3)])
    tree = TransformTree([Edge("base_link", "lidar", np.array([BASE, BASE + 10, BASE + 20]), values)])
    chain = tree.resolve("base_link", "lidar").chain
    times = BASE + np.array([-5, 0, 9, 10, 19, 20, 10**12])
    assert chain.at(times).values[:, 0].tolist() == [1, 1, 1, 2, 2, 3, 3]
    assert chain.change_ns.tolist() == [BASE + 10, BASE + 20]
    assert not chain.is_moving


def test_a_moving_link_is_interpolated_between_settings_of_the_others():
    stamps = BASE + np.arange(3) * 100 * MS
    arm = Edge("base_link", "arm", stamps, np.stack([pose(i) for i in range(3)]), is_moving=True)
    hand = Edge("arm", "hand", np.array([BASE, BASE + 120 * MS]), np.stack([pose(0, 1), pose(0, 2)]))
    chain = TransformTree([arm, hand]).resolve("base_link", "hand").chain
    found = chain.at(BASE + np.array([50, 119, 120, 150, 201]) * MS)
    np.testing.assert_allclose(found.values[:4, :2], [[0.5, 1], [1.19, 1], [1.2, 2], [1.5, 2]], atol=1e-12)
    assert found.is_valid.tolist() == [True, True, True, True, False]
    assert np.isnan(found.values[4]).all()
    assert chain.is_moving
    assert chain.change_ns.tolist() == [BASE + 120 * MS]


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ([], "not connected"),
        ([("map", "base_link"), ("rig", "lidar")], "not connected"),
        ([("a", "lidar"), ("b", "a"), ("lidar", "b")], "on a cycle"),
        ([("lidar", "lidar")], "on a cycle"),
        ([("base_link", "lidar"), ("roof", "lidar")], "2 parents: base_link, roof"),
    ],
    ids=["no-edges", "two-trees", "cycle", "own-parent", "two-parents"],
)
def test_what_cannot_be_resolved_says_why(edges, reason):
    resolved = TransformTree(fixed(p, c) for p, c in edges).resolve("base_link", "lidar")
    assert resolved.chain is None
    assert reason in resolved.problem


@pytest.mark.parametrize("bad", [pose(q=(0, 0, 0, 0)), pose(x=np.nan)])
def test_a_transform_that_is_none_leaves_the_sensor_unresolved(bad):
    problem = TransformTree([fixed("base_link", "lidar", bad)]).resolve("base_link", "lidar").problem
    assert problem == "transform 'base_link' from 'lidar' is no rigid transform"
    edge = Edge("base_link", "lidar", np.array([BASE, BASE + 5]), np.stack([pose(1), bad]))
    found = TransformTree([edge]).resolve("base_link", "lidar").chain.at(BASE + np.array([4, 5]))
    assert found.is_valid.tolist() == [True, False]
