"""Depth images as metres, as pictures, and as PNG in millimetres."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scenelake.decode.video_access import Image
from scenelake.export.images import Unusable

DEPTH_COLUMNS = (
    "sample_data_id", "image", "image_format", "width_px", "height_px", "row_stride_bytes", "depth_unit_m",
    "inverse_depth",
)  # fmt: skip
_MILLIMETRES = 1000.0
_RAW: dict[str, np.dtype[Any]] = {"16UC1": np.dtype("<u2"), "mono16": np.dtype("<u2"), "32FC1": np.dtype("<f4")}
_SHOWN_PERCENTILES = (2.0, 98.0)
Metres = npt.NDArray[np.float32]


def depth_m(row: Mapping[str, Any]) -> Metres | Unusable:
    """Metres (height, width) of a row of ``depth_frame``; NaN where the depth is not known."""
    name, said = row["image_format"], f"message {row['sample_data_id']}"
    if name == "png":
        pixels = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim != 2:
            return Unusable("image_undecodable", f"{said}: no png of one channel that can be decoded")
    elif name in _RAW:
        kind, height, width = _RAW[name], row["height_px"], row["width_px"]
        stride = row["row_stride_bytes"] or width * kind.itemsize
        if stride < width * kind.itemsize or len(row["image"]) < stride * height:
            return Unusable("image_undecodable", f"{said}: {len(row['image'])} bytes are too few")
        lines = np.frombuffer(row["image"], np.uint8, stride * height).reshape(height, stride)
        pixels = np.ascontiguousarray(lines[:, : width * kind.itemsize]).view(kind)
    else:
        return Unusable("depth_format_unsupported", f"{said}: {name}")
    values = pixels.astype(np.float32)
    is_known = np.isfinite(values) & (values > 0)
    if row["inverse_depth"] is not None:
        a, b = row["inverse_depth"]
        is_known &= values > b
        metres = a / np.where(is_known, values - b, 1.0)
    else:
        metres = values * (row["depth_unit_m"] or 1.0 / _MILLIMETRES)
    return np.where(is_known, metres, np.nan).astype(np.float32)


def as_picture(metres: Metres) -> Image:
    """(height, width, 3) RGB: near is red, far is blue, unknown is black."""
    is_known = np.isfinite(metres)
    if not is_known.any():
        return np.zeros((*metres.shape, 3), np.uint8)
    low, high = np.percentile(metres[is_known], _SHOWN_PERCENTILES)
    share = (np.where(is_known, metres, high) - low) / max(high - low, 1e-6)
    levels = (255 * (1.0 - share.clip(0.0, 1.0))).astype(np.uint8)
    picture = np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, :, ::-1], np.uint8).copy()
    picture[~is_known] = 0
    return picture


def as_png(metres: Metres) -> bytes:
    """A 16-bit PNG in millimetres; 0 for unknown and for what is beyond 65.535 m."""
    scaled = np.rint(np.where(np.isfinite(metres), metres, 0.0) * _MILLIMETRES)
    is_held = scaled <= np.iinfo(np.uint16).max
    return bytes(cv2.imencode(".png", np.where(is_held, scaled, 0).astype(np.uint16))[1])
