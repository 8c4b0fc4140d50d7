"""Object storage: S3 by boto3, and a twin on a local folder that passes the same contract suite."""

import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from scenelake.adapters.aws import aws_client as aws_client
from scenelake.adapters.object_kinds import kind_of
from scenelake.contracts.errors import TransientError
from scenelake.contracts.paths import split_uri
from scenelake.runtime.faults import durable_write
from scenelake.runtime.settings import Settings

_BUSY = frozenset({"SlowDown", "503", "InternalError", "RequestTimeout", "ServiceUnavailable"})
_ONE_PUT_BYTES = 1024**2
_RANGE_BYTES = 4 * 1024**2
_CONFLICT_TRIES = 5
_CONFLICT_WAIT_SECONDS = 0.2
_READ_TRIES = 6
_READ_WAIT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as a listing or a head request describes it.

    Attributes:
        modified_at_ns: when it was last written, where storage says so.
    """

    uri: str
    size_bytes: int
    etag: str
    version_id: str | None = None
    modified_at_ns: int | None = None


class Objects(Protocol):
    """Reads and writes whole objects and ranges by ``s3://`` URI.

    Missing objects raise FileNotFoundError; storage that is busy or out of reach raises TransientError.
    """

    def read(self, uri: str, *, version_id: str | None = None) -> bytes: ...

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes: ...

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo: ...

    def write(self, uri: str, data: bytes) -> None: ...

    def write_file(self, uri: str, path: Path) -> None: ...

    def write_if_absent(self, uri: str, data: bytes) -> bool: ...

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]: ...

    def folders(self, folder_uri: str) -> Iterator[str]:
        """Names of the folders in a folder (``s3://bucket/folder/``), however much they hold."""
        ...

    def delete(self, uri: str) -> None: ...


class S3Objects:
    """Objects in S3."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def _call(self, operation: str, uri: str, **kwargs: Any) -> Any:
        bucket, key = split_uri(uri)
        with _translated(uri, operation):
            return getattr(self._client, operation)(Bucket=bucket, Key=key, **kwargs)

    def _body(self, uri: str, **kwargs: Any) -> bytes:
        """An object's bytes. A body that breaks off or comes short is asked for again: botocore only repeats heads."""
        for attempt in range(_READ_TRIES):
            answer = self._call("get_object", uri, **kwargs)
            try:
                data: bytes = answer["Body"].read()
            except BotoCoreError as error:
                broken: object = error
            else:
                if len(data) == answer.get("ContentLength", len(data)):
                    return data
                broken = f"{len(data)} of {answer['ContentLength']} bytes came"
            time.sleep(_READ_WAIT_SECONDS * 2**attempt)
        raise TransientError(f"{uri}: get_object: its body broke off {_READ_TRIES} times; the last time: {broken}")

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        extra = {"VersionId": version_id} if version_id else {}
        return self._body(uri, **extra)

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        if length <= 0:
            return b""
        extra = {"VersionId": version_id} if version_id else {}
        return self._body(uri, Range=f"bytes={offset}-{offset + length - 1}", **extra)

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        extra = {"VersionId": version_id} if version_id else {}
        answer = self._call("head_object", uri, **extra)
        modified_at_ns = _seconds_ns(answer["LastModified"])
        return ObjectInfo(
            uri, answer["ContentLength"], answer["ETag"].strip('"'), answer.get("VersionId"), modified_at_ns
        )

    def write(self, uri: str, data: bytes) -> None:
        with durable_write(kind_of(uri)):
            self._call("put_object", uri, Body=data)

    def write_file(self, uri: str, path: Path) -> None:
        if path.stat().st_size <= _ONE_PUT_BYTES:
            # The transfer manager would start threads for what is one request either way.
            self.write(uri, path.read_bytes())
            return
        bucket, key = split_uri(uri)
        with durable_write(kind_of(uri)), _translated(uri, "upload_file"):
            self._client.upload_file(str(path), bucket, key)

    def write_if_absent(self, uri: str, data: bytes) -> bool:
        for _ in range(_CONFLICT_TRIES):
            try:
                with durable_write(kind_of(uri)):
                    self._call("put_object", uri, Body=data, IfNoneMatch="*")
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "PreconditionFailed":
                    return False
                if code != "ConditionalRequestConflict":
                    raise
                # Another write of this key is under way and may yet fail: nobody has won so far.
                time.sleep(_CONFLICT_WAIT_SECONDS)
            else:
                return True
        raise TransientError(f"{uri}: other writers were in the way {_CONFLICT_TRIES} times")

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        bucket, _ = split_uri(prefix_uri)
        for page in self._pages(prefix_uri):
            for entry in page.get("Contents", ()):
                yield ObjectInfo(
                    f"s3://{bucket}/{entry['Key']}",
                    entry["Size"],
                    entry["ETag"].strip('"'),
                    modified_at_ns=_seconds_ns(entry["LastModified"]),
                )

    def folders(self, folder_uri: str) -> Iterator[str]:
        _, prefix = split_uri(folder_uri)
        for page in self._pages(folder_uri, Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                yield entry["Prefix"].removeprefix(prefix).rstrip("/")

    def _pages(self, prefix_uri: str, **kwargs: Any) -> Iterator[Mapping[str, Any]]:
        bucket, prefix = split_uri(prefix_uri)
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **kwargs))
        while True:
            with _translated(prefix_uri, "list_objects_v2"):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def delete(self, uri: str) -> None:
        with durable_write(f"{kind_of(uri)}_removal"):
            self._call("delete_object", uri)


def _seconds_ns(at: datetime) -> int:
    """A time of S3, which is to the second, in ns UTC."""
    return int(at.timestamp()) * 1_000_000_000


@contextmanager
def _translated(uri: str, operation: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NoSuchKey", "404", "NoSuchVersion"):
            raise FileNotFoundError(uri) from error
        if code in _BUSY:
            raise TransientError(f"{uri}: {operation} answered {code}") from error
        raise
    except (BotoCoreError, S3UploadFailedError) as error:
        raise TransientError(f"{uri}: {operation}: {error}") from error


_UNFINISHED = ".unfinished"


class LocalObjects:
    """The same on a local folder: ``s3://bucket/key`` is ``<root>/bucket/key``. One version per object."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, uri: str) -> Path:
        bucket, key = split_uri(uri)
        return self._root / bucket / key

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        try:
            return self._path(uri).read_bytes()
        except OSError as error:
            raise FileNotFoundError(uri) from error

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        try:
            with self._path(uri).open("rb") as file:
                file.seek(offset)
                return file.read(max(length, 0))
        except OSError as error:
            raise FileNotFoundError(uri) from error

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        path = self._path(uri)
        try:
            with path.open("rb") as file:
                etag = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
                found = os.stat(file.fileno())
        except OSError as error:
            raise FileNotFoundError(uri) from error
        return ObjectInfo(uri, found.st_size, etag, modified_at_ns=found.st_mtime_ns)

    def write(self, uri: str, data: bytes) -> None:
        with self._writing(uri) as file:
            file.write_bytes(data)

    def write_file(self, uri: str, path: Path) -> None:
        with self._writing(uri) as file:
            try:
                os.link(path, file)
            except OSError:
                shutil.copyfile(path, file)

    @contextmanager
    def _writing(self, uri: str) -> Iterator[Path]:
        """A file that becomes the object at the end; nothing unfinished lies where ``list`` looks."""
        target = self._path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = self._root / _UNFINISHED
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            file = Path(scratch) / "object"
            yield file
            os.replace(file, target)

    def write_if_absent(self, uri: str, data: bytes) -> bool:
        path = self._path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        bucket, prefix = split_uri(prefix_uri)
        base = self._root / bucket
        for path in sorted(p for p in base.rglob("*") if p.is_file()):
            key = path.relative_to(base).as_posix()
            if key.startswith(prefix):
                found = path.stat()
                yield ObjectInfo(f"s3://{bucket}/{key}", found.st_size, "local", modified_at_ns=found.st_mtime_ns)

    def folders(self, folder_uri: str) -> Iterator[str]:
        folder = self._path(folder_uri)
        yield from sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ()

    def delete(self, uri: str) -> None:
        self._path(uri).unlink(missing_ok=True)


def s3_objects(settings: Settings) -> S3Objects:
    return S3Objects(aws_client("s3", settings))


@lru_cache(maxsize=1)
def shared_s3_objects(settings: Settings) -> S3Objects:
    """The same client for every task of a process: to make one takes as long as to decode ten megabytes."""
    return s3_objects(settings)


def read_json(objects: Objects, uri: str) -> Any:
    return json.loads(objects.read(uri))


def write_json(objects: Objects, uri: str, value: Any) -> None:
    objects.write(uri, json.dumps(value, indent=1, sort_keys=True).encode())


def read_table(objects: Objects, uri: str, without: Collection[str] = ()) -> pa.Table:
    """A small Parquet object as a table (index rows, never payload), less some columns."""
    # A third of the time of ``pq.read_table``, which is made for folders of large files.
    file = pq.ParquetFile(pa.BufferReader(objects.read(uri)))
    return file.read([n for n in file.schema_arrow.names if n not in without] if without else None)


def read_to_file(objects: Objects, uri: str, path: Path) -> Path:
    """Reads an object into a file, a range at a time."""
    size_bytes = objects.head(uri).size_bytes
    with path.open("wb") as file:
        for start in range(0, size_bytes, _RANGE_BYTES):
            file.write(objects.read_range(uri, start, min(_RANGE_BYTES, size_bytes - start)))
    return path


def write_table(objects: Objects, uri: str, table: pa.Table) -> bytes:
    """Writes a small table as one Parquet object and returns its bytes."""
    data = table_bytes(table)
    objects.write(uri, data)
    return data


def table_bytes(table: pa.Table) -> bytes:
    """Parquet bytes of a small table; equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return sink.getvalue()
