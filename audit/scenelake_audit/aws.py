"""Reads S3 and DynamoDB page by page. Nothing here writes."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.types import Binary, TypeDeserializer
from botocore.config import Config
from botocore.exceptions import ClientError

from scenelake_audit.ahead import THREADS, ahead
from scenelake_audit.config import Lake

BLOCK_BYTES = 8 * 1024 * 1024
_LOOPBACK = ("http://127.0.0.1", "http://localhost", "http://moto")
_PLAIN = TypeDeserializer()
Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """One object version or delete marker of a listing."""

    key: str
    version_id: str
    size_bytes: int
    etag: str
    modified_at_s: float
    is_delete_marker: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to download.

    Attributes:
        tag: whatever the caller wants to see again with the answer.
    """

    uri: str
    size_bytes: int
    tag: Any
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A downloaded object.

    Attributes:
        sha256: of the bytes.
        block_root: Merkle root over its 8 MiB blocks.
    """

    size_bytes: int
    sha256: str
    block_root: str


def stand_in_keys(endpoint_url: str | None) -> dict[str, str]:
    """Made-up keys for a stand-in on this machine, so that nobody's real keys ever reach it."""
    if endpoint_url and endpoint_url.startswith(_LOOPBACK):
        return {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return {}


class Aws:
    """One lake's S3 and DynamoDB."""

    def __init__(self, lake: Lake) -> None:
        session = boto3.Session(region_name=lake.region, **stand_in_keys(lake.endpoint_url))
        config = Config(
            retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60,
            max_pool_connections=THREADS,
        )  # fmt: skip
        self.s3: Any = session.client("s3", endpoint_url=lake.endpoint_url, config=config)
        self._dynamo: Any = session.client("dynamodb", endpoint_url=lake.endpoint_url, config=config)

    def versions(self, bucket: str) -> Iterator[Version]:
        """Every version and delete marker of a bucket."""
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for entry in page.get("Versions", ()):
                yield Version(
                    entry["Key"], entry["VersionId"], entry["Size"], entry["ETag"].strip('"'),
                    _seconds(entry["LastModified"]), False,
                )  # fmt: skip
            for entry in page.get("DeleteMarkers", ()):
                yield Version(entry["Key"], entry["VersionId"], 0, "", _seconds(entry["LastModified"]), True)

    def objects(self, bucket: str, prefix: str) -> Iterator[tuple[str, int, float]]:
        """(key, size, time of last change in s) of every current object below a prefix."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"], entry["Size"], _seconds(entry["LastModified"])

    def folders(self, bucket: str, prefix: str) -> Iterator[str]:
        """Names right below a prefix that have something below them, each with its trailing slash."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            yield from (entry["Prefix"] for entry in page.get("CommonPrefixes", ()))

    def exists(self, bucket: str, key: str, version_id: str | None = None) -> bool:
        try:
            self.s3.head_object(Bucket=bucket, Key=key, **_version(version_id))
        except ClientError as error:
            if is_missing(error):
                return False
            raise
        return True

    def read(self, bucket: str, key: str, version_id: str | None = None) -> bytes | None:
        """A small object; None when there is none."""
        try:
            data: bytes = self.s3.get_object(Bucket=bucket, Key=key, **_version(version_id))["Body"].read()
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        return data

    def fetch(self, bucket: str, key: str, path: Path, version_id: str | None = None) -> Fetched | None:
        """Streams an object into a file and hashes it on the way; None when there is none."""
        try:
            body = self.s3.get_object(Bucket=bucket, Key=key, **_version(version_id))["Body"]
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        whole, blocks, size = hashlib.sha256(), [], 0
        with path.open("wb") as file:
            while block := body.read(BLOCK_BYTES):
                whole.update(block)
                blocks.append(hashlib.sha256(block).digest())
                size += file.write(block)
        return Fetched(size, whole.hexdigest(), merkle_root(blocks))

    def fetch_all(self, wanted: Iterable[Wanted], folder: Path) -> Iterator[tuple[Wanted, Fetched | None, Path]]:
        """Downloads objects in order, a few ahead of the caller; each file is there for its turn only."""

        def one(numbered: tuple[int, Wanted]) -> tuple[Wanted, Fetched | None, Path]:
            number, want = numbered
            path = folder / str(number)
            return want, self.fetch(*split_uri(want.uri), path, want.version_id), path

        for answer in ahead(enumerate(wanted), one, lambda numbered: numbered[1].size_bytes):
            yield answer
            answer[2].unlink(missing_ok=True)

    def items(self, table: str) -> Iterator[Item]:
        """Every item of a table, read consistently."""
        pages = self._dynamo.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        for page in pages:
            yield from map(_item, page["Items"])

    def items_now(self, table: str, keys: list[str]) -> list[Item | None]:
        """Items as they are together at one moment."""
        gets = [{"Get": {"TableName": table, "Key": {"pk": {"S": k}}}} for k in keys]
        answers = self._dynamo.transact_get_items(TransactItems=gets)["Responses"]
        return [_item(a["Item"]) if a.get("Item") else None for a in answers]


def is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchVersion")


def merkle_root(digests: list[bytes]) -> str:
    """Root of a binary tree over digests: pairs are hashed level by level, an odd last node moves up as it is."""
    nodes = digests or [hashlib.sha256(b"").digest()]
    while len(nodes) > 1:
        above = []
        for at in range(0, len(nodes), 2):
            pair = nodes[at : at + 2]
            above.append(hashlib.sha256(b"".join(pair)).digest() if len(pair) == 2 else pair[0])
        nodes = above
    return nodes[0].hex()


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; an empty bucket for anything else."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return (bucket, key) if scheme == "s3" else ("", uri)


def _version(version_id: str | None) -> dict[str, str]:
    return {"VersionId": version_id} if version_id and version_id != "null" else {}


def _seconds(at: datetime) -> float:
    return at.timestamp()


def _item(item: Item) -> Item:
    return {name: _value(_PLAIN.deserialize(value)) for name, value in item.items()}


def _value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, Binary):
        return bytes(value)
    if isinstance(value, list):
        return [_value(v) for v in value]
    if isinstance(value, dict):
        return {k: _value(v) for k, v in value.items()}
    return value
