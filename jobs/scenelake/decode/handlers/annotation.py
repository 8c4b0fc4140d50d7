"""Boxes drawn by people or models that were recorded with the drive."""

from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.decode.values import (
    ChannelFacts,
    Decoded,
    KeepRawError,
    pose,
    protobuf_stamp,
    real,
    ros_header,
    ros_pose,
    ros_vector,
    text,
)

_CATEGORY_KEYS = ("category", "class", "label", "type")
_OTHER_SHAPES = ("arrows", "spheres", "cylinders", "lines", "triangles", "texts", "models")


def ros_detections(message: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """``vision_msgs/Detection3DArray``: a row per box, in the frame of the array's header.

    The category is the hypothesis with the highest score. ``source`` is the message type: the message does
    not say whether a person or a model drew the box.
    """
    stamp_ns, frame_id = ros_header(message)
    rows = [_row(item, frame_id, channel) for item in message["detections"]]
    return Decoded(Modality.ANNOTATION, rows, stamp_ns, frame_id)


def foxglove_scene_update(message: Any, channel: ChannelFacts) -> Decoded:
    """``foxglove.SceneUpdate`` whose entities are cubes: a row per cube; anything else is a drawing and stays raw.

    The category is the entity's metadata of that name, or of ``class``, ``label`` or ``type``.
    """
    entities = list(message.entities)
    if not entities or any(not len(e.cubes) or any(len(getattr(e, s)) for s in _OTHER_SHAPES) for e in entities):
        raise KeepRawError("scene_update_not_boxes")
    rows = [_cube_row(entity, cube, channel) for entity in entities for cube in entity.cubes]
    return Decoded(Modality.ANNOTATION, rows, protobuf_stamp(entities[0]), entities[0].frame_id or None)


def _cube_row(entity: Any, cube: Any, channel: ChannelFacts) -> dict[str, Any]:
    said = {text(pair.key).lower(): text(pair.value) for pair in entity.metadata}
    at, turn, size = cube.pose.position, cube.pose.orientation, cube.size
    return {
        "track_id": text(entity.id) or None,
        "category": next((said[key] for key in _CATEGORY_KEYS if said.get(key)), None),
        "frame_id": text(entity.frame_id) or None,
        "sensor_from_box": pose((at.x, at.y, at.z), (turn.w, turn.x, turn.y, turn.z)),
        "size_m": [real(size.x), real(size.y), real(size.z)],
        "source": channel.schema_name,
    }


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
