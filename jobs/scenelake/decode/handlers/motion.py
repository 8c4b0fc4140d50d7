"""Motion: inertial measurements, poses, odometry and transforms."""

from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import (
    ChannelFacts,
    Decoded,
    covariance,
    pose,
    protobuf_stamp,
    real,
    reals,
    ros_header,
    ros_pose,
    ros_stamp,
    ros_vector,
    text,
)


def ros_imu(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``sensor_msgs/Imu``; -1 as the first covariance element means that the quantity is not measured."""
    stamp_ns, frame_id = ros_header(message)
    of_orientation, of_rate, of_acceleration = (
        reals(message[f"{name}_covariance"], 9) for name in ("orientation", "angular_velocity", "linear_acceleration")
    )
    quaternion = [real(message[f"orientation.{axis}"]) for axis in "wxyz"]
    row = {
        "linear_acceleration_m_s2": None if of_acceleration[0] == -1 else ros_vector(message, "linear_acceleration"),
        "angular_velocity_rad_s": None if of_rate[0] == -1 else ros_vector(message, "angular_velocity"),
        "orientation": None if of_orientation[0] == -1 or not any(quaternion) else quaternion,
        "covariance": covariance([*of_orientation, *of_rate, *of_acceleration]),
        "frame_id": frame_id,
    }
    return Decoded(Modality.IMU, [row], stamp_ns, frame_id)


def ros_odometry(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``nav_msgs/Odometry``: the pose is in the header's frame, the twist in the child frame.

    A diagonal variance of -1 means, as in ``sensor_msgs/Imu``, that the velocity was not measured.
    """
    stamp_ns, frame_id = ros_header(message)
    of_twist = reals(message["twist.covariance"], 36)
    row = {
        "world_from_ego": ros_pose(message, "pose.pose.position", "pose.pose.orientation"),
        "linear_velocity_m_s": None if of_twist[0] == -1 else ros_vector(message, "twist.twist.linear"),
        "angular_velocity_rad_s": None if of_twist[21] == -1 else ros_vector(message, "twist.twist.angular"),
        "covariance": covariance(reals(message["pose.covariance"], 36)),
        "frame_id": frame_id,
        "child_frame_id": text(message["child_frame_id"]) or None,
        "source": channel.schema_name,
    }
    return Decoded(Modality.EGO_POSE, [row], stamp_ns, frame_id)


def ros_pose_stamped(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    stamp_ns, frame_id = ros_header(message)
    row = {
        "world_from_ego": ros_pose(message, "pose.position", "pose.orientation"),
        "frame_id": frame_id,
        "source": channel.schema_name,
    }
    return Decoded(Modality.EGO_POSE, [row], stamp_ns, frame_id)


def foxglove_pose(message: Any, channel: ChannelFacts) -> Decoded:
    """``foxglove.PoseInFrame``, the twin of ``geometry_msgs/PoseStamped``."""
    at, turn = message.pose.position, message.pose.orientation
    frame_id = message.frame_id or None
    row = {
        "world_from_ego": pose((at.x, at.y, at.z), (turn.w, turn.x, turn.y, turn.z)),
        "frame_id": frame_id,
        "source": channel.schema_name,
    }
    return Decoded(Modality.EGO_POSE, [row], protobuf_stamp(message), frame_id)


def ros_transforms(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``tf2_msgs/TFMessage``: a row per transform; the message's time is its first transform's."""
    rows = [
        {
            "parent_frame_id": _frame(item["header.frame_id"]),
            "child_frame_id": _frame(item["child_frame_id"]),
            "parent_from_child": ros_pose(item, "transform.translation", "transform.rotation"),
        }
        for item in message["transforms"]
    ]
    stamps = [ros_stamp(item) for item in message["transforms"]]
    return _transforms(rows, stamps[0] if stamps else None, channel)


def foxglove_transform(message: Any, channel: ChannelFacts) -> Decoded:
    return _transforms([_foxglove_row(message)], protobuf_stamp(message), channel)


def foxglove_transforms(message: Any, channel: ChannelFacts) -> Decoded:
    rows = [_foxglove_row(item) for item in message.transforms]
    return _transforms(rows, protobuf_stamp(message.transforms[0]) if rows else None, channel)


def _foxglove_row(message: Any) -> dict[str, Any]:
    shift, turn = message.translation, message.rotation
    return {
        "parent_frame_id": _frame(message.parent_frame_id),
        "child_frame_id": _frame(message.child_frame_id),
        "parent_from_child": pose((shift.x, shift.y, shift.z), (turn.w, turn.x, turn.y, turn.z)),
    }


def _frame(name: Any) -> str:
    return text(name).removeprefix("/")


def _transforms(rows: list[dict[str, Any]], stamp_ns: int | None, channel: ChannelFacts) -> Decoded:
    is_static = "static" in channel.topic.lower()
    for row in rows:
        row["is_static"] = is_static
    frame_id = rows[0]["parent_frame_id"] if rows else None
    return Decoded(Modality.TRANSFORM, rows, stamp_ns, frame_id or None)
