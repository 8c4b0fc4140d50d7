"""What the files under a LeRobot dataset's ``meta/`` say: features, rate, tasks, episodes, GR00T's modalities.

Layouts: v2.0 and v2.1 have one data file and one video per episode and JSON lines; v3.0 has files of many episodes
and Parquet (github.com/huggingface/lerobot, src/lerobot/datasets; ``modality.json``: github.com/NVIDIA/Isaac-GR00T,
getting_started/data_preparation.md).
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.parquet_file import open_parquet, read_columns
from scenelake.decode.formats.siblings import Siblings

log = logging.getLogger(__name__)

MAX_TASKS = 1_000_000
MAX_TASK_CHARACTERS = 4096
MAX_EPISODE_FILES = 1000
_MAX_RATE_HZ = 10_000
_MAX_NAME = 256
_NS_PER_S = 1_000_000_000
_DATA = re.compile(
    r"(?P<root>.*/)?data/chunk-(?P<chunk>\d{1,6})/(?:episode_(?P<episode>\d{1,9})|file-(?P<file>\d{1,6}))\.parquet"
)
_VIDEO = re.compile(
    r"(?P<root>.*/)?videos/(?:chunk-(?P<chunk>\d{1,6})/(?P<key>[^/]+)/episode_(?P<episode>\d{1,9})"
    r"|(?P<key3>[^/]+)/chunk-(?P<chunk3>\d{1,6})/file-(?P<file>\d{1,6}))\.mp4"
)
_META = re.compile(r"(?P<root>.*/)?meta/(?:[a-z_]+\.(?:jsonl?|parquet)|[a-z_]+/chunk-\d{1,6}/file-\d{1,6}\.parquet)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies in its dataset.

    Attributes:
        root: folder of the dataset with its slash; empty for the drive itself.
        kind: ``data``, ``video`` or ``meta``.
        key: the camera of a video, ``observation.images.front``.
        episode: of a file with one episode; None for one with many.
        chunk, file: numbers of a file with many.
    """

    root: str
    kind: str
    key: str = ""
    episode: int | None = None
    chunk: int = 0
    file: int = 0


def place_of(name: str) -> Place | None:
    """Tells an object's place by its path; None for one that is not laid out so."""
    if found := _DATA.fullmatch(name):
        episode = found["episode"]
        place = Place(found["root"] or "", "data", "", None if episode is None else int(episode))
        return place if episode is not None else _numbered(place, found["chunk"], found["file"])
    if found := _VIDEO.fullmatch(name):
        if found["episode"] is not None:
            return Place(found["root"] or "", "video", found["key"], int(found["episode"]))
        return _numbered(Place(found["root"] or "", "video", found["key3"]), found["chunk3"], found["file"])
    if found := _META.fullmatch(name):
        return Place(found["root"] or "", "meta")
    return None


def _numbered(place: Place, chunk: str, file: str) -> Place:
    return Place(place.root, place.kind, place.key, None, int(chunk), int(file))


@dataclass(frozen=True, slots=True)
class Slice:
    """A named part of a vector: values ``start`` to ``exclusive_end`` of a column, on a channel of its own."""

    topic: str
    start: int
    exclusive_end: int


@dataclass(frozen=True, slots=True)
class VideoSpan:
    """One episode's part of a video file, in ns of the file."""

    episode_index: int
    start_ns: int


@dataclass(frozen=True)
class LeRobotMeta:
    """A dataset's own description; whatever its files do not say stays empty.

    Attributes:
        root: folder of the dataset with its slash.
    """

    root: str
    siblings: Siblings
    max_header_bytes: int
    info: Mapping[str, Any] = field(default_factory=dict)
    modality: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return clean(str(self.info.get("codebase_version", "")))

    @property
    def robot_type(self) -> str:
        robot_type = self.info.get("robot_type")
        return clean(robot_type) if isinstance(robot_type, str) else ""

    @cached_property
    def rate_hz(self) -> Fraction | None:
        """Frames per second; None when ``info.json`` does not say."""
        fps = self.info.get("fps")
        if isinstance(fps, int | float) and not isinstance(fps, bool) and 0 < fps <= _MAX_RATE_HZ:
            return Fraction(fps).limit_denominator(1_000_000)
        return None

    def names(self, column: str, width: int) -> list[str]:
        """Names of a vector's values: a list, or lists by group; numbered ones where they are not said."""
        features = self.info.get("features")
        feature = features.get(column) if isinstance(features, dict) else None
        said = feature.get("names") if isinstance(feature, dict) else None
        if isinstance(said, dict):
            said = [n for group in said.values() for n in (group if isinstance(group, list) else [group])]
        if isinstance(said, list) and len(said) == width and all(isinstance(n, str) for n in said):
            return [clean(n) for n in said]
        leaf = column.rsplit(".", 1)[-1]
        return [leaf] if width == 1 else [f"{leaf}_{i}" for i in range(width)]

    def slices(self, column: str, width: int) -> list[Slice]:
        """Channels of a column: GR00T's named parts that lie in the vector, and the whole where they leave a gap."""
        found: list[Slice] = []
        for group, default in (("state", "observation.state"), ("action", "action")):
            for name, part in _objects(self.modality.get(group)).items():
                start, end = part.get("start"), part.get("end")
                is_here = (part.get("original_key") or default) == column
                if is_here and isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= width:
                    found.append(Slice(f"/{group}/{name}", start, end))
        named = np.zeros(width, bool)
        for slice_ in found:
            named[slice_.start : slice_.exclusive_end] = True
        return found if named.all() else [*found, Slice(topic_of(column), 0, width)]

    def video_topic(self, key: str) -> str:
        """The channel of a camera: as ``modality.json`` calls it, else its key as a path."""
        for name, part in _objects(self.modality.get("video")).items():
            if part.get("original_key", f"observation.images.{name}") == key:
                return f"/video/{name}"
        return topic_of(key)

    def annotations(self) -> dict[str, str]:
        """Channel by column of task numbers: ``task_index`` and those that ``modality.json`` names."""
        found = {"task_index": "/language"}
        for name, part in _objects(self.modality.get("annotation")).items():
            column = part.get("original_key") or f"annotation.{name}"
            if isinstance(column, str):
                found.setdefault(column, f"/annotation/{name}")
        return found

    @cached_property
    def tasks(self) -> dict[int, str]:
        """Texts by number, of ``tasks.jsonl`` or ``tasks.parquet``; empty when there is neither."""
        try:
            return _jsonl_tasks(f"{self.root}meta/tasks.jsonl", self.siblings)
        except FileNotFoundError:
            pass
        name = f"{self.root}meta/tasks.parquet"
        try:
            table = self._table(name, None)
        except FileNotFoundError:
            return {}
        texts = next((c for c, f in zip(table.columns, table.schema, strict=True) if _is_text(f.type)), None)
        if texts is None or "task_index" not in table.column_names:
            raise _bad(name, "expected task_index and a column of texts")
        rows = zip(table["task_index"].to_pylist(), texts.to_pylist(), strict=True)
        return {int(number): clean(task, MAX_TASK_CHARACTERS) for number, task in rows if None not in (number, task)}

    def load_tasks(self) -> None:
        """Reads the tasks before they are needed; raises as ``read_meta`` does."""
        log.debug("%d tasks in %r", len(self.tasks), self.root)

    def video_spans(self, place: Place) -> list[VideoSpan]:
        """Episodes of a video file with many, by their start in it; of ``meta/episodes``."""
        prefix = f"videos/{place.key}/"
        columns = ["episode_index", *(f"{prefix}{c}" for c in ("chunk_index", "file_index", "from_timestamp"))]
        spans = []
        for table in self._episode_tables(columns):
            rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
            for episode, chunk, file, start_s in rows:
                if (chunk, file) == (place.chunk, place.file) and episode is not None and start_s is not None:
                    spans.append(VideoSpan(int(episode), seconds_ns(float(start_s))))
        return sorted(spans, key=lambda s: s.start_ns)

    def _episode_tables(self, columns: list[str]) -> list[pa.Table]:
        """The files of ``meta/episodes``, chunk by chunk until a number is missing."""
        tables: list[pa.Table] = []
        chunk = file = 0
        while len(tables) < MAX_EPISODE_FILES:
            name = f"{self.root}meta/episodes/chunk-{chunk:03d}/file-{file:03d}.parquet"
            try:
                tables.append(self._table(name, columns))
            except FileNotFoundError:
                if file == 0:
                    break
                chunk, file = chunk + 1, 0
            else:
                file += 1
        return tables

    def _table(self, name: str, columns: list[str] | None) -> pa.Table:
        source: Source = self.siblings.source(name)
        try:
            table = read_columns(open_parquet(source, self.max_header_bytes), columns)
        except BadInputError as error:
            raise _bad(name, str(error)) from error
        missing = set(columns or ()) - set(table.column_names)
        if missing:
            raise _bad(name, f"no column {sorted(missing)[0]!r}")
        return table


def read_meta(root: str, siblings: Siblings, max_header_bytes: int) -> LeRobotMeta:
    """Reads ``info.json`` and ``modality.json``; either may be absent.

    Raises:
        BadInputError: reason ``dataset_meta_invalid`` for a file that is there and cannot be read.
    """
    info, modality = (_document(f"{root}meta/{name}.json", siblings) for name in ("info", "modality"))
    return LeRobotMeta(root, siblings, max_header_bytes, info, modality)


def topic_of(key: str) -> str:
    """A feature's channel: ``observation.images.front`` is ``/observation/images/front``."""
    return "/" + clean(key).replace(".", "/")


def clean(text: str, length: int = _MAX_NAME) -> str:
    """Text from JSON, which can hold what UTF-8 cannot, at most so long."""
    return text[:length].encode(errors="replace").decode()


def seconds_ns(seconds: float) -> int:
    """Seconds as LeRobot stores them, in ns, rounded to the nearest."""
    if not -(2.0**31) < seconds < 2.0**31:
        raise BadInputError(f"{seconds} s is no time in an episode", reason="time_invalid")
    return round(Fraction(seconds) * _NS_PER_S)


def _document(name: str, siblings: Siblings) -> dict[str, Any]:
    try:
        document = json.loads(siblings.read(name))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise _bad(name, f"not JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise _bad(name, "expected a JSON object")
    return document


def _jsonl_tasks(name: str, siblings: Siblings) -> dict[int, str]:
    tasks: dict[int, str] = {}
    for number, line in enumerate(siblings.read(name).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            tasks[int(row["task_index"])] = clean(str(row["task"]), MAX_TASK_CHARACTERS)
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise _bad(name, f"line {number}: expected task_index and task: {str(error)[:200]}") from error
        if len(tasks) > MAX_TASKS:
            raise _bad(name, f"more than {MAX_TASKS} tasks")
    return tasks


def _objects(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict):
        return {}
    return {clean(str(k)): v for k, v in value.items() if isinstance(v, dict)}


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _bad(name: str, what: str) -> BadInputError:
    return BadInputError(f"{name}: {what}", reason="dataset_meta_invalid")
