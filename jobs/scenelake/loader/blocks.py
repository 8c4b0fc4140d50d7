"""Blocks: windows that were read together, as batches of arrays."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenelake.contracts.modalities import Modality
from scenelake.loader.compensation import EgoMotion
from scenelake.loader.config import POINT_MODALITIES, LoaderConfig, StreamConfig
from scenelake.loader.groups import SceneGroups
from scenelake.loader.layout import BoolArray, Int64Array, Layout, lay_out
from scenelake.loader.payload import FrameStore, PointStore
from scenelake.loader.reading import Calibration, LoaderReader, SceneGroup, Scenes, sensors_of
from scenelake.loader.sensors import Draws, boxes_of, images_of, points_of
from scenelake.loader.statistics import Statistics
from scenelake.loader.text import Texts
from scenelake.loader.windows import Windows

Batch = dict[str, Any]
"""Arrays by name, with the batch as first axis, and lists of strings; ``docs/loader.md`` has the names."""


@dataclass(frozen=True)
class Source:
    """What every block needs: the chosen scenes of a release and how they are read.

    Attributes:
        windows: of the chosen scenes.
        pool: decodes images; None decodes in the caller's thread.
    """

    reader: LoaderReader
    config: LoaderConfig
    scenes: Scenes
    windows: Windows
    groups: SceneGroups
    statistics: Mapping[str, Statistics]
    texts: Texts | None
    pool: Executor | None = None

    @property
    def item_length(self) -> int:
        """Keyframes of an item."""
        packing = self.config.packing
        return packing.nbr_frames if packing else self.config.window.length

    @property
    def has_frame_axis(self) -> bool:
        return self.config.packing is not None or self.config.window.length > 1


class Block:
    """Items of an epoch, read.

    Args:
        items: numbers of the windows of each item, in the order of the batches.
        epoch: None for reading without random transforms.
        ahead: scenes (positions in ``Scenes``) whose turn comes next.
    """

    def __init__(
        self, source: Source, items: Sequence[Int64Array], epoch: int | None, ahead: Sequence[int] = ()
    ) -> None:
        self._source = source
        self._epoch = epoch
        chosen = source.scenes.chosen
        numbers = np.concatenate(items) if len(items) else np.empty(0, np.int64)
        local = np.unique(source.windows.locate(numbers)[0])
        group = source.groups.of(chosen[local].tolist(), ahead)
        self._group = SceneGroup(local.tolist(), group.first, group.timestamps_ns, group.streams, group.calibrations)
        self._layout = lay_out(items, source.windows, self._group, source.item_length)
        near = source.scenes.neighbours(chosen[local].tolist())
        around = sorted({*near, *chosen[local].tolist()})
        self._scene_ids = [source.scenes.scene_ids[i] for i in around]
        self._motion: EgoMotion | None = None
        if any(stream.is_compensated for stream in source.config.streams.values()):
            drives = (source.scenes.drive_ids[i] for i in around)
            self._motion = EgoMotion(source.reader, dict(zip(self._scene_ids, drives, strict=True)))
        self._number: dict[str, Int64Array] = {}
        self._sensors: dict[str, list[Calibration | None]] = {}
        self._stores: dict[str, FrameStore | PointStore] = {}
        for name, stream in source.config.streams.items():
            if self._group.streams[name].messages is not None:
                self._read(name, stream)

    def __len__(self) -> int:
        return len(self._layout.frame)

    def batch(self, rows: slice) -> Batch:
        """A batch of some of the items. Each call gives arrays of its own."""
        layout = self._layout.at(rows)
        batch = self._identity(layout)
        draws = Draws(self._source.config, self._epoch, layout.windows)
        for name, stream in self._source.config.streams.items():
            cells, inside = layout.cells(stream)
            rows_of = self._group.streams[name]
            is_valid = inside & rows_of.is_valid[cells]
            found = self._stream(name, stream, cells, is_valid, np.broadcast_to(layout.owner[..., None], cells.shape),
                                 draws)  # fmt: skip
            batch[f"{name}.delta_ns"] = self._shaped(stream, np.where(is_valid, rows_of.delta_ns[cells], 0))
            batch[f"{name}.is_valid"] = self._shaped(stream, is_valid)
            batch |= {name + suffix: self._shaped(stream, array) for suffix, array in found.items()}
        return batch

    def _read(self, name: str, stream: StreamConfig) -> None:
        """Reads the payload of a stream's messages, those alone that a cell of the block holds."""
        rows = self._group.streams[name]
        message, messages = rows.message, rows.messages
        if message is None or messages is None:
            return
        cells, inside = self._layout.cells(stream)
        used = np.unique(message[cells[inside & rows.is_valid[cells]]])
        number = np.full(len(messages) + 1, -1, np.int64)
        number[used] = np.arange(len(used))
        self._number[name] = number[message]
        wanted = messages.take(pa.array(used))
        self._sensors[name] = sensors_of(wanted, self._group.calibrations)
        reader = self._source.reader
        if stream.modality in POINT_MODALITIES:
            self._stores[name] = PointStore(reader, stream, wanted, self._sensors[name], self._motion)
            return
        frames = FrameStore(reader, stream, wanted, self._scene_ids)
        self._stores[name] = frames
        if not frames.is_decodable.all():
            is_lost = np.isin(self._number[name], np.flatnonzero(~frames.is_decodable))
            rows.is_valid[is_lost] = False

    def _stream(
        self,
        name: str,
        stream: StreamConfig,
        cells: Int64Array,
        is_valid: BoolArray,
        owner: Int64Array,
        draws: Draws,
    ) -> dict[str, NDArray[Any]]:
        """Arrays (n, l, k, ...) of a stream by the suffix of their names."""
        rows = self._group.streams[name]
        if rows.values is not None:
            values: NDArray[Any] = draws.noisy(name, rows.values[cells], owner)
            if name in self._source.statistics:
                values = self._source.statistics[name].normalised(values, stream.normalisation)
            kind = np.float64 if stream.modality is Modality.EGO_POSE and values.dtype == np.float64 else np.float32
            return {"": np.where(is_valid[..., None], values, 0.0).astype(kind, copy=False)}
        if rows.boxes is not None and rows.message is not None:
            message = np.where(is_valid, rows.message[cells], -1)
            return boxes_of(rows.boxes, message, owner, draws, self._source.config.max_boxes)
        number = np.where(is_valid, self._number[name][cells], -1)
        sensor = self._calibration_rows(name, cells, is_valid)
        store = self._stores[name]
        if isinstance(store, PointStore):
            return points_of(name, stream, store, number, owner, sensor, draws)
        return images_of(name, stream, store, number, owner, sensor, draws, self._source.pool)

    def _calibration_rows(self, name: str, cells: Int64Array, is_valid: BoolArray) -> list[Calibration | None]:
        """The calibration of each valid cell, in the order of ``np.argwhere``; None where unknown."""
        sensors = self._sensors[name]
        return [sensors[n] for n in self._number[name][cells[is_valid]].tolist()]

    def _identity(self, layout: Layout) -> Batch:
        scenes, windows = self._source.scenes, self._source.windows
        of_items = [layout.windows[a:b] for a, b in zip(layout.first[:-1], layout.first[1:], strict=True)]
        lead = np.array([w[0] for w in of_items], np.int64)
        scene, start = windows.locate(lead)
        chosen = scenes.chosen[scene].tolist()
        is_frame = layout.is_frame
        timestamps = np.where(is_frame, self._group.timestamps_ns[layout.frame], 0)
        batch: Batch = {
            "window": lead,
            "scene_id": [scenes.scene_ids[i] for i in chosen],
            "task": [scenes.tasks[i] or "" for i in chosen],
            "frame_index": start,
            "timestamp_ns": self._framed(timestamps),
            "is_frame": self._framed(is_frame),
        }
        texts = self._source.texts
        if self._source.config.packing is None:
            if texts is not None:
                batch["text"], batch["text.is_valid"] = texts.padded(batch["task"])
            return batch
        batch["segment"] = layout.segment.copy()
        batch["windows"] = of_items
        if texts is not None:
            batch |= self._packed_text(texts, of_items)
        return batch

    def _packed_text(self, texts: Texts, of_items: list[Int64Array]) -> Batch:
        """Tokens of the windows of each item, one after the other, and the number of the window."""
        packing = self._source.config.packing
        room = packing.budget if packing else 0
        ids, segment = np.zeros((len(of_items), room), np.int64), np.full((len(of_items), room), -1)
        scenes = self._source.scenes
        for row, numbers in enumerate(of_items):
            found = [
                texts.ids(scenes.tasks[i])
                for i in scenes.chosen[self._source.windows.locate(numbers)[0]].tolist()
            ]  # fmt: skip
            joined = np.concatenate(found)[:room]
            ids[row, : len(joined)] = joined
            segment[row, : len(joined)] = np.repeat(np.arange(len(found)), [len(f) for f in found])[:room]
        return {"text": ids, "text.segment": segment, "text.is_valid": segment >= 0}

    def _framed(self, array: NDArray[Any]) -> NDArray[Any]:
        return array if self._source.has_frame_axis else array[:, 0]

    def _shaped(self, stream: StreamConfig, array: NDArray[Any]) -> NDArray[Any]:
        """(n, l, k, ...) without the axes that the configuration does not ask for."""
        if (stream.first, stream.exclusive_last) == (0, 1):
            array = array[:, :, 0]
        return self._framed(array)
