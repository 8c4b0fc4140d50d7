"""The message types that come by the hundred a second, many messages at once.

Each function here gives the same columns as the handler of the same name for one message (``motion``, ``gnss``,
``state``, ``tracks``), or says of a message that it does not vouch for it; that one is then read alone, and whatever
is wrong with it gets its reason there. Tests hold the two to each other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality
from scenelake.decode.arrow_columns import blobs, number_lists, numbers, poses, repeated_text, text_lists, texts
from scenelake.decode.formats.cdr_columns import Columns, TextColumn
from scenelake.decode.handlers.tracks import bus_of_frame
from scenelake.decode.values import ChannelFacts


class NotByColumnsError(ValueError):
    """The messages are not what the column handlers know; read them one by one."""


@dataclass(frozen=True, slots=True)
class DecodedColumns:
    """What became of n messages of one layout.

    Attributes:
        stamp_ns: (n,) int64; None where the type has none.
        frame: of each message; empty for none.
        columns: of the modality's table, (n * rows_per_message) rows, those of one message together.
        is_good: (n,) bool; the others must be read one by one.
    """

    modality: Modality
    stamp_ns: np.ndarray | None
    frame: TextColumn
    columns: dict[str, pa.Array]
    is_good: np.ndarray
    rows_per_message: int = 1


ColumnHandler = Callable[[Columns, ChannelFacts], DecodedColumns]


_OF_AN_IMU = ("orientation", "angular_velocity", "linear_acceleration")


def imu(messages: Columns, _channel: ChannelFacts) -> DecodedColumns:
    """``sensor_msgs/Imu``."""
    frame = messages.text("header.frame_id")
    covariance = _reals(messages, *(f"{name}_covariance" for name in _OF_AN_IMU), length=9)
    quaternion = _scalars(messages, "orientation", "wxyz")
    of_orientation, of_rate, of_acceleration = (covariance[:, first] != -1 for first in (0, 9, 18))
    columns = {
        "linear_acceleration_m_s2": number_lists(_scalars(messages, "linear_acceleration", "xyz"), of_acceleration),
        "angular_velocity_rad_s": number_lists(_scalars(messages, "angular_velocity", "xyz"), of_rate),
        "orientation": number_lists(quaternion, of_orientation & (quaternion != 0).any(axis=1)),
        "covariance": number_lists(covariance, (covariance != 0).any(axis=1)),
        "frame_id": texts(frame, empty_is_null=True),
    }
    return DecodedColumns(Modality.IMU, stamps(messages), frame, columns, _all(messages))


def odometry(messages: Columns, channel: ChannelFacts) -> DecodedColumns:
    """``nav_msgs/Odometry``."""
    frame = messages.text("header.frame_id")
    of_twist, of_pose = (_reals(messages, f"{name}.covariance", length=36) for name in ("twist", "pose"))
    pose, is_finite = _poses(messages, "pose.pose.position", "pose.pose.orientation")
    columns = {
        "world_from_ego": pose,
        "linear_velocity_m_s": number_lists(_scalars(messages, "twist.twist.linear", "xyz"), of_twist[:, 0] != -1),
        "angular_velocity_rad_s": number_lists(_scalars(messages, "twist.twist.angular", "xyz"), of_twist[:, 21] != -1),
        "covariance": number_lists(of_pose, (of_pose != 0).any(axis=1)),
        "frame_id": texts(frame, empty_is_null=True),
        "child_frame_id": texts(messages.text("child_frame_id"), empty_is_null=True),
        "source": repeated_text(channel.schema_name, messages.size),
    }
    return DecodedColumns(Modality.EGO_POSE, stamps(messages), frame, columns, is_finite)


def pose_stamped(messages: Columns, channel: ChannelFacts) -> DecodedColumns:
    """``geometry_msgs/PoseStamped``."""
    frame = messages.text("header.frame_id")
    pose, is_finite = _poses(messages, "pose.position", "pose.orientation")
    columns = {
        "world_from_ego": pose,
        "frame_id": texts(frame, empty_is_null=True),
        "source": repeated_text(channel.schema_name, messages.size),
    }
    return DecodedColumns(Modality.EGO_POSE, stamps(messages), frame, columns, is_finite)


def transforms(messages: Columns, channel: ChannelFacts) -> DecodedColumns:
    """``tf2_msgs/TFMessage`` whose messages have equally many transforms."""
    items = messages.messages("transforms")
    if not items:
        raise NotByColumnsError("no transforms")
    parts = []
    is_good = _all(messages)
    for item in items:
        pose, is_finite = _poses(item, "transform.translation", "transform.rotation")
        is_good &= is_finite
        parts.append(
            pa.RecordBatch.from_pydict(
                {
                    "parent_frame_id": texts(_frame(item.text("header.frame_id"))),
                    "child_frame_id": texts(_frame(item.text("child_frame_id"))),
                    "parent_from_child": pose,
                    "is_static": pa.repeat(pa.scalar("static" in channel.topic.lower()), messages.size),
                }
            )
        )
    rows = pa.Table.from_batches(parts)
    if len(items) > 1:
        by_message = np.arange(len(items) * messages.size).reshape(len(items), -1).T.reshape(-1)
        rows = rows.take(pa.array(by_message))
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    return DecodedColumns(
        Modality.TRANSFORM, stamps(items[0]), _frame(items[0].text("header.frame_id")), columns, is_good, len(items)
    )


def nav_sat_fix(messages: Columns, _channel: ChannelFacts) -> DecodedColumns:
    """``sensor_msgs/NavSatFix``."""
    frame = messages.text("header.frame_id")
    covariance = _reals(messages, "position_covariance", length=9)
    altitude = _scalar(messages, "altitude")
    has_covariance = (_integers(messages, "position_covariance_type") != 0) & (covariance != 0).any(axis=1)
    columns = {
        "latitude_deg": numbers(_scalar(messages, "latitude"), pa.float64()),
        "longitude_deg": numbers(_scalar(messages, "longitude"), pa.float64()),
        "altitude_m": numbers(altitude, pa.float64(), np.isfinite(altitude)),
        "fix_status": numbers(_integers(messages, "status.status").astype(np.int32), pa.int32()),
        "covariance": number_lists(covariance, has_covariance),
        "frame_id": texts(frame, empty_is_null=True),
    }
    return DecodedColumns(Modality.GNSS, stamps(messages), frame, columns, _all(messages))


def joint_state(messages: Columns, channel: ChannelFacts) -> DecodedColumns:
    """``sensor_msgs/JointState`` whose messages have equally many joints."""
    frame = messages.text("header.frame_id")
    names = messages.texts("name")
    columns = {"names": text_lists(names, messages.size)}
    for name in ("position", "velocity", "effort"):
        values = _reals(messages, name)
        if values.shape[1] not in (0, len(names)):
            raise NotByColumnsError(f"{len(names)} names and {values.shape[1]} {name} values")
        columns[name] = number_lists(values, np.full(messages.size, values.shape[1] > 0))
    modality = Modality.ACTION if channel.modality is Modality.ACTION else Modality.ROBOT_STATE
    return DecodedColumns(modality, stamps(messages), frame, columns, _all(messages))


def can_frame(messages: Columns, _channel: ChannelFacts) -> DecodedColumns:
    """``can_msgs/Frame``."""
    frame = messages.text("header.frame_id")
    data, nbr_bytes = messages.numbers("data"), _integers(messages, "dlc")
    if data.ndim != 2 or data.dtype.itemsize != 1:
        raise NotByColumnsError("data: expected bytes")
    is_good = (nbr_bytes >= 0) & (nbr_bytes <= data.shape[1])
    buses = pa.array([bus_of_frame(v or None) for v in frame.values], pa.int32())
    columns = {
        "can_id": numbers(_integers(messages, "id"), pa.int64()),
        "bus": buses.take(pa.array(frame.codes)),
        "is_extended": numbers(_integers(messages, "is_extended") != 0, pa.bool_()),
        "data": blobs(data.view(np.uint8), np.where(is_good, nbr_bytes, 0)),
    }
    return DecodedColumns(Modality.CAN, stamps(messages), frame, columns, is_good)


COLUMN_HANDLERS: dict[str, ColumnHandler] = {
    "sensor_msgs/Imu": imu,
    "sensor_msgs/NavSatFix": nav_sat_fix,
    "sensor_msgs/JointState": joint_state,
    "nav_msgs/Odometry": odometry,
    "geometry_msgs/PoseStamped": pose_stamped,
    "tf2_msgs/TFMessage": transforms,
    "tf/tfMessage": transforms,
    "can_msgs/Frame": can_frame,
}
"""By ROS type (``ros2msg.short_name``)."""


def _all(messages: Columns) -> np.ndarray:
    return np.ones(messages.size, bool)


def stamps(messages: Columns, name: str = "header.stamp") -> np.ndarray:
    """The messages' own times in ns, (n,) int64, as ``values.ros_stamp`` has them."""
    seconds, nanoseconds = (_integers(messages, f"{name}.{part}") for part in ("sec", "nanosec"))
    found: np.ndarray = seconds * 1_000_000_000 + nanoseconds
    return found


def _integers(messages: Columns, name: str) -> np.ndarray:
    values = messages.numbers(name)
    if values.ndim != 1 or values.dtype.kind not in "iu" or values.dtype.itemsize > 4:
        raise NotByColumnsError(f"{name}: expected integers of up to 32 bits")
    return values.astype(np.int64)


def _scalar(messages: Columns, name: str) -> np.ndarray:
    return _recorded(messages, name, 1).astype(np.float64)


def _scalars(messages: Columns, name: str, axes: str) -> np.ndarray:
    found = np.empty((messages.size, len(axes)))
    for position, axis in enumerate(axes):
        found[:, position] = _recorded(messages, f"{name}.{axis}", 1)
    return found


def _reals(messages: Columns, *names: str, length: int | None = None) -> np.ndarray:
    """Arrays of numbers, (n, k) float64, those of several names beside each other."""
    parts = [_recorded(messages, name, 2) for name in names]
    wrong = [name for name, part in zip(names, parts, strict=True) if length not in (None, part.shape[1])]
    if wrong:
        raise NotByColumnsError(f"{', '.join(wrong)}: expected {length} floating-point numbers")
    return np.concatenate(parts, axis=1, dtype=np.float64)


def _recorded(messages: Columns, name: str, nbr_dimensions: int) -> np.ndarray:
    values = messages.numbers(name)
    if values.ndim != nbr_dimensions or values.dtype.kind != "f":
        what = "a floating-point number" if nbr_dimensions == 1 else "an array of floating-point numbers"
        raise NotByColumnsError(f"{name}: expected {what}")
    return values


def _poses(messages: Columns, position: str, orientation: str) -> tuple[pa.StructArray, np.ndarray]:
    return poses(_scalars(messages, position, "xyz"), _scalars(messages, orientation, "wxyz"))


def _frame(name: TextColumn) -> TextColumn:
    return TextColumn([v.removeprefix("/") for v in name.values], name.codes)
