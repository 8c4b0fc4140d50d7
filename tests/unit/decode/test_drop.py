"""A whole drop: slots and rows, times, verdicts, determinism and bounded memory."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcap.writer import CompressionType

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.contracts import ids
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.tables import GOLD, MESSAGE_INDEX
from scenelake.decode.config import DecodeConfig
from scenelake.decode.ruling_time import END_NS
from scenelake.decode.task import DecodeTask, finished_outcome

T0_NS = 1_700_000_000_000_000_000
SLOT_NS = 20_000_000_000
CHANNELS = {"/camera": "sensor_msgs/msg/CompressedImage", "/imu": "sensor_msgs/msg/Imu", "/odd": "std_msgs/msg/Empty"}


@pytest.fixture
def drive(record: Callable[..., Path], ros: Any, jpeg: bytes) -> Path:
    """30 s of a camera at 2 Hz and an IMU at 10 Hz, and a message that no table takes."""
    sent = []
    for i in range(300):
        at = T0_NS + i * 100_000_000
        sent.append(("/imu", ros.imu(at, (float(i), 0.0, 0.0)), at + 3))
        if i % 5 == 0:
            sent.append(("/camera", ros.image(jpeg + bytes([i % 256]), at - 50), at + 4))
    sent.append(("/odd", ros.of("std_msgs/msg/Empty"), T0_NS + 299 * 100_000_000))
    return record(CHANNELS, sent, metadata={})


def test_every_message_is_indexed_once_and_leads_to_its_row(drive: Path, decode: Callable[..., Any]) -> None:
    result = decode(drive)
    outcome, index = result.outcome, result.index
    assert (outcome.verdict, outcome.reason, outcome.problems) == ("decoded", None, ())
    assert result.table("message_index").schema.names == list(MESSAGE_INDEX.columns)
    assert {c.channel: (c.modality, c.recorded, c.read, c.decoded, c.raw) for c in outcome.channels} == {
        "/camera": ("camera", 60, 60, 60, 0),
        "/imu": ("imu", 300, 300, 300, 0),
        "/odd": ("raw", 1, 1, 0, 1),
    }
    assert len(index) == len({row["sample_data_id"] for row in index}) == 361
    for channel in ("/camera", "/imu"):
        rows = [r for r in result.table("message_index").to_pylist() if r["channel"] == channel]
        positions = [(row["chunk_offset_bytes"], row["message_offset_bytes"]) for row in rows]
        assert positions == sorted(positions)
        assert len({chunk for chunk, _ in positions}) > 5
    imu = result.table("imu").to_pylist()
    for row in index:
        if row["channel"] == "/imu":
            assert imu[row["row_index"]]["sample_data_id"] == row["sample_data_id"]
        else:
            payload = result.payload(row)
            assert payload["object_sha256"] == outcome.object_sha256
            slot_start = row["log_time_ns"] // SLOT_NS * SLOT_NS
            assert payload["drive_date"].isoformat() == str(np.datetime64(slot_start, "ns").astype("datetime64[D]"))
            assert f"-{row['log_time_ns'] // SLOT_NS}-000-" in row["payload_file"]
    stamps = [row["timestamp_ns"] for row in index]
    assert (outcome.start_ns, outcome.exclusive_end_ns) == (min(stamps), max(stamps) + 1)
    assert {f.table for f in outcome.payload_files} == {"camera_frame", "raw_message"}
    assert sum(f.nbr_rows for f in outcome.payload_files) == 61
    assert outcome.tables == ("image_statistic", "imu")
    assert outcome.metadata["header"]["profile"] == "ros2"


def test_payload_files_have_the_gold_schema_and_plain_blobs(drive: Path, decode: Callable[..., Any]) -> None:
    result = decode(drive)
    for file in result.outcome.payload_files:
        data = result.objects.read(file.uri)
        assert len(data) == file.size_bytes
        parquet = pq.ParquetFile(pa.BufferReader(data))
        assert parquet.schema_arrow.equals(GOLD[file.table].schema)
        for at in range(parquet.metadata.row_group(0).num_columns):
            column = parquet.metadata.row_group(0).column(at)
            if column.path_in_schema in ("image", "data"):
                assert column.compression == "UNCOMPRESSED"
                assert column.statistics is None
                assert "RLE_DICTIONARY" not in column.encodings
            elif column.path_in_schema == "timestamp_ns":
                assert column.statistics.min >= T0_NS - 50


def test_the_same_object_gives_the_same_bytes(drive: Path, decode: Callable[..., Any]) -> None:
    first, second = decode(drive).files(), decode(drive).files()
    assert len(first) >= 6
    assert first == second


def test_row_groups_and_parts_stay_consistent_under_tight_bounds(drive: Path, decode: Callable[..., Any]) -> None:
    config = DecodeConfig(row_group_bytes=4000, buffer_bytes=6000, max_open_files=1, index_rows=7)
    result = decode(drive, config)
    files = [f for f in result.outcome.payload_files if f.table == "camera_frame"]
    parquet = pq.ParquetFile(pa.BufferReader(result.objects.read(files[0].uri)))
    assert parquet.num_row_groups > 1
    for row in result.index:
        if row["payload_table"] == "camera_frame":
            result.payload(row)


def test_log_times_that_jump_between_slots_continue_in_parts(
    record: Callable[..., Path], decode: Callable[..., Any], ros: Any, jpeg: bytes
) -> None:
    sent = [("/camera", ros.image(jpeg), T0_NS + (i % 3) * SLOT_NS) for i in range(9)]
    path = record({"/camera": CHANNELS["/camera"]}, sent)
    result = decode(path, DecodeConfig(max_open_files=2))
    names = sorted(f.uri.rsplit("-", 2)[1] for f in result.outcome.payload_files)
    assert names == ["000"] * 3 + ["001"] * 3 + ["002"] * 3
    for row in result.index:
        result.payload(row)
    rejected = decode(path, DecodeConfig(max_open_files=2, max_payload_files=4)).outcome
    assert (rejected.verdict, rejected.reason) == ("rejected", "log_times_scattered")
    assert rejected.payload_files == ()


@pytest.mark.parametrize(
    ("stamp_ns", "publish_ns", "log_ns", "expected"),
    [
        (T0_NS, T0_NS + 1, T0_NS + 2, (T0_NS, "sensor", None)),
        (0, T0_NS + 1, T0_NS + 2, (T0_NS + 1, "publish", None)),
        (0, 0, T0_NS + 2, (T0_NS + 2, "log", None)),
        (-5 * 10**9, T0_NS + 1, T0_NS + 2, (T0_NS + 1, "publish", "stamp_out_of_range")),
        (T0_NS, 2**63, T0_NS + 2, (T0_NS, "sensor", "publish_time_out_of_range")),
        (T0_NS, 1, 2**64 - 1, (T0_NS, "sensor", "log_time_out_of_range")),
        (0, 0, 2**63, (0, "log", "log_time_out_of_range")),
        (T0_NS, T0_NS, END_NS - 1, (T0_NS, "sensor", None)),
        (T0_NS, T0_NS, END_NS, (T0_NS, "sensor", "log_time_out_of_range")),
    ],
)
def test_ruling_time(
    tmp_path: Path,
    decode: Callable[..., Any],
    ros: Any,
    jpeg: bytes,
    stamp_ns: int,
    publish_ns: int,
    log_ns: int,
    expected: tuple[int, str, str | None],
) -> None:
    path = tmp_path / "one.mcap"
    with RecordingWriter(path) as writer:
        writer.add_ros_channel("/camera", CHANNELS["/camera"])
        writer.write("/camera", ros.image(jpeg, stamp_ns), log_ns, publish_ns)
    (row,) = (result := decode(path)).index
    assert (row["timestamp_ns"], row["timestamp_basis"], row["reason"]) == expected
    assert row["log_time_ns"] == (log_ns if log_ns < END_NS else None)
    result.payload(row)


@pytest.mark.parametrize(
    ("data", "reason", "where"),
    [(b"", "empty_object", 0), (b"not an mcap at all", "format_unknown", 0), (b"\x89MCAP0\r\n", "truncated", 8)],
)
def test_a_bad_object_is_rejected_with_file_and_byte(
    tmp_path: Path, decode: Callable[..., Any], data: bytes, reason: str, where: int
) -> None:
    path = tmp_path / "bad.mcap"
    path.write_bytes(data)
    outcome = decode(path).outcome
    assert (outcome.verdict, outcome.reason) == ("rejected", reason)
    assert outcome.detail is not None
    assert outcome.detail.startswith("s3://landing/fleet/car/drive/object.mcap: ")
    assert outcome.detail.endswith(f"(byte {where})")


def test_a_recording_without_messages_is_rejected(record: Callable[..., Path], decode: Callable[..., Any]) -> None:
    outcome = decode(record(CHANNELS, [])).outcome
    assert (outcome.verdict, outcome.reason) == ("rejected", "no_messages")


def test_a_truncated_recording_is_salvaged(drive: Path, decode: Callable[..., Any]) -> None:
    whole = decode(drive)
    data = drive.read_bytes()
    drive.write_bytes(data[: len(data) // 2])
    part = decode(drive)
    assert (part.outcome.verdict, part.outcome.reason) == ("salvaged", "truncated")
    (problem,) = part.outcome.problems
    assert f"(byte {problem.start_byte})" in part.outcome.detail
    assert problem.exclusive_end_byte == len(data) // 2
    assert 0 < len(part.index) < len(whole.index)
    kept = ("channel", "timestamp_ns", "payload_hash", "chunk_offset_bytes", "message_offset_bytes")
    assert [[r[k] for k in kept] for r in part.index] == [[r[k] for k in kept] for r in whole.index][: len(part.index)]


def test_messages_of_a_lost_chunk_are_counted(drive: Path, decode: Callable[..., Any]) -> None:
    chunk = decode(drive).index[100]["chunk_offset_bytes"]
    data = bytearray(drive.read_bytes())
    data[chunk + 60] ^= 0xFF
    drive.write_bytes(data)
    outcome = decode(drive).outcome
    assert outcome.verdict == "salvaged"
    counts = {c.channel: (c.recorded, c.read) for c in outcome.channels}
    assert counts["/imu"][0] == 300
    assert sum(recorded - read for recorded, read in counts.values()) > 0


def test_memory_grows_with_a_chunk_not_with_the_file(tmp_path: Path, decode: Callable[..., Any], ros: Any) -> None:
    kind = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")]
    path = tmp_path / "long.mcap"
    rng = np.random.default_rng(0)
    with RecordingWriter(path, chunk_size=1024 * 1024, compression=CompressionType.LZ4) as writer:
        writer.add_ros_channel("/lidar", "sensor_msgs/msg/PointCloud2")
        for i in range(160):
            points = rng.integers(0, 2**30, (20_000, 4), dtype=np.int32).view(np.float32)
            writer.write("/lidar", ros.cloud(np.ascontiguousarray(points).view(kind).reshape(-1)), T0_NS + i * 10**8)
    size = path.stat().st_size
    assert size > 48 * 1024 * 1024
    config = DecodeConfig(row_group_bytes=2 * 1024 * 1024, buffer_bytes=4 * 1024 * 1024)
    arrow_before = pa.total_allocated_bytes()
    tracemalloc.start()
    outcome = decode(path, config).outcome
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.channels[0].decoded == 160
    # The local object store of the test reads a file whole to copy it, which is the largest part of this.
    largest = max(f.size_bytes for f in outcome.payload_files)
    assert peak < largest + 24 * 1024 * 1024
    assert pa.total_allocated_bytes() - arrow_before < 1024 * 1024


def test_a_task_decodes_from_the_bucket_and_is_not_done_twice(drive: Path, decode: Callable[..., Any]) -> None:
    result = decode(drive)
    objects = result.objects
    drop = _drop_of(result)
    objects.write(drop.uri, drive.read_bytes())
    task = DecodeTask(lambda: objects, LakePaths("s3://lake"), DecodeConfig(), "other")
    outcome = task(drop)
    assert outcome.object_sha256 == ids.merkle_root([bytes.fromhex(result.outcome.object_sha256)])
    assert [f.sha256 for f in outcome.payload_files] == [f.sha256 for f in result.outcome.payload_files]
    assert not {f.uri for f in outcome.payload_files} & {f.uri for f in result.outcome.payload_files}
    same = {"recipe": result.outcome.recipe, "payload_files": result.outcome.payload_files}
    assert replace(outcome, **same) == result.outcome
    folder = LakePaths("s3://lake").decoded("other", drop.drop_id)
    assert finished_outcome(objects, folder) == outcome
    objects.delete(drop.uri)
    assert task(drop) == outcome
    objects.delete(outcome.payload_files[0].uri)
    assert finished_outcome(objects, folder) is None
    missing = task(drop)
    assert (missing.verdict, missing.reason, missing.object_sha256) == ("rejected", "object_missing", None)


def _drop_of(result: Any) -> Any:
    from scenelake.contracts.drops import Drop

    key = "fleet/car/drive/object.mcap"
    size_bytes = result.outcome.size_bytes
    return Drop(
        result.outcome.drop_id, "landing", key, "v1", size_bytes, "e", T0_NS, "fleet", "car", "drive",
        ids.drive_id("fleet", "car", "drive"),
    )  # fmt: skip


def test_real_ros2_bags(real_data: Callable[[str], Path], decode: Callable[..., Any], tmp_path: Path) -> None:
    found = sorted(real_data("rosbag2_testbags").rglob("*.mcap"))
    assert len(found) == 14
    nbr_messages = 0
    for source in found:
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes())
        result = decode(path)
        assert result.outcome.verdict == "decoded", (source, result.outcome.problems)
        assert all(c.recorded == c.read == c.raw + c.decoded for c in result.outcome.channels)
        nbr_messages += len(result.index)
    assert nbr_messages > 500
