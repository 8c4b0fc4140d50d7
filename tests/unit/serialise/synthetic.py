"""Drives as synchronise, quality and decode would leave them: small, whole and balanced."""

import io
import uuid
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scenelake.contracts import ids
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import (
    SCENE_VERDICT_SCHEMA,
    UNASSIGNED_SCHEMA,
    ChannelCount,
    DrivePlan,
    DropOutcome,
    DropVerdict,
    PayloadFile,
)
from scenelake.contracts.tables import GOLD, decoded_schema
from scenelake.serialise.drives import DriveInput

DAY = date(2024, 5, 1)
SCENE_NS = 20_000_000_000
START_NS = 1_714_550_400_000_000_000
FRAMES = 4
CHANNELS = (("/camera", "camera", "camera_frame"), ("/imu", "imu", "imu"))


def rows_of(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, GOLD[table].schema)


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


class DriveMaker:
    """Makes drives whose payload is really written.

    Args:
        paths: of the lake.
        write: puts bytes at a URI of the lake.
    """

    def __init__(self, paths: LakePaths, write: Callable[[str, bytes], None]) -> None:
        self._paths = paths
        self._write = write

    def drive(
        self,
        name: str = "d1",
        *,
        scenes: int = 2,
        verdicts: tuple[str, ...] = (),
        brightness: float = 1.0,
        unassigned: int = 1,
        lost: int = 2,
        duplicate: bool = False,
        changed_scene: int | None = None,
        recipe: str = "recipe-1",
    ) -> DriveInput:
        """A drive of one object: ``scenes`` scenes of FRAMES camera frames and IMU rows each.

        ``changed_scene`` holds IMU rows multiplied by ``brightness``: other content under the same identity.
        """
        drive_id = ids.drive_id("fleet", "car", name)
        object_sha = sha256(name.encode()).hexdigest()
        drop_id = sha256(f"drop {name}".encode()).hexdigest()
        messages = [
            self._message(object_sha, drive_id, s, c, i) for s in range(scenes) for c in CHANNELS for i in range(FRAMES)
        ]
        files = [self._payload(object_sha, s, messages, recipe) for s in range(scenes)]
        by_slot = {f.slot: f.uri for f in files}
        for m in messages:
            if m["payload_table"] == "camera_frame":
                m["payload_file"] = by_slot[m["_scene"]]
        outside = [
            {"sample_data_id": f"{name}-outside-{i}", "object_sha256": object_sha, "channel": "/imu", "timestamp_ns": 1,
             "reason": "no_reference"} for i in range(unassigned)
        ]  # fmt: skip
        read = {"/camera": scenes * FRAMES, "/imu": scenes * FRAMES + unassigned}
        counts = tuple(
            ChannelCount(channel, modality, "x/msg/Y", read[channel] + lost, read[channel], read[channel], 0, 0, 100)
            for channel, modality, _ in CHANNELS
        )
        outcome = DropOutcome(
            drop_id, DropVerdict.DECODED, None, None, "mcap", object_sha, 1000, "recipe", START_NS, START_NS + SCENE_NS,
            counts, (), tuple(files), ("imu",),
        )  # fmt: skip
        copy = {sha256(f"copy {name}".encode()).hexdigest(): drop_id} if duplicate else {}
        plan = DrivePlan(drive_id, "fleet", "car", name, {drop_id: f"s3://lake/work/decoded/r/{drop_id}"}, copy)
        factor = {changed_scene: brightness} if changed_scene is not None else {}
        return DriveInput(
            plan,
            self._tables(plan, object_sha, messages, outside, verdicts or ("pass",) * scenes, scenes),
            {drop_id: outcome},
            {"imu": self._imu(messages, factor)},
        )

    def _message(self, object_sha: str, drive_id: str, scene: int, channel: Any, i: int) -> dict[str, Any]:
        at_ns = START_NS + scene * SCENE_NS + i * 500_000_000
        name, modality, table = channel
        return {
            "sample_data_id": str(uuid.uuid5(ids.NAMESPACE, f"{object_sha} {name} {at_ns}")),
            "scene_id": ids.scene_id(drive_id, scene, "p1"),
            "drive_id": drive_id,
            "channel": name,
            "modality": modality,
            "status": "decoded",
            "timestamp_ns": at_ns,
            "object_sha256": object_sha,
            "payload_table": table,
            "payload_hash": sha256(f"{name}{at_ns}".encode()).hexdigest()[:32],
            "payload_bytes": 10,
            "row_index": i,
            "drive_date": DAY,
            "_scene": scene,
        }

    def _payload(self, object_sha: str, scene: int, messages: list[dict[str, Any]], recipe: str) -> PayloadFile:
        mine = [m for m in messages if m["_scene"] == scene and m["payload_table"] == "camera_frame"]
        columns = ("sample_data_id", "channel", "timestamp_ns", "object_sha256", "drive_date")
        rows = [
            {c: m[c] for c in columns} | {"image": b"jpeg %d" % i, "image_format": "jpeg"} for i, m in enumerate(mine)
        ]
        data = parquet(rows_of("camera_frame", rows))
        uri = self._paths.payload_file("camera_frame", DAY.isoformat(), object_sha, scene, 0, recipe)
        self._write(uri, data)
        return PayloadFile(
            "camera_frame", uri, DAY.isoformat(), scene, len(rows), len(data), sha256(data).hexdigest()
        )  # fmt: skip

    def _imu(self, messages: list[dict[str, Any]], factor: dict[int, float]) -> pa.Table:
        rows = [
            {
                "sample_data_id": m["sample_data_id"],
                "channel": m["channel"],
                "timestamp_ns": m["timestamp_ns"],
                "linear_acceleration_m_s2": [-3.5 * factor.get(m["_scene"], 1.0), 0.0, 9.81],
            }
            for m in messages
            if m["payload_table"] == "imu"
        ]
        stray = {
            "sample_data_id": "outside",
            "channel": "/imu",
            "timestamp_ns": 1,
            "linear_acceleration_m_s2": [0.0] * 3,
        }
        return pa.Table.from_pylist([*rows, stray], decoded_schema("imu"))

    def _tables(
        self,
        plan: DrivePlan,
        object_sha: str,
        messages: list[dict[str, Any]],
        outside: list[dict[str, Any]],
        verdicts: tuple[str, ...],
        scenes: int,
    ) -> dict[str, pa.Table]:
        common = {"drive_id": plan.drive_id, "drive_date": DAY}
        scene_ids = [ids.scene_id(plan.drive_id, s, "p1") for s in range(scenes)]
        scene = [
            {**common, "scene_id": s, "start_ns": START_NS + i * SCENE_NS,
             "exclusive_end_ns": START_NS + (i + 1) * SCENE_NS, "kind": "drive_segment",
             "nbr_samples": FRAMES, "segmentation_policy": "p1"}
            for i, s in enumerate(scene_ids)
        ]  # fmt: skip
        cameras = [m for m in messages if m["channel"] == "/camera"]
        sample = [
            {**common, "sample_id": ids.sample_id(m["scene_id"], m["timestamp_ns"]), "scene_id": m["scene_id"],
             "frame_index": m["row_index"], "timestamp_ns": m["timestamp_ns"], "is_key_frame": True}
            for m in cameras
        ]  # fmt: skip
        sync = [
            {**common, "sample_id": ids.sample_id(m["scene_id"], m["timestamp_ns"]), "scene_id": m["scene_id"],
             "channel": m["channel"], "modality": m["modality"], "sample_data_id": m["sample_data_id"], "delta_ns": 0,
             "method": "nearest" if m["channel"] == "/camera" else "linear", "is_match": True,
             "tolerance_ns": 25_000_000, "value": None if m["channel"] == "/camera" else [-3.5, 0.0, 9.81]}
            for m in messages
        ]  # fmt: skip
        objects = [
            {**common, "object_sha256": object_sha, "drop_id": d,
             "uri": f"s3://landing/{d[:8]}.mcap", "s3_version_id": "v1"}
            for d in (*plan.decoded, *plan.duplicates)
        ]  # fmt: skip
        checks = [
            {**common, "scene_id": s, "channel": "/camera", "check_name": "completeness", "check_version": "1",
             "measured": 1.0, "verdict": v} for s, v in zip(scene_ids, verdicts, strict=True)
        ]  # fmt: skip
        stated = [
            {"scene_id": s, "verdict": v, "reason": None if v == "pass" else "why", "evidence": "{}"}
            for s, v in zip(scene_ids, verdicts, strict=True)
        ]
        return {
            "drive": rows_of("drive", [{**common, "drive_name": plan.drive, "robot_id": plan.vehicle}]),
            "raw_object": rows_of("raw_object", objects),
            "scene": rows_of("scene", scene),
            "sample": rows_of("sample", sample),
            "sample_data": rows_of("sample_data", [{k: v for k, v in m.items() if k[0] != "_"} for m in messages]),
            "sync_index": rows_of("sync_index", sync),
            "calibrated_sensor": rows_of(
                "calibrated_sensor", [{**common, "calibrated_sensor_id": "c1", "channel": "/camera"}]
            ),
            "ego_pose": rows_of("ego_pose", []),
            "clock_fault": rows_of(
                "clock_fault",
                [
                    {
                        **common,
                        "channel": "/imu",
                        "modality": "imu",
                        "fault_kind": "gap",
                        "start_ns": 1,
                        "exclusive_end_ns": 2,
                        "timestamp_basis": "sensor",
                        "size_ns": 1,
                        "nbr_affected": 1,
                    }
                ],
            ),
            "unassigned": pa.Table.from_pylist(outside, UNASSIGNED_SCHEMA),
            "qc_measurement": rows_of("qc_measurement", [{k: c[k] for k in c if k != "verdict"} for c in checks]),
            "qc_result": rows_of("qc_result", checks),
            "scene_verdict": pa.Table.from_pylist(stated, SCENE_VERDICT_SCHEMA),
        }


def shuffled(rows: pa.Table) -> pa.Table:
    """The same rows in reverse order, in many chunks."""
    order = pa.array(range(len(rows) - 1, -1, -1), pa.int64())
    taken = rows.take(order)
    return pa.concat_tables([taken.slice(i, 3) for i in range(0, len(taken), 3)]) if len(taken) else taken


def replace_value(rows: pa.Table, column: str, value: Any) -> pa.Table:
    """The same rows with another value in the first row of a column."""
    values = rows[column].to_pylist()
    values[0] = value
    at = rows.column_names.index(column)
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))


def count(rows: pa.Table, column: str, value: str) -> int:
    return int(pc.sum(pc.equal(rows[column], value)).as_py() or 0)
