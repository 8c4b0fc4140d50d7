"""Text: instructions to a robot (``language``), and everything else that programs write (``text_log``).

They are two tables because an instruction holds for the frames after it and names the task of a scene; a log line
must never become either.
"""

from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, protobuf_stamp, ros_header, ros_stamp, text

_ROS2_LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}
_ROS1_LEVELS = {1: "debug", 2: "info", 4: "warning", 8: "error", 16: "fatal"}
_FOXGLOVE_LEVELS = {1: "debug", 2: "info", 3: "warning", 4: "error", 5: "fatal"}


def ros_string(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``std_msgs/String``: language on a channel of instructions."""
    modality = Modality.LANGUAGE if channel.modality is Modality.LANGUAGE else Modality.TEXT_LOG
    return Decoded(modality, [{"text": text(message["data"])}], None)


def ros2_log(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``rcl_interfaces/Log``."""
    return Decoded(Modality.TEXT_LOG, [_ros_row(message, _ROS2_LEVELS)], ros_stamp(message, "stamp"))


def ros1_log(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``rosgraph_msgs/Log``."""
    stamp_ns, frame_id = ros_header(message)
    return Decoded(Modality.TEXT_LOG, [_ros_row(message, _ROS1_LEVELS)], stamp_ns, frame_id)


def foxglove_log(message: Any, _channel: ChannelFacts) -> Decoded:
    row = {
        "text": text(message.message),
        "log_level": _FOXGLOVE_LEVELS.get(message.level),
        "logger": text(message.name) or None,
        "source_file": text(message.file) or None,
        "source_line": int(message.line) or None,
    }
    return Decoded(Modality.TEXT_LOG, [row], protobuf_stamp(message))


def _ros_row(message: dict[str, Any], levels: dict[int, str]) -> dict[str, Any]:
    return {
        "text": text(message["msg"]),
        "log_level": levels.get(message["level"]),
        "logger": text(message["name"]) or None,
        "source_file": text(message["file"]) or None,
        "source_function": text(message["function"]) or None,
        "source_line": int(message["line"]) or None,
    }
