"""What the stand-in for AWS does that stock moto does not, on a real server."""

import socket
import sys
import threading
import time
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


def a_ledger(dynamo: Any, name: str) -> None:
    """A table with an index by ``state`` in order of ``at``."""
    dynamo.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "state", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_state",
                "KeySchema": [
                    {"AttributeName": "state", "KeyType": "HASH"},
                    {"AttributeName": "at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


def in_state(dynamo: Any, name: str, state: str, **request: Any) -> list[str]:
    answer = dynamo.query(
        TableName=name,
        IndexName="by_state",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":s": {"S": state}},
        **request,
    )
    return [item["pk"]["S"] for item in answer["Items"]]


def moving(name: str, pk: str, before: str, after: str) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": name,
            "Key": {"pk": {"S": pk}},
            "UpdateExpression": "SET #s = :after",
            "ConditionExpression": "#s = :before",
            "ExpressionAttributeNames": {"#s": "state"},
            "ExpressionAttributeValues": {":before": {"S": before}, ":after": {"S": after}},
        }
    }


def test_an_index_follows_every_kind_of_write(client) -> None:
    dynamo = client("dynamodb")
    a_ledger(dynamo, "followed")
    for pk, at in (("c", 3), ("a", 1), ("b", 2)):
        dynamo.put_item(TableName="followed", Item={"pk": {"S": pk}, "state": {"S": "NEW"}, "at": {"N": str(at)}})
    dynamo.put_item(TableName="followed", Item={"pk": {"S": "no index attributes"}})
    assert in_state(dynamo, "followed", "NEW") == ["a", "b", "c"]
    assert in_state(dynamo, "followed", "NEW", ScanIndexForward=False, Limit=2) == ["c", "b"]
    dynamo.update_item(**moving("followed", "a", "NEW", "DONE")["Update"])
    assert (in_state(dynamo, "followed", "NEW"), in_state(dynamo, "followed", "DONE")) == (["b", "c"], ["a"])
    dynamo.transact_write_items(TransactItems=[moving("followed", pk, "NEW", "DONE") for pk in "bc"])
    assert (in_state(dynamo, "followed", "NEW"), in_state(dynamo, "followed", "DONE")) == ([], ["a", "b", "c"])
    dynamo.put_item(TableName="followed", Item={"pk": {"S": "a"}, "state": {"S": "NEW"}, "at": {"N": "9"}})
    dynamo.delete_item(TableName="followed", Key={"pk": {"S": "b"}})
    assert (in_state(dynamo, "followed", "NEW"), in_state(dynamo, "followed", "DONE")) == (["a"], ["c"])


def test_values_of_every_kind_come_back(client) -> None:
    dynamo = client("dynamodb")
    a_ledger(dynamo, "kinds")
    entry = {"M": {"at_ns": {"N": "1700000000000000001"}, "reason": {"NULL": True}, "tags": {"SS": ["a", "b"]}}}
    item = {
        "pk": {"S": "a"},
        "state": {"S": "NEW"},
        "at": {"N": "1"},
        "history": {"L": [entry, {"L": [{"BOOL": False}]}]},
        "outcome": {"B": b"\x00\xff"},
    }
    dynamo.put_item(TableName="kinds", Item=item)
    key = {"pk": item["pk"]}
    dynamo.update_item(
        TableName="kinds",
        Key=key,
        UpdateExpression="SET history = list_append(history, :more)",
        ExpressionAttributeValues={":more": {"L": [entry]}},
    )
    item["history"]["L"].append(entry)
    answer = dynamo.batch_get_item(RequestItems={"kinds": {"Keys": [key]}})["Responses"]["kinds"]
    assert [dynamo.get_item(TableName="kinds", Key=key)["Item"], *answer] == [item, item]


def test_a_cancelled_transaction_leaves_everything_as_it_was(client) -> None:
    dynamo = client("dynamodb")
    a_ledger(dynamo, "cancelled")
    dynamo.put_item(TableName="cancelled", Item={"pk": {"S": "a"}, "state": {"S": "NEW"}, "at": {"N": "1"}})
    gone = {"TableName": "cancelled", "Key": {"pk": {"S": "a"}}}
    added = {"TableName": "cancelled", "Item": {"pk": {"S": "b"}, "state": {"S": "NEW"}, "at": {"N": "2"}}}
    impossible = moving("cancelled", "c", "NEW", "DONE")
    for first in ({"Delete": gone}, moving("cancelled", "a", "NEW", "DONE")):
        with pytest.raises(ClientError, match="TransactionCanceled"):
            dynamo.transact_write_items(TransactItems=[first, {"Put": added}, impossible])
        assert in_state(dynamo, "cancelled", "NEW") == ["a"]
        assert in_state(dynamo, "cancelled", "DONE") == []
        assert "Item" not in dynamo.get_item(TableName="cancelled", Key={"pk": {"S": "b"}})
    assert dynamo.get_item(TableName="cancelled", Key={"pk": {"S": "a"}})["Item"]["state"] == {"S": "NEW"}


def test_a_request_costs_what_it_touches_however_large_the_table(client) -> None:
    dynamo = client("dynamodb")
    a_ledger(dynamo, "large")

    def seconds(start: int) -> float:
        begin = time.perf_counter()
        for pk in range(start, start + 5):
            dynamo.transact_write_items(TransactItems=[moving("large", str(pk), "NEW", "DONE")])
            in_state(dynamo, "large", str(pk % 500))
        return time.perf_counter() - begin

    def fill(start: int, end: int) -> None:
        for first in range(start, end, 25):
            states = {pk: "NEW" if pk % 500 < 20 else str(pk % 500) for pk in range(first, min(first + 25, end))}
            items = [{"pk": {"S": str(pk)}, "state": {"S": s}, "at": {"N": "1"}} for pk, s in states.items()]
            dynamo.batch_write_item(RequestItems={"large": [{"PutRequest": {"Item": item}} for item in items]})

    fill(0, 20)
    small = seconds(0)
    fill(20, 1500)
    assert seconds(10) < 3 * small


def test_no_message_is_lost_while_others_are_deleted(client) -> None:
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="busy")["QueueUrl"]
    seen: list[str] = []

    deadline = time.monotonic() + 120

    def receive() -> None:
        while len(seen) < 400 and time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                seen.append(message["Body"])

    with ThreadPoolExecutor(9) as pool:
        received = pool.submit(receive)
        list(pool.map(lambda n: sqs.send_message(QueueUrl=url, MessageBody=str(n)), range(400)))
        received.result()
    assert sorted(map(int, seen)) == list(range(400))
