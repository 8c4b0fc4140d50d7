"""Which handler takes which message type."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.formats.dataset_blocks import ARRAY, IMAGE, TEXT, VIDEO
from scenelake.decode.handlers import (
    annotation,
    audio,
    calibration,
    camera,
    datasets,
    gnss,
    gnss_raw,
    motion,
    points,
    scans,
    signals,
    state,
    text,
    tracks,
    video,
)
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


_IMAGE = (Modality.CAMERA, Modality.DEPTH, Modality.RADAR)
_POINTS = (Modality.LIDAR, Modality.RADAR)
_STATE = (Modality.ROBOT_STATE, Modality.ACTION)

FOXGLOVE_PACKAGE = "foxglove."

_FOXGLOVE: dict[str, MessageType] = {
    "CameraCalibration": _type(calibration.foxglove_camera_calibration, Modality.CALIBRATION),
    "CompressedAudio": _type(audio.foxglove_compressed_audio, Modality.AUDIO),
    "CompressedImage": _type(camera.foxglove_compressed_image, *_IMAGE),
    "CompressedVideo": _type(video.foxglove_compressed_video, Modality.CAMERA),
    "FrameTransform": _type(motion.foxglove_transform, Modality.TRANSFORM),
    "FrameTransforms": _type(motion.foxglove_transforms, Modality.TRANSFORM),
    "LaserScan": _type(scans.foxglove_laser_scan, Modality.LIDAR),
    "LocationFix": _type(gnss.foxglove_location_fix, Modality.GNSS),
    "Log": _type(text.foxglove_log, Modality.TEXT_LOG),
    "PointCloud": _type(points.foxglove_point_cloud, *_POINTS),
    "PoseInFrame": _type(motion.foxglove_pose, Modality.EGO_POSE),
    "RawAudio": _type(audio.foxglove_raw_audio, Modality.AUDIO),
    "RawImage": _type(camera.foxglove_raw_image, *_IMAGE),
    "SceneUpdate": _type(annotation.foxglove_scene_update, Modality.ANNOTATION),
}
"""Foxglove's schemas, the same in protobuf, JSON and FlatBuffers."""

_GNSS_FIXES = {
    "gps_msgs/GPSFix": gnss_raw.ros_gps_fix,
    "gps_common/GPSFix": gnss_raw.ros_gps_fix,
    "ublox_msgs/NavPVT": gnss_raw.ros_ublox_pvt,
    "novatel_oem7_msgs/BESTPOS": gnss_raw.ros_novatel_position,
    "novatel_gps_msgs/NovatelPosition": gnss_raw.ros_novatel_position,
}
_GNSS_RAW = {
    "nmea_msgs/Sentence": gnss_raw.ros_nmea_sentence,
    "rtcm_msgs/Message": gnss_raw.ros_correction_bytes,
    "mavros_msgs/RTCM": gnss_raw.ros_correction_bytes,
    "ublox_msgs/RxmRAW": gnss_raw.ros_measurements,
    "ublox_msgs/RxmRAWX": gnss_raw.ros_measurements,
    "ublox_msgs/RxmSFRB": gnss_raw.ros_measurements,
    "ublox_msgs/RxmSFRBX": gnss_raw.ros_measurements,
    "ublox_msgs/NavSAT": gnss_raw.ros_measurements,
    "novatel_oem7_msgs/RANGE": gnss_raw.ros_measurements,
}

MESSAGE_TYPES: dict[tuple[str, str], MessageType] = {
    **{
        (encoding, f"{FOXGLOVE_PACKAGE}{name}"): found
        for encoding in ("protobuf", "json", "flatbuffer")
        for name, found in _FOXGLOVE.items()
    },
    **{("ros", name): _type(handler, Modality.GNSS) for name, handler in _GNSS_FIXES.items()},
    **{("ros", name): _type(handler, Modality.GNSS_RAW) for name, handler in _GNSS_RAW.items()},
    **{("ros", name): _type(signals.signal_handler(name), *_STATE) for name in signals.SIGNALS},
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
    ("ros", "tf/tfMessage"): _type(motion.ros_transforms, Modality.TRANSFORM),
    ("ros", "foxglove_msgs/CompressedVideo"): _type(video.ros_compressed_video, Modality.CAMERA),
    ("ros", "ffmpeg_image_transport_msgs/FFMPEGPacket"): _type(video.ros_ffmpeg_packet, Modality.CAMERA),
    ("ros", "sensor_msgs/LaserScan"): _type(scans.ros_laser_scan, Modality.LIDAR),
    ("ros", "radar_msgs/RadarScan"): _type(scans.ros_radar_scan, Modality.RADAR),
    ("ros", "audio_common_msgs/AudioData"): _type(audio.ros_audio_data, Modality.AUDIO),
    ("ros", "audio_common_msgs/AudioDataStamped"): _type(audio.ros_audio_data_stamped, Modality.AUDIO),
    ("ros", "rcl_interfaces/Log"): _type(text.ros2_log, Modality.TEXT_LOG),
    ("ros", "rosgraph_msgs/Log"): _type(text.ros1_log, Modality.TEXT_LOG),
    ("ros", "std_msgs/String"): _type(text.ros_string, Modality.TEXT_LOG, Modality.LANGUAGE),
    ("ros", "sensor_msgs/Joy"): _type(signals.ros_joy, *_STATE),
    ("ros", "std_msgs/Float32MultiArray"): _type(signals.ros_multi_array, *_STATE),
    ("ros", "std_msgs/Float64MultiArray"): _type(signals.ros_multi_array, *_STATE),
    ("ros", "vision_msgs/Detection3DArray"): _type(annotation.ros_detections, Modality.ANNOTATION),
    ("ros", "can_msgs/Frame"): _type(tracks.ros_can_frame, Modality.CAN),
    ("ros", "radar_msgs/RadarTracks"): _type(tracks.ros_radar_tracks, Modality.RADAR_TRACK),
    ("json", "scenelake.Signals"): _type(state.json_signals, *_STATE),
    ("json", "scenelake.Episode"): _type(state.json_episode, Modality.EPISODE),
    ("array", ARRAY): _type(datasets.array_signals, *_STATE),
    ("image", IMAGE): _type(datasets.picture, *_IMAGE),
    ("text", TEXT): _type(datasets.words, Modality.TEXT_LOG, Modality.LANGUAGE),
    ("video", VIDEO): _type(datasets.video_image, Modality.CAMERA),
}
"""By message encoding (``ros`` for CDR and ROS 1) and type; ROS types by short name (``ros2msg.short_name``)."""
