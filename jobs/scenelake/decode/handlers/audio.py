"""Audio as recorded, a message a piece of it."""

from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, int32, octets_view, protobuf_stamp, ros_header, text


def ros_audio_data(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``audio_common_msgs/AudioData``: bytes alone; format and rate stand in another message, if anywhere."""
    return Decoded(Modality.AUDIO, [{"data": octets_view(message["data"])}], None)


def ros_audio_data_stamped(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``audio_common_msgs/AudioDataStamped``."""
    stamp_ns, frame_id = ros_header(message)
    return Decoded(Modality.AUDIO, [{"data": octets_view(message["audio.data"])}], stamp_ns, frame_id)


def foxglove_raw_audio(message: Any, _channel: ChannelFacts) -> Decoded:
    row = {
        "data": octets_view(message.data),
        "audio_format": text(message.format) or None,
        "sample_rate_hz": int32(message.sample_rate) or None,
        "nbr_audio_channels": int32(message.number_of_channels) or None,
    }
    return Decoded(Modality.AUDIO, [row], protobuf_stamp(message))


def foxglove_compressed_audio(message: Any, _channel: ChannelFacts) -> Decoded:
    row = {"data": octets_view(message.data), "audio_format": text(message.format) or None}
    return Decoded(Modality.AUDIO, [row], protobuf_stamp(message))
