"""What keeps decode honest and small: whole ranges, whole files, buffers that empty by size."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenelake.adapters.objects import LocalObjects, ObjectInfo
from scenelake.contracts.errors import TransientError
from scenelake.contracts.stages import DropOutcome, DropVerdict, PayloadFile
from scenelake.decode import fetch, index_rows
from scenelake.decode.fetch import opened_object
from scenelake.decode.index_rows import IndexRows
from scenelake.decode.small_tables import SmallTables, written_schema
from scenelake.decode.task import finished_outcome

from .conftest import T0_NS, a_drop

PAYLOAD = "s3://lake/payload"


class ShortReads(LocalObjects):
    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        return super().read(uri, version_id=version_id)[:-1]

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        return super().read(uri)[offset : offset + length - 1]

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        return ObjectInfo(uri, 4, "local")


def test_a_range_that_comes_back_short_is_no_object(tmp_path: Path) -> None:
    objects, drop = ShortReads(tmp_path / "objects"), a_drop(4)
    objects.write(drop.uri, b"data")
    with pytest.raises(TransientError, match="3 of 4 bytes"), opened_object(objects, drop):
        pass


@pytest.mark.parametrize("size_bytes", [0, 1, fetch.MERKLE_BLOCK_BYTES + 1, 3 * fetch.MERKLE_BLOCK_BYTES])
def test_an_object_is_the_same_held_or_read_twice(
    tmp_path: Path, size_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, drop = LocalObjects(tmp_path / "objects"), a_drop(size_bytes)
    data = hashlib.sha256(b"object").digest() * (size_bytes // 32 + 1)
    objects.write(drop.uri, data[:size_bytes])
    found = []
    for held_bytes in (fetch.HELD_BYTES, 0):
        monkeypatch.setattr(fetch, "HELD_BYTES", held_bytes)
        with opened_object(objects, drop) as (source, object_sha256):
            found.append((object_sha256, bytes(source.read(0, size_bytes + 1))))
    assert found[0] == found[1]
    assert found[0][1] == data[:size_bytes]


@pytest.mark.parametrize(("size_bytes", "is_done"), [(7, True), (8, False)])
def test_a_payload_file_of_another_size_is_decoded_again(tmp_path: Path, size_bytes: int, is_done: bool) -> None:
    objects = LocalObjects(tmp_path)
    objects.write(PAYLOAD, b"payload")
    file = PayloadFile("camera_frame", PAYLOAD, "2024-05-01", 0, 1, size_bytes, "h")
    outcome = DropOutcome(
        "drop", DropVerdict.DECODED, None, None, "mcap", "sha", 1, "r", 0, 1, payload_files=(file,)
    )  # fmt: skip
    objects.write("s3://lake/drop/outcome.json", json.dumps(outcome.to_json()).encode())
    assert (finished_outcome(objects, "s3://lake/drop") == outcome) == is_done


@pytest.mark.parametrize(("text_bytes", "nbr_groups"), [(10, 1), (500, 2), (1000, 4)])
def test_small_tables_empty_their_buffers_by_size_too(tmp_path: Path, text_bytes: int, nbr_groups: int) -> None:
    """A few messages with long lists fill memory long before their number does."""
    objects = LocalObjects(tmp_path / "objects")
    tables = SmallTables("s3://lake/drop", 1000, 1000, objects, tmp_path)
    for i in range(4):
        row = {"sample_data_id": str(i), "channel": "/c", "timestamp_ns": i, "text": "x" * text_bytes}
        assert tables.append("language", pa.RecordBatch.from_pylist([row], written_schema("language"))) == i
    assert tables.close(always=()) == ("language",)
    path = tmp_path / "objects" / "lake" / "drop" / "language.parquet"
    assert pq.read_metadata(path).num_row_groups == nbr_groups
    assert pq.read_table(path)["sample_data_id"].to_pylist() == ["0", "1", "2", "3"]


def test_rows_that_come_one_by_one_wait_together(tmp_path: Path) -> None:
    """A file of 65,536 channels gives as many batches of one row, which take 100 times as much as their rows."""
    objects = LocalObjects(tmp_path / "objects")
    schema = written_schema("language")
    rows = [
        {"sample_data_id": str(i), "channel": f"/c{i % 7}", "timestamp_ns": i, "text": f"t{i}"} for i in range(8000)
    ]
    files, taken = [], []
    for size in (1, len(rows)):
        tables = SmallTables(f"s3://lake/{size}", len(rows) + 1, 10**9, objects, tmp_path)
        before = pa.total_allocated_bytes()
        for start in range(0, len(rows), size):
            tables.append("language", pa.RecordBatch.from_pylist(rows[start : start + size], schema))
        taken.append(pa.total_allocated_bytes() - before)
        tables.close(always=())
        files.append((tmp_path / "objects" / "lake" / str(size) / "language.parquet").read_bytes())
    assert files[0] == files[1]
    assert taken[0] < taken[1] + 4 * 1024**2


def test_the_index_lets_go_of_channels_that_are_many(
    decode: Callable[..., Any], record: Callable[..., Path], ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    taken = IndexRows.add

    def counted(self: IndexRows, *args: Any) -> None:
        taken(self, *args)
        waited.append(len(self._channels))

    monkeypatch.setattr(IndexRows, "add", counted)
    path = record(
        {f"/imu{i}": "sensor_msgs/msg/Imu" for i in range(50)}, [(f"/imu{i}", ros.imu(), T0_NS + i) for i in range(50)]
    )
    found = []
    for max_pieces in (index_rows.MAX_PIECES, 20):
        monkeypatch.setattr(index_rows, "MAX_PIECES", max_pieces)
        waited.clear()
        rows = decode(path).table("message_index").to_pylist()
        found.append((max(waited), sorted(rows, key=lambda row: row["sample_data_id"])))
    assert [most for most, _ in found] == [50, 19]
    assert found[0][1] == found[1][1]
