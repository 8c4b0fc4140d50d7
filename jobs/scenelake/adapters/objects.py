"""Object storage: S3 by boto3, and a twin on a local folder that passes the same contract suite."""

import io
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from scenelake.adapters.aws import aws_client as aws_client
from scenelake.contracts.errors import TransientError
from scenelake.contracts.paths import split_uri
from scenelake.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as a listing or a head request describes it."""

    uri: str
    size_bytes: int
    etag: str
    version_id: str | None = None


class Objects(Protocol):
    """Reads and writes whole objects and ranges by ``s3://`` URI. Missing objects raise FileNotFoundError."""

    def read(self, uri: str, *, version_id: str | None = None) -> bytes: ...

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes: ...

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo: ...

    def write(self, uri: str, data: bytes) -> None: ...

    def write_file(self, uri: str, path: Path) -> None: ...

    def write_if_absent(self, uri: str, data: bytes) -> bool: ...

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]: ...

    def delete(self, uri: str) -> None: ...


class S3Objects:
    """Objects in S3."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def _call(self, operation: str, uri: str, **kwargs: Any) -> Any:
        bucket, key = split_uri(uri)
        try:
            return getattr(self._client, operation)(Bucket=bucket, Key=key, **kwargs)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "404", "NoSuchVersion"):
                raise FileNotFoundError(uri) from error
            if code in ("SlowDown", "503", "InternalError", "RequestTimeout"):
                raise TransientError(f"{uri}: {operation} answered {code}") from error
            raise

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        extra = {"VersionId": version_id} if version_id else {}
        data: bytes = self._call("get_object", uri, **extra)["Body"].read()
        return data

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        if length <= 0:
            return b""
        extra = {"VersionId": version_id} if version_id else {}
        answer = self._call("get_object", uri, Range=f"bytes={offset}-{offset + length - 1}", **extra)
        data: bytes = answer["Body"].read()
        return data

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        extra = {"VersionId": version_id} if version_id else {}
        answer = self._call("head_object", uri, **extra)
        return ObjectInfo(uri, answer["ContentLength"], answer["ETag"].strip('"'), answer.get("VersionId"))

    def write(self, uri: str, data: bytes) -> None:
        self._call("put_object", uri, Body=data)

    def write_file(self, uri: str, path: Path) -> None:
        bucket, key = split_uri(uri)
        self._client.upload_file(str(path), bucket, key)

    def write_if_absent(self, uri: str, data: bytes) -> bool:
        try:
            self._call("put_object", uri, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
        return True

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        bucket, prefix = split_uri(prefix_uri)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", ()):
                yield ObjectInfo(f"s3://{bucket}/{entry['Key']}", entry["Size"], entry["ETag"].strip('"'))

    def delete(self, uri: str) -> None:
        self._call("delete_object", uri)


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
        return self.read(uri)[offset : offset + max(length, 0)]

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        return ObjectInfo(uri, len(self.read(uri)), "local")

    def write(self, uri: str, data: bytes) -> None:
        path = self._path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)

    def write_file(self, uri: str, path: Path) -> None:
        self.write(uri, path.read_bytes())

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
                yield ObjectInfo(f"s3://{bucket}/{key}", path.stat().st_size, "local")

    def delete(self, uri: str) -> None:
        self._path(uri).unlink(missing_ok=True)


def s3_objects(settings: Settings) -> S3Objects:
    return S3Objects(aws_client("s3", settings))


def read_json(objects: Objects, uri: str) -> Any:
    return json.loads(objects.read(uri))


def write_json(objects: Objects, uri: str, value: Any) -> None:
    objects.write(uri, json.dumps(value, indent=1, sort_keys=True).encode())


def read_table(objects: Objects, uri: str) -> pa.Table:
    """A small Parquet object as a table (index rows, never payload)."""
    return pq.read_table(pa.BufferReader(objects.read(uri)))


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
