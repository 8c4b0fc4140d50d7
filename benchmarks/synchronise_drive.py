"""The drive that synchronise is measured on: twelve sensors, an hour at a time, as decode would leave it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from scenelake.contracts.drops import Drop
from scenelake.contracts.stages import DropOutcome, DropVerdict, table_file
from scenelake.contracts.tables import CALIBRATION, MESSAGE_INDEX, decoded_schema
from scenelake.decode.small_tables import small_writer, written_schema
from scenelake.simulate.clock import Schedule, plan_schedule
from scenelake.simulate.config import DEFAULT_START_NS, SECOND_NS, Camera, Gnss, Imu, Lidar, Odometry, Radar, Sensor
from scenelake.simulate.faults import drift_ns
from scenelake.synchronise.drives import READ_TABLES, DriveInput, DriveObject, plan_drive
from scenelake.synchronise.row_sources import TableRows

SHA = "5c" * 32
BUCKET = "lake"
DECODED = f"s3://{BUCKET}/decoded/d"
GROUP_ROWS = 32_768
"""Rows of a row group, as decode writes them."""
PART_MINUTES = 15
"""Length of a part: decode cuts large objects."""
_MODALITY: dict[type[Sensor], str] = {
    Camera: "camera", Lidar: "lidar", Radar: "radar", Imu: "imu", Gnss: "gnss", Odometry: "ego_pose",
}  # fmt: skip


def sensors() -> list[Sensor]:
    """Twelve sensors, about 1,290 messages a second."""
    cameras = [Camera(topic=f"/camera_{i}", frame_id="c", rate_hz=30, jitter_ns=300_000) for i in range(6)]
    radars = [Radar(topic=f"/radar_{i}", frame_id="r", rate_hz=20, jitter_ns=300_000) for i in range(2)]
    return [
        *cameras,
        *radars,
        Lidar(topic="/lidar", frame_id="l", rate_hz=10, jitter_ns=200_000, clock_drift_ppm=15.0),
        Imu(topic="/imu", frame_id="i", rate_hz=1000, jitter_ns=20_000),
        Gnss(topic="/gnss", frame_id="g", rate_hz=10),
        Odometry(topic="/odometry", frame_id="base_link", rate_hz=50),
    ]


def schedules(minutes: int, first_minute: int = 0) -> dict[str, Schedule]:
    """Each sensor's messages of some minutes; those of the minutes after them go on where these end."""
    duration_ns, before_ns = minutes * 60 * SECOND_NS, first_minute * 60 * SECOND_NS
    planned = {}
    for number, sensor in enumerate(sensors()):
        random = np.random.default_rng([number, first_minute])
        found = plan_schedule(sensor, [], DEFAULT_START_NS + before_ns, duration_ns, random)
        gained_ns = int(drift_ns(np.array([before_ns]), sensor.clock_drift_ppm)[0])
        planned[sensor.topic] = replace(found, stamp_ns=found.stamp_ns + gained_ns)
    return planned


def _ids(count: int, seed: int) -> pa.Array:
    """Random texts that are as long as ids."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    drawn = np.ascontiguousarray(digits[np.random.default_rng(seed).integers(0, 16, (count, 36), np.uint8)])
    offsets = pa.py_buffer(np.arange(count + 1, dtype=np.int32) * 36)
    return pa.Array.from_buffers(pa.string(), count, [None, offsets, pa.py_buffer(drawn)])


def index_of(planned: dict[str, Schedule], first_minute: int = 0) -> pa.Table:
    """Decode's index of the messages, channel by channel."""
    parts = []
    places = np.argsort(np.argsort(np.concatenate([s.log_ns for s in planned.values()]), kind="stable"))
    start = 0
    for number, sensor in enumerate(sensors()):
        schedule = planned[sensor.topic]
        count = len(schedule)
        modality = _MODALITY[type(sensor)]
        texts = {
            "channel": sensor.topic, "modality": modality, "schema_name": f"benchmark/{modality}", "status": "decoded",
            "timestamp_basis": "sensor", "frame_id": sensor.frame_id, "object_sha256": SHA,
        }  # fmt: skip
        columns = {name: pa.repeat(text, count) for name, text in texts.items()} | {
            "sample_data_id": _ids(count, first_minute * 100 + number),
            "timestamp_ns": pa.array(schedule.stamp_ns),
            "sensor_time_ns": pa.array(schedule.stamp_ns),
            "publish_time_ns": pa.array(schedule.publish_ns),
            "log_time_ns": pa.array(schedule.log_ns),
            "chunk_offset_bytes": pa.array(first_minute * 10**6 + places[start : start + count] // 1000),
            "message_offset_bytes": pa.array(places[start : start + count] % 1000),
            "payload_bytes": pa.repeat(pa.scalar(100, pa.int64()), count),
        }
        start += count
        parts.append(_table(columns, MESSAGE_INDEX.schema, count))
    return pa.concat_tables(parts).combine_chunks()


def values_of(index: pa.Table, name: str) -> pa.Table:
    """The table of the IMU or of the poses for the messages of an index."""
    rows = index.filter(pa.compute.equal(index["modality"], name))
    count = len(rows)
    schema = decoded_schema(name)
    columns = {n: rows[n] for n in ("sample_data_id", "channel", "timestamp_ns")}
    if name == "imu":
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * 3)
        triple = pa.ListArray.from_arrays(offsets, pa.array(np.random.default_rng(1).normal(size=count * 3)))
        columns |= {"linear_acceleration_m_s2": triple, "angular_velocity_rad_s": triple}
    else:
        pose = schema.field("world_from_ego").type
        ones = {f.name: np.full(count, 1.0 if f.name == "qw" else 0.0) for f in pose}
        columns["world_from_ego"] = pa.StructArray.from_arrays(list(map(pa.array, ones.values())), fields=list(pose))
        columns["frame_id"] = pa.repeat("map", count)
        columns["child_frame_id"] = pa.repeat("base_link", count)
    return _table(columns, schema, count)


def _table(columns: dict[str, pa.Array], schema: pa.Schema, count: int) -> pa.Table:
    made = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays(made, schema=schema)


def drive_object(nbr_parts: int = 0) -> DriveObject:
    """The drive's one object; of so many parts, or in one piece."""
    drop = Drop(
        drop_id="d", bucket="landing", key="f/v/d/drive.mcap", version_id="1", size_bytes=1, etag="e",
        received_at_ns=1, fleet="f", vehicle="v", drive="d", drive_id="drive",
    )  # fmt: skip
    names = ("imu", "ego_pose")
    parts = {name: tuple(range(nbr_parts)) for name in (MESSAGE_INDEX.name, *names)} if nbr_parts else {}
    outcome = DropOutcome(
        "d", DropVerdict.DECODED, None, None, "mcap", SHA, 1, "r", 0, 1, tables=names if nbr_parts else (), parts=parts
    )
    return DriveObject(drop, DECODED, outcome)


def drive_in_memory(index: pa.Table) -> DriveInput:
    """The drive as the stage takes it, its rows in memory as the reader of decode's files gives them."""
    item = drive_object()
    empty = {n: (CALIBRATION.schema if n == "calibration" else decoded_schema(n)).empty_table() for n in READ_TABLES}
    tables = empty | {name: values_of(index, name) for name in ("imu", "ego_pose")}
    rows = {name: TableRows(table) for name, table in tables.items()}
    encoded = pa.schema(
        [f.with_type(pa.dictionary(pa.int32(), pa.string())) if _is_repeated(f) else f for f in index.schema]
    )
    return DriveInput(plan_drive([item]), (item,), TableRows(index.cast(encoded)), rows)


def _is_repeated(field: pa.Field) -> bool:
    return pa.types.is_string(field.type) and field.name != "sample_data_id"


def write_files(root: Path, minutes: int) -> int:
    """Writes the drive's files as decode does, part by part, below ``root``; returns their number of messages."""
    folder = root / DECODED.removeprefix("s3://")
    folder.mkdir(parents=True)
    nbr_messages = 0
    for number, first in enumerate(range(0, minutes, PART_MINUTES)):
        planned = schedules(min(PART_MINUTES, minutes - first), first)
        index = index_of(planned, first)
        nbr_messages += len(index)
        _write(folder / table_file(MESSAGE_INDEX.name, number), MESSAGE_INDEX.name, _as_flushed(index))
        for name in ("imu", "ego_pose"):
            _write(folder / table_file(name, number), name, values_of(index, name))
    return nbr_messages


def _as_flushed(index: pa.Table, rows_at_once: int = 8192) -> pa.Table:
    """The rows in the order in which decode hands them on: a channel's as soon as there are so many of them."""
    codes = index["channel"].combine_chunks().dictionary_encode().indices.to_numpy()
    number = np.arange(len(codes)) - np.searchsorted(codes, codes)
    last = np.minimum((number // rows_at_once + 1) * rows_at_once, np.bincount(codes)[codes]) - 1
    complete_ns = index["log_time_ns"].to_numpy()[np.searchsorted(codes, codes) + last]
    return index.take(pa.array(np.lexsort((number, codes, complete_ns))))


def _write(path: Path, name: str, table: pa.Table) -> None:
    with small_writer(path, name) as writer:
        writer.write_table(table.cast(written_schema(name)), row_group_size=GROUP_ROWS)
