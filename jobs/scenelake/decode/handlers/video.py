"""Video, one frame a message: the bytes pass through as recorded, and their front says size and random access."""

from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import (
    ChannelFacts,
    Decoded,
    KeepRawError,
    int32,
    octets_view,
    protobuf_stamp,
    ros_header,
    ros_stamp,
    text,
)
from scenelake.decode.video_bitstream import video_codec, video_header


def foxglove_compressed_video(message: Any, channel: ChannelFacts) -> Decoded:
    """``foxglove.CompressedVideo``; VP9 has no header parser here and stays raw."""
    frame = octets_view(message.data)
    return video_frame(text(message.format), frame, protobuf_stamp(message), message.frame_id or None, channel)


def ros_compressed_video(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``foxglove_msgs/CompressedVideo``."""
    stamp_ns, frame_id = ros_stamp(message, "timestamp"), text(message["frame_id"]) or None
    return video_frame(text(message["format"]), octets_view(message["data"]), stamp_ns, frame_id, channel)


def ros_ffmpeg_packet(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``ffmpeg_image_transport_msgs/FFMPEGPacket``, which says the size with every packet."""
    stamp_ns, frame_id = ros_header(message)
    decoded = video_frame(text(message["encoding"]), octets_view(message["data"]), stamp_ns, frame_id, channel)
    row = decoded.rows[0]
    if row["width_px"] is None and message["width"] > 0 and message["height"] > 0:
        row["width_px"], row["height_px"] = int32(message["width"]), int32(message["height"])
        decoded.width_px, decoded.height_px = row["width_px"], row["height_px"]
    return decoded


def video_frame(
    declared: str, frame: memoryview, stamp_ns: int | None, frame_id: str | None, channel: ChannelFacts
) -> Decoded:
    """A row of ``camera_frame``.

    Args:
        declared: the message's own word for the codec.

    Raises:
        KeepRawError: another codec than H.264, H.265 and AV1, or a radar's video.
        BadInputError: reason ``video_header_invalid``.
    """
    codec = video_codec(declared)
    if codec is None or channel.modality is Modality.RADAR:
        raise KeepRawError("video_format_unsupported")
    header = video_header(codec, frame)
    row = {
        "image": frame,
        "image_format": codec,
        "width_px": header.width_px,
        "height_px": header.height_px,
        "is_random_access": header.is_random_access,
    }
    return Decoded(
        Modality.CAMERA,
        [row],
        stamp_ns,
        frame_id,
        width_px=header.width_px,
        height_px=header.height_px,
        is_random_access=header.is_random_access,
    )
