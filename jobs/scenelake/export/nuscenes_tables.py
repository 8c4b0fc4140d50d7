"""The tables of nuScenes v1.0, written row by row (github.com/nutonomy/nuscenes-devkit, docs/schema_nuscenes.md)."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scenelake.export.folder import JsonRows
from scenelake.timebase.arrays import FloatArray

TABLES = (
    "category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose", "log", "scene",
    "sample", "sample_data", "sample_annotation", "map",
)  # fmt: skip
VISIBILITIES = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
MAP_FILE = "maps/none.png"
_SEPARATOR = "\x1f"


def token(*parts: str | int) -> str:
    """32 hex digits that follow from the parts."""
    return hashlib.sha256(_SEPARATOR.join(map(str, parts)).encode()).hexdigest()[:32]


def lake_token(uuid: str) -> str:
    """Token of a scene, sample or message: its id in the lake without the hyphens, so that it leads back there."""
    return uuid.replace("-", "")


def microseconds(timestamp_ns: int) -> int:
    """nuScenes' stamps: whole microseconds, cut off."""
    return timestamp_ns // 1000


def date_of(timestamp_ns: int) -> str:
    return datetime.fromtimestamp(timestamp_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")


def translation(pose: FloatArray) -> list[float]:
    return [float(v) for v in pose[:3]]


def quaternion(pose: FloatArray) -> list[float]:
    """w, x, y, z."""
    return [float(v) for v in pose[3:]]


class NuScenesTables:
    """Open table files of one export; rows that are named twice are written once."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self._tables = {name: self._stack.enter_context(JsonRows(folder / f"{name}.json")) for name in TABLES}
        self._known: dict[str, set[str]] = {name: set() for name in ("category", "sensor", "calibrated_sensor", "log")}
        for number, level in VISIBILITIES.items():
            self.add("visibility", {"token": number, "level": level, "description": "share of the object seen, %"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, table: str, row: Mapping[str, Any]) -> None:
        self._tables[table].add(row)

    def add_once(self, table: str, row: Mapping[str, Any]) -> None:
        """Adds a row of category, sensor, calibrated_sensor or log unless its token is there."""
        if row["token"] not in self._known[table]:
            self._known[table].add(row["token"])
            self.add(table, row)

    def count(self, table: str) -> int:
        return len(self._tables[table])

    def close_logs(self) -> None:
        """The map: there is none, but the devkit asks for a map, with a file, for every log."""
        logs = sorted(self._known["log"])
        self.add("map", {"token": token("map"), "category": "none", "filename": MAP_FILE, "log_tokens": logs})
