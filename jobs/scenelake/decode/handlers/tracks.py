"""CAN frames and radar tracks."""

from typing import Any

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, octets, ros_header, ros_vector


def ros_can_frame(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``can_msgs/Frame``; the bus is the header's frame when that ends in a number (``can0``)."""
    stamp_ns, frame_id = ros_header(message)
    nbr_bytes = int(message["dlc"])
    payload = bytes(octets(message["data"]))
    if nbr_bytes > len(payload):
        raise BadInputError(f"dlc {nbr_bytes} of a frame of {len(payload)} bytes", reason="lengths_contradicted")
    row = {
        "can_id": int(message["id"]),
        "bus": bus_of_frame(frame_id),
        "is_extended": bool(message["is_extended"]),
        "data": payload[:nbr_bytes],
    }
    return Decoded(Modality.CAN, [row], stamp_ns, frame_id)


def bus_of_frame(frame_id: str | None) -> int | None:
    """The number that a bus's name ends in: 0 of ``can0``."""
    digits = (frame_id or "").lstrip("abcdefghijklmnopqrstuvwxyz_/")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else None


def ros_radar_tracks(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``radar_msgs/RadarTracks``: a row per track; the id is the UUID in hex."""
    stamp_ns, frame_id = ros_header(message)
    rows = [
        {
            "track_id": bytes(octets(item["uuid"])).hex(),
            "center_m": ros_vector(item, "position"),
            "linear_velocity_m_s": ros_vector(item, "velocity"),
            "frame_id": frame_id,
        }
        for item in message["tracks"]
    ]
    return Decoded(Modality.RADAR_TRACK, rows, stamp_ns, frame_id)
