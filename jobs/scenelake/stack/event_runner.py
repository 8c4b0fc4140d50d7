"""Delivers S3's events to the function the way Lambda's event source mapping does.

It takes up to ten messages from the event queue, hands them to the real handler as one event, and deletes those
that the answer does not name in ``batchItemFailures``. The others come back after the queue's visibility timeout
and go to its dead-letter queue after the last receive: that is the queue's own redrive, not this program's.
"""

import logging
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from scenelake.adapters.aws import aws_client
from scenelake.ledger.register_drop import handler, open_doors
from scenelake.runtime.faults import durable_write
from scenelake.runtime.logs import configure_logging
from scenelake.runtime.settings import load_settings

log = logging.getLogger(__name__)

BATCH_SIZE = 10
WAIT_SECONDS = 5
PAUSE_SECONDS = 1.0

Handler = Callable[[Mapping[str, Any], object], Mapping[str, Any]]


def deliver_once(sqs: Any, queue_url: str, function: Handler, *, wait_seconds: int = WAIT_SECONDS) -> int:
    """One round: receive, call, delete what succeeded. Returns how many messages were deleted.

    A function that raises fails its whole batch: nothing is deleted.
    """
    answer = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=BATCH_SIZE,
        WaitTimeSeconds=wait_seconds,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    messages = answer.get("Messages", [])
    if not messages:
        return 0
    result = function({"Records": [_record(message, queue_url) for message in messages]}, None) or {}
    failed = {failure["itemIdentifier"] for failure in result.get("batchItemFailures", ())}
    done = [message for message in messages if message["MessageId"] not in failed]
    if done:
        entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(done)]
        with durable_write("event_runner.delete"):
            sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)
    return len(done)


def _record(message: Mapping[str, Any], queue_url: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": message.get("MessageAttributes", {}),
        "md5OfBody": message.get("MD5OfBody"),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:::{queue_url.rsplit('/', 1)[-1]}",
    }


def run(sqs: Any, queue_url: str, function: Handler, stop: threading.Event) -> None:
    """Delivers until told to stop; a failing round is logged, and tried again after a pause."""
    while not stop.is_set():
        try:
            deliver_once(sqs, queue_url, function)
        except (BotoCoreError, ClientError) as error:
            log.warning("the event queue cannot be read: %s", error)
            stop.wait(PAUSE_SECONDS)
        except Exception:
            # As in Lambda: the function failed, its messages come back, and the poller goes on.
            log.exception("the function failed on a whole batch of events")
            open_doors.cache_clear()
            stop.wait(PAUSE_SECONDS)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs until SIGTERM or SIGINT, which let the round in hand end."""
    configure_logging(stage="event_runner")
    settings = load_settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("delivering events", extra={"queue": settings.event_queue_url})
    run(aws_client("sqs", settings), settings.event_queue_url, handler, stop)


if __name__ == "__main__":
    main()
