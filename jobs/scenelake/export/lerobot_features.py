"""What a LeRobot dataset says of itself: its features, and GR00T's names for parts of them.

``modality.json``: github.com/NVIDIA/Isaac-GR00T, getting_started/data_preparation.md.
"""

from typing import Any

import pyarrow as pa

from scenelake.export.config import Images
from scenelake.export.episodes import Signature, Vector
from scenelake.export.video import pixel_format

STATE, ACTION = "observation.state", "action"
_NUMBERED = ("frame_index", "episode_index", "index", "task_index")
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def features_of(signature: Signature, images: Images, fps: int) -> dict[str, dict[str, Any]]:
    """``info.json``'s features. ``timestamp`` is the frame's place on the grid in seconds since the episode's start,
    as the format wants it; ``timestamp_ns`` is when its sample was, ns UTC."""
    features: dict[str, dict[str, Any]] = {}
    for camera in signature.cameras:
        feature: dict[str, Any] = {
            "dtype": "video" if images is Images.VIDEO else "image",
            "shape": [camera.height_px, camera.width_px, 3],
            "names": ["height", "width", "channels"],
        }
        if images is Images.VIDEO:
            feature["info"] = {
                "video.height": camera.height_px,
                "video.width": camera.width_px,
                "video.codec": "h264",
                "video.pix_fmt": pixel_format(camera.width_px, camera.height_px),
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            }
        features[camera.key] = feature
    for key, vectors in ((STATE, signature.states), (ACTION, signature.actions)):
        names = [name for vector in vectors for name in vector.names]
        if names:
            features[key] = {"dtype": "float32", "shape": [len(names)], "names": names}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for key in (*_NUMBERED, "timestamp_ns"):
        features[key] = {"dtype": "int64", "shape": [1], "names": None}
    return features


def data_schema(features: dict[str, dict[str, Any]]) -> pa.Schema:
    """Columns of the data files: every feature but videos."""
    fields = []
    for key, feature in features.items():
        if feature["dtype"] == "image":
            fields.append(pa.field(key, IMAGE_TYPE))
        elif feature["dtype"] != "video":
            kind = {"float32": pa.float32(), "int64": pa.int64()}[feature["dtype"]]
            width = feature["shape"][0]
            is_vector = key in (STATE, ACTION) and width > 1
            fields.append(pa.field(key, pa.list_(kind, width) if is_vector else kind))
    return pa.schema(fields)


def modality_of(signature: Signature) -> dict[str, Any]:
    """GR00T's ``modality.json``: a part of the state or action vector for each channel."""
    return {
        "state": _parts(signature.states),
        "action": _parts(signature.actions),
        "video": {c.key.rpartition(".")[2]: {"original_key": c.key} for c in signature.cameras},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def _parts(vectors: tuple[Vector, ...]) -> dict[str, dict[str, int]]:
    parts = {}
    start = 0
    for vector in vectors:
        parts[vector.group] = {"start": start, "end": start + len(vector.names)}
        start += len(vector.names)
    return parts
