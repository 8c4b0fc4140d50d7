"""Rows by number, by row group and column, and nothing else fetched."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.adapters.objects import LocalObjects
from scenelake.adapters.payload_rows import PayloadRows
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.tables import GOLD
from scenelake.decode.payload_files import payload_writer

URI = "s3://lake/gold/camera_frame/a.parquet"
PER_GROUP, NBR_ROWS = 7, 25
IMAGE_BYTES = 200_000


class CountingObjects(LocalObjects):
    """Counts the bytes that are asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read_bytes = 0

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        self.read_bytes += length
        return super().read_range(uri, offset, length, version_id=version_id)


def image(row: int) -> bytes:
    return row.to_bytes(2, "big") * (IMAGE_BYTES // 2)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> CountingObjects:
    found = CountingObjects(tmp_path_factory.mktemp("lake"))
    rows = [{"sample_data_id": f"m{i}", "timestamp_ns": i, "image": image(i)} for i in range(NBR_ROWS)]
    sink = pa.BufferOutputStream()
    with payload_writer(sink, "camera_frame") as writer:
        for start in range(0, NBR_ROWS, PER_GROUP):
            writer.write_table(pa.Table.from_pylist(rows[start : start + PER_GROUP], GOLD["camera_frame"].schema))
    found.write(URI, sink.getvalue().to_pybytes())
    return found


@settings(deadline=None)
@given(wanted=st.lists(st.integers(0, NBR_ROWS - 1), max_size=40), cache_bytes=st.sampled_from([0, 10**9]))
def test_rows_come_in_the_order_asked_for(objects: CountingObjects, wanted: list[int], cache_bytes: int) -> None:
    found = PayloadRows(objects, cache_bytes).take(URI, wanted, ["image", "sample_data_id"])
    assert found.column_names == ["image", "sample_data_id"]
    assert found["sample_data_id"].to_pylist() == [f"m{i}" for i in wanted]
    assert found["image"].to_pylist() == [image(i) for i in wanted]


def test_only_the_row_groups_and_columns_asked_for_are_fetched(objects: CountingObjects) -> None:
    reader = PayloadRows(objects)
    size = objects.head(URI).size_bytes
    objects.read_bytes = 0
    reader.take(URI, [1], ["sample_data_id", "timestamp_ns"])
    assert objects.read_bytes < 80_000, "the images were fetched"
    reader.take(URI, [8, 9], ["image"])
    assert objects.read_bytes < 80_000 + 1.1 * PER_GROUP * IMAGE_BYTES < size / 2
    before = objects.read_bytes
    reader.take(URI, [10, 7], ["image"])
    assert objects.read_bytes == before, "the row group was not kept"


def test_the_cache_is_bounded(objects: CountingObjects) -> None:
    reader = PayloadRows(objects, cache_bytes=2 * PER_GROUP * IMAGE_BYTES)
    for row in range(NBR_ROWS):
        reader.take(URI, [row], ["image"])
    objects.read_bytes = 0
    reader.take(URI, [0], ["image"])
    assert objects.read_bytes > PER_GROUP * IMAGE_BYTES, "the first group should have left the cache"


def test_places_in_the_file_are_known(objects: CountingObjects) -> None:
    reader = PayloadRows(objects)
    assert reader.nbr_rows(URI) == NBR_ROWS
    assert reader.group_of(URI, np.array([-1, 0, 6, 7, 24, 25])).tolist() == [-1, 0, 0, 1, 3, -1]


def test_what_is_not_there_is_said(objects: CountingObjects) -> None:
    reader = PayloadRows(objects)
    with pytest.raises(IndexError, match="row 25 of 25"):
        reader.take(URI, [3, 25], ["image"])
    with pytest.raises(FileNotFoundError):
        reader.take("s3://lake/none.parquet", [0], ["image"])
    assert reader.take(URI, [0], ["no_such"]).column_names == []


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet" * 20, b"PAR1" + b"\xff" * 40 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_bad_input(tmp_path: Path, data: bytes) -> None:
    objects = LocalObjects(tmp_path)
    objects.write(URI, data)
    with pytest.raises(BadInputError, match=r"a\.parquet") as raised:
        PayloadRows(objects).take(URI, [0], ["image"])
    assert raised.value.reason == "parquet_invalid"
