"""A humanoid's upper body: joints, forward kinematics, reach, and the smooth motions of an episode.

Frame base_link: on the floor under the torso, x forward, y left, z up.
"""

from dataclasses import dataclass

import numpy as np

from scenelake.simulate.geometry import Floats, Transform, rotation_from_rpy

_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_yaw", "wrist_pitch", "wrist_roll")
JOINT_NAMES: tuple[str, ...] = (
    *(f"left_{name}" for name in _ARM),
    *(f"right_{name}" for name in _ARM),
    "left_gripper",
    "right_gripper",
    "neck_yaw",
    "neck_pitch",
)
"""Revolute joints in rad; grippers in m of opening."""
RIGHT_ARM = slice(7, 14)
RIGHT_GRIPPER = 15
NECK_PITCH = 17
OPEN_M, CLOSED_M = 0.08, 0.045

_SHOULDER_M = np.array([0.0, 0.2, 1.25])
_UPPER_M, _FOREARM_M, HAND_M = 0.32, 0.30, 0.14
_NECK = Transform(np.eye(3), np.array([0.02, 0.0, 1.45]))
_AXES = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=np.float64)

REST: Floats = np.zeros(len(JOINT_NAMES))
REST[[0, 3, 7, 10]] = (1.2, -1.2, 1.2, -1.2)
REST[[1, 8]] = (0.15, -0.15)
REST[[14, 15]] = OPEN_M


_CROSS = np.stack([np.cross(np.eye(3), axis) * -1 for axis in _AXES])
"""The matrix that takes the cross product with each joint's axis, (7, 3, 3)."""


def _turns(angles_rad: Floats) -> Floats:
    """Rotation of each joint of an arm about its own axis, (7, 3, 3), by Rodrigues' formula."""
    sin, cos = np.sin(angles_rad)[:, None, None], np.cos(angles_rad)[:, None, None]
    turns: Floats = np.eye(3) + sin * _CROSS + (1 - cos) * (_CROSS @ _CROSS)
    return turns


@dataclass(frozen=True, slots=True)
class ArmPose:
    """Base-frame frames of one arm; x runs along each link, from its near joint."""

    upper: Transform
    forearm: Transform
    hand: Transform

    @property
    def grip_m(self) -> Floats:
        """The point between the fingers, (3,)."""
        return self.hand.apply(np.array([HAND_M, 0.0, 0.0]))


def arm_pose(angles_rad: Floats, side: float) -> ArmPose:
    """Forward kinematics of one arm (7,); side is 1 for left and -1 for right. At zero the arm points forward."""
    turns = _turns(angles_rad)
    shoulder = Transform(turns[0] @ turns[1] @ turns[2], _SHOULDER_M * [1, side, 1])
    elbow = shoulder @ Transform(turns[3], np.array([_UPPER_M, 0.0, 0.0]))
    wrist = elbow @ Transform(turns[4] @ turns[5] @ turns[6], np.array([_FOREARM_M, 0.0, 0.0]))
    return ArmPose(shoulder, elbow, wrist)


def head_pose(positions: Floats) -> Transform:
    """``base_from_head`` for all joint positions (18,)."""
    return _NECK @ Transform(rotation_from_rpy(0.0, float(positions[NECK_PITCH]), float(positions[16])), np.zeros(3))


def reach(target_m: Floats, start_rad: Floats, direction: Floats) -> Floats:
    """Angles (7,) that bring the right grip to a point (3,) with the hand about along a direction (3,).

    Damped least squares (Wampler 1986) from a starting pose: first for point and direction, where a radian counts
    as 0.2 m, then for the point alone.

    Raises:
        ValueError: when the point is out of reach by more than a millimetre.
    """
    angles = start_rad.copy()
    for iteration in range(60):
        weight = 0.2 if iteration < 25 else 0.0
        now, jacobian = _grip_error(angles, target_m, direction, weight)
        if weight == 0.0 and np.linalg.norm(now) < 1e-6:
            break
        damped = jacobian.T @ jacobian + 1e-5 * np.eye(7)
        angles = angles - np.clip(np.linalg.solve(damped, jacobian.T @ now), -0.2, 0.2)
    missed_m = float(np.linalg.norm(target_m - arm_pose(angles, -1.0).grip_m))
    if missed_m > 1e-3:
        raise ValueError(f"point {np.round(target_m, 3).tolist()} m is out of reach by {missed_m:.3f} m")
    return angles


def _grip_error(angles: Floats, target_m: Floats, direction: Floats, weight_m: float) -> tuple[Floats, Floats]:
    """Weighted error (6,) of the right grip and its Jacobian (6, 7), by differences."""

    def error(at: Floats) -> Floats:
        pose = arm_pose(at, -1.0)
        return np.concatenate([target_m - pose.grip_m, weight_m * (direction - pose.hand.rotation[:, 0])])

    step_rad = 1e-6
    now = error(angles)
    columns = [(error(angles + step_rad * unit) - now) / step_rad for unit in np.eye(7)]
    return now, np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class JointPath:
    """Minimum-jerk moves between waypoints: ``knot_s`` (k,) and ``position`` (k, joints); at rest at each knot."""

    knot_s: Floats
    position: Floats

    def at(self, time_s: Floats) -> tuple[Floats, Floats]:
        """Positions and velocities (n, joints) at times (n,); held before the first and after the last knot.

        The polynomial is 10 s^3 - 15 s^4 + 6 s^5 (Flash & Hogan 1985).
        """
        segment = np.clip(np.searchsorted(self.knot_s, time_s, side="right") - 1, 0, len(self.knot_s) - 2)
        length = self.knot_s[segment + 1] - self.knot_s[segment]
        s = np.clip((time_s - self.knot_s[segment]) / length, 0.0, 1.0)
        move = self.position[segment + 1] - self.position[segment]
        blend = s**3 * (10 + s * (-15 + 6 * s))
        slope = 30 * s**2 * (1 - s) ** 2 / length
        return self.position[segment] + blend[:, None] * move, slope[:, None] * move
