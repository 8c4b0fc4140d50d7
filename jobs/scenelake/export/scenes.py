"""The scenes that an export takes, with their small rows: drives, samples, matches and messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import MessageStatus
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.export.config import Selection
from scenelake.timebase.arrays import FloatArray, Int64Array

MESSAGE_COLUMNS = (
    "sample_data_id", "channel", "modality", "timestamp_ns", "status", "calibrated_sensor_id", "payload_table",
    "payload_file", "row_index", "decode_from_row", "ego_from_sensor",
)  # fmt: skip
_SCENE_COLUMNS = ("scene_id", "drive_id", "start_ns", "exclusive_end_ns", "kind", "task", "description", "split")
_KEPT_TABLES = 48
"""Small tables held: of a scene, the one before and the one after, a few tables each."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A row of ``scene`` and what surrounds it.

    Attributes:
        neighbours: scenes of the release before and after it in its drive, exported or not: a sample near the edge
            may match a message of theirs.
        split: of the release; None before splitting.
    """

    scene_id: str
    drive_id: str
    start_ns: int
    exclusive_end_ns: int
    kind: str
    task: str | None
    description: str | None
    split: str | None
    neighbours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What one channel gives to a scene's samples.

    Attributes:
        frames: (m,) positions of the samples that have a match, ascending.
        delta_ns: (m,) matched time minus sample time.
        messages: (m,) rows of ``sample_data``.
        values: (m, w) interpolated values; NaN where there is none, (m, 0) where the channel has none.
    """

    channel: str
    modality: str
    frames: Int64Array
    delta_ns: Int64Array
    messages: pa.Table
    values: FloatArray

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, at: Int64Array) -> "Match":
        """The matches at these positions."""
        rows = self.messages.take(pa.array(at))
        return Match(self.channel, self.modality, self.frames[at], self.delta_ns[at], rows, self.values[at])


class SceneSource:
    """Small rows of the chosen scenes of a release.

    Args:
        kinds: of scenes that the format takes.

    Raises:
        BadInputError: reason ``not_found``, when a drive, scene or channel that was asked for is not in the release.
    """

    def __init__(self, reader: ReleaseReader, selection: Selection, kinds: Sequence[str]) -> None:
        self.reader = reader
        self.selection = selection
        every = _all_scenes(reader)
        self.drives: dict[str, dict[str, Any]] = {row["drive_id"]: row for row in reader.rows("drive").to_pylist()}
        chosen = _chosen(every, self.drives, selection, reader.release.release_id)
        self.scenes = [s for s in chosen if s.kind in kinds]
        self.of_other_kind = [s for s in chosen if s.kind not in kinds]
        self._table = lru_cache(_KEPT_TABLES)(self._read)

    def rows(self, scene_id: str, table: str, columns: tuple[str, ...]) -> pa.Table:
        """Rows of one scene, of the channels that were asked for."""
        return self._table(scene_id, table, columns)

    def around(self, scene: Scene, table: str, columns: tuple[str, ...]) -> pa.Table:
        """Rows of a scene and of its neighbours."""
        return pa.concat_tables([self.rows(s, table, columns) for s in (scene.scene_id, *scene.neighbours)])

    def samples(self, scene: Scene) -> pa.Table:
        """``sample_id`` and ``timestamp_ns`` by frame."""
        columns = ("sample_id", "frame_index", "timestamp_ns")
        return self.rows(scene.scene_id, "sample", columns).sort_by("frame_index")

    def messages(self, scene_id: str) -> pa.Table:
        """Messages of a scene that were decoded: the columns ``MESSAGE_COLUMNS``."""
        rows = self.rows(scene_id, "sample_data", MESSAGE_COLUMNS)
        return rows.filter(pc.equal(rows["status"], str(MessageStatus.DECODED)))

    def channel_around(self, scene: Scene, channel: str) -> pa.Table:
        """Messages of one channel in a scene and its neighbours."""
        known = pa.concat_tables([self.messages(s) for s in (scene.scene_id, *scene.neighbours)])
        return known.filter(pc.equal(known["channel"], channel))

    def matches(self, scene: Scene) -> list[Match]:
        """What each channel gives to the scene's samples, by channel; channels without any match are left out."""
        columns = ("sample_id", "channel", "modality", "sample_data_id", "delta_ns", "is_match", "value")
        rows = self.rows(scene.scene_id, "sync_index", columns)
        rows = rows.filter(pc.fill_null(rows["is_match"], False))
        frame = pc.index_in(rows["sample_id"], value_set=self.samples(scene)["sample_id"].combine_chunks())
        rows = rows.append_column("frame", frame.cast(pa.int64()))
        rows = rows.filter(pc.is_valid(rows["frame"])).sort_by([("channel", "ascending"), ("frame", "ascending")])
        known = self.messages(scene.scene_id)
        if pc.index_in(rows["sample_data_id"], value_set=known["sample_data_id"].combine_chunks()).null_count:
            known = pa.concat_tables([self.messages(s) for s in (scene.scene_id, *scene.neighbours)])
        return [
            match
            for channel in pc.unique(rows["channel"]).to_pylist()
            if len(match := _match(rows.filter(pc.equal(rows["channel"], channel)), known))
        ]

    def _read(self, scene_id: str, table: str, columns: tuple[str, ...]) -> pa.Table:
        rows = self.reader.rows(table, [scene_id], columns)
        if table in ("sample_data", "sync_index") and self.selection.channels:
            rows = rows.filter(pc.is_in(rows["channel"], pa.array(self.selection.channels)))
        return rows


def _match(rows: pa.Table, known: pa.Table) -> Match:
    at = pc.index_in(rows["sample_data_id"], value_set=known["sample_data_id"].combine_chunks())
    is_known = pc.is_valid(at)
    rows, at = rows.filter(is_known), at.filter(is_known)
    if isinstance(at, pa.ChunkedArray):
        at = at.combine_chunks()
    lists = rows["value"].to_pylist()
    width = max((len(v) for v in lists if v is not None), default=0)
    values = np.full((len(lists), width), np.nan)
    for i, value in enumerate(lists):
        if value is not None and len(value) == width:
            values[i] = [np.nan if v is None else v for v in value]
    first = rows.slice(0, 1).to_pydict()
    return Match(
        next(iter(first["channel"]), ""),
        next(iter(first["modality"]), ""),
        np.asarray(rows["frame"], np.int64),
        np.asarray(rows["delta_ns"], np.int64),
        known.take(at),
        values,
    )


def _all_scenes(reader: ReleaseReader) -> list[Scene]:
    rows = reader.scenes().to_pylist()
    rows.sort(key=lambda r: (r["drive_id"], r["start_ns"], r["scene_id"]))
    scenes = []
    for i, row in enumerate(rows):
        beside = [rows[j] for j in (i - 1, i + 1) if 0 <= j < len(rows)]
        neighbours = tuple(n["scene_id"] for n in beside if n["drive_id"] == row["drive_id"])
        scenes.append(Scene(**{name: row[name] for name in _SCENE_COLUMNS}, neighbours=neighbours))
    return scenes


def drive_words(drive: dict[str, Any]) -> tuple[str, ...]:
    """By what a drive may be named."""
    path = "/".join(str(drive[name]) for name in ("fleet", "robot_id", "drive_name"))
    return str(drive["drive_id"]), str(drive["drive_name"]), path


def _chosen(
    scenes: Sequence[Scene], drives: dict[str, dict[str, Any]], selection: Selection, release_id: str
) -> list[Scene]:
    chosen = list(scenes)
    if selection.drives:
        named = {d: [w for w in selection.drives if w in drive_words(row)] for d, row in drives.items()}
        _all_found("drive", selection.drives, [w for words in named.values() for w in words], release_id)
        chosen = [s for s in chosen if named.get(s.drive_id)]
    if selection.scenes:
        begun = {s.scene_id: [w for w in selection.scenes if w and s.scene_id.startswith(w)] for s in chosen}
        _all_found("scene", selection.scenes, [w for words in begun.values() for w in words], release_id)
        chosen = [s for s in chosen if begun[s.scene_id]]
    return chosen


def _all_found(what: str, wanted: Sequence[str], found: Sequence[str], release_id: str) -> None:
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise BadInputError(
            f"--{what} {', '.join(missing)}: release {release_id} has none such; `scenelake show {release_id}` lists"
            f" what it has",
            reason="not_found",
        )
