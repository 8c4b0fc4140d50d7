"""Boxes drawn by people or models that were recorded with the drive."""

from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import ChannelFacts, Decoded, real, ros_header, ros_pose, ros_vector, text


def ros_detections(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``vision_msgs/Detection3DArray``: a row per box, in the frame of the array's header.

    The category is the hypothesis with the highest score. ``source`` is the message type: the message does
    not say whether a person or a model drew the box.
    """
    stamp_ns, frame_id = ros_header(message)
    rows = [_row(item, frame_id, channel) for item in message["detections"]]
    return Decoded(Modality.ANNOTATION, rows, stamp_ns, frame_id)


def _row(item: dict[str, Any], frame_id: str | None, channel: ChannelFacts) -> dict[str, Any]:
    guesses = [(real(r["hypothesis.score"]), text(r["hypothesis.class_id"])) for r in item["results"]]
    score, category = max(guesses, key=lambda guess: guess[0], default=(None, None))
    return {
        "track_id": text(item["id"]) or None,
        "category": category,
        "frame_id": text(item["header.frame_id"]) or frame_id,
        "sensor_from_box": ros_pose(item, "bbox.center.position", "bbox.center.orientation"),
        "size_m": ros_vector(item, "bbox.size"),
        "score": score,
        "source": channel.schema_name,
    }
