"""A release in memory of one short episode with everything awkward in it, and of two scenes beside it."""

from datetime import date
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from tests.unit.loader.memory_release import MemoryReader

from scenelake.contracts.columns import field
from scenelake.contracts.releases import Release, ReleaseDelta
from scenelake.contracts.tables import GOLD

SCENE, OTHER, THIRD = "5a1e0001-0000", "5a1e0002-0000", "77aa0003-0000"
DRIVE = "d0"
SECOND_NS = 1_000_000_000
START_NS = 1_760_000_000 * SECOND_NS
NBR_FRAMES = 5
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200)]
"""RGB that the head camera sees at each keyframe."""
MISSED, ABSENT = 2, 4
"""Keyframes for which the head camera has a frame too far away, and none at all."""
DEPTH_MM = 1500
TASK = "take $1 \u5757 and $2 \x1b[31m"
IDENTITY = {"tx_m": 0.0, "ty_m": 0.0, "tz_m": 0.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}


def keyframe_ns(frame: int) -> int:
    return START_NS + frame * SECOND_NS


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


class Rows:
    """Rows of the episode's tables."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in GOLD}
        self.of_scene = {"scene_id": SCENE, "drive_id": DRIVE}

    def message(
        self, channel: str, modality: str, table: str, stamp_ns: int, name: str | None = None, **payload: Any
    ) -> str:
        message = f"{channel}@{name or stamp_ns}"
        row = {"sample_data_id": message, "channel": channel, "timestamp_ns": stamp_ns}
        self.tables["sample_data"].append(
            {**self.of_scene, **row, "modality": modality, "status": "decoded", "payload_table": table,
             "payload_file": f"{channel}.parquet", "row_index": 0, "decode_from_row": 0,
             "calibrated_sensor_id": f"c{channel}"}
        )  # fmt: skip
        if payload:
            self.tables[table].append({**self.of_scene, **row, **payload})
        return message

    def match(
        self, frame: int, channel: str, modality: str, message: str | None, delta_ns: int | None, **more: Any
    ) -> None:
        self.tables["sync_index"].append(
            {**self.of_scene, "sample_id": f"s{frame}", "channel": channel, "modality": modality, "method": "nearest",
             "sample_data_id": message, "delta_ns": delta_ns, "tolerance_ns": 25_000_000,
             "is_match": message is not None, **more}
        )  # fmt: skip


def tiny_reader() -> MemoryReader:
    """The release of ``SCENE`` with its rows, and of ``OTHER`` and ``THIRD`` that are but rows of ``scene``."""
    rows = Rows()
    for frame in range(NBR_FRAMES):
        _keyframe(rows, frame)
    for tick in range(20 * NBR_FRAMES):
        at_ns = START_NS + tick * SECOND_NS // 20
        joints = {"names": ["shoulder", "elbow"], "units": ["rad", "rad"], "position": [tick / 100, -tick / 100]}
        rows.message("/joints", "robot_state", "robot_state", at_ns, **joints)
        rows.message("/command", "action", "action", at_ns, **joints | {"names": None})
    for at_ns in (START_NS, START_NS + SECOND_NS):
        rows.message("/task", "language", "language", at_ns, text=TASK)
    tracks = rows.message("/tracks", "radar_track", "radar_track", START_NS, track_id="a", center_m=[9.0, 2.0, 0.0])
    for more in ({"center_m": [5.0, 1.0, 0.0]}, {"center_m": None}):
        rows.tables["radar_track"].append(
            {**rows.of_scene, "sample_data_id": tracks, "channel": "/tracks", "timestamp_ns": START_NS, **more}
        )
    rows.match(0, "/tracks", "radar_track", tracks, 0)
    rows.message("/can", "can", "can_frame", START_NS, can_id=7)
    rows.tables["qc_result"].append(
        {**rows.of_scene, "channel": "/gps", "check_name": "rate", "measured": 1.0, "threshold": 5.0,
         "verdict": "warn", "reason": "slow"}
    )  # fmt: skip
    rows.tables["drive"].append(
        {"drive_id": DRIVE, "fleet": "f", "robot_id": "r", "drive_name": "n", "robot_type": "arm",
         "start_ns": START_NS, "exclusive_end_ns": START_NS + 60 * SECOND_NS}
    )  # fmt: skip
    tables = {name: pa.Table.from_pylist(found, GOLD[name].schema) for name, found in rows.tables.items()}
    names = list(dict.fromkeys([*GOLD["scene"].columns, *GOLD["release_scene"].columns]))
    day = date(2026, 1, 1)
    scenes = [
        {"scene_id": name, "drive_id": DRIVE, "start_ns": START_NS + i * 20 * SECOND_NS, "kind": "episode",
         "exclusive_end_ns": START_NS + (20 * i + NBR_FRAMES) * SECOND_NS, "task": TASK, "is_kept": True,
         "drive_date": day}
        for i, name in enumerate((SCENE, OTHER, THIRD))
    ]  # fmt: skip
    tables["scenes"] = pa.Table.from_pylist(scenes, pa.schema([field(n) for n in names]))
    delta = ReleaseDelta((SCENE,), {OTHER: ("old", "new")}, ())
    return MemoryReader(tables, Release("r00000002", 2, "r00000001", "b", 1, "r", 0, "root", {}, delta, {}))


def _keyframe(rows: Rows, frame: int) -> None:
    at_ns = keyframe_ns(frame)
    rows.tables["sample"].append(
        {**rows.of_scene, "sample_id": f"s{frame}", "frame_index": frame, "timestamp_ns": at_ns}
    )
    picture = np.full((24, 32, 3), COLOURS[frame], np.uint8)
    if frame == ABSENT:
        rows.match(frame, "/head", "camera", None, None)
    else:
        shift_ns = 80_000_000 if frame == MISSED else 3_000_000
        size = {"image_format": "png", "width_px": 32, "height_px": 24}
        name = rows.message("/head", "camera", "camera_frame", at_ns + shift_ns, image=png(picture[..., ::-1]), **size)
        rows.match(frame, "/head", "camera", None if frame == MISSED else name, shift_ns)
    depth = np.full((24, 32), DEPTH_MM, np.uint16)
    depth[0] = 0
    name = rows.message(
        "/depth", "depth", "depth_frame", at_ns, image=b"broken" if frame == 1 else png(depth), image_format="png",
        width_px=32, height_px=24, depth_encoding="16UC1", depth_unit_m=0.001,
    )  # fmt: skip
    rows.match(frame, "/depth", "depth", name, 0)
    scan = {"image": png(np.full((40, 20), 90, np.uint8)), "image_format": "png", "width_px": 20, "height_px": 40}
    rows.match(frame, "/scan", "radar", rows.message("/scan", "radar", "radar_sweep", at_ns, **scan), 0)
    fix = rows.message(
        "/gps", "gnss", "gnss", at_ns, latitude_deg=48.0 + frame * 1e-5, longitude_deg=11.0, altitude_m=500.0
    )
    rows.match(frame, "/gps", "gnss", fix, 0)
    rows.match(frame, "/joints", "robot_state", f"/joints@{at_ns}", 0, value=[frame / 5, -frame / 5])
