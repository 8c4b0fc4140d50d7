"""A landing zone in moto, of which the function and the ledger's jobs see the real thing."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.ledger.register_drop import open_doors
from scenelake.runtime.settings import load_settings
from scenelake.stack.template import load_template

REGION = "eu-central-1"


@dataclass
class Zone:
    s3: Any
    sqs: Any
    ledger: DynamoLedger
    doorbell: str

    def put(self, key: str, body: bytes = b"data") -> str:
        version: str = self.s3.put_object(Bucket="scenelake-landing", Key=key, Body=body)["VersionId"]
        return version

    def rings(self) -> list[dict[str, str]]:
        messages = self.sqs.receive_message(QueueUrl=self.doorbell, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(m["Body"]) for m in messages]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Jobs take over the root logger, as processes of their own do."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def zone(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("SCENELAKE_HOME", str(tmp_path))
    table = load_template(repository / "deploy" / "landing_zone.yaml")["Resources"]["LedgerTable"]["Properties"]
    kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    with mock_aws():
        s3, sqs = boto3.client("s3", region_name=REGION), boto3.client("sqs", region_name=REGION)
        for bucket in ("scenelake-landing", "scenelake-lake"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket="scenelake-landing", VersioningConfiguration={"Status": "Enabled"})
        doorbell = sqs.create_queue(QueueName="doorbell")["QueueUrl"]
        monkeypatch.setenv("SCENELAKE_DOORBELL_QUEUE_URL", doorbell)
        boto3.client("dynamodb", region_name=REGION).create_table(
            TableName="scenelake-ledger", **{name: table[name] for name in kept}
        )
        open_doors.cache_clear()
        yield Zone(s3, sqs, DynamoLedger.from_settings(load_settings()), doorbell)
        open_doors.cache_clear()
