"""The scenes that are loaded, and what the release says of each of their keyframes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.contracts.splits import assign_splits
from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.poses import matrix_of, normalised
from scenelake.loader.config import VALUE_MODALITIES, LoaderConfig, StreamConfig

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]

POINTERS = (
    "sample_data_id", "scene_id", "channel", "timestamp_ns", "payload_table", "payload_file", "row_index",
    "decode_from_row", "calibrated_sensor_id", "ego_from_sensor",
)  # fmt: skip
EGO_FRAMES = ("base_link", "ego")


class LoaderReader(ReleaseReader, Protocol):
    """A release reader that can leave out channels, so that a 1 kHz stream costs nothing where it is not loaded."""

    def rows(
        self,
        table: str,
        scene_ids: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
    ) -> pa.Table: ...


@dataclass(frozen=True)
class Scenes:
    """Kept scenes by drive and start; ``chosen`` are those of the split.

    Attributes:
        chosen: (s,) int64 positions in the other attributes.
        nbr_frames: (all,) int64 keyframes.
    """

    chosen: Int64Array
    scene_ids: list[str]
    drive_ids: list[str]
    tasks: list[str | None]
    nbr_frames: Int64Array

    @classmethod
    def of(cls, reader: LoaderReader, config: LoaderConfig) -> "Scenes":
        """The release's scenes. A split that the release carries rules; without one it is worked out.

        Raises:
            BadInputError: reason ``split_unknown`` or ``no_scenes``.
        """
        table = reader.scenes()
        drives = table["drive_id"].to_pylist()
        splits = table["split"].to_pylist()
        if config.split is not None and None in splits:
            splits, _ = assign_splits(drives, table["cluster_id"].to_pylist(), config.split_shares)
        wanted = [i for i, s in enumerate(splits) if config.split in (None, s)]
        if not wanted:
            reason = "split_unknown" if config.split is not None else "no_scenes"
            raise BadInputError(
                f"release {reader.release.release_id}: no kept scene in split {config.split!r}, of"
                f" {len(splits)} scenes in {sorted({str(s) for s in splits})}",
                reason=reason,
            )
        frames = np.asarray(table["nbr_samples"].fill_null(0), np.int64)
        tasks = table["task"].to_pylist()
        return cls(np.array(wanted, np.int64), table["scene_id"].to_pylist(), drives, tasks, frames)

    def neighbours(self, scenes: Sequence[int]) -> list[int]:
        """Scenes right before and after these in the same drive."""
        near = {j for i in scenes for j in (i - 1, i + 1) if 0 <= j < len(self.drive_ids)}
        drives = {self.drive_ids[i] for i in scenes}
        return sorted(j for j in near - set(scenes) if self.drive_ids[j] in drives)


@dataclass(frozen=True)
class Calibration:
    """Of one sensor: (4, 4) ``ego_from_sensor`` and (3, 3) intrinsics, None where unknown; width and height.

    Attributes:
        is_motion_compensated: its points are recorded as seen at the sweep's stamp already.
    """

    ego_from_sensor: FloatArray | None = None
    intrinsics: FloatArray | None = None
    size_px: tuple[int, int] | None = None
    is_motion_compensated: bool = False


@dataclass(frozen=True)
class Boxes:
    """Labelled boxes of some messages.

    Attributes:
        boxes: (b, 7) float64 in the ego frame: centre, length, width, height (m), yaw (rad).
        category: (b,) int64 class.
        first: (m + 1,) int64, boxes of message i are first[i] to first[i + 1].
    """

    boxes: FloatArray
    category: Int64Array
    first: Int64Array


@dataclass(frozen=True)
class StreamRows:
    """What one stream has at each of n keyframes.

    Attributes:
        is_valid: (n,) bool, a row was matched.
        delta_ns: (n,) int64, matched time minus keyframe time; 0 where nothing is known.
        values: (n, w) float64 of value streams, 0 where nothing is; else None.
        message: (n,) int64 row of ``messages``, -1 for none; None for value streams.
        messages: pointers of the messages that the keyframes match, each once.
    """

    is_valid: NDArray[np.bool_]
    delta_ns: Int64Array
    values: FloatArray | None = None
    message: Int64Array | None = None
    messages: pa.Table | None = None
    boxes: Boxes | None = None


@dataclass(frozen=True)
class SceneGroup:
    """Keyframes of some scenes, one scene after the other.

    Attributes:
        scenes: positions in ``Scenes``.
        first: (s + 1,) int64 row of each scene's first keyframe.
        timestamps_ns: (n,) int64.
    """

    scenes: list[int]
    first: Int64Array
    timestamps_ns: Int64Array
    streams: dict[str, StreamRows]
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    @cached_property
    def place(self) -> dict[int, int]:
        """Position here of each scene."""
        return {scene: at for at, scene in enumerate(self.scenes)}

    @property
    def nbytes(self) -> int:
        per_row = sum(17 + (0 if s.values is None else s.values.shape[1] * 8) for s in self.streams.values())
        pointers = sum(s.messages.nbytes for s in self.streams.values() if s.messages is not None)
        return int(self.first[-1]) * (8 + per_row) + int(pointers)


def read_group(reader: LoaderReader, scenes: Scenes, group: Sequence[int], config: LoaderConfig) -> SceneGroup:
    """Reads what the loader needs to know of some scenes; no payload.

    Raises:
        BadInputError: reasons ``release_inconsistent`` and ``width_changed``.
    """
    return _GroupReading(reader, scenes, list(group), config).read()


class _GroupReading:
    """One reading of a group of scenes."""

    def __init__(self, reader: LoaderReader, scenes: Scenes, group: list[int], config: LoaderConfig) -> None:
        self._reader = reader
        self._scenes = scenes
        self._group = group
        self._config = config
        self._ids = [scenes.scene_ids[i] for i in group]
        self._near = [scenes.scene_ids[i] for i in scenes.neighbours(group)]
        self._first = np.concatenate([[0], np.cumsum(scenes.nbr_frames[group])]).astype(np.int64)

    def read(self) -> SceneGroup:
        samples = self._reader.rows("sample", self._ids, ["sample_id", "scene_id", "frame_index", "timestamp_ns"])
        scene = np.asarray(pc.index_in(samples["scene_id"], value_set=pa.array(self._ids)), np.int64)
        row = self._first[scene] + np.asarray(samples["frame_index"], np.int64)
        if not np.array_equal(np.sort(row), np.arange(self._first[-1])):
            raise BadInputError(
                f"release {self._reader.release.release_id}: scene.nbr_samples and sample disagree for a scene of"
                f" {self._ids[:3]}: {self._first[-1]} and {len(row)} keyframes",
                reason="release_inconsistent",
            )
        timestamps = np.empty(len(row), np.int64)
        timestamps[row] = np.asarray(samples["timestamp_ns"], np.int64)
        channels = sorted({s.channel for s in self._config.streams.values()})
        columns = ["sample_id", "channel", "modality", "sample_data_id", "delta_ns", "is_match", "value"]
        sync = self._reader.rows("sync_index", self._ids, columns, channels)
        at = row[np.asarray(pc.index_in(sync["sample_id"], value_set=samples["sample_id"]), np.int64)]
        streams = {name: self._stream(s, sync, at) for name, s in self._config.streams.items()}
        has_sensors = any(s.messages is not None for s in streams.values())
        calibrations = read_calibrations(self._reader, self._ids) if has_sensors else {}
        return SceneGroup(self._group, self._first, timestamps, streams, calibrations)

    def _stream(self, stream: StreamConfig, sync: pa.Table, at: Int64Array) -> StreamRows:
        mine = pc.and_(pc.equal(sync["channel"], stream.channel), pc.equal(sync["modality"], str(stream.modality)))
        mask = np.asarray(mine)
        sync, at = sync.filter(mine), at[mask]
        count = int(self._first[-1])
        delta_ns = np.zeros(count, np.int64)
        delta_ns[at] = np.asarray(sync["delta_ns"].fill_null(0), np.int64)
        is_match = np.asarray(sync["is_match"].fill_null(False), np.bool_)
        matched, at = sync.filter(pa.array(is_match)), at[is_match]
        is_valid = np.zeros(count, np.bool_)
        is_valid[at] = True
        if stream.modality in VALUE_MODALITIES:
            if stream.modality is Modality.ACTION:
                held = self._by_id("action", stream, matched, ["sample_data_id", "position"])
                lists = held[0]["position"].take(pa.array(held[1]))
            else:
                lists = matched["value"]
            return StreamRows(is_valid, delta_ns, self._values(stream, lists, at, is_valid))
        message = np.full(count, -1, np.int64)
        if stream.modality is Modality.ANNOTATION:
            boxes, message[at] = self._boxes(stream, matched)
            is_valid &= message >= 0
            return StreamRows(is_valid, delta_ns, message=message, boxes=boxes)
        pointers, rows = self._by_id("sample_data", stream, matched, list(POINTERS))
        kept, message[at] = np.unique(rows, return_inverse=True)
        return StreamRows(is_valid, delta_ns, message=message, messages=pointers.take(pa.array(kept)))

    def _by_id(
        self, table: str, stream: StreamConfig, matched: pa.Table, columns: list[str]
    ) -> tuple[pa.Table, Int64Array]:
        """Rows of a table by ``sample_data_id``: a keyframe near the edge of its scene may match its neighbour's."""
        found = self._reader.rows(table, self._ids, columns, [stream.channel])
        places = pc.index_in(matched["sample_data_id"], value_set=found["sample_data_id"])
        if places.null_count and self._near:
            found = pa.concat_tables([found, self._reader.rows(table, self._near, columns, [stream.channel])])
            places = pc.index_in(matched["sample_data_id"], value_set=found["sample_data_id"])
        if places.null_count:
            lost = matched.filter(pc.is_null(places))["sample_data_id"][0].as_py()
            raise BadInputError(
                f"release {self._reader.release.release_id}: sync_index names message {lost} of {stream.channel},"
                f" which {table} does not have",
                reason="release_inconsistent",
            )
        return found, np.asarray(places, np.int64)

    def _values(
        self, stream: StreamConfig, lists: pa.ChunkedArray, at: Int64Array, is_valid: NDArray[np.bool_]
    ) -> FloatArray:
        """(n, w) values at their rows. A row without numbers is a miss."""
        column = lists.combine_chunks()
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0), np.int64)
        is_valid[at[lengths == 0]] = False
        at, column, lengths = at[lengths > 0], column.filter(pa.array(lengths > 0)), lengths[lengths > 0]
        width = stream.width or (int(lengths[0]) if len(lengths) else 0)
        if (lengths != width).any():
            raise BadInputError(
                f"{stream.channel}: expected rows of {width} numbers, got {sorted(set(lengths.tolist()))}; set width,"
                " or load scenes of one embodiment",
                reason="width_changed",
            )
        values = np.zeros((len(is_valid), width))
        values[at] = np.asarray(column.flatten(), np.float64).reshape(len(at), width)
        is_valid[at] &= np.isfinite(values[at]).all(axis=1)
        values[~is_valid] = 0.0
        return values

    def _boxes(self, stream: StreamConfig, matched: pa.Table) -> tuple[Boxes, Int64Array]:
        """Boxes of the matched messages; a message with a box outside the ego frame is a miss."""
        columns = ["sample_data_id", "category", "frame_id", "sensor_from_box", "size_m"]
        rows = self._reader.rows("annotation", [*self._ids, *self._near], columns, [stream.channel])
        ids = matched["sample_data_id"].combine_chunks()
        rows = rows.filter(pc.is_in(rows["sample_data_id"], value_set=ids))
        known = pc.unique(ids)
        message = np.asarray(pc.index_in(rows["sample_data_id"], value_set=known), np.int64)
        order = np.argsort(message, kind="stable")
        rows, message = rows.take(pa.array(order)), message[order]
        poses = pose_matrix(rows["sensor_from_box"])
        sizes = np.array([s or [np.nan] * 3 for s in rows["size_m"].to_pylist()], np.float64).reshape(-1, 3)
        w, x, y, z = poses[:, 3:].T
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        boxes = np.concatenate([poses[:, :3], sizes, yaw[:, None]], axis=1)
        classes = {name: i for i, name in enumerate(stream.categories)}
        category = np.array([classes.get(c, -1) for c in rows["category"].to_pylist()], np.int64)
        is_outside = ~np.asarray(pc.is_in(rows["frame_id"], value_set=pa.array(EGO_FRAMES)), np.bool_)
        first = np.searchsorted(message, np.arange(len(known) + 1))
        place = np.asarray(pc.index_in(ids, value_set=known), np.int64)
        is_unusable = np.isin(np.arange(len(known)), message[is_outside | ~np.isfinite(boxes).all(axis=1)])
        return Boxes(boxes, category, first), np.where(is_unusable[place], -1, place) if len(place) else place


def read_calibrations(reader: LoaderReader, scene_ids: Sequence[str]) -> dict[str, Calibration]:
    """Calibrations of the scenes' drives by ``calibrated_sensor_id``."""
    columns = [
        "calibrated_sensor_id", "ego_from_sensor", "intrinsics", "width_px", "height_px", "is_motion_compensated",
    ]  # fmt: skip
    rows = reader.rows("calibrated_sensor", scene_ids, columns)
    poses = pose_matrix(rows["ego_from_sensor"])
    found = {}
    for row, pose in zip(rows.to_pylist(), poses, strict=True):
        k: Any = row["intrinsics"]
        size = (row["width_px"], row["height_px"])
        found[row["calibrated_sensor_id"]] = Calibration(
            matrix_of(pose) if np.isfinite(pose).all() else None,
            np.reshape(np.asarray(k, np.float64), (3, 3)) if k is not None and len(k) == 9 else None,
            size if size[0] and size[1] else None,
            bool(row["is_motion_compensated"]),
        )
    return found


def sensors_of(messages: pa.Table, calibrations: Mapping[str, Calibration]) -> list[Calibration | None]:
    """What is known of the sensor at each message; None for nothing.

    The extrinsics of a sensor that moves against the ego are the message's own, before any calibration's.
    """
    found: list[Calibration | None] = [calibrations.get(i or "") for i in messages["calibrated_sensor_id"].to_pylist()]
    own = normalised(pose_matrix(messages["ego_from_sensor"]))
    for row in np.flatnonzero(np.isfinite(own).all(axis=1)).tolist():
        found[row] = replace(found[row] or Calibration(), ego_from_sensor=matrix_of(own[row]))
    return found
