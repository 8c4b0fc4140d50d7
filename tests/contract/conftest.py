"""The ledger in each of its forms."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.ledger.protocol import Ledger
from scenelake.stack.template import load_template


@pytest.fixture(params=["dynamo", "memory"])
def ledger(request: pytest.FixtureRequest, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    table = load_template(repository / "deploy" / "landing_zone.yaml")["Resources"]["LedgerTable"]["Properties"]
    kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-central-1")
        client.create_table(TableName="ledger", **{name: table[name] for name in kept})
        yield DynamoLedger(client, "ledger")
