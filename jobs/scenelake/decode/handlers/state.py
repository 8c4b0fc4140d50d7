"""What the machine reports or is told: joints, signals, episodes, instructions."""

from typing import Any

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.values import (
    ChannelFacts,
    Decoded,
    int32,
    reals,
    ros_header,
    text,
    texts,
    unexpected,
)


def ros_joint_state(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``sensor_msgs/JointState``; velocities and efforts may be absent, but not of another length."""
    stamp_ns, frame_id = ros_header(message)
    names = texts(message["name"])
    columns = {name: reals(message[name]) or None for name in ("position", "velocity", "effort")}
    for name, values in columns.items():
        if values is not None and len(values) != len(names):
            raise BadInputError(f"{len(names)} names and {len(values)} {name} values", reason="lengths_contradicted")
    return Decoded(_modality(channel), [{"names": names, **columns}], stamp_ns, frame_id)


def json_signals(message: Any, channel: ChannelFacts) -> Decoded:
    """``scenelake.Signals``: values with names and units."""
    names, values = texts(message["names"]), reals(message["values"])
    units = texts(message["units"]) if message.get("units") is not None else None
    if len(values) != len(names) or (units is not None and len(units) != len(names)):
        raise BadInputError(f"{len(names)} names and {len(values)} values", reason="lengths_contradicted")
    row = {"names": names, "units": units, "position": values}
    return Decoded(_modality(channel), [row], _json_stamp(message))


def json_episode(message: Any, _channel: ChannelFacts) -> Decoded:
    """``scenelake.Episode``: the start or end of an episode."""
    is_success, task = message.get("is_success"), message.get("task")
    if is_success is not None and not isinstance(is_success, bool):
        raise unexpected("is_success: expected true, false or null", is_success)
    row = {
        "event": text(message["event"]),
        "episode_index": int32(message["episode_index"]),
        "is_success": is_success,
        "task": None if task is None else text(task),
    }
    return Decoded(Modality.EPISODE, [row], _json_stamp(message))


def _modality(channel: ChannelFacts) -> Modality:
    return Modality.ACTION if channel.modality is Modality.ACTION else Modality.ROBOT_STATE


def _json_stamp(message: Any) -> int | None:
    stamp_ns = message.get("timestamp_ns")
    if stamp_ns is not None and (isinstance(stamp_ns, bool) or not isinstance(stamp_ns, int)):
        raise unexpected("timestamp_ns: expected an integer", stamp_ns)
    return stamp_ns
