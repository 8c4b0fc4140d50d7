"""Faults between a job and the stand-in for AWS, on a real server and through the adapters that must bear them."""

import io
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from pyarrow.fs import S3FileSystem

from scenelake.adapters import objects as objects_module
from scenelake.adapters.iceberg import PatientRetries
from scenelake.adapters.ledger_table import ConditionFailedError, LedgerTable
from scenelake.adapters.objects import S3Objects
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.runtime.settings import environment_for
from scenelake.stack.aws_faults import AwsFaults, EventCopies, FaultPlan, job_service
from scenelake.stack.processes import ProcessId, end_trees, spawn

URI = "s3://lake/key"


@dataclass
class FaultyServer:
    """A running stand-in and the folder that says what goes wrong in it."""

    folder: Path
    endpoint: str

    def client(self, service: str, max_attempts: int = 1) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="eu-central-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": max_attempts - 1}),
        )

    def plan(self, **plan: Any) -> None:
        replace_plan(self.folder, plan)

    def counts(self, service: str) -> dict[str, int]:
        found: dict[str, dict[str, int]] = json.loads((self.folder / "aws_counts.json").read_text())
        return found[service]


def replace_plan(folder: Path, plan: dict[str, Any]) -> None:
    draft = folder / "draft"
    draft.write_text(json.dumps(plan))
    # Two plans of one moment must not look alike.
    os.utime(draft, ns=(time.time_ns(), time.time_ns()))
    os.replace(draft, folder / "aws.json")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    folder = tmp_path_factory.mktemp("faulty")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scenelake.stack.moto_server", "--port", str(port)]
    environment = environment_for({"SCENELAKE_FAULTS": str(folder), "SCENELAKE_HOME": str(folder)})
    process = spawn(command, environment, folder / "log", folder)
    server = FaultyServer(folder, f"http://127.0.0.1:{port}")
    s3 = server.client("s3")
    for _ in range(60):
        try:
            s3.list_buckets()
            break
        except EndpointConnectionError:
            time.sleep(0.5)
    for bucket in ("lake", "scenelake-landing"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    server.client("dynamodb").create_table(
        TableName="ledger",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    yield server
    end_trees([ProcessId.of(process.pid)])
    process.wait()


@pytest.fixture
def server(started: FaultyServer) -> Iterator[FaultyServer]:
    started.plan()
    yield started
    (started.folder / "aws.json").unlink(missing_ok=True)


def test_a_busy_service_says_so_in_its_own_words(server: FaultyServer) -> None:
    server.plan(s3={"error_503": 1.0}, dynamodb={"throttle": 1.0}, sqs={"error_503": 1.0}, glue={"throttle": 1.0})
    key = {"TableName": "ledger", "Key": {"pk": {"S": "x"}}}
    calls: list[tuple[str, Callable[[Any], Any]]] = [
        ("SlowDown", lambda: server.client("s3").put_object(Bucket="lake", Key="k", Body=b"x" * 200_000)),
        ("ProvisionedThroughputExceeded", lambda: server.client("dynamodb").get_item(**key)),
        ("ServiceUnavailable", lambda: server.client("sqs").receive_message(QueueUrl=f"{server.endpoint}/1/q")),
        ("ThrottlingException", lambda: server.client("glue").get_table(DatabaseName="d", Name="t")),
    ]
    for code, call in calls:
        with pytest.raises(ClientError, match=code):
            call()
    with pytest.raises(TransientError, match="SlowDown"):
        S3Objects(server.client("s3")).write(URI, b"")


def test_what_sets_the_stack_up_and_what_lands_is_left_alone(server: FaultyServer) -> None:
    server.plan(s3={"error_503": 1.0}, dynamodb={"throttle": 1.0})
    s3 = server.client("s3")
    s3.put_bucket_versioning(Bucket="lake", VersioningConfiguration={"Status": "Suspended"})
    server.client("dynamodb").describe_table(TableName="ledger")
    s3.put_object(Bucket="scenelake-landing", Key="a/b/c/d", Body=b"")
    for spoilt in (
        lambda: s3.get_object(Bucket="scenelake-landing", Key="a/b/c/d"),
        lambda: s3.list_object_versions(Bucket="scenelake-landing"),
    ):
        with pytest.raises(ClientError, match="SlowDown"):
            spoilt()


def test_a_connection_dropped_before_leaves_nothing_and_after_leaves_all(server: FaultyServer) -> None:
    for fault, is_there in (("drop_before", False), ("drop_after", True)):
        server.plan(s3={fault: 1.0})
        with pytest.raises(BotoCoreError):
            server.client("s3").put_object(Bucket="lake", Key=fault, Body=b"x" * 200_000)
        server.plan()
        listed = server.client("s3").list_objects_v2(Bucket="lake", Prefix=fault)
        assert bool(listed.get("Contents")) is is_there


def test_a_short_read_is_seen_and_asked_for_again(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_module, "_READ_WAIT_SECONDS", 0.0)
    data = random.Random(1).randbytes(300_000)
    s3 = S3Objects(server.client("s3"))
    s3.write(URI, data)
    server.plan(seed=3, s3={"short_read": 0.5})
    assert all(s3.read(URI) == data for _ in range(5))
    assert s3.read_range(URI, 100, 1000) == data[100:1100]
    assert server.counts("s3")["short_read"] > 0
    server.plan(s3={"short_read": 1.0})
    with pytest.raises(TransientError, match="broke off 6 times"):
        s3.read(URI)
    with pytest.raises(BotoCoreError):
        server.client("s3").get_object(Bucket="lake", Key="key")["Body"].read()


def test_arrow_bears_one_error_in_five(server: FaultyServer) -> None:
    """pyiceberg reads and writes through it, with these retries."""
    files = S3FileSystem(
        access_key="test",
        secret_key="test",
        endpoint_override=server.endpoint,
        region="eu-central-1",
        force_virtual_addressing=False,
        request_timeout=60,
        retry_strategy=PatientRetries(),
    )
    data = random.Random(2).randbytes(100_000)
    server.plan(seed=5, s3={"error_503": 0.1, "drop_before": 0.05, "drop_after": 0.05, "short_read": 0.1})
    for number in range(6):
        with files.open_output_stream(f"lake/arrow{number}") as out:
            out.write(data)
        with files.open_input_file(f"lake/arrow{number}") as file:
            assert file.read() == data
    met = Counter(server.counts("s3"))
    assert sum(met[fault] for fault in ("error_503", "drop_before", "drop_after", "short_read")) >= 3


def test_a_repeated_transaction_is_one(server: FaultyServer) -> None:
    """The answer of a write that was done is lost; the client repeats it, and must not be told that it lost a race."""
    server.plan(seed=2, dynamodb={"conditional_lost": 0.5})
    table = LedgerTable(server.client("dynamodb", max_attempts=12), "ledger")
    for number in range(6):
        table.transact([table.putting({"pk": f"once{number}", "n": number})])
    assert server.counts("dynamodb")["conditional_lost"] > 0
    with pytest.raises(ConditionFailedError):
        table.transact([table.putting({"pk": "once0", "n": 7})])


def test_a_repeated_update_is_one(server: FaultyServer) -> None:
    table = LedgerTable(server.client("dynamodb", max_attempts=12), "ledger")
    table.transact([table.putting({"pk": "batch", "attempt": 0, "state": "OPEN"})])
    server.plan(seed=2, dynamodb={"conditional_lost": 0.5})
    for attempt in range(6):
        taking = table.updating("batch", {"attempt": attempt + 1}, where={"attempt": attempt, "state": "OPEN"})
        assert table.update(taking)["attempt"] == attempt + 1
    assert server.counts("dynamodb")["conditional_lost"] > 0
    stale = table.updating("batch", {"attempt": 6}, where={"attempt": 5, "state": "CLOSED"})
    with pytest.raises(ConditionFailedError):
        table.update(stale)


def test_equal_seeds_fall_alike(tmp_path: Path) -> None:
    def fallen(seed: int) -> list[str | None]:
        faults = AwsFaults(tmp_path)
        replace_plan(tmp_path, {"seed": seed, "s3": {"error_503": 0.2, "short_read": 0.2}})
        return [faults.draw("s3", frozenset()) for _ in range(500)]

    first = fallen(1)
    assert first == fallen(1) != fallen(2)
    assert 70 <= first.count("error_503") <= 130
    assert 50 <= first.count("short_read") <= 115
    counts = json.loads((tmp_path / "aws_counts.json").read_text())["s3"]
    assert counts["requests"] == 500


def test_without_a_plan_nothing_falls(tmp_path: Path) -> None:
    faults = AwsFaults(tmp_path)
    assert [faults.draw("s3", frozenset()) for _ in range(5)] == [None] * 5
    assert faults.draw_delays() == [0.0]
    assert not (tmp_path / "aws_counts.json").exists()


def test_a_fault_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for plan in ({"s3": {"throttle": 0.1}}, {"s4": {}}):
        replace_plan(tmp_path, plan)
        with pytest.raises(ConfigurationError, match="no such fault"):
            FaultPlan.read(tmp_path / "aws.json")


def test_events_are_copied_delayed_and_shuffled(tmp_path: Path) -> None:
    replace_plan(tmp_path, {"seed": 4, "events": {"copies": [1, 5], "shuffle_seconds": 0.3}})
    sent: list[int] = []
    copies = EventCopies(sent.append, AwsFaults(tmp_path))
    for number in range(100):
        copies(number)
    deadline = time.monotonic() + 10
    expected = json.loads((tmp_path / "aws_counts.json").read_text())["events"]
    while len(sent) < expected["sent"] and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert expected["announced"] == 100
    assert len(sent) == expected["sent"]
    assert set(Counter(sent).values()) == {1, 2, 3, 4, 5}
    assert sorted(set(sent)) == list(range(100))
    assert sent != sorted(sent)


@pytest.mark.parametrize(
    ("method", "path", "query", "service"),
    [
        ("GET", "/lake/key", "", "s3"),
        ("PUT", "/lake/key", "", "s3"),
        ("GET", "/lake", "list-type=2&prefix=x", "s3"),
        ("GET", "/landing", "versions", "s3"),
        ("PUT", "/landing/key", "", None),
        ("GET", "/lake", "versioning", None),
        ("PUT", "/lake", "", None),
        ("GET", "/", "", None),
    ],
)
def test_only_data_is_a_jobs_business(method: str, path: str, query: str, service: str | None) -> None:
    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/s3/aws4_request, SignedHeaders=host"
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "HTTP_AUTHORIZATION": scope}
    assert job_service(environ | {"wsgi.input": io.BytesIO()}, "landing") == service
    assert job_service({**environ, "HTTP_AUTHORIZATION": ""}, "landing") is None
