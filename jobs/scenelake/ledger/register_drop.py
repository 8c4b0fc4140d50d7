"""The function that S3's events reach: it registers what landed and rings the doorbell.

It takes events from its queue (and answers ``batchItemFailures``), and from S3 or EventBridge directly. Events
come at least once and in any order; registering is a conditional put per object version, so only the first one
counts. Their order does not matter and no ``sequencer`` is compared: each version is a drop of its own, a newer one
replaces nothing, and a delete removes nothing from the ledger. (Which of several manifests rules is decided by
S3's time of the object, not of the event.)

The doorbell is rung every time a waiting drop is announced: after a crash between the two, the second delivery
still wakes the pipeline. A ring only says "look", so one call of the function rings at most twice: at once, and,
for recordings that may still grow, when they will have been quiet for long enough.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from scenelake.adapters.aws import aws_client
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.landing import read_version, versions
from scenelake.contracts.drops import Drop, DropState, IgnoredEvent
from scenelake.contracts.errors import ConfigurationError
from scenelake.ledger.announcements import Announcement, read_announcements
from scenelake.ledger.new_drop import Admission, ObjectVersion, admit
from scenelake.ledger.protocol import Ledger
from scenelake.runtime.faults import durable_write, now_ns
from scenelake.runtime.logs import configure_logging
from scenelake.runtime.settings import load_settings

log = logging.getLogger(__name__)

_LONGEST_DELAY_SECONDS = 900
"""The longest that SQS holds a message back."""


@dataclass(frozen=True)
class Doors:
    """What the function reaches, opened once per process."""

    s3: Any
    sqs: Any
    ledger: Ledger
    doorbell_queue_url: str
    quiet_seconds: int


@cache
def open_doors() -> Doors:
    """Doors as the environment describes them.

    Raises:
        ConfigurationError: when no doorbell queue is set, or the quiet time is longer than a ring can be delayed.
    """
    configure_logging(stage="register_drop")
    settings = load_settings()
    if not settings.doorbell_queue_url:
        raise ConfigurationError("SCENELAKE_DOORBELL_QUEUE_URL: expected the URL of the doorbell queue, got nothing")
    if not 0 <= settings.quiet_seconds <= _LONGEST_DELAY_SECONDS:
        raise ConfigurationError(
            f"SCENELAKE_QUIET_SECONDS: expected 0 to {_LONGEST_DELAY_SECONDS}, got {settings.quiet_seconds}"
        )
    return Doors(
        aws_client("s3", settings),
        aws_client("sqs", settings),
        DynamoLedger.from_settings(settings),
        settings.doorbell_queue_url,
        settings.quiet_seconds,
    )


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry point.

    Returns:
        ``batchItemFailures`` with the queue messages to deliver again (empty for direct events), and how many
        drops were new.
    """
    doors = open_doors()
    records = event.get("Records") or []
    if any(record.get("eventSource") == "aws:sqs" for record in records):
        return _handle_messages({record["messageId"]: record["body"] for record in records}, doors)
    admitted = list(register_event(event, doors))
    drops = [admission.drop for admission in admitted]
    for delay in sorted(ring_delays(drops, doors)):
        _ring(drops, delay, doors)
    return {"batchItemFailures": [], "registered": sum(admission.is_new for admission in admitted)}


def register_event(event: Any, doors: Doors) -> Iterator[Admission]:
    """Registers every object version that one event announces, and records what announces none."""
    for said in read_announcements(event, now_ns()):
        if isinstance(said, IgnoredEvent):
            _ignore(said, doors)
            continue
        is_found = False
        for found in _versions_of(said, doors):
            is_found = True
            yield _register(found, doors)
        if not is_found:
            gone = "the object is gone already"
            _ignore(IgnoredEvent(said.event, gone, now_ns(), said.bucket, said.key, said.version_id), doors)


def ring_delays(drops: list[Drop], doors: Doors) -> set[int]:
    """After how many seconds the doorbell must ring for these drops.

    At once for what may be ready now: an object that is a recording alone, and a part that may complete what a
    manifest lists. After the quiet time for whatever may have to wait for that. For a drop that was rejected at the
    door not at all. The drops are registered by now: a manifest that is not seen here will itself find them.
    """
    delays: set[int] = set()
    recordings = {(drop.drive_id, drop.recording) for drop in drops if drop.state is DropState.PENDING}
    for drive_id, recording in sorted(recordings):
        has_manifest = bool(doors.ledger.parts_of(drive_id, sorted({"", recording})))
        if has_manifest or not recording:
            delays.add(0)
        if has_manifest or recording:
            delays.add(doors.quiet_seconds)
    return delays


def _handle_messages(bodies: Mapping[str, str], doors: Doors) -> dict[str, Any]:
    """Registers and rings for each message; one that fails takes no other with it."""
    failed: set[str] = set()
    drops: dict[str, list[Drop]] = {message_id: [] for message_id in bodies}
    delays: dict[str, set[int]] = {}
    nbr_new = 0

    def attempt(message_ids: list[str], work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            # Not swallowed: the queue delivers these messages again and, after their last receive, keeps them as dead.
            log.exception("event not registered", extra={"message_ids": message_ids})
            failed.update(message_ids)

    def register(message_id: str) -> None:
        nonlocal nbr_new
        for admitted in register_event(json.loads(bodies[message_id]), doors):
            drops[message_id].append(admitted.drop)
            nbr_new += admitted.is_new

    def listen(message_id: str) -> None:
        delays[message_id] = ring_delays(drops[message_id], doors)

    for message_id in bodies:
        attempt([message_id], partial(register, message_id))
    # Also for a message of which only a part was registered: that part need not wait for its next delivery.
    for message_id in bodies:
        attempt([message_id], partial(listen, message_id))
    for delay in sorted(set().union(*delays.values())):
        asking = [message_id for message_id, wanted in delays.items() if delay in wanted]
        about = [drop for message_id in asking for drop in drops[message_id]]
        attempt(asking, partial(_ring, about, delay, doors))
    return {
        "batchItemFailures": [{"itemIdentifier": message_id} for message_id in bodies if message_id in failed],
        "registered": nbr_new,
    }


def _versions_of(said: Announcement, doors: Doors) -> Iterator[ObjectVersion]:
    """The announced version; where the event names none, every version of the key with the announced content."""
    if said.version_id is not None and said.size_bytes is not None and said.etag is not None:
        yield ObjectVersion(
            said.bucket, said.key, said.version_id, said.size_bytes, said.etag, said.sequencer, said.event_at_ns
        )
        return
    for found in versions(doors.s3, said.bucket, said.key):
        is_meant = found.key == said.key and said.version_id in (None, found.version_id)
        if is_meant and said.etag in (None, found.etag):
            yield replace(found, sequencer=said.sequencer, event_at_ns=said.event_at_ns)


def _register(found: ObjectVersion, doors: Doors) -> Admission:
    admitted = admit(doors.ledger, found, now_ns(), partial(read_version, doors.s3))
    drop = admitted.drop
    log.info(
        "drop registered" if admitted.is_new else "drop known already",
        extra={
            "drop_id": drop.drop_id,
            "state": str(drop.state),
            "reason": drop.reason,
            "bucket": drop.bucket,
            "key": drop.key,
            "version_id": drop.version_id,
        },
    )
    return admitted


def _ignore(event: IgnoredEvent, doors: Doors) -> None:
    doors.ledger.record_ignored(event)
    log.info("event ignored", extra={"event": event.event, "reason": event.reason, "key": event.key})


def _ring(drops: list[Drop], delay_seconds: int, doors: Doors) -> None:
    """One ring for all of them. The queue's reader only counts it; what it names is for a person."""
    ring = {"drop_id": drops[0].drop_id, "key": drops[0].key, "nbr_drops": len(drops)}
    body = json.dumps(ring)
    with durable_write("register_drop.ring"):
        doors.sqs.send_message(QueueUrl=doors.doorbell_queue_url, MessageBody=body, DelaySeconds=delay_seconds)
