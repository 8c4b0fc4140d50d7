"""Uncompressed images as recorded into RGB, for whoever reads ``camera_frame``."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

RAW_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "bayer_rggb8": (1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGRBG2RGB),
}
"""By ROS encoding: channels, and the conversion to RGB; None where there is none to do."""


def rgb_of_raw(row: Mapping[str, Any]) -> np.ndarray:
    """A ``camera_frame`` row of one of ``RAW_ENCODINGS`` as (height, width, 3) uint8 RGB.

    Raises:
        ValueError: fewer bytes than its size and stride need.
    """
    nbr_channels, conversion = RAW_ENCODINGS[row["image_format"]]
    height, width = row["height_px"], row["width_px"]
    stride = row["row_stride_bytes"] or width * nbr_channels
    if stride < width * nbr_channels or len(row["image"]) < stride * height:
        raise ValueError(f"{len(row['image'])} bytes are too few for {width}x{height} in rows of {stride}")
    lines = np.frombuffer(row["image"], np.uint8, stride * height).reshape(height, stride)[:, : width * nbr_channels]
    image = np.ascontiguousarray(lines.reshape(height, width, nbr_channels))
    return image if conversion is None else np.asarray(cv2.cvtColor(image, conversion), np.uint8)
