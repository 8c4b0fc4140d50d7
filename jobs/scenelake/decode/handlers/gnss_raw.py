"""What satellite receivers send besides ``sensor_msgs/NavSatFix``: their own fixes, sentences and measurements.

Sources: gps_msgs/GPSFix (gps_umd); ublox_msgs/NavPVT (u-blox M8 protocol, UBX-NAV-PVT) with the status rule of the
ublox driver; novatel_oem7_msgs/BESTPOS and novatel_gps_msgs/NovatelPosition (NovAtel OEM7, BESTPOS: hgt is above mean
sea level, the ellipsoid lies ``undulation`` below).
"""

import math
from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.handlers.signals import flat_numbers
from scenelake.decode.values import (
    ChannelFacts,
    Decoded,
    covariance,
    int32,
    octets_view,
    real,
    reals,
    ros_header,
    text,
)

_NO_FIX, _FIX, _AUGMENTED_FIX = -1, 0, 2
_UBLOX_FIX_OK, _UBLOX_CARRIER_FIXED, _UBLOX_2D, _UBLOX_3D, _UBLOX_WITH_DEAD_RECKONING = 1, 128, 2, 3, 4


def ros_gps_fix(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``gps_msgs/GPSFix``, ``gps_common/GPSFix``."""
    stamp_ns, frame_id = ros_header(message)
    row: dict[str, Any] = {
        "latitude_deg": real(message["latitude"]),
        "longitude_deg": real(message["longitude"]),
        "altitude_m": _known(message["altitude"]),
        "fix_status": int32(message["status.status"]),
        "frame_id": frame_id,
        "ground_speed_m_s": _known(message["speed"]),
        "course_deg": _known(message["track"]),
        "climb_m_s": _known(message["climb"]),
        "nbr_satellites": int32(message["status.satellites_used"]),
        "source": channel.schema_name,
    }
    if message["position_covariance_type"]:
        row["covariance"] = covariance(reals(message["position_covariance"], 9))
    return Decoded(Modality.GNSS, [row], stamp_ns, frame_id)


def ros_ublox_pvt(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``ublox_msgs/NavPVT`` of ROS 1 (``fixType``) and ROS 2 (``fix_type``); it has no header."""

    def field(ros1: str, ros2: str) -> float:
        return real(message[ros1 if ros1 in message else ros2])

    kind, flags = int(field("fixType", "fix_type")), int(message["flags"])
    is_fix = bool(flags & _UBLOX_FIX_OK) and _UBLOX_2D <= kind <= _UBLOX_WITH_DEAD_RECKONING
    fixed = _AUGMENTED_FIX if flags & _UBLOX_CARRIER_FIXED else _FIX
    horizontal_m2, vertical_m2 = ((field(*names) / 1000) ** 2 for names in (("hAcc", "h_acc"), ("vAcc", "v_acc")))
    row = {
        "latitude_deg": real(message["lat"]) * 1e-7,
        "longitude_deg": real(message["lon"]) * 1e-7,
        "altitude_m": real(message["height"]) / 1000 if kind in (_UBLOX_3D, _UBLOX_WITH_DEAD_RECKONING) else None,
        "fix_status": fixed if is_fix else _NO_FIX,
        "covariance": [horizontal_m2, 0.0, 0.0, 0.0, horizontal_m2, 0.0, 0.0, 0.0, vertical_m2],
        "ground_speed_m_s": field("gSpeed", "g_speed") / 1000,
        "course_deg": real(message["heading"]) * 1e-5,
        "climb_m_s": -field("velD", "vel_d") / 1000,
        "nbr_satellites": int(field("numSV", "num_sv")),
        "source": channel.schema_name,
    }
    return Decoded(Modality.GNSS, [row], None)


def ros_novatel_position(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``novatel_oem7_msgs/BESTPOS`` and ``novatel_gps_msgs/NovatelPosition``."""
    stamp_ns, frame_id = ros_header(message)
    if "hgt" in message:
        is_fix = message["sol_status.status"] == 0
        height, deviations, used = "hgt", ("lon_stdev", "lat_stdev", "hgt_stdev"), "num_sol_svs"
    else:
        is_fix = message["solution_status"] == "SOL_COMPUTED"
        height, used = "height", "num_satellites_used_in_solution"
        deviations = ("lon_sigma", "lat_sigma", "height_sigma")
    east, north, up = (real(message[name]) ** 2 for name in deviations)
    row = {
        "latitude_deg": real(message["lat"]),
        "longitude_deg": real(message["lon"]),
        "altitude_m": _known(real(message[height]) + real(message["undulation"])),
        "fix_status": _FIX if is_fix else _NO_FIX,
        "covariance": covariance([east, 0.0, 0.0, 0.0, north, 0.0, 0.0, 0.0, up]),
        "frame_id": frame_id,
        "nbr_satellites": int32(message[used]),
        "source": channel.schema_name,
    }
    return Decoded(Modality.GNSS, [row], stamp_ns, frame_id)


def ros_nmea_sentence(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``nmea_msgs/Sentence``: the sentence as it came, checksum and all."""
    return _raw(message, channel, {"text": text(message["sentence"])})


def ros_correction_bytes(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``rtcm_msgs/Message`` and ``mavros_msgs/RTCM``: corrections that were sent to the receiver."""
    data = message["message"] if "message" in message else message["data"]
    return _raw(message, channel, {"data": bytes(octets_view(data))})


def ros_measurements(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """A receiver's own measurements (pseudoranges, subframes, satellites): every number with its name."""
    names, values = flat_numbers({k: v for k, v in message.items() if not k.startswith("header.")})
    return _raw(message, channel, {"names": names, "position": values})


def _raw(message: dict[str, Any], channel: ChannelFacts, row: dict[str, Any]) -> Decoded:
    stamp_ns, frame_id = ros_header(message) if "header.stamp.sec" in message else (None, None)
    row |= {"frame_id": frame_id, "source": channel.schema_name}
    return Decoded(Modality.GNSS_RAW, [row], stamp_ns, frame_id)


def _known(value: Any) -> float | None:
    number = real(value)
    return number if math.isfinite(number) else None
