"""Closed-form motion: a winding road, things that move along it, and the ego with its rolling body.

The road is ``y = f(x)`` in the map frame (x east, y north, z up), f a sum of sines, so that positions and all
their derivatives are exact.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenelake.simulate.geometry import Floats, Transform, rotation_from_rpy

GRAVITY_M_S2 = 9.80665


@dataclass(frozen=True, slots=True)
class Road:
    """Centre line ``f(x) = sum(amplitude * sin(wave_number * x + phase))``; arrays (k,)."""

    amplitude_m: Floats
    wave_number_rad_m: Floats
    phase_rad: Floats

    def lateral_m(self, x_m: Floats, derivative: int = 0) -> Floats:
        """f or one of its derivatives at x, in the shape of x."""
        argument = np.multiply.outer(x_m, self.wave_number_rad_m) + self.phase_rad + derivative * (np.pi / 2)
        value: Floats = np.sin(argument) @ (self.amplitude_m * self.wave_number_rad_m**derivative)
        return value


@dataclass(frozen=True, slots=True)
class Motions:
    """Motions of n things along the road: ``x = start + speed t + sway sin(rate t + phase)``, ``y = f(x) + lateral``.

    Every array is (n,). ``heading_rad`` is added to the road's direction: 0 with it, pi against it.
    """

    start_x_m: Floats
    speed_m_s: Floats
    sway_m: Floats
    sway_rate_rad_s: Floats
    sway_phase_rad: Floats
    lateral_m: Floats
    heading_rad: Floats

    @property
    def is_still(self) -> npt.NDArray[np.bool_]:
        """Which things never move, (n,)."""
        still: npt.NDArray[np.bool_] = (self.speed_m_s == 0) & (self.sway_m == 0)
        return still

    def take(self, rows: object) -> "Motions":
        return Motions(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class MotionState:
    """States of n things at m times in the map frame: positions and derivatives (n, m, 3), yaw and rate (n, m)."""

    position_m: Floats
    velocity_m_s: Floats
    acceleration_m_s2: Floats
    yaw_rad: Floats
    yaw_rate_rad_s: Floats


def along_road(road: Road, motions: Motions, time_s: Floats) -> MotionState:
    """States of all motions at times (m,) in seconds since the recording's start; z is 0."""
    phase = np.multiply.outer(motions.sway_rate_rad_s, time_s) + motions.sway_phase_rad[:, None]
    rate, sway = motions.sway_rate_rad_s[:, None], motions.sway_m[:, None]
    x = motions.start_x_m[:, None] + np.multiply.outer(motions.speed_m_s, time_s) + sway * np.sin(phase)
    vx = motions.speed_m_s[:, None] + sway * rate * np.cos(phase)
    ax = -sway * rate**2 * np.sin(phase)
    slope, bend = road.lateral_m(x, 1), road.lateral_m(x, 2)
    zero = np.zeros_like(x)
    return MotionState(
        position_m=np.stack([x, road.lateral_m(x) + motions.lateral_m[:, None], zero], axis=-1),
        velocity_m_s=np.stack([vx, slope * vx, zero], axis=-1),
        acceleration_m_s2=np.stack([ax, bend * vx**2 + slope * ax, zero], axis=-1),
        yaw_rad=np.arctan(slope) + motions.heading_rad[:, None],
        yaw_rate_rad_s=bend * vx / (1.0 + slope**2),
    )


@dataclass(frozen=True, slots=True)
class EgoState:
    """The ego at m times: map-frame motion of base_link (m, 3), ``map_from_ego`` rotations (m, 3, 3), and
    angular velocity and acceleration in base_link (m, 3)."""

    position_m: Floats
    velocity_m_s: Floats
    acceleration_m_s2: Floats
    rotation: Floats
    angular_velocity_rad_s: Floats
    angular_acceleration_rad_s2: Floats

    def map_from_ego(self, row: int = 0) -> Transform:
        return Transform(self.rotation[row], self.position_m[row])

    def velocity_of(self, point_m: Floats) -> Floats:
        """Map-frame velocity (m, 3) of a point (3,) that is fixed to base_link."""
        spin = np.cross(self.angular_velocity_rad_s, point_m)
        velocity: Floats = self.velocity_m_s + np.einsum("mij,mj->mi", self.rotation, spin)
        return velocity

    def specific_force_at(self, point_m: Floats) -> Floats:
        """What an accelerometer at a point (3,) of base_link feels, in base_link axes, (m, 3), gravity included."""
        omega, alpha = self.angular_velocity_rad_s, self.angular_acceleration_rad_s2
        lever = np.cross(alpha, point_m) + np.cross(omega, np.cross(omega, point_m))
        felt = self.acceleration_m_s2 + np.array([0.0, 0.0, GRAVITY_M_S2])
        force: Floats = np.einsum("mji,mj->mi", self.rotation, felt) + lever
        return force


@dataclass(frozen=True, slots=True)
class EgoTrajectory:
    """The ego's motion along the road, with a body that rolls and pitches a little.

    Attributes:
        motion: one motion, arrays (1,).
        tilt_rad, tilt_rate_rad_s, tilt_phase_rad: of roll and pitch, arrays (2,).
    """

    road: Road
    motion: Motions
    tilt_rad: Floats
    tilt_rate_rad_s: Floats
    tilt_phase_rad: Floats

    def _tilt(self, time_s: Floats, derivative: int = 0) -> Floats:
        argument = np.multiply.outer(self.tilt_rate_rad_s, time_s) + self.tilt_phase_rad[:, None]
        scale = (self.tilt_rad * self.tilt_rate_rad_s**derivative)[:, None]
        tilt: Floats = scale * np.sin(argument + derivative * (np.pi / 2))
        return tilt

    def poses(self, time_s: Floats) -> tuple[Floats, Floats]:
        """Positions (m, 3) and ``map_from_ego`` rotations (m, 3, 3) at times (m,) in seconds since the start."""
        state = along_road(self.road, self.motion, time_s)
        roll, pitch = self._tilt(time_s)
        return state.position_m[0], rotation_from_rpy(roll, pitch, state.yaw_rad[0])

    def map_from_ego(self, time_s: float) -> Transform:
        position_m, rotation = self.poses(np.array([time_s]))
        return Transform(rotation[0], position_m[0])

    def _angular_velocity(self, time_s: Floats) -> Floats:
        """Body rates from Euler rates (ZYX): see any text on flight mechanics, e.g. Diebel 2006, eq. 79."""
        roll, pitch = self._tilt(time_s)
        roll_rate, pitch_rate = self._tilt(time_s, 1)
        yaw_rate = along_road(self.road, self.motion, time_s).yaw_rate_rad_s[0]
        return np.stack(
            [
                roll_rate - yaw_rate * np.sin(pitch),
                pitch_rate * np.cos(roll) + yaw_rate * np.cos(pitch) * np.sin(roll),
                yaw_rate * np.cos(pitch) * np.cos(roll) - pitch_rate * np.sin(roll),
            ],
            axis=-1,
        )

    def states(self, time_s: Floats) -> EgoState:
        """Everything about the motion at times (m,) in seconds since the start."""
        planar = along_road(self.road, self.motion, time_s)
        position_m, rotation = self.poses(time_s)
        step_s = 1e-4
        alpha = (self._angular_velocity(time_s + step_s) - self._angular_velocity(time_s - step_s)) / (2 * step_s)
        return EgoState(
            position_m=position_m,
            velocity_m_s=planar.velocity_m_s[0],
            acceleration_m_s2=planar.acceleration_m_s2[0],
            rotation=rotation,
            angular_velocity_rad_s=self._angular_velocity(time_s),
            angular_acceleration_rad_s2=alpha,
        )
