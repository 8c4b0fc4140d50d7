"""What kind of signal a channel carries, and which payload table holds it."""

from enum import StrEnum


class Modality(StrEnum):
    CAMERA = "camera"
    DEPTH = "depth"
    LIDAR = "lidar"
    RADAR = "radar"
    RADAR_TRACK = "radar_track"
    IMU = "imu"
    GNSS = "gnss"
    GNSS_RAW = "gnss_raw"
    EGO_POSE = "ego_pose"
    ROBOT_STATE = "robot_state"
    ACTION = "action"
    LANGUAGE = "language"
    TEXT_LOG = "text_log"
    AUDIO = "audio"
    ANNOTATION = "annotation"
    CALIBRATION = "calibration"
    TRANSFORM = "transform"
    EPISODE = "episode"
    CAN = "can"
    RAW = "raw"


class TimestampBasis(StrEnum):
    """Which clock a row's ``timestamp_ns`` came from."""

    SENSOR = "sensor"
    PUBLISH = "publish"
    LOG = "log"


class MessageStatus(StrEnum):
    """What decode made of one message."""

    DECODED = "decoded"
    RAW = "raw"
    UNDECODABLE = "undecodable"


class SyncMethod(StrEnum):
    NEAREST = "nearest"
    LINEAR = "linear"
    SLERP = "slerp"
    HOLD = "hold"


PAYLOAD_TABLE: dict[Modality, str] = {
    Modality.CAMERA: "camera_frame",
    Modality.DEPTH: "depth_frame",
    Modality.LIDAR: "lidar_sweep",
    Modality.RADAR: "radar_sweep",
    Modality.RADAR_TRACK: "radar_track",
    Modality.IMU: "imu",
    Modality.GNSS: "gnss",
    Modality.GNSS_RAW: "gnss_raw",
    Modality.EGO_POSE: "ego_pose",
    Modality.ROBOT_STATE: "robot_state",
    Modality.ACTION: "action",
    Modality.LANGUAGE: "language",
    Modality.TEXT_LOG: "text_log",
    Modality.AUDIO: "audio",
    Modality.ANNOTATION: "annotation",
    Modality.CALIBRATION: "calibrated_sensor",
    Modality.TRANSFORM: "transform",
    Modality.EPISODE: "episode",
    Modality.CAN: "can_frame",
    Modality.RAW: "raw_message",
}

SLOTTED_TABLES = ("camera_frame", "depth_frame", "lidar_sweep", "radar_sweep", "audio", "raw_message")
"""Payload tables with one file per (object, slot), written by decode at their final path."""

BATCHED_TABLES = (
    "imu",
    "gnss",
    "gnss_raw",
    "ego_pose",
    "robot_state",
    "action",
    "language",
    "text_log",
    "annotation",
    "can_frame",
    "radar_track",
    "episode",
    "transform",
)
"""Payload tables whose rows are small: decode keeps them beside its index, serialise writes one file per batch."""

NOTE_TABLES = ("redaction",)
"""What decode notes of a message beside its payload; the rows travel like those of ``BATCHED_TABLES``."""
