"""Dead-letter queues: how deep they are, what lies in them, and moving it back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from scenelake.adapters.aws import aws_client
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.runtime.faults import durable_write
from scenelake.runtime.settings import Settings

_BATCH = 10
_HIDDEN_SECONDS = 60
_TRIES_AT_NOTHING = 3
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it lies in a queue.

    Attributes:
        sent_at_ns: when it was first sent, to the queue that it comes from.
        nbr_receives: times that it was received, there and here.
    """

    message_id: str
    receipt_handle: str
    body: str
    sent_at_ns: int
    nbr_receives: int


class DeadLetterQueue:
    """A dead-letter queue and the queue that its messages come from.

    Every method raises TransientError when SQS is busy or out of reach, and ConfigurationError when a queue is
    not there.
    """

    def __init__(self, sqs: Any, queue_url: str, source_url: str) -> None:
        self._sqs = sqs
        self._url = queue_url
        self._source_url = source_url

    def depth(self) -> int:
        """About how many messages lie there, those that somebody is just looking at included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        with _translated(self._url):
            answer = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def peek(self, limit: int) -> list[Message]:
        """Up to ``limit`` messages, which stay where they are: each is hidden for the moment and shown again."""
        found: dict[str, Message] = {}
        try:
            for message in self._receive(limit):
                found[message.message_id] = message
        finally:
            self._show(list(found.values()))
        return list(found.values())

    def redrive(self, limit: int) -> int:
        """Moves up to ``limit`` messages back to the queue that they come from; returns how many.

        A message is sent before it is deleted here, so a crash between the two leaves one too many and never
        one too few.
        """
        nbr_moved = 0
        for message in self._receive(limit):
            with durable_write("redrive.send"), _translated(self._source_url):
                self._sqs.send_message(QueueUrl=self._source_url, MessageBody=message.body)
            with durable_write("redrive.delete"), _translated(self._url):
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt_handle)
            nbr_moved += 1
        return nbr_moved

    def _receive(self, limit: int) -> Iterator[Message]:
        """Different messages, each hidden for a while. SQS answers from a part of its servers, hence the tries."""
        seen: set[str] = set()
        nbr_nothing = 0
        while len(seen) < limit and nbr_nothing < _TRIES_AT_NOTHING:
            with _translated(self._url):
                answer = self._sqs.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=min(_BATCH, limit - len(seen)),
                    VisibilityTimeout=_HIDDEN_SECONDS,
                    AttributeNames=["All"],
                )
            new = [m for m in answer.get("Messages", ()) if m["MessageId"] not in seen]
            if not new:
                nbr_nothing += 1
                time.sleep(_PAUSE_SECONDS)
            seen.update(m["MessageId"] for m in new)
            yield from map(_message, new)

    def _show(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), _BATCH):
            entries = [
                {"Id": str(i), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": 0}
                for i, message in enumerate(messages[start : start + _BATCH])
            ]
            with _translated(self._url):
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)


def _message(found: dict[str, Any]) -> Message:
    attributes = found.get("Attributes", {})
    return Message(
        found["MessageId"],
        found["ReceiptHandle"],
        found["Body"],
        int(attributes.get("SentTimestamp", 0)) * 1_000_000,
        int(attributes.get("ApproximateReceiveCount", 0)),
    )


@contextmanager
def _translated(queue_url: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if "NonExistentQueue" in error.response["Error"]["Code"]:
            raise ConfigurationError(f"{queue_url}: there is no such queue; see the settings *_queue_url") from error
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise TransientError(f"{queue_url}: {error}") from error
        raise
    except BotoCoreError as error:
        raise TransientError(f"{queue_url}: {error}") from error


def dead_letter_queues(settings: Settings) -> dict[str, DeadLetterQueue]:
    """The dead-letter queues that the settings name, by the name of the queue that they belong to."""
    sqs = aws_client("sqs", settings)
    urls = {
        "events": (settings.event_dead_letter_queue_url, settings.event_queue_url),
        "doorbell": (settings.dead_letter_queue_url, settings.doorbell_queue_url),
    }
    return {name: DeadLetterQueue(sqs, dead, source) for name, (dead, source) in urls.items() if dead and source}
