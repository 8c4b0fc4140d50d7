import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from scenelake.stack.event_runner import deliver_once, run


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str, str]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        sqs = boto3.client("sqs", region_name="eu-central-1")
        dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}'
        events = sqs.create_queue(QueueName="events", Attributes={"VisibilityTimeout": "0", "RedrivePolicy": redrive})
        yield sqs, events["QueueUrl"], dead


def left_in(sqs: Any, url: str) -> int:
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def test_the_function_gets_a_lambda_event_and_its_messages_are_deleted(queue) -> None:
    sqs, url, _ = queue
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    seen: list[Any] = []
    nbr = deliver_once(sqs, url, lambda event, _: seen.append(event) or {}, wait_seconds=0)
    (record,) = seen[0]["Records"]
    assert (record["eventSource"], record["body"]) == ("aws:sqs", "hello")
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert (nbr, left_in(sqs, url)) == (1, 0)


def test_an_empty_queue_calls_nobody(queue) -> None:
    sqs, url, _ = queue
    assert deliver_once(sqs, url, lambda *_: pytest.fail("called for nothing"), wait_seconds=0) == 0


def test_failed_messages_stay_and_end_in_the_dead_letter_queue(queue) -> None:
    sqs, url, dead = queue
    for body in ("good", "bad"):
        sqs.send_message(QueueUrl=url, MessageBody=body)

    def function(event: Any, _: object) -> dict[str, Any]:
        bad = [r["messageId"] for r in event["Records"] if r["body"] == "bad"]
        return {"batchItemFailures": [{"itemIdentifier": i} for i in bad]}

    assert [deliver_once(sqs, url, function, wait_seconds=0) for _ in range(4)] == [1, 0, 0, 0]
    assert (left_in(sqs, url), left_in(sqs, dead)) == (0, 1)


def test_a_function_that_raises_deletes_nothing_and_the_runner_goes_on(queue, monkeypatch) -> None:
    sqs, url, _ = queue
    monkeypatch.setattr("scenelake.stack.event_runner.PAUSE_SECONDS", 0)
    monkeypatch.setattr("scenelake.stack.event_runner.WAIT_SECONDS", 0)
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    stop, calls = threading.Event(), []

    def function(event: Any, _: object) -> dict[str, Any]:
        calls.append(event)
        if len(calls) == 1:
            raise RuntimeError("crash")
        stop.set()
        return {}

    run(sqs, url, function, stop)
    assert len(calls) == 2
    assert left_in(sqs, url) == 0
