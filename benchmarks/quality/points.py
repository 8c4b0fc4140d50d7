"""Points of a track, opened and closed again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality.recording import Rows, Track

Points = npt.NDArray[Any]
_KINDS = {2: "u1", 4: "<u2", 6: "<u4", 7: "<f4", 8: "<f8"}


def opened(message: Any) -> Points:
    """The cloud as a structured array (n,), a copy."""
    fields = {field.name: (_KINDS[field.datatype], field.offset) for field in message.fields}
    kind = np.dtype(
        {
            "names": list(fields),
            "formats": [f for f, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": message.point_step,
        }
    )
    return np.frombuffer(message.data.tobytes(), kind).copy()


def with_points(track: Track, rows: Rows, change: Callable[[Points, int], Points]) -> Track:
    """The track with some clouds changed; ``change`` gets each and its position among them."""

    def edit(message: Any, position: int) -> Any:
        points = change(opened(message), position)
        message.width, message.row_step = len(points), len(points) * message.point_step
        message.data = np.frombuffer(points.tobytes(), np.uint8)
        return message

    return track.edited(rows, edit)
