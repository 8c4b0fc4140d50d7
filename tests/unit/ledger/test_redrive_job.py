"""Dead letters: looked at without being taken, and moved back without ever being lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scenelake.adapters.queues import DeadLetterQueue, dead_letter_queues
from scenelake.ledger import redrive_job
from scenelake.ledger.redrive import question, question_id, why_dead
from scenelake.runtime.settings import load_settings

from .conftest import Zone

Redrive = Callable[..., dict[str, Any]]


@pytest.fixture
def queues(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    urls = {n: zone.sqs.create_queue(QueueName=n)["QueueUrl"] for n in ("events", "dead-events", "dead-doorbell")}
    monkeypatch.setenv("SCENELAKE_EVENT_QUEUE_URL", urls["events"])
    monkeypatch.setenv("SCENELAKE_EVENT_DEAD_LETTER_QUEUE_URL", urls["dead-events"])
    monkeypatch.setenv("SCENELAKE_DEAD_LETTER_QUEUE_URL", urls["dead-doorbell"])
    return {**urls, "doorbell": zone.doorbell}


@pytest.fixture
def redrive(queues: dict[str, str], tmp_path: Path) -> Redrive:
    def run(*words: str) -> dict[str, Any]:
        result = tmp_path / "answer.json"
        assert redrive_job.main([*words, "--result", str(result)]) == 0
        answer: dict[str, Any] = json.loads(result.read_text())
        return answer

    return run


def bodies(zone: Zone, queue_url: str) -> list[str]:
    found: list[str] = []
    while messages := zone.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in messages]
    return sorted(found)


def test_a_look_leaves_every_message_where_it_is(zone: Zone, queues: dict[str, str], redrive: Redrive) -> None:
    for number in range(25):
        zone.sqs.send_message(QueueUrl=queues["dead-events"], MessageBody=f"letter {number}")
    answer = redrive("--look")
    assert answer["nbr_messages"] == 25
    assert len(answer["queues"]["events"]["messages"]) == redrive_job.MAX_SHOWN
    assert "and about 5 more" in answer["question"]
    assert len(bodies(zone, queues["dead-events"])) == 25, "a message is still hidden after the look"
    assert bodies(zone, queues["events"]) == []


def test_the_same_letters_in_another_order_are_the_same_question(
    zone: Zone, queues: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        zone.sqs.send_message(QueueUrl=queues["dead-events"], MessageBody=f"letter {number}")
    found = dead_letter_queues(load_settings())
    first = redrive_job.look(found)
    receive = DeadLetterQueue._receive
    monkeypatch.setattr(DeadLetterQueue, "_receive", lambda self, limit: reversed(list(receive(self, 1000))[-limit:]))
    assert redrive_job.look(found) == {
        name: {**queue, "messages": [{**m, "receives": 2} for m in queue["messages"]]} for name, queue in first.items()
    }
    assert question_id(first)


def test_redriving_moves_each_message_back_to_its_own_queue(
    zone: Zone, queues: dict[str, str], redrive: Redrive
) -> None:
    for name in ("one", "two"):
        zone.sqs.send_message(QueueUrl=queues["dead-events"], MessageBody=name)
    zone.sqs.send_message(QueueUrl=queues["dead-doorbell"], MessageBody="{}")
    assert redrive() == {"moved": {"events": 2, "doorbell": 1}}
    assert bodies(zone, queues["events"]) == ["one", "two"]
    assert bodies(zone, queues["doorbell"]) == ["{}"]
    assert redrive() == {"moved": {"events": 0, "doorbell": 0}}
    assert redrive("--look")["reason"] == "the dead-letter queues are empty"


def test_a_letter_that_fails_again_at_once_does_not_go_round(zone: Zone, queues: dict[str, str]) -> None:
    dead = queues["dead-events"]
    zone.sqs.send_message(QueueUrl=dead, MessageBody="poison")
    queue = DeadLetterQueue(zone.sqs, dead, dead)
    assert queue.redrive(queue.depth()) == 1


def test_a_crash_between_the_two_writes_leaves_one_too_many_and_never_one_too_few(
    zone: Zone, queues: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.sqs.send_message(QueueUrl=queues["dead-events"], MessageBody="letter")

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(zone.sqs, name)

        def delete_message(self, **_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DeadLetterQueue(Dying(), queues["dead-events"], queues["events"]).redrive(10)
    assert bodies(zone, queues["events"]) == ["letter"]
    assert dead_letter_queues(load_settings())["events"].depth() == 1


def test_queues_that_no_setting_names_are_left_out(zone: Zone) -> None:
    assert dead_letter_queues(load_settings()) == {}


EVENT = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {"bucket": {"name": "landing"}, "object": {"key": "f/v/d/a.mcap", "version-id": "1"}},
}


@pytest.mark.parametrize(
    ("queue", "body", "words"),
    [
        ("events", "{", "not JSON"),
        ("events", '{"this": 1}', "no event of S3 that is known"),
        ("events", json.dumps(EVENT), "announces s3://landing/f/v/d/a.mcap; registering failed"),
        ("events", '{"Event": "s3:TestEvent", "Bucket": "landing"}', "announces no new object"),
        ("doorbell", '{"drop_id": "1"}', "a ring that Airflow took and never acknowledged"),
    ],
)
def test_why_a_letter_is_dead(queue: str, body: str, words: str) -> None:
    assert words in why_dead(queue, body)


def test_the_question_shows_letters_without_breaking_its_table() -> None:
    message = {"message_id": "1", "sent_at": "t", "receives": 5, "why": "not | JSON", "body": "a | `b`\nc"}
    nothing = {"nbr_messages": 0, "messages": [], "letters": None}
    queues = {"events": {"nbr_messages": 1, "messages": [message], "letters": "1"}, "doorbell": nothing}
    text = question(queues)
    assert "| t | not \\| JSON | `a \\| 'b' c` |" in text
    assert "doorbell" not in text
    assert question_id(queues)
    assert question_id({"events": nothing}) is None
