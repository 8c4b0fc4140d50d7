"""Noise of a localiser, which the simulator's poses lack: they are the truth."""

from typing import Any

import numpy as np

from benchmarks.quality.recording import Recording
from benchmarks.quality.rigs import ODOMETRY, Rig

_YAW_RAD = 2e-4


def with_noise(recording: Recording, rig: Rig, seed: int) -> Recording:
    """The recording with poses and speeds as a filter of wheels, IMU and LiDAR gives them.

    Positions scatter by ``pose_noise_m`` on each level axis and headings by 0.01 degrees; speed is off by a share that
    is the drive's own, drawn with ``speed_error``, and scatters by 2 cm/s.
    """
    random = np.random.default_rng((seed, 1))
    track = recording.tracks[ODOMETRY]
    count = len(track.data)
    aside_m = random.normal(0.0, rig.pose_noise_m, (count, 2))
    turn = random.normal(0.0, _YAW_RAD, count) / 2
    speed = 1.0 + random.normal(0.0, rig.speed_error)
    scatter_m_s = random.normal(0.0, 0.02, count)

    def measure(message: Any, k: int) -> Any:
        position, q, linear = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist.linear
        position.x, position.y = position.x + float(aside_m[k, 0]), position.y + float(aside_m[k, 1])
        q.z, q.w = q.z + q.w * float(turn[k]), q.w - q.z * float(turn[k])
        linear.x = linear.x * speed + float(scatter_m_s[k])
        return message

    return recording.having(track.edited(np.arange(count), measure))
