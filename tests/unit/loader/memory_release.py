"""A release in memory: every number in it tells scene and frame, so that a sample can be checked by looking at it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.columns import field as column
from scenelake.contracts.modalities import Modality
from scenelake.contracts.releases import Release, ReleaseDelta
from scenelake.contracts.tables import GOLD
from scenelake.loader.config import ImageConfig, LoaderConfig, StreamConfig

PERIOD_NS = 100_000_000
WIDTH, HEIGHT = 32, 24
POSE = {"tx_m": 1.0, "ty_m": 0.5, "tz_m": 1.5, "qw": 0.5, "qx": -0.5, "qy": 0.5, "qz": -0.5}
"""A camera that looks forward: z of the camera is x of the ego."""
INTRINSICS = [20.0, 0.0, 15.5, 0.0, 20.0, 11.5, 0.0, 0.0, 1.0]


@dataclass
class MemoryReader:
    """``loader.reading.LoaderReader`` over Arrow tables."""

    tables: dict[str, pa.Table]
    release: Release
    read: list[tuple[str, int]] = field(default_factory=list)

    def scenes(self) -> pa.Table:
        return self.tables["scenes"]

    def rows(
        self,
        table: str,
        scene_ids: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
    ) -> pa.Table:
        found = self.tables.get(table, GOLD[table].schema.empty_table())
        if scene_ids is not None and "scene_id" in found.column_names:
            found = found.filter(pc.is_in(found["scene_id"], value_set=pa.array(scene_ids, pa.string())))
        if channels is not None:
            found = found.filter(pc.is_in(found["channel"], value_set=pa.array(channels, pa.string())))
        self.read.append((table, len(found)))
        return found.select(list(columns or GOLD[table].columns))

    def payloads(self, sample_data: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
        (name,) = set(sample_data["payload_table"].to_pylist())
        table = self.tables[name]
        self.read.append((name, len(sample_data)))
        at = pc.index_in(sample_data["sample_data_id"], value_set=table["sample_data_id"])
        assert not at.null_count
        return table.take(at).select(list(columns or GOLD[name].columns))


def value(scene: int, frame: int) -> float:
    return scene * 1000.0 + frame


def picture(scene: int, frame: int) -> bytes:
    """A picture without loss whose top left pixel is (scene, frame, 7)."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = np.arange(WIDTH) * 4
    image[..., 1] = np.arange(HEIGHT)[:, None] * 8
    image[0, 0] = (scene, frame, 7)
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, GOLD[name].schema)


def make_release(
    nbr_frames: Sequence[int],
    *,
    scenes_per_drive: int = 1,
    missing: frozenset[tuple[int, int]] = frozenset(),
    clusters: dict[int, str] | None = None,
    has_sensors: bool = True,
) -> MemoryReader:
    """A release of scenes with so many keyframes each, whose cameras miss the given (scene, frame)."""
    day = date(2026, 1, 1)
    drives = [f"drive-{i // scenes_per_drive:03d}" for i in range(len(nbr_frames))]
    rows: dict[str, list[dict[str, Any]]] = {
        n: [] for n in ("sample", "sync_index", "sample_data", "action", "camera_frame", "lidar_sweep", "annotation")
    }
    for scene, count in enumerate(nbr_frames):
        for frame in range(count):
            _frame(rows, scene, drives[scene], frame, (scene, frame) in missing, has_sensors)
    scenes = [
        {"scene_id": f"scene-{i:04d}", "drive_id": drives[i], "start_ns": i * 10**12, "kind": "episode",
         "exclusive_end_ns": i * 10**12 + n * PERIOD_NS, "task": f"task {i % 3}", "nbr_samples": n,
         "is_kept": True, "cluster_id": (clusters or {}).get(i), "drive_date": day}
        for i, n in enumerate(nbr_frames)
    ]  # fmt: skip
    names = list(dict.fromkeys([*GOLD["scene"].columns, *GOLD["release_scene"].columns]))
    tables = {name: _table(name, found) for name, found in rows.items()}
    tables["scenes"] = pa.Table.from_pylist(scenes, pa.schema([column(n) for n in names]))
    calibration = {"ego_from_sensor": POSE, "intrinsics": INTRINSICS, "width_px": WIDTH, "height_px": HEIGHT}
    lidar = {"ego_from_sensor": {**POSE, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}}
    tables["calibrated_sensor"] = _table(
        "calibrated_sensor",
        [{"calibrated_sensor_id": "c", **calibration}, {"calibrated_sensor_id": "l", **lidar}],
    )
    release = Release("r00000001", 1, None, "b", 1, "r", 0, "root", {}, ReleaseDelta((), {}, ()), {})
    return MemoryReader(tables, release)


def _frame(rows: dict[str, Any], scene: int, drive: str, frame: int, is_missing: bool, has_sensors: bool) -> None:
    at_ns = scene * 10**12 + frame * PERIOD_NS
    key = f"{scene}-{frame}"
    common = {"scene_id": f"scene-{scene:04d}", "drive_id": drive, "timestamp_ns": at_ns}
    rows["sample"].append({**common, "sample_id": f"s-{key}", "frame_index": frame})

    def match(channel: str, modality: str, delta_ns: int, **more: Any) -> str:
        message = f"{channel}-{key}"
        lost = is_missing and channel == "/camera"
        rows["sync_index"].append(
            {**common, "sample_id": f"s-{key}", "channel": channel, "modality": modality, "delta_ns": delta_ns,
             "sample_data_id": None if lost else message, "is_match": not lost, **more}
        )  # fmt: skip
        return message

    match("/state", "robot_state", 0, value=[value(scene, frame), -value(scene, frame)])
    action = match("/action", "action", -5)
    rows["action"].append({**common, "sample_data_id": action, "channel": "/action", "position": [value(scene, frame)]})
    if not has_sensors:
        return
    for channel, modality, table, sensor in (
        ("/camera", "camera", "camera_frame", "c"),
        ("/lidar", "lidar", "lidar_sweep", "l"),
    ):
        message = match(channel, modality, frame)
        rows["sample_data"].append(
            {**common, "sample_data_id": message, "channel": channel, "modality": modality, "payload_table": table,
             "payload_file": f"{table}-{scene}", "row_index": frame, "decode_from_row": frame,
             "calibrated_sensor_id": sensor}
        )  # fmt: skip
    rows["camera_frame"].append(
        {"sample_data_id": f"/camera-{key}", "channel": "/camera", "image": picture(scene, frame),
         "image_format": "png", "width_px": WIDTH, "height_px": HEIGHT}
    )  # fmt: skip
    points = 3 + frame % 3
    rows["lidar_sweep"].append(
        {"sample_data_id": f"/lidar-{key}", "channel": "/lidar", "x_m": [10.0 + i for i in range(points)],
         "y_m": [float(scene)] * points, "z_m": [float(frame)] * points, "nbr_points": points}
    )  # fmt: skip
    boxes = match("/boxes", "annotation", 0)
    for number in range(frame % 3):
        rows["annotation"].append(
            {**common, "sample_data_id": boxes, "channel": "/boxes", "category": "car" if number else "bus",
             "frame_id": "base_link", "size_m": [4.0, 2.0, 1.5], "annotation_id": f"{key}-{number}",
             "sensor_from_box": {"tx_m": 10.0 + number, "ty_m": 2.0, "tz_m": 0.5, "qw": 1.0, "qx": 0.0, "qy": 0.0,
                                 "qz": 0.0}}
        )  # fmt: skip


STATE = StreamConfig(channel="/state", modality=Modality.ROBOT_STATE)
ACTION = StreamConfig(channel="/action", modality=Modality.ACTION)
CAMERA = StreamConfig(
    channel="/camera", modality=Modality.CAMERA, image=ImageConfig(is_channels_first=False)
)  # fmt: skip
LIDAR = StreamConfig(channel="/lidar", modality=Modality.LIDAR, max_points=4)
BOXES = StreamConfig(channel="/boxes", modality=Modality.ANNOTATION, categories=("car", "bus"))


def config(**changes: Any) -> LoaderConfig:
    """Small batches of states."""
    given = {"streams": {"state": STATE}, "batch_size": 3, "lanes": 4, "block_batches": 2, **changes}
    return LoaderConfig(**given)
