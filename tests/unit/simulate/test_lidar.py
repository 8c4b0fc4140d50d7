"""Points lie where the world is, each seen from where the ego was at that point's own time."""

import numpy as np
import pytest

from scenelake.simulate.config import Lidar
from scenelake.simulate.geometry import Transform, generator, rotation_from_rpy
from scenelake.simulate.lidar import LidarModel, is_lane_paint
from scenelake.simulate.raycast import GROUND, NOTHING, Rays, cast
from scenelake.simulate.world import build_world


def _map_points(message, poses, mount, *, per_point: bool):
    points = message["cloud"]
    sensor = np.stack([points["x"], points["y"], points["z"]], axis=-1).astype(np.float64)
    ego = sensor @ mount[0].T + mount[1]
    times = message["stamp_ns"] + (points["t"].astype(np.int64) if per_point else np.zeros(len(points), np.int64))
    position, rotation = poses.at(times)
    return position + np.einsum("nij,nj->ni", rotation, ego)


def _distance_to_buildings(world, points, margin_m):
    """Distance of points to the faces of buildings, of those points that are within a margin of one."""
    distances = []
    for row, name in enumerate(world.boxes.category):
        if name != "building":
            continue
        state = world.box_states(np.zeros(1), np.array([row]))
        local = (points - state.position_m[0, 0]) @ rotation_from_rpy(0, 0, state.yaw_rad[0, 0])
        outside = np.abs(local) - world.boxes.size_m[row] / 2
        beyond = outside.max(axis=1)
        distances.append(np.abs(beyond[(beyond < margin_m) & (local[:, 2] > -world.boxes.size_m[row, 2] / 2 + 0.5)]))
    return np.concatenate(distances)


@pytest.fixture(scope="module")
def sweeps(messages, tools):
    found = messages["/lidar/top/points"][2:24:7]
    return [{"cloud": tools.cloud(m.message), "stamp_ns": m.stamp_ns} for m in found]


def test_wall_points_lie_on_the_wall_only_with_each_points_own_pose(messages, tools, sweeps):
    world = build_world(tools.config())
    poses, mount = tools.poses(messages["/odometry"]), tools.mounts(messages)["lidar_top"]
    deskewed, skewed = (
        np.concatenate(
            [_distance_to_buildings(world, _map_points(s, poses, mount, per_point=own), 1.2) for s in sweeps]
        )
        for own in (True, False)
    )
    assert len(deskewed) > 3000
    assert np.quantile(deskewed, 0.999) < 0.002
    assert np.quantile(skewed, 0.95) > 0.05


def test_ground_points_lie_on_the_ground_and_some_carry_paint(messages, tools, sweeps):
    world = build_world(tools.config())
    poses, mount = tools.poses(messages["/odometry"]), tools.mounts(messages)["lidar_top"]
    for sweep in sweeps:
        points = _map_points(sweep, poses, mount, per_point=True)
        low = np.abs(points[:, 2]) < 0.1
        assert low.sum() > 1000
        assert np.quantile(np.abs(points[low, 2]), 0.9) < 1e-3
        painted = is_lane_paint(points[:, 0], points[:, 1] - world.road.lateral_m(points[:, 0])) & low
        assert np.median(sweep["cloud"]["intensity"][painted]) > 3 * np.median(sweep["cloud"]["intensity"][low])


def test_points_are_ordered_in_time_and_rings_are_elevations(sweeps):
    for sweep in sweeps:
        points = sweep["cloud"]
        assert (np.diff(points["t"].astype(np.int64)) >= 0).all()
        assert points["t"].max() < 100_000_000
        elevation = np.degrees(np.arctan2(points["z"], np.hypot(points["x"], points["y"])))
        expected = np.linspace(-24.0, 10.0, 32)[points["ring"]]
        np.testing.assert_allclose(elevation, expected, atol=1e-3)


def test_noise_has_the_size_that_was_asked_for(tools):
    world = build_world(tools.config())
    quiet, loud = (
        LidarModel(Lidar(topic="/l", frame_id="l", rate_hz=10.0, azimuths=360, range_noise_m=n, dropout=0.0), world)
        for n in (0.0, 0.05)
    )
    mount = Transform(np.eye(3), np.array([0.9, 0.0, 1.9]))
    reference, noisy = (m.sweep(0, mount, generator(1))[0] for m in (quiet, loud))
    ranges = [np.sqrt(p["x"] ** 2 + p["y"] ** 2 + p["z"] ** 2) for p in (reference, noisy)]
    assert np.std(ranges[1] - ranges[0]) == pytest.approx(0.05, rel=0.1)


def test_culling_by_bearing_loses_no_hit(tools):
    world = build_world(tools.config())
    random = generator(9)
    towards = random.normal(size=(400, 3, 3)) * [1, 1, 0.15]
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    towards[:, 1:] = towards[:, :1]
    origin = np.broadcast_to([0.9, world.road.lateral_m(np.array(0.9)) - 1.75, 1.9], (400, 3))
    rows = np.arange(len(world.boxes))
    together = cast(world, Rays(np.zeros(400), origin, towards), rows)
    for i in range(0, 400, 23):
        alone = [
            cast(world, Rays(np.zeros(1), origin[:1], towards[i : i + 1]), rows[row : row + 1], has_ground=True)
            for row in rows
        ]
        nearest = min(alone, key=lambda h: h.distance_m[0, 0])
        assert together.distance_m[i, 0] == pytest.approx(nearest.distance_m[0, 0])


def test_rays_into_the_sky_hit_nothing_and_rays_down_the_ground(tools):
    world = build_world(tools.config(vehicles=0, pedestrians=0))
    up_and_down = np.array([[[0.0, 0.0, 1.0]], [[0.0, 0.0, -1.0]]])
    hits = cast(world, Rays(np.zeros(2), np.array([[0, -1.75, 1.9]] * 2), up_and_down), np.arange(0))
    assert hits.box[:, 0].tolist() == [NOTHING, GROUND]
    assert hits.distance_m[1, 0] == pytest.approx(1.9)
