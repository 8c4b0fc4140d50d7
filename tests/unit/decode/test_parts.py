"""An object that several tasks read gives what one task would have given."""

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts import ids
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome
from scenelake.decode.config import DecodeConfig
from scenelake.decode.fetch import opened_object
from scenelake.decode.formats.blocks import Part, PlanContradictedError
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.sources import FileSource
from scenelake.decode.task import BlockRange, DecodeTask, PartOfDrop, SplitPlan

from .conftest import RECIPE, T0_NS, a_drop

MIB = 1024 * 1024
CONFIG = DecodeConfig(part_bytes=20_000)


@pytest.fixture
def drive(record: Callable[..., Path], ros: Any, jpeg: bytes) -> Path:
    channels = {"/camera": "sensor_msgs/msg/CompressedImage", "/imu": "sensor_msgs/msg/Imu"}
    sent: list[Any] = []
    for i in range(600):
        log_time_ns = T0_NS + i * 100_000_000
        sent.append(("/imu", ros.imu(log_time_ns), log_time_ns))
        if i % 5 == 0:
            sent.append(("/camera", ros.image(jpeg, log_time_ns), log_time_ns))
    return record(channels, sent)


def _task(root: Path, config: DecodeConfig = CONFIG) -> DecodeTask:
    return DecodeTask(partial(LocalObjects, root), LakePaths("s3://lake"), config, RECIPE)


def _decode(root: Path, path: Path, config: DecodeConfig) -> tuple[DropOutcome, int]:
    """What the job does with a large drop, without Spark."""
    objects = LocalObjects(root)
    drop = a_drop(path.stat().st_size)
    objects.write(drop.uri, path.read_bytes())
    task = _task(root, config)
    plan = task.plan(drop)
    assert isinstance(plan, SplitPlan)
    if len(plan.parts) == 1:
        return task(drop), 1
    nbr_blocks = -(-plan.size_bytes // ids.MERKLE_BLOCK_BYTES)
    object_sha256 = ids.merkle_root(task.hash_blocks(BlockRange(drop, plan.size_bytes, 0, nbr_blocks)))
    with opened_object(objects, drop) as (_, whole_sha256):
        assert object_sha256 == whole_sha256
    parts = [task.decode_part(PartOfDrop(drop, plan.size_bytes, object_sha256, p)) for p in reversed(plan.parts)]
    found = [p for p in reversed(parts) if p is not None]
    assert len(found) == len(plan.parts)
    return task.merge(plan, object_sha256, found), len(found)


def _rows(root: Path, outcome: DropOutcome, table: str) -> list[dict[str, Any]]:
    folder = LakePaths("s3://lake").decoded(outcome.recipe, outcome.drop_id)
    objects = LocalObjects(root)
    tables = [pq.read_table(pa.BufferReader(objects.read(uri))) for uri in outcome.files(folder, table)]
    rows = pa.concat_tables(tables).to_pylist()
    places = ("row_index", "decode_from_row", "payload_file")
    return sorted(({k: v for k, v in r.items() if k not in places} for r in rows), key=lambda r: r["sample_data_id"])


def test_parts_give_the_rows_of_the_whole(drive: Path, tmp_path: Path) -> None:
    whole, nbr_parts = _decode(tmp_path / "whole", drive, DecodeConfig())
    assert nbr_parts == 1
    split, nbr_parts = _decode(tmp_path / "split", drive, CONFIG)
    assert nbr_parts > 3
    for name in ("object_sha256", "channels", "problems", "verdict", "start_ns", "exclusive_end_ns", "metadata"):
        assert getattr(split, name) == getattr(whole, name), name
    assert DropOutcome.from_json(split.to_json()) == split
    for table in ("message_index", "imu"):
        assert _rows(tmp_path / "split", split, table) == _rows(tmp_path / "whole", whole, table)
    images = {}
    for outcome, root in ((whole, tmp_path / "whole"), (split, tmp_path / "split")):
        tables = [pq.read_table(pa.BufferReader(LocalObjects(root).read(f.uri))) for f in outcome.payload_files]
        images[root.name] = sorted(pa.concat_tables(tables).to_pylist(), key=lambda r: r["sample_data_id"])
    assert images["split"] == images["whole"]
    assert len(images["whole"]) == 120


def test_the_index_of_every_part_leads_to_its_rows(drive: Path, tmp_path: Path) -> None:
    outcome, _ = _decode(tmp_path, drive, CONFIG)
    objects = LocalObjects(tmp_path)
    folder = LakePaths("s3://lake").decoded(outcome.recipe, outcome.drop_id)
    nbr_rows = 0
    for uri in outcome.files(folder, "message_index"):
        for row in pq.read_table(pa.BufferReader(objects.read(uri))).to_pylist():
            payload = pq.read_table(pa.BufferReader(objects.read(row["payload_file"])), columns=["sample_data_id"])
            assert payload["sample_data_id"][row["row_index"]].as_py() == row["sample_data_id"]
            nbr_rows += 1
    assert nbr_rows == 720


def test_a_part_that_was_decoded_before_is_found(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = _decode(tmp_path, drive, CONFIG)
    monkeypatch.setattr("scenelake.decode.task.decode_part", lambda *_, **__: pytest.fail("decoded again"))
    LocalObjects(tmp_path).delete(f"{LakePaths('s3://lake').decoded(RECIPE, first.drop_id)}/outcome.json")
    again, _ = _decode(tmp_path, drive, CONFIG)
    assert again == first


def test_a_part_whose_file_is_gone_is_decoded_again(drive: Path, tmp_path: Path) -> None:
    first, _ = _decode(tmp_path, drive, CONFIG)
    objects = LocalObjects(tmp_path)
    folder = LakePaths("s3://lake").decoded(RECIPE, first.drop_id)
    gone = first.files(folder, "imu")[1]
    content = objects.read(gone)
    objects.delete(gone)
    objects.delete(f"{folder}/outcome.json")
    again, _ = _decode(tmp_path, drive, CONFIG)
    assert again == first
    assert objects.read(gone) == content


def test_a_damaged_chunk_is_lost_from_its_part_alone(drive: Path, tmp_path: Path) -> None:
    data = bytearray(drive.read_bytes())
    with FileSource(drive) as source:
        parts = McapReader(source, max_chunk_bytes=MIB, max_record_bytes=MIB).parts(CONFIG.part_bytes)
    at = parts[2].start_byte
    (length,) = struct.unpack_from("<Q", data, at + 1)
    data[at + 9 + length - 5] ^= 1
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(bytes(data))
    whole, _ = _decode(tmp_path / "whole", damaged, DecodeConfig())
    split, nbr_parts = _decode(tmp_path / "split", damaged, CONFIG)
    assert nbr_parts == len(parts)
    assert (split.verdict, split.problems, split.channels) == ("salvaged", whole.problems, whole.channels)
    assert split.problems[0].start_byte == at
    assert sum(c.recorded - c.read for c in split.channels) > 0


def _read(path: Path, parts: list[Part]) -> int:
    nbr_messages = 0
    for part in parts:
        with FileSource(path) as source:
            reader = McapReader(source, max_chunk_bytes=MIB, max_record_bytes=MIB)
            nbr_messages += sum(len(block) for block in reader.blocks(part))
    return nbr_messages


def test_parts_that_do_not_meet_are_refused(drive: Path) -> None:
    with FileSource(drive) as source:
        parts = list(McapReader(source, max_chunk_bytes=MIB, max_record_bytes=MIB).parts(CONFIG.part_bytes))
    assert _read(drive, parts) == 720
    assert [p.start_byte for p in parts[1:]] == [p.exclusive_end_byte for p in parts[:-1]]
    for shift in (-9, -1, 1, 9):
        moved = parts[1].start_byte + shift
        torn = [replace(parts[0], exclusive_end_byte=moved), replace(parts[1], start_byte=moved), *parts[2:]]
        with pytest.raises(PlanContradictedError):
            _read(drive, torn)


def test_an_index_that_lies_costs_no_message(drive: Path, tmp_path: Path) -> None:
    """A chunk start inside another chunk: the object is read whole."""
    root = tmp_path / "objects"
    objects, drop = LocalObjects(root), a_drop(drive.stat().st_size)
    objects.write(drop.uri, drive.read_bytes())
    task = _task(root)
    plan = task.plan(drop)
    assert isinstance(plan, SplitPlan)
    lie = replace(plan.parts[0], exclusive_end_byte=plan.parts[0].exclusive_end_byte - 7)
    assert task.decode_part(PartOfDrop(drop, plan.size_bytes, "ab" * 32, lie)) is None
