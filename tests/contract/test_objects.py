"""The contract of object storage, held to by S3 and its twin on a local folder."""

import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from moto import mock_aws

from scenelake.adapters.objects import LocalObjects, Objects, S3Objects, read_json, read_table, write_json, write_table

URI = "s3://bucket/folder/name.bin"


@pytest.fixture(params=["s3", "local"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    if request.param == "local":
        yield LocalObjects(tmp_path)
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        yield S3Objects(client)


def test_what_is_written_is_read_and_a_second_write_replaces_it(objects: Objects) -> None:
    objects.write(URI, b"first")
    objects.write(URI, b"second")
    assert objects.read(URI) == b"second"
    assert objects.head(URI).size_bytes == 6
    assert objects.head(URI).uri == URI


def test_an_empty_object_is_an_object(objects: Objects) -> None:
    objects.write(URI, b"")
    assert objects.read(URI) == b""
    assert objects.head(URI).size_bytes == 0


@pytest.mark.parametrize(
    ("offset", "length", "expected"), [(0, 3, b"012"), (4, 2, b"45"), (8, 50, b"89"), (0, 0, b""), (3, -1, b"")]
)
def test_a_range_is_the_bytes_that_are_there(objects: Objects, offset: int, length: int, expected: bytes) -> None:
    objects.write(URI, b"0123456789")
    assert objects.read_range(URI, offset, length) == expected


def test_what_is_not_there_says_so(objects: Objects) -> None:
    for call in (
        lambda: objects.read(URI),
        lambda: objects.read_range(URI, 0, 1),
        lambda: objects.head(URI),
    ):
        with pytest.raises(FileNotFoundError):
            call()
    objects.delete(URI)


def test_a_conditional_write_has_one_winner(objects: Objects) -> None:
    assert objects.write_if_absent(URI, b"one")
    assert not objects.write_if_absent(URI, b"two")
    assert objects.read(URI) == b"one"
    objects.delete(URI)
    assert objects.write_if_absent(URI, b"three")


def test_a_listing_follows_the_prefix_in_order(objects: Objects) -> None:
    for name in ("a/2", "a/1", "ab/3", "b/4"):
        objects.write(f"s3://bucket/{name}", name.encode())
    assert [i.uri for i in objects.list("s3://bucket/a/")] == ["s3://bucket/a/1", "s3://bucket/a/2"]
    assert [i.uri for i in objects.list("s3://bucket/a")] == ["s3://bucket/a/1", "s3://bucket/a/2", "s3://bucket/ab/3"]
    assert [i.size_bytes for i in objects.list("s3://bucket/b")] == [3]
    assert list(objects.list("s3://bucket/nothing")) == []


def test_a_file_is_uploaded_whole(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(b"x" * 100_000)
    objects.write_file(URI, path)
    assert objects.read(URI) == path.read_bytes()


def test_documents_and_tables_come_back_equal(objects: Objects) -> None:
    write_json(objects, URI, {"b": [1, None], "a": "ä"})
    assert read_json(objects, URI) == {"a": "ä", "b": [1, None]}
    table = pa.table({"x": [1, 2], "y": [["a"], None]})
    assert write_table(objects, URI, table) == objects.read(URI)
    assert read_table(objects, URI) == table


def test_the_local_twin_has_one_winner_among_threads(tmp_path: Path) -> None:
    """S3 promises this itself; the stand-in's patch is tested where it lives."""
    objects = LocalObjects(tmp_path)
    won: list[int] = []
    barrier = threading.Barrier(8)

    def write(i: int) -> None:
        barrier.wait()
        if objects.write_if_absent(URI, b"%d" % i):
            won.append(i)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert objects.read(URI) == b"%d" % won[0]


def test_folders_are_named_once_and_without_what_is_in_them(objects: Objects) -> None:
    for key in ("b/x/1", "b/x/2/3", "b/y/1", "b/file", "bb/z/1"):
        objects.write(f"s3://bucket/{key}", b"")
    assert list(objects.folders("s3://bucket/b/")) == ["x", "y"]
    assert list(objects.folders("s3://bucket/none/")) == []
