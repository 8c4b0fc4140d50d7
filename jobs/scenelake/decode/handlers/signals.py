"""Message types that are some named numbers: each becomes a row of ``robot_state`` with names, units and values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, KeepRawError, ros_header, ros_stamp, unexpected

MAX_SIGNALS = 4096
_XYZ = "xyz"


def _vector(name: str, unit: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{name}.{axis}", unit) for axis in _XYZ)


def _twist(prefix: str = "") -> tuple[tuple[str, str], ...]:
    return _vector(f"{prefix}linear", "m/s") + _vector(f"{prefix}angular", "rad/s")


SIGNALS: dict[str, tuple[tuple[str, str], ...]] = {
    "sensor_msgs/Range": (("range", "m"), ("min_range", "m"), ("max_range", "m"), ("field_of_view", "rad")),
    "sensor_msgs/MagneticField": _vector("magnetic_field", "T"),
    "sensor_msgs/Temperature": (("temperature", "degC"), ("variance", "degC^2")),
    "sensor_msgs/FluidPressure": (("fluid_pressure", "Pa"), ("variance", "Pa^2")),
    "sensor_msgs/RelativeHumidity": (("relative_humidity", "1"), ("variance", "1")),
    "sensor_msgs/Illuminance": (("illuminance", "lx"), ("variance", "lx^2")),
    "sensor_msgs/BatteryState": (
        ("voltage", "V"),
        ("current", "A"),
        ("charge", "A*h"),
        ("capacity", "A*h"),
        ("design_capacity", "A*h"),
        ("percentage", "1"),
        ("power_supply_status", ""),
        ("power_supply_health", ""),
    ),
    "geometry_msgs/Twist": _twist(),
    "geometry_msgs/TwistStamped": _twist("twist."),
    "geometry_msgs/TwistWithCovarianceStamped": _twist("twist.twist."),
    "geometry_msgs/AccelStamped": _vector("accel.linear", "m/s^2") + _vector("accel.angular", "rad/s^2"),
    "geometry_msgs/WrenchStamped": _vector("wrench.force", "N") + _vector("wrench.torque", "N*m"),
    "ackermann_msgs/AckermannDriveStamped": (
        ("drive.steering_angle", "rad"),
        ("drive.steering_angle_velocity", "rad/s"),
        ("drive.speed", "m/s"),
        ("drive.acceleration", "m/s^2"),
        ("drive.jerk", "m/s^3"),
    ),
    "autoware_vehicle_msgs/VelocityReport": (
        ("longitudinal_velocity", "m/s"),
        ("lateral_velocity", "m/s"),
        ("heading_rate", "rad/s"),
    ),
    "autoware_vehicle_msgs/SteeringReport": (("steering_tire_angle", "rad"),),
    "std_msgs/Bool": (("data", ""),),
    "std_msgs/Float32": (("data", ""),),
    "std_msgs/Float64": (("data", ""),),
    "std_msgs/Int32": (("data", ""),),
    "std_msgs/Int64": (("data", ""),),
}
"""By ROS type: fields and their units (UCUM-like), which the type's own definition fixes; empty where it has none."""


def signal_handler(name: str) -> Callable[[dict[str, Any], ChannelFacts], Decoded]:
    """The handler of one type of ``SIGNALS``."""
    names, units = (list(column) for column in zip(*SIGNALS[name], strict=True))

    def handle(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
        return _signals(names, units, [_number(message[n]) for n in names], *_stamp(message), channel)

    return handle


def ros_joy(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``sensor_msgs/Joy``: axes from -1 to 1, buttons 0 or 1."""
    names, values = [], []
    for part in ("axes", "buttons"):
        names += [f"{part}.{i}" for i in range(len(message[part]))]
        values += _numbers(message[part])
    return _signals(names, None, values, *_stamp(message), channel)


def ros_multi_array(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``std_msgs/Float64MultiArray`` and its kin: the numbers in the order of the array, names by position."""
    values = _numbers(message["data"])
    return _signals([f"data.{i}" for i in range(len(values))], None, values, None, None, channel)


def flat_numbers(message: dict[str, Any]) -> tuple[list[str], list[float]]:
    """Every number of a message with its dotted name, nested messages and arrays by position.

    Raises:
        KeepRawError: more than ``MAX_SIGNALS``.
    """
    names: list[str] = []
    values: list[float] = []

    def add(prefix: str, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            path = f"{prefix}{name}"
            if isinstance(value, int | float):
                names.append(path)
                values.append(float(value))
            elif isinstance(value, np.ndarray):
                names.extend(f"{path}.{i}" for i in range(len(value)))
                values.extend(_numbers(value))
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, dict):
                        add(f"{path}.{i}.", item)
            if len(values) > MAX_SIGNALS:
                raise KeepRawError("message_too_large")

    add("", message)
    return names, values


def _signals(
    names: list[str],
    units: list[str] | None,
    values: list[float],
    stamp_ns: int | None,
    frame_id: str | None,
    channel: ChannelFacts,
) -> Decoded:
    modality = Modality.ACTION if channel.modality is Modality.ACTION else Modality.ROBOT_STATE
    return Decoded(modality, [{"names": names, "units": units, "position": values}], stamp_ns, frame_id)


def _stamp(message: dict[str, Any]) -> tuple[int | None, str | None]:
    if "header.stamp.sec" in message:
        return ros_header(message)
    return (ros_stamp(message, "stamp") if "stamp.sec" in message else None), None


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise unexpected("expected a number", value)
    return float(value)


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, np.ndarray):
        raise unexpected("expected a list of numbers", values)
    if len(values) > MAX_SIGNALS:
        raise KeepRawError("message_too_large")
    numbers: list[float] = values.astype(np.float64).tolist()
    return numbers
