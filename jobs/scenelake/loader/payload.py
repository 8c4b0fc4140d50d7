"""The frames and point clouds that a block needs: read once, decoded once."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenelake.contracts.modalities import Modality
from scenelake.loader.compensation import COMPENSATED, OFFSET, VELOCITY, EgoMotion, own_velocity, still_points
from scenelake.loader.config import StreamConfig
from scenelake.loader.images import VIDEO_FORMATS, UInt8Array, decode_still, resized
from scenelake.loader.reading import Calibration, LoaderReader
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
    """Point clouds of one LiDAR or radar stream.

    Args:
        sensors: of each message, and ``motion`` of the ego: for a stream that is compensated.

    Attributes:
        is_compensated: (n,) bool; false for sweeps that stay as they were recorded, for want of poses or times.
    """

    def __init__(
        self,
        reader: LoaderReader,
        stream: StreamConfig,
        messages: pa.Table,
        sensors: Sequence[Calibration | None],
        motion: EgoMotion | None,
    ) -> None:
        self._columns = stream.point_columns
        self.is_compensated = np.zeros(len(messages), np.bool_)
        if not len(messages):
            self._values: list[NDArray[np.float32] | None] = []
            self._first = np.zeros(1, np.int64)
            return
        source = OFFSET if stream.modality is Modality.LIDAR else VELOCITY
        extra = [source] if stream.is_compensated else []
        rows = reader.payloads(messages, list(dict.fromkeys([*self._columns, *extra])))
        lists = [rows[name].combine_chunks() for name in self._columns]
        lengths = np.asarray(lists[0].value_lengths().fill_null(0), np.int64)
        self._first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._values = [_flat(column, lengths) for column in lists]
        if stream.is_compensated and motion is not None:
            compensate = self._stand_still if stream.modality is Modality.LIDAR else self._take_out_ego
            compensate(rows, messages, sensors, motion)

    def _stand_still(
        self, rows: pa.Table, messages: pa.Table, sensors: Sequence[Calibration | None], motion: EgoMotion
    ) -> None:
        """Moves the points of each sweep to where they were seen at its stamp."""
        axes = [np.zeros(int(self._first[-1]), np.float32) if v is None else v.copy() for v in self._values[:3]]
        for row, (stamp_ns, scene_id) in enumerate(_stamps(messages)):
            at = self._points_of(row)
            xyz = np.stack([axis[at] for axis in axes], axis=1)
            offset_ns = _numbers(rows[OFFSET], row, np.int64)
            found = still_points(xyz, offset_ns, stamp_ns, motion.of(scene_id), sensors[row])
            if found is not None:
                for axis, moved in zip(axes, found.T, strict=True):
                    axis[at] = moved
                self.is_compensated[row] = True
        self._values[:3] = axes

    def _take_out_ego(
        self, rows: pa.Table, messages: pa.Table, sensors: Sequence[Calibration | None], motion: EgoMotion
    ) -> None:
        """Fills the velocities without the ego's motion of the scans that were recorded without them."""
        place = self._columns.index(COMPENSATED)
        recorded = self._values[place]
        own = np.zeros(int(self._first[-1]), np.float32) if recorded is None else recorded.copy()
        axes = [np.zeros(len(own), np.float32) if v is None else v for v in self._values[:3]]
        for row, (stamp_ns, scene_id) in enumerate(_stamps(messages)):
            at = self._points_of(row)
            count = at.stop - at.start
            said, measured = (_numbers(rows[name], row, np.float32) for name in (COMPENSATED, VELOCITY))
            if said is not None and len(said) == count and np.isfinite(said).any():
                self.is_compensated[row] = True
                continue
            if measured is None or len(measured) != count:
                continue
            xyz = np.stack([axis[at] for axis in axes], axis=1)
            found = own_velocity(xyz, measured, stamp_ns, motion.of(scene_id), sensors[row])
            if found is not None:
                own[at] = found
                self.is_compensated[row] = True
        self._values[place] = own

    def _points_of(self, number: int) -> slice:
        return slice(int(self._first[number]), int(self._first[number + 1]))

    def points(self, number: int) -> NDArray[np.float32]:
        """(n, columns) float32 of the points with a position; a column that was not recorded is 0."""
        rows = self._points_of(number)
        count = rows.stop - rows.start
        columns = [np.zeros(count, np.float32) if v is None else v[rows] for v in self._values]
        points = np.stack(columns, axis=1)
        is_finite = np.isfinite(points[:, :3]).all(axis=1)
        found: NDArray[np.float32] = points if is_finite.all() else points[is_finite]
        return found


def _stamps(messages: pa.Table) -> Iterator[tuple[int, str]]:
    return zip(messages["timestamp_ns"].to_pylist(), messages["scene_id"].to_pylist(), strict=True)


def _numbers(column: pa.ChunkedArray, row: int, kind: type[np.generic]) -> NDArray[Any] | None:
    """The list in a row; None for a null one."""
    value = column[row]
    return np.asarray(value.values, kind) if value.is_valid else None


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
