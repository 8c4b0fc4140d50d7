"""Definitions of common ROS message types, for recordings that name a type and do not define it.

They are data: message definition text, parsed like a recording's own. A recording's own definition always wins.
"""

from functools import cache, lru_cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from scenelake.decode.formats.ros2msg import parse_definitions, short_name

EXTRA_ROS_TYPES: dict[str, str] = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id\n"
    ),
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n",
    "can_msgs/msg/Frame": (
        "std_msgs/Header header\nuint32 id\nbool is_rtr\nbool is_extended\nbool is_error\nuint8 dlc\nuint8[8] data\n"
    ),
    "radar_msgs/msg/RadarTrack": (
        "uint8[16] uuid\ngeometry_msgs/Point position\ngeometry_msgs/Vector3 velocity\n"
        "geometry_msgs/Vector3 acceleration\ngeometry_msgs/Vector3 size\nuint16 classification\n"
        "float32[6] position_covariance\nfloat32[6] velocity_covariance\nfloat32[6] acceleration_covariance\n"
        "float32[6] size_covariance\n"
    ),
    "radar_msgs/msg/RadarTracks": "std_msgs/Header header\nradar_msgs/RadarTrack[] tracks\n",
}
"""Common types that the distributions' own sets lack (vision_msgs 4, can_msgs, radar_msgs; Apache-2.0 or BSD)."""

EXTRA_ROS1_TYPES: dict[str, str] = {
    "can_msgs/msg/Frame": EXTRA_ROS_TYPES["can_msgs/msg/Frame"],
    "tf/msg/tfMessage": "geometry_msgs/TransformStamped[] transforms\n",
    "tf2_msgs/msg/TFMessage": "geometry_msgs/TransformStamped[] transforms\n",
}
"""The same for ROS 1 (BSD)."""


@lru_cache(maxsize=1024)
def common_definition(name: str, *, is_ros1: bool, md5sum: str | None = None) -> bytes | None:
    """Definition text of a type with everything nested in it; None when it is not among the common ones.

    A ROS 2 type whose fields differ between Humble and Jazzy is not: its name alone does not say which was meant.

    Args:
        name: as recorded, with or without ``/msg/``.
        md5sum: of the definition that a ROS 1 writer had; a type whose own differs is not the one that was meant.
    """
    if not is_ros1:
        found = ros2_definitions(name)
        return found[0] if len(found) == 1 else None
    full_name, store = _full_name(name), _known_ros1_store()
    if full_name not in store.fielddefs:
        return None
    text, own_md5sum = store.generate_msgdef(full_name, ros_version=1)
    return str(text).encode() if md5sum in (None, "", "*", own_md5sum) else None


@lru_cache(maxsize=1024)
def ros2_definitions(name: str, distribution: str = "") -> tuple[bytes, ...]:
    """Definition texts of a common ROS 2 type that differ in their fields; none for a type that is not common.

    Args:
        distribution: name of the one that recorded, as ``humble``; where it is known, its own definition is the one.
    """
    full_name = _full_name(name)
    own = _DISTRIBUTIONS.get(distribution)
    stores = [_known_store(s) for s in ((own,) if own else (Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY))]
    texts = [str(s.generate_msgdef(full_name, ros_version=2)[0]) for s in stores if full_name in s.fielddefs]
    # Constants come and go between distributions; fields are what counts.
    by_layout = {repr(parse_definitions(full_name, text.encode())): text.encode() for text in reversed(texts)}
    return tuple(reversed(by_layout.values()))


_DISTRIBUTIONS = {
    "foxy": Stores.ROS2_FOXY,
    "galactic": Stores.ROS2_GALACTIC,
    "humble": Stores.ROS2_HUMBLE,
    "iron": Stores.ROS2_IRON,
    "jazzy": Stores.ROS2_JAZZY,
    "kilted": Stores.ROS2_KILTED,
}


def _full_name(name: str) -> str:
    package, _, kind = short_name(name).partition("/")
    return f"{package}/msg/{kind}"


def ros2_store(distribution: Stores) -> Typestore:
    """A new store with a ROS 2 distribution's types and the extra ones above."""
    return _with_extra(get_typestore(distribution), EXTRA_ROS_TYPES)


@cache
def _known_store(distribution: Stores) -> Typestore:
    return ros2_store(distribution)


def ros1_store() -> Typestore:
    """A new store with ROS 1 Noetic's types and the extra ones above."""
    return _with_extra(get_typestore(Stores.ROS1_NOETIC), EXTRA_ROS1_TYPES)


@cache
def _known_ros1_store() -> Typestore:
    return ros1_store()


def _with_extra(store: Typestore, extra: dict[str, str]) -> Typestore:
    types = {}
    for name, definition in extra.items():
        types.update(get_types_from_msg(definition, name))
    store.register(types)
    return store
