"""Frames as recorded into RGB arrays of one size."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from scenelake.contracts.errors import BadInputError
from scenelake.decode.raw_images import RAW_ENCODINGS, rgb_of_raw
from scenelake.loader.config import ImageConfig

UInt8Array = NDArray[np.uint8]

VIDEO_FORMATS = frozenset(("h264", "h265", "av1"))
_JPEG = frozenset(("jpeg", "jpg"))


def decode_still(row: Mapping[str, Any], config: ImageConfig) -> UInt8Array:
    """One ``camera_frame`` row as (height, width, 3) uint8 RGB, at its own size.

    A JPEG that is wanted smaller is decoded at the nearest eighth above that size, which costs a fraction.

    Raises:
        BadInputError: reason ``image_undecodable`` or ``image_format_unsupported``.
    """
    data, kind = row["image"], row["image_format"]
    try:
        if kind in _JPEG:
            return _jpeg(data, config)
        if kind in RAW_ENCODINGS:
            return rgb_of_raw(row)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except (ValueError, cv2.error) as error:
        raise BadInputError(f"{_name(row)}: {kind} image: {error}", reason="image_undecodable") from error
    if image is None:
        reason = "image_undecodable" if kind == "png" else "image_format_unsupported"
        raise BadInputError(f"{_name(row)}: image_format {kind!r} cannot be decoded", reason=reason)
    return np.asarray(image, np.uint8)


def resized(image: UInt8Array, config: ImageConfig) -> UInt8Array:
    """The image at the configured size; areas are averaged where it shrinks."""
    if config.height_px is None or config.width_px is None or image.shape[:2] == (config.height_px, config.width_px):
        return image
    is_smaller = config.height_px < image.shape[0]
    how = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (config.width_px, config.height_px), interpolation=how), np.uint8)


def empty_images(shape: tuple[int, ...], height_px: int, width_px: int, config: ImageConfig) -> NDArray[Any]:
    """Room for images (*shape, 3, height, width), or with channels last, in their type; its content is undefined."""
    size = (3, height_px, width_px) if config.is_channels_first else (height_px, width_px, 3)
    return np.empty((*shape, *size), np.uint8 if config.mean is None else np.float32)


def place(image: UInt8Array, where: NDArray[Any], config: ImageConfig) -> None:
    """Writes an image (height, width, 3) into its place in ``empty_images``, as ``(x / 255 - mean) / std`` if asked.

    Plane by plane and straight into the batch: each pixel is touched once, and converted where it ends.
    """
    if config.mean is None or config.std is None:
        if config.is_channels_first:
            cv2.split(image, list(where))
        else:
            where[...] = image
        return
    planes = cv2.split(image)
    for channel, (mean, std) in enumerate(zip(config.mean, config.std, strict=True)):
        target = where[channel] if config.is_channels_first else where[..., channel]
        np.multiply(planes[channel], np.float32(1.0 / (255.0 * std)), out=target, dtype=np.float32)
        if mean:
            target -= np.float32(mean / std)


def _jpeg(data: bytes, config: ImageConfig) -> UInt8Array:
    least = {"min_height": config.height_px, "min_width": config.width_px} if config.height_px is not None else {}
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, **least), np.uint8)


def _name(row: Mapping[str, Any]) -> str:
    return f"camera_frame {row.get('sample_data_id')}"
