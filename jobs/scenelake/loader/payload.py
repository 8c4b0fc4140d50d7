"""The frames and point clouds that a block needs: read once, decoded once."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenelake.loader.config import StreamConfig
from scenelake.loader.images import VIDEO_FORMATS, UInt8Array, decode_still, resized
from scenelake.loader.reading import LoaderReader
from scenelake.loader.video import decode_video

Int64Array = NDArray[np.int64]

_IMAGE_COLUMNS = ("sample_data_id", "image", "image_format", "width_px", "height_px", "row_stride_bytes")
_DECODED_BYTES = 192 * 1024**2


class FrameStore:
    """Frames of one camera stream at the stream's size; stills are decoded when they are asked for.

    Args:
        messages: pointers of the frames, each once; a frame's number is its row here.
        scene_ids: of the frames and of the scenes around them, for video.
        decoded_bytes: decoded stills that are kept, because overlapping windows ask for them again.

    Attributes:
        is_decodable: (n,) bool; false for video frames that no random access point comes before.
    """

    def __init__(
        self,
        reader: LoaderReader,
        stream: StreamConfig,
        messages: pa.Table,
        scene_ids: Sequence[str],
        decoded_bytes: int = _DECODED_BYTES,
    ) -> None:
        self._config = stream.image
        self._rows = reader.payloads(messages, _IMAGE_COLUMNS) if len(messages) else pa.table({})
        self._decoded: OrderedDict[int, UInt8Array] = OrderedDict()
        self._room = decoded_bytes
        self._lock = Lock()
        formats = self._rows["image_format"].to_pylist() if len(messages) else []
        video = [i for i, kind in enumerate(formats) if kind in VIDEO_FORMATS]
        self._videos: dict[int, UInt8Array] = {}
        if video:
            found = decode_video(reader, stream, messages.take(pa.array(video)), scene_ids)
            self._videos = {i: resized(f, self._config) for i, f in zip(video, found, strict=True) if f is not None}
        self.is_decodable = np.ones(len(messages), np.bool_)
        self.is_decodable[[i for i in video if i not in self._videos]] = False

    def image(self, number: int) -> UInt8Array:
        """(height, width, 3) uint8 RGB. Not to be written to."""
        if number in self._videos:
            return self._videos[number]
        with self._lock:
            if number in self._decoded:
                return self._decoded[number]
        row = {name: self._rows[name][number].as_py() for name in _IMAGE_COLUMNS}
        image = resized(decode_still(row, self._config), self._config)
        with self._lock:
            if number not in self._decoded and image.nbytes <= self._room:
                self._decoded[number] = image
                self._room -= image.nbytes
        return image

    def recorded_size_px(self, number: int) -> tuple[int, int] | None:
        """Width and height as recorded, where they are known."""
        width, height = self._rows["width_px"][number].as_py(), self._rows["height_px"][number].as_py()
        return (width, height) if width and height else None


class PointStore:
    """Point clouds of one LiDAR or radar stream."""

    def __init__(self, reader: LoaderReader, stream: StreamConfig, messages: pa.Table) -> None:
        self._columns = stream.point_columns
        if not len(messages):
            self._values: list[NDArray[np.float32] | None] = []
            self._first = np.zeros(1, np.int64)
            return
        rows = reader.payloads(messages, self._columns)
        lists = [rows[name].combine_chunks() for name in self._columns]
        lengths = np.asarray(lists[0].value_lengths().fill_null(0), np.int64)
        self._first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._values = [_flat(column, lengths) for column in lists]

    def points(self, number: int) -> NDArray[np.float32]:
        """(n, columns) float32 of the points with a position; a column that was not recorded is 0."""
        rows = slice(int(self._first[number]), int(self._first[number + 1]))
        count = rows.stop - rows.start
        columns = [np.zeros(count, np.float32) if v is None else v[rows] for v in self._values]
        points = np.stack(columns, axis=1)
        is_finite = np.isfinite(points[:, :3]).all(axis=1)
        found: NDArray[np.float32] = points if is_finite.all() else points[is_finite]
        return found


def _flat(column: Any, lengths: Int64Array) -> NDArray[np.float32] | None:
    """All values of a list column one after the other; null lists of points that others have are 0."""
    if column.null_count == len(column):
        return None
    values = np.asarray(column.flatten(), np.float32)
    own = np.asarray(column.value_lengths().fill_null(0), np.int64)
    if np.array_equal(own, lengths):
        return values
    found = np.zeros(int(lengths.sum()), np.float32)
    starts, ends = np.cumsum(lengths) - lengths, np.cumsum(own)
    for row in np.flatnonzero(own == lengths).tolist():
        end = int(ends[row])
        found[starts[row] : starts[row] + lengths[row]] = values[end - int(own[row]) : end]
    return found
