"""What the stand-in for AWS does that stock moto does not, on a real server."""

import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from scenelake.runtime.settings import environment_for
from scenelake.stack.processes import ProcessId, end_trees, spawn


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("moto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scenelake.stack.moto_server", "--port", str(port)]
    process = spawn(command, environment_for({}), folder / "log", folder)

    def make(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="eu-central-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 10, "mode": "standard"}),
        )

    s3 = make("s3")
    for _ in range(20):
        try:
            s3.list_buckets()
            break
        except EndpointConnectionError:
            threading.Event().wait(0.5)
    yield make
    end_trees([ProcessId.of(process.pid)])
    process.wait()


def a_bucket(s3: Any, name: str) -> str:
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return name


def test_ranges_and_etags_are_right(client) -> None:
    s3 = client("s3")
    bucket = a_bucket(s3, "ranges")
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    assert put["ETag"] == '"781e5e245d69b566979b86e28d23f2c7"'
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=2-4")["Body"].read() == b"234"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"0123456789"
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 10


def test_one_of_many_conditional_puts_wins(client) -> None:
    s3 = client("s3")
    bucket = a_bucket(s3, "conditional")

    def put(n: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=str(n).encode(), IfNoneMatch="*")
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(put, range(24))) == 1


def test_one_of_many_claims_of_an_item_wins(client) -> None:
    dynamo = client("dynamodb")
    dynamo.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )

    def claim(n: int) -> bool:
        put = {"TableName": "t", "Item": {"pk": {"S": "x"}}, "ConditionExpression": "attribute_not_exists(pk)"}
        try:
            dynamo.transact_write_items(TransactItems=[{"Put": put}])
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(24))) == 1


def test_glue_refuses_a_stale_version(client) -> None:
    glue = client("glue")
    glue.create_database(DatabaseInput={"Name": "d"})
    glue.create_table(DatabaseName="d", TableInput={"Name": "t"})
    version = glue.get_table(DatabaseName="d", Name="t")["Table"]["VersionId"]
    glue.update_table(DatabaseName="d", TableInput={"Name": "t"}, VersionId=version)
    with pytest.raises(ClientError, match="ConcurrentModification"):
        glue.update_table(DatabaseName="d", TableInput={"Name": "t"}, VersionId=version)
