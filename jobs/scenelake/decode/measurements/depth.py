"""How much of a depth image says nothing."""

import numpy as np

from scenelake.decode.measurements.images import MAX_PIXELS

_STEP = 4
_TYPES = {"16UC1": "<u2", "mono16": "<u2", "32FC1": "<f4"}


def invalid_fraction(
    data: memoryview, image_format: str, width_px: int, height_px: int, row_stride_bytes: int | None = None
) -> float | None:
    """Share of the pixels of every fourth row and column that are zero or not finite; None where it is not known.

    Zero is what depth cameras write for no depth (REP 118 has NaN for floats).
    """
    if not 0 < width_px * height_px <= MAX_PIXELS:
        return None
    if image_format == "png":
        # Only recordings with PNG frames pay for loading it.
        import cv2

        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            return None
        lines = np.asarray(pixels)
    elif image_format in _TYPES:
        kind = np.dtype(_TYPES[image_format])
        stride = row_stride_bytes or width_px * kind.itemsize
        if stride < width_px * kind.itemsize or len(data) < stride * height_px:
            return None
        rows = np.frombuffer(data, np.uint8, stride * height_px).reshape(height_px, stride)
        lines = np.ascontiguousarray(rows[::_STEP, : width_px * kind.itemsize]).view(kind)[:, ::_STEP]
        return _share(lines)
    else:
        return None
    return _share(lines[::_STEP, ::_STEP])


def _share(pixels: np.ndarray) -> float:
    return float((~np.isfinite(pixels) | (pixels == 0)).mean())
