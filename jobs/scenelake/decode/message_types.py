"""Which handler takes which message type."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.handlers import annotation, calibration, camera, gnss, motion, points, state, tracks
from scenelake.decode.values import ChannelFacts, Decoded

Handler = Callable[[Any, ChannelFacts], Decoded]


@dataclass(frozen=True, slots=True)
class MessageType:
    """A handler and the modalities that its rows can have, the usual one first.

    Attributes:
        is_open: only what topic, metadata or content say makes it one of these; otherwise it stays raw.
    """

    handler: Handler
    modalities: tuple[Modality, ...]
    is_open: bool = False


def _type(handler: Handler, *modalities: Modality) -> MessageType:
    return MessageType(handler, modalities)


_IMAGE = (Modality.CAMERA, Modality.RADAR)
_POINTS = (Modality.LIDAR, Modality.RADAR)
_STATE = (Modality.ROBOT_STATE, Modality.ACTION)

MESSAGE_TYPES: dict[tuple[str, str], MessageType] = {
    ("ros", "sensor_msgs/CompressedImage"): _type(camera.ros_compressed_image, *_IMAGE),
    ("ros", "sensor_msgs/Image"): _type(camera.ros_image, *_IMAGE),
    ("ros", "sensor_msgs/PointCloud2"): _type(points.ros_point_cloud, *_POINTS),
    ("ros", "sensor_msgs/Imu"): _type(motion.ros_imu, Modality.IMU),
    ("ros", "sensor_msgs/NavSatFix"): _type(gnss.ros_nav_sat_fix, Modality.GNSS),
    ("ros", "sensor_msgs/CameraInfo"): _type(calibration.ros_camera_info, Modality.CALIBRATION),
    ("ros", "sensor_msgs/JointState"): _type(state.ros_joint_state, *_STATE),
    ("ros", "nav_msgs/Odometry"): _type(motion.ros_odometry, Modality.EGO_POSE),
    ("ros", "geometry_msgs/PoseStamped"): _type(motion.ros_pose_stamped, Modality.EGO_POSE),
    ("ros", "tf2_msgs/TFMessage"): _type(motion.ros_transforms, Modality.TRANSFORM),
    ("ros", "std_msgs/String"): MessageType(state.ros_string, (Modality.LANGUAGE,), is_open=True),
    ("ros", "vision_msgs/Detection3DArray"): _type(annotation.ros_detections, Modality.ANNOTATION),
    ("ros", "can_msgs/Frame"): _type(tracks.ros_can_frame, Modality.CAN),
    ("ros", "radar_msgs/RadarTracks"): _type(tracks.ros_radar_tracks, Modality.RADAR_TRACK),
    ("protobuf", "foxglove.CompressedImage"): _type(camera.foxglove_compressed_image, *_IMAGE),
    ("protobuf", "foxglove.RawImage"): _type(camera.foxglove_raw_image, *_IMAGE),
    ("protobuf", "foxglove.PointCloud"): _type(points.foxglove_point_cloud, *_POINTS),
    ("protobuf", "foxglove.LocationFix"): _type(gnss.foxglove_location_fix, Modality.GNSS),
    ("protobuf", "foxglove.CameraCalibration"): _type(calibration.foxglove_camera_calibration, Modality.CALIBRATION),
    ("protobuf", "foxglove.FrameTransform"): _type(motion.foxglove_transform, Modality.TRANSFORM),
    ("protobuf", "foxglove.FrameTransforms"): _type(motion.foxglove_transforms, Modality.TRANSFORM),
    ("json", "scenelake.Signals"): _type(state.json_signals, *_STATE),
    ("json", "scenelake.Episode"): _type(state.json_episode, Modality.EPISODE),
}
"""By message encoding (``ros`` for CDR and ROS 1) and type; ROS types by short name (``ros2msg.short_name``)."""
