"""Recordings on disk and in S3 are found alike, and a person is told what S3 minds."""

import builtins
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from mcap.writer import Writer
from moto import mock_aws

from scenelake.adapters.recordings import Recordings
from scenelake.cli.inspect import inspect_recording
from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.runtime.settings import Settings

NAMES = ("run/1.mcap", "run/2.mcap", "run/deep/3.mcap", "run/notes.txt", "running.mcap")
SETTINGS = Settings(home=Path())


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("one") / "a.mcap"
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=100)
        writer.start()
        channel = writer.register_channel("/a", "json", 0)
        for i in range(100):
            writer.add_message(channel, i, b"{}", i)
        writer.finish()
    return path.read_bytes()


@pytest.fixture
def disk(tmp_path: Path, content: bytes) -> str:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content if name.endswith("mcap") else b"notes")
    return str(tmp_path)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        client = boto3.client("s3", region_name=SETTINGS.region)
        where = {"LocationConstraint": SETTINGS.region}
        client.create_bucket(Bucket="landing", CreateBucketConfiguration=where)
        client.put_bucket_versioning(Bucket="landing", VersioningConfiguration={"Status": "Enabled"})
        for name in NAMES:
            client.put_object(Bucket="landing", Key=name, Body=content if name.endswith("mcap") else b"notes")
        yield "s3://landing"


@pytest.fixture(params=["disk", "bucket"])
def root(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("run/1.mcap", ["run/1.mcap"]),
        ("run", ["run/1.mcap", "run/2.mcap", "run/deep/3.mcap", "run/notes.txt"]),
        ("run/", ["run/1.mcap", "run/2.mcap", "run/deep/3.mcap", "run/notes.txt"]),
        ("", list(NAMES)),
        ("run/[12].mcap", ["run/1.mcap", "run/2.mcap"]),
        ("r*/?.mcap", ["run/1.mcap", "run/2.mcap"]),
    ],
)
def test_files_folders_and_patterns(root: str, location: str, expected: list[str]) -> None:
    found = Recordings(SETTINGS).find(f"{root}/{location}")
    assert [each.uri for each in found] == [f"{root}/{name}" for name in expected]
    assert [each.is_named for each in found] == [location == "run/1.mcap"] * len(found)


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_recording_tells_the_same_from_anywhere(disk: str, bucket: str, is_deep: bool) -> None:
    local, remote = (inspect_recording(f"{root}/run", SETTINGS, is_deep=is_deep) for root in (disk, bucket))
    assert (local.message_count, local.nbr_other_files, len(local.files)) == (300, 1, 3)
    assert local.channels == remote.channels
    assert [f.uri.removeprefix(disk) for f in local.files] == [f.uri.removeprefix(bucket) for f in remote.files]


@pytest.mark.parametrize("location", ["nowhere.mcap", "nowhere/", "*.bag"])
def test_what_is_not_there_is_named(root: str, location: str) -> None:
    with pytest.raises(BadInputError, match="no such file") as caught:
        Recordings(SETTINGS).find(f"{root}/{location}")
    assert caught.value.reason == "not_found"


def test_a_pipe_is_refused_and_not_waited_for(disk: str) -> None:
    os.mkfifo(f"{disk}/run/pipe.mcap")
    with pytest.raises(BadInputError, match="must be written to a file first") as caught:
        Recordings(SETTINGS).find(f"{disk}/run/pipe.mcap")
    assert caught.value.reason == "not_a_file"
    for location in ("run", "run/*.mcap"):
        assert not any(each.uri.endswith("pipe.mcap") for each in Recordings(SETTINGS).find(f"{disk}/{location}"))


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_file_that_may_not_be_read_keeps_nobody_from_the_others(
    disk: str, monkeypatch: pytest.MonkeyPatch, is_deep: bool
) -> None:
    def refused(opened: Callable[..., Any]) -> Callable[..., Any]:
        def open_or_refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
            if str(path).endswith("run/2.mcap"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return opened(path, *args, **kwargs)

        return open_or_refuse

    monkeypatch.setattr(os, "open", refused(os.open))
    monkeypatch.setattr(builtins, "open", refused(builtins.open))
    inspection = inspect_recording(f"{disk}/run", SETTINGS, is_deep=is_deep)
    assert inspection.message_count == 200
    assert [(p.uri, p.reason) for p in inspection.problems] == [(f"{disk}/run/2.mcap", "not_permitted")]
    with pytest.raises(BadInputError, match=r"run/2\.mcap: Permission denied"):
        inspect_recording(f"{disk}/run/2.mcap", SETTINGS, is_deep=is_deep)


def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(BadInputError, match=r"s3://nobucket/x/: no such bucket"):
        Recordings(SETTINGS).find("s3://nobucket/x/")
    with pytest.raises(BadInputError, match="expected s3://<bucket>/<key>"):
        Recordings(SETTINGS).find("s3://")


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=r"s3://landing/x: .*set AWS_PROFILE or AWS_ACCESS_KEY_ID"):
        Recordings(SETTINGS).find("s3://landing/x")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigurationError, match="nobody"):
        Recordings(SETTINGS).find("s3://landing/x")
