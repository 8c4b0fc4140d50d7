"""Messages as rows: each once, byte for byte, whichever way they are read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.modalities import SLOTTED_TABLES
from scenelake.decode import message_columns
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Block, Channel, Definition
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.sources import FileSource
from scenelake.decode.message_columns import MessageColumns, Payload, Selection, message_bytes, message_schema

T0_NS = 1_700_000_000_000_000_000


def block_of(spans: list[tuple[int, int]], body: bytes, log_time_ns: list[int] | None = None) -> Block:
    nbr = len(spans)
    times = np.array(log_time_ns if log_time_ns is not None else range(nbr), np.uint64)
    positions = np.arange(nbr, dtype=np.int64)
    return Block(
        body=memoryview(body),
        definitions={i: Definition(Channel(i, 0, f"/{i}", "text", {})) for i in (0, 1)},
        channel_id=(positions % 2).astype(np.int32),
        sequence=positions.astype(np.uint32),
        log_time_ns=times,
        publish_time_ns=times,
        chunk_offset_bytes=positions,
        message_offset_bytes=positions,
        start=np.array([s for s, _ in spans], np.int64),
        exclusive_end=np.array([e for _, e in spans], np.int64),
    )


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda s: (min(s), max(s))), max_size=12),
    st.booleans(),
)
def test_bytes_come_out_as_they_lie_in_order_or_not(body: bytes, spans: list[tuple[int, int]], is_sorted: bool) -> None:
    spans = [(min(s, len(body)), min(e, len(body))) for s, e in (sorted(spans) if is_sorted else spans)]
    block = block_of(spans, body)
    rows = np.arange(len(spans))[::2]
    found = message_bytes(block, rows)
    assert found.type == pa.binary()
    assert found.to_pylist() == [body[s:e] for s, e in spans[::2]]


@pytest.mark.parametrize("payload", list(Payload))
def test_large_blocks_come_in_portions_and_none_is_empty(payload: Payload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_columns, "MAX_BATCH_BYTES", 10)
    block = block_of([(i * 4, i * 4 + 4) for i in range(10)], bytes(range(40)))
    batches = list(MessageColumns("u", payload, Selection()).batches(block))
    assert len(batches) >= 4
    assert all(b.num_rows and b.schema == message_schema(payload) for b in batches)
    assert sorted(n for b in batches for n in b["sequence"].to_pylist()) == list(range(10))


def test_topics_and_times_select() -> None:
    block = block_of([(0, 1)] * 6, b"x", [0, 5, 10, 15, 2**63, 2**64 - 1])
    assert Selection().rows(block).tolist() == [0, 1, 2, 3, 4, 5]
    assert Selection(topics=frozenset(("/1", "/no"))).rows(block).tolist() == [1, 3, 5]
    assert Selection(start_ns=5, exclusive_end_ns=15).rows(block).tolist() == [1, 2]
    assert Selection(start_ns=0, exclusive_end_ns=0).rows(block).tolist() == []
    assert list(MessageColumns("u", Payload.NONE, Selection(topics=frozenset())).batches(block)) == []


def test_a_time_beyond_int64_is_null() -> None:
    (batch,) = MessageColumns("u", Payload.NONE, Selection()).batches(block_of([(0, 0)] * 2, b"", [7, 2**63]))
    assert batch["log_time_ns"].to_pylist() == [7, None]
    assert batch["data"].null_count == 2


DECODED_AS = {"calibrated_sensor": "calibration"}
"""Gold makes the first of the second."""

CHANNELS = {
    "/imu": "sensor_msgs/msg/Imu",
    "/image": "sensor_msgs/msg/CompressedImage",
    "/points": "sensor_msgs/msg/PointCloud2",
    "/camera_info": "sensor_msgs/msg/CameraInfo",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/colour": "std_msgs/msg/ColorRGBA",
}


@pytest.fixture
def path(record, ros, jpeg: bytes) -> Path:
    """All kinds of payload; a message with two rows and one with none."""
    points = np.zeros(7, np.dtype({"names": ["x", "y", "z"], "formats": ["<f4"] * 3, "offsets": [0, 4, 8]}))
    points["x"] = np.arange(7)
    transform = ros.of("geometry_msgs/msg/Transform", ros.vector(1.0, 2.0, 3.0), ros.quaternion(0.0, 0.0, 0.0, 1.0))
    stamped = [ros.of("geometry_msgs/msg/TransformStamped", ros.header(), child, transform) for child in "ab"]
    region = ros.of("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    k, d, r, p = np.arange(9.0), np.arange(5.0), np.zeros(9), np.zeros(12)
    camera_info = ros.of("sensor_msgs/msg/CameraInfo", ros.header(), 32, 48, "plumb_bob", d, k, r, p, 0, 0, region)
    sent = [("/imu", ros.imu(T0_NS + i), T0_NS + i) for i in range(20)]
    sent += [("/image", ros.image(jpeg, T0_NS + i), T0_NS + i) for i in range(3)]
    sent += [("/points", ros.cloud(points, T0_NS + i), T0_NS + i) for i in range(2)]
    sent += [("/tf", ros.of("tf2_msgs/msg/TFMessage", stamped), T0_NS)]
    sent += [("/tf", ros.of("tf2_msgs/msg/TFMessage", []), T0_NS + 1)]
    sent += [("/camera_info", camera_info, T0_NS)]
    sent += [("/colour", ros.of("std_msgs/msg/ColorRGBA", 1.0, 0.5, 0.0, 1.0), T0_NS)]
    return record(CHANNELS, sent)


def read(path: Path, payload: Payload) -> list[dict]:
    columns = MessageColumns("u", payload, Selection())
    with FileSource(path) as source:
        batches = [b for block in open_reader(source, DecodeConfig()).blocks() for b in columns.batches(block)]
    rows = pa.Table.from_batches(batches).to_pylist()
    return sorted(rows, key=lambda r: (r["chunk_offset_bytes"], r["message_offset_bytes"]))


def test_decoded_rows_are_those_that_decode_writes(path: Path, decode) -> None:
    result = decode(path)
    rows = read(path, Payload.DECODED)
    assert len(rows) == len(result.index) == 29
    seen = set()
    for row, index in zip(rows, result.index, strict=True):
        same = ("channel", "status", "reason", "modality", "schema_name", "log_time_ns", "chunk_offset_bytes")
        assert [row[name] for name in same] == [index[name] for name in same]
        assert (row["sensor_time_ns"], row["frame_id"]) == (index["sensor_time_ns"], index["frame_id"])
        filled = [table for table in message_columns.TABLES if row[table] is not None]
        assert filled == (
            [] if row["status"] == "raw" else [DECODED_AS.get(index["payload_table"], index["payload_table"])]
        )
        for table in filled[: index["payload_table"] in SLOTTED_TABLES]:
            written = result.payload(index)
            (found,) = row[table]
            assert found == {name: written[name] for name in found}
            seen.add(table)
        if row["status"] == "raw":
            assert row["data"] == result.payload(index)["data"]
            seen.add("raw_message")
    assert seen == {"camera_frame", "lidar_sweep", "raw_message"}
    for table in ("imu", "calibration"):
        found = [row[table][0] for row in rows if row[table]]
        assert found == [{k: r[k] for k in found[0]} for r in result.table(table).to_pylist()]
    assert [len(row["transform"]) for row in rows if row["channel"] == "/tf"] == [2, 0]
    assert [t["child_frame_id"] for row in rows for t in row["transform"] or ()] == ["a", "b"]


def test_every_way_of_reading_has_the_same_messages(path: Path) -> None:
    plain, with_bytes, decoded = (read(path, payload) for payload in Payload)
    names = [name for name in plain[0] if name != "data"]
    for rows in (with_bytes, decoded):
        assert [[row[n] for n in names] for row in rows] == [[row[n] for n in names] for row in plain]
    assert all(len(row["data"]) == row["payload_bytes"] for row in with_bytes)
