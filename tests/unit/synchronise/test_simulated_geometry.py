"""A simulated drive at 30 m/s through decode and synchronise: walls are thin and what stands still has no Doppler."""

import numpy as np
import pytest
from tests.unit.synchronise.stages import mount, points_of, synchronise_recording

from scenelake.geometry.doppler import compensate_doppler
from scenelake.geometry.motion_compensation import compensate_points
from scenelake.geometry.poses import compose, transform
from scenelake.simulate.config import SECOND_NS, DriveConfig, Gnss, Lidar, Mount, Odometry, Radar
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.geometry import rotation_from_rpy
from scenelake.simulate.world import build_world

MAX_WALL_M = 0.05
SPEED_M_S = 30.0


def config():
    return DriveConfig(
        seed=4,
        duration_ns=4 * SECOND_NS,
        ego_speed_m_s=SPEED_M_S,
        vehicles=0,
        pedestrians=0,
        lidars=(
            Lidar(
                topic="/lidar/points", frame_id="lidar", mount=Mount(x_m=0.9, z_m=1.9, yaw_deg=40.0, pitch_deg=0.3),
                rate_hz=10.0, phase_ns=23_000_000, jitter_ns=150_000, azimuths=360,
            ),
        ),
        radars=(
            Radar(
                topic="/radar/points", frame_id="radar", mount=Mount(x_m=3.6, y_m=0.8, z_m=0.5, yaw_deg=35.0),
                rate_hz=13.0, phase_ns=19_000_000, jitter_ns=600_000,
            ),
        ),
        odometry=Odometry(topic="/odometry", frame_id="base_link", rate_hz=50.0, jitter_ns=50_000),
        gnss=Gnss(topic="/gnss/fix", frame_id="gnss", mount=Mount(x_m=0.2, z_m=1.7), rate_hz=10.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def synchronised(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    simulate_drive(config(), folder / "drive.mcap")
    return synchronise_recording(folder / "drive.mcap", folder / "s3")


@pytest.fixture(scope="module")
def world():
    return build_world(config())


def beyond_walls(world, points_m):
    """Signed distance of points to the surface of the nearest building: outside is positive.

    Only points above everything else beside the road (a pole is 5.5 m).
    """
    points_m = points_m[points_m[:, 2] > 5.7]
    nearest = np.full(len(points_m), np.inf)
    for row, name in enumerate(world.boxes.category):
        if name != "building":
            continue
        state = world.box_states(np.zeros(1), np.array([row]))
        local = (points_m - state.position_m[0, 0]) @ rotation_from_rpy(0, 0, state.yaw_rad[0, 0])
        beyond = np.abs(local) - world.boxes.size_m[row] / 2
        inside = beyond.max(axis=1)
        distance = np.where(inside > 0, np.linalg.norm(np.maximum(beyond, 0), axis=1), inside)
        nearest = np.where(np.abs(distance) < np.abs(nearest), distance, nearest)
    return nearest


def thickness(distances_m):
    """What lies between the 1st and the 99th percentile."""
    low, high = np.percentile(distances_m, [1, 99])
    return high - low


def test_static_walls_are_thin_at_30_m_s(synchronised, world):
    """Walls of all sweeps in the world, each sweep moved to its stamp, to a keyframe 40 ms on, or not at all."""
    trajectory = synchronised.trajectory()
    sweeps = synchronised.payload("lidar_sweep")[1:-2:2]
    assert len(sweeps) > 15
    seen = {"raw": [], "own stamp": [], "later": []}
    for row in sweeps:
        points = points_of(row)
        offsets, stamp_ns, extrinsic = row["offset_ns"], row["timestamp_ns"], mount(row["sensor"])
        for name, target_ns in (("raw", None), ("own stamp", stamp_ns), ("later", stamp_ns + 40_000_000)):
            moved = points
            if target_ns is not None:
                done = compensate_points(points, offsets, stamp_ns, trajectory, extrinsic, target_ns=target_ns)
                assert done.problem is None
                moved = done.points_m
            at = trajectory.at(np.array([target_ns or stamp_ns])).values[0]
            seen[name].append(transform(compose(at, extrinsic), moved))
    found = {name: beyond_walls(world, np.concatenate(points)) for name, points in seen.items()}
    assert len(found["own stamp"]) > 5_000
    for name in ("own stamp", "later"):
        assert thickness(found[name]) <= MAX_WALL_M
        assert abs(np.median(found[name])) < 0.005
    assert thickness(found["raw"]) > 10 * MAX_WALL_M


def test_what_stands_still_has_no_doppler_but_the_radars_noise(synchronised):
    """Nothing moves in this world. The recorded compensation of the simulator is not looked at."""
    trajectory = synchronised.trajectory()
    radar = config().radars[0]
    scans = synchronised.payload("radar_sweep")[1:-1]
    motion = trajectory.velocities_at(np.array([row["timestamp_ns"] for row in scans]))
    assert motion.is_valid.all()
    left, sigma, measured = [], [], []
    for row, linear, angular in zip(scans, motion.linear_m_s, motion.angular_rad_s, strict=True):
        points = points_of(row)
        doppler = row["radial_velocity_m_s"].astype(np.float64)
        extrinsic = mount(row["sensor"])
        left.append(compensate_doppler(points, doppler, extrinsic, linear, angular))
        # The line of sight is off by the noise of the azimuth, which shows where the radar looks across its motion.
        bearing = np.arctan2(points[:, 1], points[:, 0]) + np.radians(radar.mount.yaw_deg)
        across = SPEED_M_S * 1.3 * np.abs(np.sin(bearing)) * np.radians(radar.azimuth_noise_deg)
        sigma.append(np.hypot(radar.velocity_noise_m_s, across))
        measured.append(doppler)
    left, sigma = np.concatenate(left), np.concatenate(sigma)
    assert len(left) > 500
    assert np.median(np.concatenate(measured)) < -10
    assert abs(left.mean()) < 0.01
    assert np.std(left / sigma) < 1.0
    assert np.quantile(np.abs(left), 0.95) < 0.25


def test_the_world_is_anchored_where_the_simulator_put_it(synchronised):
    gnss, drive = config().gnss, synchronised.drive
    assert drive["world_frame_id"] == "map"
    assert drive["anchor_heading_deg"] == pytest.approx(90.0, abs=0.3)
    assert drive["anchor_latitude_deg"] == pytest.approx(gnss.origin_latitude_deg, abs=5e-6)
    assert drive["anchor_longitude_deg"] == pytest.approx(gnss.origin_longitude_deg, abs=7e-6)
    assert drive["anchor_altitude_m"] == pytest.approx(gnss.origin_altitude_m, abs=0.3)
    # Noise of 0.4 m on either axis.
    assert 0.4 < drive["anchor_residual_m"] < 0.7
    assert drive["anchor_source"].endswith("fixes on /gnss/fix")
    assert drive["ego_pose_source"] == "nav_msgs/msg/Odometry on /odometry"
