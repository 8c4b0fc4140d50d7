"""Measurements in polar coordinates: laser scans and radar returns become points in the sensor's frame (REP 103)."""

import math
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, KeepRawError, pose, protobuf_stamp, real, ros_header

_MAX_OFFSET_S = 1e6


def ros_laser_scan(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``sensor_msgs/LaserScan``: a point a beam, in the scan's plane; ranges outside its bounds become NaN."""
    stamp_ns, frame_id = ros_header(message)
    ranges = _floats(message["ranges"])
    ranges[~((ranges >= real(message["range_min"])) & (ranges <= real(message["range_max"])))] = np.nan
    angles = real(message["angle_min"]) + real(message["angle_increment"]) * np.arange(len(ranges))
    step_s = real(message["time_increment"])
    has_times = math.isfinite(step_s) and step_s != 0 and abs(step_s) * len(ranges) < _MAX_OFFSET_S
    row = _sweep(ranges, angles, _intensities(message["intensities"], len(ranges)))
    if has_times:
        row["offset_ns"] = np.rint(step_s * 1e9 * np.arange(len(ranges))).astype(np.int64)
    return Decoded(Modality.LIDAR, [row], stamp_ns, frame_id, nbr_points=len(ranges))


def foxglove_laser_scan(message: Any, _channel: ChannelFacts) -> Decoded:
    """``foxglove.LaserScan``: angles spread evenly from start to end; one with a pose of its own stays raw."""
    if message.HasField("pose"):
        at, turn = message.pose.position, message.pose.orientation
        found = pose((at.x, at.y, at.z), (turn.w, turn.x, turn.y, turn.z))
        if found != pose((0, 0, 0), (1, 0, 0, 0)):
            raise KeepRawError("scan_pose_unsupported")
    ranges = _floats(message.ranges)
    angles = np.linspace(real(message.start_angle), real(message.end_angle), len(ranges))
    row = _sweep(ranges, angles, _intensities(message.intensities, len(ranges)))
    return Decoded(Modality.LIDAR, [row], protobuf_stamp(message), message.frame_id or None, nbr_points=len(ranges))


def ros_radar_scan(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``radar_msgs/RadarScan``: a point a return; azimuth is anticlockwise, elevation up."""
    stamp_ns, frame_id = ros_header(message)
    names = ("range", "azimuth", "elevation", "doppler_velocity", "amplitude")
    returns = np.array([[real(item[name]) for name in names] for item in message["returns"]], np.float64)
    distance, azimuth, elevation, doppler, amplitude = returns.reshape(-1, len(names)).T
    with np.errstate(invalid="ignore"):
        flat = distance * np.cos(elevation)
        x, y, z = flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)
    row = {
        "nbr_points": len(returns),
        "x_m": _float32(x),
        "y_m": _float32(y),
        "z_m": _float32(z),
        "radial_velocity_m_s": _float32(doppler),
        "amplitude_db": _float32(amplitude),
    }
    return Decoded(Modality.RADAR, [row], stamp_ns, frame_id, nbr_points=len(returns))


def _sweep(ranges: np.ndarray, angles: np.ndarray, intensity: np.ndarray | None) -> dict[str, Any]:
    with np.errstate(invalid="ignore"):
        x, y = ranges * np.cos(angles), ranges * np.sin(angles)
    return {
        "nbr_points": len(ranges),
        "x_m": _float32(x),
        "y_m": _float32(y),
        "z_m": np.zeros(len(ranges), np.float32),
        "intensity": intensity,
    }


def _floats(values: Any) -> np.ndarray:
    return np.array(values, np.float64)


def _intensities(values: Any, count: int) -> np.ndarray | None:
    found = _float32(_floats(values))
    if len(found) not in (0, count):
        raise BadInputError(f"{count} ranges and {len(found)} intensities", reason="lengths_contradicted")
    return found if len(found) else None


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)
