"""IMU and GNSS readings of the ego's motion."""

from dataclasses import dataclass

import numpy as np

from scenelake.simulate.config import Gnss, Imu
from scenelake.simulate.geometry import Floats, Transform
from scenelake.simulate.trajectory import EgoTrajectory

_WGS84_SEMI_MAJOR_M = 6_378_137.0
_WGS84_ECCENTRICITY_SQUARED = 6.694379990141e-3


@dataclass(frozen=True, slots=True)
class ImuReadings:
    """Readings in the IMU's frame: specific force and angular rate (n, 3), and the constant biases (3,) in them."""

    specific_force_m_s2: Floats
    angular_velocity_rad_s: Floats
    accelerometer_bias_m_s2: Floats
    gyro_bias_rad_s: Floats


def measure_imu(
    config: Imu, ego: EgoTrajectory, time_s: Floats, ego_from_sensor: Transform, random: np.random.Generator
) -> ImuReadings:
    """Readings at times (n,) in seconds since the recording's start; at rest and level, +g on z."""
    state = ego.states(time_s)
    force = state.specific_force_at(ego_from_sensor.translation_m) @ ego_from_sensor.rotation
    rate = state.angular_velocity_rad_s @ ego_from_sensor.rotation
    force_bias = random.normal(0.0, config.accelerometer_bias_m_s2, 3)
    rate_bias = random.normal(0.0, config.gyro_bias_rad_s, 3)
    return ImuReadings(
        force + force_bias + random.normal(0.0, config.accelerometer_noise_m_s2, force.shape),
        rate + rate_bias + random.normal(0.0, config.gyro_noise_rad_s, rate.shape),
        force_bias,
        rate_bias,
    )


def measure_fixes(
    config: Gnss, ego: EgoTrajectory, time_s: Floats, ego_from_sensor: Transform, random: np.random.Generator
) -> Floats:
    """Latitude and longitude in degrees and ellipsoidal height in metres of the antenna, (n, 3).

    The tangent plane is unrolled with the ellipsoid's radii of curvature at the origin, which is true to
    centimetres over the kilometre of a drive (Torge & Müller, Geodesy, 4.1).
    """
    position_m, rotation = ego.poses(time_s)
    antenna = position_m + rotation @ ego_from_sensor.translation_m
    antenna = antenna + random.normal(0.0, config.noise_m, antenna.shape)
    latitude = np.radians(config.origin_latitude_deg)
    waist = 1 - _WGS84_ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
    prime_vertical_m = _WGS84_SEMI_MAJOR_M / np.sqrt(waist) + config.origin_altitude_m
    meridian_m = (
        _WGS84_SEMI_MAJOR_M * (1 - _WGS84_ECCENTRICITY_SQUARED) / waist**1.5 + config.origin_altitude_m
    )  # fmt: skip
    return np.stack(
        [
            config.origin_latitude_deg + np.degrees(antenna[:, 1] / meridian_m),
            config.origin_longitude_deg + np.degrees(antenna[:, 0] / (prime_vertical_m * np.cos(latitude))),
            config.origin_altitude_m + antenna[:, 2],
        ],
        axis=-1,
    )
