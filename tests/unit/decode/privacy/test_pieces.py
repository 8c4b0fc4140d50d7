"""A recording decoded with privacy on: what trainers see, what is kept apart, and what is told of it."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
from blake3 import blake3

from scenelake.contracts.tables import decoded_schema
from scenelake.decode.config import DecodeConfig
from scenelake.decode.privacy import pieces
from scenelake.decode.privacy.examine import Guard

from .conftest import scene
from .test_frames import jpeg

T0_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
RED, PLAIN = jpeg(scene()), jpeg(scene(is_red=False))
TORN = b"\xff\xd8\xff\xdb" + bytes(200)
"""A message of a camera without a frame header: kept as bytes."""
CUT = RED[:300]
CHANNELS = {
    "/camera/front": "sensor_msgs/msg/CompressedImage",
    "/camera/rear": "sensor_msgs/msg/CompressedImage",
    "/imu": "sensor_msgs/msg/Imu",
    "/odd": "std_msgs/msg/Empty",
    "/image_status": "std_msgs/msg/Empty",
}
FRONT = (RED, PLAIN, RED, CUT, TORN)


@pytest.fixture
def drive(record: Callable[..., Path], ros: Any) -> Path:
    sent = []
    for i in range(20):
        at = T0_NS + i * STEP_NS
        sent.append(("/imu", ros.imu(at), at))
        sent.append(("/camera/front", ros.image(FRONT[i % len(FRONT)], at), at))
        sent.append(("/camera/rear", ros.image(RED, at), at))
    sent.append(("/odd", ros.of("std_msgs/msg/Empty"), T0_NS))
    sent.append(("/image_status", ros.of("std_msgs/msg/Empty"), T0_NS))
    return record(CHANNELS, sent, chunk_size=64 * 1024)


def images(result: Any, channel: str) -> list[bytes | None]:
    rows = [r for r in result.index if r["channel"] == channel]
    return [result.payload(r).get("image") for r in rows]


def redness(data: bytes) -> int:
    picture = simplejpeg.decode_jpeg(data).astype(int)
    return int((picture[..., 0] - picture[..., 1]).max())


def test_trainers_see_no_frame_as_it_was_where_something_was_found(
    drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard]
) -> None:
    result = decode(drive, guard=guard())
    front = images(result, "/camera/front")
    assert [front[i] for i in range(1, 20, 5)] == [PLAIN] * 4
    for i in (0, 2):
        assert redness(front[i]) < 60 < redness(RED)
    assert len({*front[0::5], *front[2::5]}) == 1
    everything = b"".join(data for uri, data in result.files().items() if uri.startswith("s3://lake/gold"))
    assert PLAIN in everything
    for original in (RED, TORN):
        assert original not in everything


def test_withheld_messages_are_told_and_hold_nothing(
    drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard]
) -> None:
    before, after = decode(drive), decode(drive, guard=guard())
    assert [r["sample_data_id"] for r in after.index] == [r["sample_data_id"] for r in before.index]
    same = ("timestamp_ns", "sensor_time_ns", "payload_bytes", "payload_hash", "modality", "schema_name")
    assert [[r[n] for n in same] for r in after.index] == [[r[n] for n in same] for r in before.index]
    front = [r for r in after.index if r["channel"] == "/camera/front"]
    cut, torn = front[3], front[4]
    assert (cut["status"], cut["reason"], cut["payload_table"]) == ("raw", "privacy_withheld", "raw_message")
    assert (torn["status"], torn["reason"]) == ("undecodable", "image_header_invalid")
    for row in (cut, torn):
        assert after.payload(row)["data"] is None
    (count,) = [c for c in after.outcome.channels if c.channel == "/camera/front"]
    assert (count.decoded, count.raw, count.undecodable, count.read) == (12, 4, 4, 20)


def test_every_change_is_a_row_of_redaction(
    drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard]
) -> None:
    held = guard(method="fill")
    result = decode(drive, guard=held)
    assert "redaction" in result.outcome.tables
    table = result.table("redaction")
    assert table.schema.equals(decoded_schema("redaction"))
    rows = table.to_pylist()
    found = Counter((r["channel"], r["redaction_status"], r["reason"]) for r in rows)
    assert found == {
        ("/camera/front", "redacted", None): 8,
        ("/camera/front", "withheld", "image_undecodable"): 4,
        ("/camera/front", "withheld", "message_not_read"): 4,
        ("/camera/rear", "redacted", None): 20,
        ("/image_status", "withheld", "message_not_read"): 1,
    }
    index = {r["sample_data_id"]: r for r in result.index}
    for row in rows:
        assert row["timestamp_ns"] == index[row["sample_data_id"]]["timestamp_ns"]
        assert row["detector_sha256"] == held.policy.sha256
    (first,) = [r for r in rows if r["channel"] == "/camera/front" and r["timestamp_ns"] == T0_NS]
    assert first["nbr_regions"] == 4
    assert first["region_px"][:4] == [48, 32, 64, 48]
    assert first["region_label"] == [7] * 4
    assert first["redaction_method"] == "fill"
    assert all(0.3 < score < 1 for score in first["region_score"])
    assert first["image_hash"] == blake3(RED).hexdigest()[:32]


def test_statistics_are_of_what_is_seen(drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard]) -> None:
    before, after = (decode(drive, guard=g).table("image_statistic").to_pylist() for g in (None, guard()))
    prints = [{r["fingerprint"] for r in rows if r["channel"] == "/camera/rear"} for rows in (before, after)]
    assert len(prints[0]) == len(prints[1]) == 1
    assert prints[0].isdisjoint(prints[1])
    assert {r["image_problem"] for r in after} == {None}


def test_originals_are_discarded_or_kept_apart(
    drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard]
) -> None:
    plain, discarded, kept = (decode(drive, guard=g) for g in (None, guard(), guard(originals="restricted")))
    assert not [uri for uri in discarded.files() if "restricted" in uri]
    apart = {uri for uri in kept.files() if uri.startswith("s3://lake/restricted/")}
    assert set(kept.files()) - apart == set(discarded.files())
    assert not apart & {f.uri for f in kept.outcome.payload_files}
    found = {}
    for uri in apart:
        for row in pq.read_table(pa.BufferReader(kept.objects.read(uri))).to_pylist():
            found[row["sample_data_id"]] = row.get("image") or row.get("data") or b""
    before = {r["sample_data_id"]: plain.payload(r) for r in plain.index if r["payload_table"] != "imu"}
    changed = [r["sample_data_id"] for r in kept.table("redaction").to_pylist()]
    assert found == {i: before[i].get("image") or before[i]["data"] for i in changed}


def test_a_policy_may_let_pass_what_cannot_be_examined(
    drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard]
) -> None:
    plain, passed = decode(drive), decode(drive, guard=guard(unexamined="pass", originals="restricted"))
    front = images(passed, "/camera/front")
    assert front[3] == CUT
    assert redness(front[0]) < 60
    assert [r["status"] for r in passed.index] == [r["status"] for r in plain.index]
    found = Counter((r["redaction_status"], r["reason"]) for r in passed.table("redaction").to_pylist())
    assert found[("passed", "image_undecodable")] == 4
    assert found[("passed", "message_not_read")] == 5


def test_channels_that_the_policy_leaves_out_stay_as_recorded(
    drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard]
) -> None:
    result = decode(drive, guard=guard(channels=("/camera/front*",)))
    assert images(result, "/camera/rear") == [RED] * 20
    assert images(result, "/camera/front")[0] != RED


def test_the_same_object_gives_the_same_bytes_whatever_its_portions(
    drive: Path, decode: Callable[..., Any], guard: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = guard(originals="restricted")
    first, again = decode(drive, guard=kept), decode(drive, guard=kept)
    assert first.files() == again.files()
    monkeypatch.setattr(pieces, "_PORTION_BYTES", 1)
    monkeypatch.setattr(pieces, "_MAX_ROWS", 1)
    portions = decode(drive, guard=kept)
    for name in ("message_index", "redaction"):
        assert portions.table(name).equals(first.table(name))
    for row in portions.index:
        if row["payload_table"] in ("camera_frame", "raw_message"):
            portions.payload(row)


def test_a_camera_among_depth_and_radar_is_the_only_one_examined(
    record: Callable[..., Path], ros: Any, decode: Callable[..., Any], guard: Callable[..., Guard]
) -> None:
    topics = {"/radar/image": "sensor_msgs/msg/CompressedImage", "/depth": "sensor_msgs/msg/Image"}
    depth = np.arange(48, dtype=np.uint16).tobytes()
    of_depth = ros.of("sensor_msgs/msg/Image", ros.header(), 6, 8, "16UC1", 0, 16, np.frombuffer(depth, np.uint8))
    path = record(topics, [("/radar/image", ros.image(RED), T0_NS), ("/depth", of_depth, T0_NS)])
    result = decode(path, guard=guard())
    assert {r["payload_table"] for r in result.index} == {"radar_sweep", "depth_frame"}
    assert [i for i in images(result, "/radar/image") + images(result, "/depth")] == [RED, depth]
    assert "redaction" not in result.outcome.tables


def test_without_a_guard_nothing_is_new(drive: Path, decode: Callable[..., Any]) -> None:
    result = decode(drive, DecodeConfig())
    assert images(result, "/camera/front")[0] == RED
    assert "redaction" not in json.dumps(result.outcome.to_json())
