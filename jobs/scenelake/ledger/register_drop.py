"""The function that S3's events reach: it registers what landed and rings the doorbell.

It takes events from its queue (and answers ``batchItemFailures``), and from S3 or EventBridge directly. Events
come at least once and in any order; registering is a conditional put, so only the first one counts. The doorbell
is rung every time: after a crash between the two, the second delivery still wakes the pipeline.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from scenelake.adapters.aws import aws_client
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.landing import versions
from scenelake.contracts.errors import ConfigurationError
from scenelake.ledger.announcements import Announcement, Ignored, read_announcements
from scenelake.ledger.new_drop import ObjectVersion, is_folder_marker, new_drop
from scenelake.ledger.protocol import Ledger
from scenelake.runtime.logs import configure_logging
from scenelake.runtime.settings import load_settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doors:
    """What the function reaches, opened once per process."""

    s3: Any
    sqs: Any
    ledger: Ledger
    doorbell_queue_url: str


@cache
def open_doors() -> Doors:
    """Doors as the environment describes them.

    Raises:
        ConfigurationError: when no doorbell queue is set.
    """
    configure_logging(stage="register_drop")
    settings = load_settings()
    if not settings.doorbell_queue_url:
        raise ConfigurationError("SCENELAKE_DOORBELL_QUEUE_URL: expected the URL of the doorbell queue, got nothing")
    return Doors(
        aws_client("s3", settings),
        aws_client("sqs", settings),
        DynamoLedger.from_settings(settings),
        settings.doorbell_queue_url,
    )


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry point.

    Returns:
        ``batchItemFailures`` with the queue messages to deliver again (empty for direct events), and counts.
    """
    doors = open_doors()
    records = event.get("Records") or []
    if not any(record.get("eventSource") == "aws:sqs" for record in records):
        return {"batchItemFailures": [], "registered": register_event(event, doors)}
    failures = []
    registered = 0
    for record in records:
        try:
            registered += register_event(json.loads(record["body"]), doors)
        except Exception:
            # Not swallowed: the queue delivers this message again and, after its last receive, keeps it as dead.
            log.exception("event not registered", extra={"message_id": record["messageId"]})
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures, "registered": registered}


def register_event(event: Mapping[str, Any], doors: Doors) -> int:
    """Registers every object that one event announces and returns how many were new."""
    nbr_new = 0
    for said in read_announcements(event):
        if isinstance(said, Ignored):
            log.info("event ignored", extra={"event": said.event, "reason": said.reason, "key": said.key})
            continue
        for found in _versions_of(said, doors):
            nbr_new += _register(found, doors)
    return nbr_new


def _versions_of(said: Announcement, doors: Doors) -> Iterator[ObjectVersion]:
    """The announced version; where the event names none, every version of the key with the announced content."""
    if said.version_id is not None and said.size_bytes is not None and said.etag is not None:
        yield ObjectVersion(
            said.bucket, said.key, said.version_id, said.size_bytes, said.etag, said.sequencer, said.event_at_ns
        )
        return
    nbr_found = 0
    for found in versions(doors.s3, said.bucket, said.key):
        is_meant = found.key == said.key and said.version_id in (None, found.version_id)
        if is_meant and said.etag in (None, found.etag):
            nbr_found += 1
            yield ObjectVersion(
                found.bucket,
                found.key,
                found.version_id,
                found.size_bytes,
                found.etag,
                said.sequencer,
                said.event_at_ns,
            )
    if not nbr_found:
        log.warning("event ignored", extra={"reason": "the object is gone already", "key": said.key})


def _register(found: ObjectVersion, doors: Doors) -> bool:
    where = {"bucket": found.bucket, "key": found.key, "version_id": found.version_id}
    if is_folder_marker(found.key, found.size_bytes):
        log.info("event ignored", extra={"reason": "an empty folder marker", **where})
        return False
    drop = new_drop(found, time.time_ns())
    is_new = doors.ledger.register(drop)
    log.info(
        "drop registered" if is_new else "drop known already",
        extra={"drop_id": drop.drop_id, "state": str(drop.state), "reason": drop.reason, **where},
    )
    ring = {"drop_id": drop.drop_id, "bucket": drop.bucket, "key": drop.key}
    doors.sqs.send_message(QueueUrl=doors.doorbell_queue_url, MessageBody=json.dumps(ring))
    return is_new
