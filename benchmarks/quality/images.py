"""Images of a track, opened and closed again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from benchmarks.quality.recording import Rows, Track

Image = npt.NDArray[np.uint8]
_QUALITY = 80


def opened(message: Any) -> Image:
    """BGR pixels (height, width, 3) of a compressed image."""
    pixels: Image = simplejpeg.decode_jpeg(message.data.tobytes(), colorspace="BGR")
    return pixels


def closed(image: Image) -> npt.NDArray[np.uint8]:
    """JPEG bytes of BGR pixels."""
    data = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=_QUALITY, colorspace="BGR", colorsubsampling="420"
    )
    return np.frombuffer(data, np.uint8)


def with_images(track: Track, rows: Rows, change: Callable[[Image, int], Image]) -> Track:
    """The track with the pixels of some images changed; ``change`` gets each and its position among them."""

    def edit(message: Any, position: int) -> Any:
        message.data = closed(change(opened(message), position))
        return message

    return track.edited(rows, edit)


def with_bytes(track: Track, rows: Rows, change: Callable[[bytes, int], bytes]) -> Track:
    """The track with the encoded bytes of some images changed."""

    def edit(message: Any, position: int) -> Any:
        message.data = np.frombuffer(change(message.data.tobytes(), position), np.uint8)
        return message

    return track.edited(rows, edit)
