"""Poses, twists, IMU and GNSS tell of one motion."""

import numpy as np


def test_velocity_is_the_derivative_of_position(messages, tools):
    poses = tools.poses(messages["/odometry"])
    time_s = (poses.stamp_ns - poses.stamp_ns[0]) / 1e9
    derived = np.gradient(poses.position, time_s, axis=0)[1:-1]
    stated = np.array([r @ tools.vector(t.linear) for r, t in zip(poses.rotation, poses.twist, strict=True)])[1:-1]
    assert np.linalg.norm(stated, axis=1).min() > 5
    np.testing.assert_allclose(derived, stated, atol=2e-3)


def test_angular_velocity_is_the_derivative_of_orientation(messages, tools):
    poses = tools.poses(messages["/odometry"])
    time_s = (poses.stamp_ns - poses.stamp_ns[0]) / 1e9
    rate = np.einsum("nji,njk->nik", poses.rotation, np.gradient(poses.rotation, time_s, axis=0))[1:-1]
    derived = np.stack([rate[:, 2, 1], rate[:, 0, 2], rate[:, 1, 0]], axis=-1)
    stated = np.array([tools.vector(t.angular) for t in poses.twist])[1:-1]
    assert np.abs(stated).max() > 0.01
    np.testing.assert_allclose(derived, stated, atol=1e-4)


def test_the_imu_feels_gravity_and_the_acceleration_of_its_own_place(messages, tools):
    poses = tools.poses(messages["/odometry"])
    turn, lever = tools.mounts(messages)["imu"]
    place = poses.position + poses.rotation @ lever
    step_s = 0.01
    acceleration = (place[2:] - 2 * place[1:-1] + place[:-2]) / step_s**2
    felt = np.array([tools.vector(m.message.linear_acceleration) for m in messages["/imu/data"]])
    stamps = np.array([m.stamp_ns for m in messages["/imu/data"]])
    assert (stamps == poses.stamp_ns).all()
    in_map = np.einsum("nij,nj->ni", poses.rotation @ turn, felt)[1:-1]
    assert np.linalg.norm(acceleration, axis=1).max() > 0.2
    np.testing.assert_allclose(in_map - [0, 0, 9.80665], acceleration, atol=2e-3)


def test_the_gyroscope_agrees_with_the_odometry(messages, tools):
    turn, _ = tools.mounts(messages)["imu"]
    gyro = np.array([turn @ tools.vector(m.message.angular_velocity) for m in messages["/imu/data"]])
    twist = np.array([tools.vector(m.message.twist.twist.angular) for m in messages["/odometry"]])
    np.testing.assert_allclose(gyro, twist, atol=1e-12)
    assert messages["/imu/data"][0].message.orientation_covariance[0] == -1


def test_fixes_move_as_far_as_the_poses(messages, tools):
    poses = tools.poses(messages["/odometry"])
    fixes = messages["/gnss/fix"]
    stamps = np.array([m.stamp_ns for m in fixes])
    place, _ = poses.at(stamps)
    latitude = np.radians([m.message.latitude for m in fixes])
    longitude = np.radians([m.message.longitude for m in fixes])
    north = (latitude[-1] - latitude[0]) * 6.371e6
    east = (longitude[-1] - longitude[0]) * 6.371e6 * np.cos(latitude[0])
    moved = place[-1, :2] - place[0, :2]
    np.testing.assert_allclose([east, north], moved, rtol=0.01, atol=0.1)
