"""Camera calibration messages as recorded."""

from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, int32, protobuf_stamp, reals, ros_header, text


def ros_camera_info(message: dict[str, Any], _channel: ChannelFacts) -> Decoded:
    """``sensor_msgs/CameraInfo``; ROS 1 names its matrices in capitals."""
    stamp_ns, frame_id = ros_header(message)
    matrix, distortion = (message["k"], message["d"]) if "k" in message else (message["K"], message["D"])
    return _calibration(
        (message["width"], message["height"]), text(message["distortion_model"]), matrix, distortion, stamp_ns, frame_id
    )


def foxglove_camera_calibration(message: Any, _channel: ChannelFacts) -> Decoded:
    return _calibration(
        (message.width, message.height),
        message.distortion_model,
        message.K,
        message.D,
        protobuf_stamp(message),
        message.frame_id or None,
    )


def _calibration(
    size: tuple[int, int], model: str, matrix: Any, distortion: Any, stamp_ns: int | None, frame_id: str | None
) -> Decoded:
    width_px, height_px = (int32(v) for v in size)
    row = {
        "frame_id": frame_id,
        "camera_model": model or None,
        "intrinsics": reals(matrix, 9),
        "distortion": reals(distortion),
        "width_px": width_px,
        "height_px": height_px,
    }
    return Decoded(Modality.CALIBRATION, [row], stamp_ns, frame_id, width_px=width_px, height_px=height_px)
