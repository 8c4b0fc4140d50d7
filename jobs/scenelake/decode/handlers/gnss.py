"""Positions from satellite navigation."""

import math
from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, covariance, int32, protobuf_stamp, real, reals, ros_header


def ros_nav_sat_fix(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``sensor_msgs/NavSatFix``; NaN altitude means unknown, covariance type 0 means no covariance."""
    stamp_ns, frame_id = ros_header(message)
    row = _row(message["latitude"], message["longitude"], message["altitude"], frame_id)
    row["fix_status"] = int32(message["status.status"])
    if message["position_covariance_type"]:
        row["covariance"] = covariance(reals(message["position_covariance"], 9))
    return Decoded(Modality.GNSS, [row], stamp_ns, frame_id)


def foxglove_location_fix(message: Any, _channel: ChannelFacts) -> Decoded:
    frame_id = message.frame_id or None
    row = _row(message.latitude, message.longitude, message.altitude, frame_id)
    if message.position_covariance_type:
        row["covariance"] = covariance(reals(message.position_covariance, 9))
    return Decoded(Modality.GNSS, [row], protobuf_stamp(message), frame_id)


def _row(latitude_deg: Any, longitude_deg: Any, altitude_m: Any, frame_id: str | None) -> dict[str, Any]:
    altitude_m = real(altitude_m)
    return {
        "latitude_deg": real(latitude_deg),
        "longitude_deg": real(longitude_deg),
        "altitude_m": altitude_m if math.isfinite(altitude_m) else None,
        "frame_id": frame_id,
    }
