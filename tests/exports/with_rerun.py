"""Writes a scene as a Rerun recording and reads it back with Rerun's own reader: run with rerun-sdk beside ours.

Prints, by entity: whether it is static, its rows by timeline, and its components as plain values.
"""

import hashlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rerun.chunk import RrdReader

from scenelake.view.choose import choose_scene, open_source
from scenelake.view.opened import OpenedScene
from scenelake.view.recording import save_recording

TIMELINES = ("time", "keyframe")


def plain(value: Any) -> Any:
    """A cell for JSON: bytes by their hash, everything else as it is."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def cells(name: str, column: pa.Array) -> list[Any]:
    if name.endswith(":blob"):
        return [None if c is None else [hashlib.sha256(bytes(b)).hexdigest() for b in c] for c in column.to_pylist()]
    if name.startswith("Points3D"):
        return [None if c is None else len(c) for c in column.to_pylist()]
    return [plain(c) for c in column.to_pylist()]


def main(lake: str, scene_id: str, target: str) -> None:
    reader = pickle.loads(Path(lake).read_bytes())
    source = open_source(reader)
    summary = save_recording(OpenedScene(source, choose_scene(source, scene_id)), Path(target))
    entities: dict[str, Any] = {}
    opened = RrdReader(target)
    for chunk in opened.stream():
        batch = chunk.to_record_batch()
        entity = entities.setdefault(chunk.entity_path, {"static": {}, "rows": []})
        columns = {n: batch.column(n) for n in batch.schema.names}
        values = {n: cells(n, c) for n, c in columns.items() if ":" in n}
        times = {n: columns[n].cast(pa.int64()).to_pylist() for n in TIMELINES if n in columns}
        if not times:
            entity["static"] |= {n: v[-1] for n, v in values.items()}
            continue
        for row in range(batch.num_rows):
            entity["rows"].append({n: v[row] for n, v in (times | values).items()})
    sys.stdout.write(
        json.dumps({"entities": entities, "summary": summary.to_json(), "timelines": sorted(timelines(opened))})
    )


def timelines(opened: RrdReader) -> set[str]:
    return {name for chunk in opened.stream() for name in chunk.timeline_names}


main(*sys.argv[1:])
