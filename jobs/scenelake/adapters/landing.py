"""Object versions in the landing bucket, without pyarrow: the Lambda function's package stays small."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from scenelake.contracts.errors import TransientError
from scenelake.ledger.new_drop import ObjectVersion


def versions(client: Any, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
    """Every object version below a prefix, by key, newest first; delete markers are left out.

    Raises:
        TransientError: when S3 is busy or out of reach.
    """
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    try:
        for page in pages:
            for entry in page.get("Versions", ()):
                yield ObjectVersion(bucket, entry["Key"], entry["VersionId"], entry["Size"], entry["ETag"].strip('"'))
    except BotoCoreError as error:
        raise TransientError(f"s3://{bucket}/{prefix}: {error}") from error
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise TransientError(f"s3://{bucket}/{prefix}: {error}") from error
        raise
