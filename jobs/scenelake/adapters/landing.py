"""Object versions in the landing bucket, without pyarrow: the Lambda function's package stays small."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import TransientError
from scenelake.ledger.new_drop import ObjectVersion, StoredBytes, new_drop
from scenelake.ledger.transitions import is_claimable

_GONE = ("NoSuchKey", "NoSuchVersion", "404")


def versions(client: Any, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
    """Every object version below a prefix, by key, newest first; delete markers are left out.

    Raises:
        TransientError: when S3 is busy or out of reach.
    """
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    with _busy_is_transient(f"s3://{bucket}/{prefix}"):
        for page in pages:
            for entry in page.get("Versions", ()):
                yield ObjectVersion(
                    bucket,
                    entry["Key"],
                    entry["VersionId"],
                    entry["Size"],
                    entry["ETag"].strip('"'),
                    modified_at_ns=_nanoseconds(entry["LastModified"]),
                )


def is_rebuildable(client: Any, drops: Sequence[Drop]) -> bool:
    """Whether an object version is left that a rebuild of a drive could claim.

    Args:
        drops: all of the drive, at least one.
    """
    known = {drop.drop_id: drop for drop in drops}
    prefix = "/".join((drops[0].fleet, drops[0].vehicle, drops[0].drive, ""))
    found = (new_drop(version, received_at_ns=0) for version in versions(client, drops[0].bucket, prefix))
    return any(is_claimable(known.get(drop.drop_id, drop), rebuild=True) for drop in found)


def read_version(client: Any, found: ObjectVersion, limit_bytes: int) -> StoredBytes:
    """Reads an object version, at most ``limit_bytes`` of it.

    Raises:
        FileNotFoundError: when the version is gone.
        TransientError: when S3 is busy or out of reach, or fewer bytes came than it announced.
    """
    uri = f"s3://{found.bucket}/{found.key}"
    named = {} if found.version_id in ("", "null") else {"VersionId": found.version_id}
    with _busy_is_transient(uri):
        try:
            answer = client.get_object(Bucket=found.bucket, Key=found.key, **named)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                raise FileNotFoundError(f"{uri}: version {found.version_id} is gone") from error
            raise
        with answer["Body"] as body:
            content: bytes = body.read(limit_bytes)
    if len(content) < min(limit_bytes, answer["ContentLength"]):
        raise TransientError(f"{uri}: {len(content)} of {answer['ContentLength']} bytes came back")
    return StoredBytes(content, _nanoseconds(answer["LastModified"]))


def _nanoseconds(at: datetime) -> int:
    """A time of S3, which is to the second, in ns UTC."""
    return int(at.timestamp()) * 1_000_000_000


@contextmanager
def _busy_is_transient(uri: str) -> Iterator[None]:
    try:
        yield
    except BotoCoreError as error:
        raise TransientError(f"{uri}: {error}") from error
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise TransientError(f"{uri}: {error}") from error
        raise
