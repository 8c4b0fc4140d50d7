"""What an S3 event says, in each of the shapes in which it arrives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from scenelake.contracts.drops import IgnoredEvent
from scenelake.contracts.errors import BadInputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DELETED = "an object was deleted; what landed stays registered"
_EXPIRED = "an object expired; what landed stays registered"
_NOT_NEW = "announces no new object"

_IGNORED_NOTIFICATIONS = {
    "ObjectRemoved": _DELETED,
    "LifecycleExpiration": _EXPIRED,
    **dict.fromkeys(
        (
            "ObjectRestore",
            "ObjectTagging",
            "ObjectAcl",
            "LifecycleTransition",
            "IntelligentTiering",
            "Replication",
            "ReducedRedundancyLostObject",
        ),
        _NOT_NEW,
    ),
}
"""Reasons by the first word of an S3 event's name."""

_IGNORED_BRIDGED = {
    "Object Deleted": _DELETED,
    **dict.fromkeys(
        (
            "Object Restore Initiated",
            "Object Restore Completed",
            "Object Restore Expired",
            "Object Storage Class Changed",
            "Object Access Tier Changed",
            "Object ACL Updated",
            "Object Tags Added",
            "Object Tags Deleted",
        ),
        _NOT_NEW,
    ),
}
"""Reasons by EventBridge's detail type."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """An object was created.

    Attributes:
        event: S3's name of the event.
        version_id, size_bytes, etag: None where the event does not say.
        sequencer: hexadecimal; S3's order of events on one key.
        event_at_ns: S3's time of the event, ns UTC.
    """

    event: str
    bucket: str
    key: str
    version_id: str | None
    size_bytes: int | None
    etag: str | None
    sequencer: str | None
    event_at_ns: int | None


def read_announcements(event: Any, received_at_ns: int) -> Iterator[Announcement | IgnoredEvent]:
    """Reads one S3 notification (``Records``, any number), one EventBridge event (``detail``) or S3's test event.

    Raises:
        BadInputError: reason ``unknown_event`` for anything else, naming what was expected.
    """
    if not isinstance(event, Mapping):
        raise _unknown(f"expected an event as a JSON object, got {type(event).__name__}")
    if event.get("Event") == "s3:TestEvent":
        yield IgnoredEvent("s3:TestEvent", "S3 tests its notifications", received_at_ns, event.get("Bucket"))
    elif event.get("source") == "aws.s3" and "detail" in event:
        yield _from_event_bridge(event, received_at_ns)
    elif isinstance(event.get("Records"), list):
        for record in event["Records"]:
            yield _from_notification(record, received_at_ns)
    else:
        raise _unknown(f"expected an S3 notification or an EventBridge event of aws.s3, got keys {sorted(event)[:10]}")


def _from_notification(record: Any, received_at_ns: int) -> Announcement | IgnoredEvent:
    try:
        name = record["eventName"].removeprefix("s3:")
        bucket, found = record["s3"]["bucket"]["name"], record["s3"]["object"]
        # Notifications, unlike EventBridge, carry the key URL-encoded with + for a space.
        key, version_id = unquote_plus(found["key"]), found.get("versionId")
    except (KeyError, TypeError, AttributeError) as error:
        raise _unknown(f"expected an S3 record with eventName and s3.bucket and s3.object, lacks {error}") from error
    kind = name.partition(":")[0]
    if kind in _IGNORED_NOTIFICATIONS:
        return IgnoredEvent(name, _IGNORED_NOTIFICATIONS[kind], received_at_ns, bucket, key, version_id)
    if kind != "ObjectCreated":
        raise _unknown(f"eventName: expected an event of S3, got {name!r:.100}")
    return Announcement(
        event=name,
        bucket=bucket,
        key=key,
        version_id=version_id,
        size_bytes=found.get("size"),
        etag=_bare(found.get("eTag")),
        sequencer=found.get("sequencer"),
        event_at_ns=_nanoseconds(record.get("eventTime")),
    )


def _from_event_bridge(event: Mapping[str, Any], received_at_ns: int) -> Announcement | IgnoredEvent:
    detail, name = event["detail"], event.get("detail-type")
    try:
        bucket, found = detail["bucket"]["name"], detail["object"]
        key, version_id = found["key"], found.get("version-id")
    except (KeyError, TypeError, AttributeError) as error:
        raise _unknown(f"expected an aws.s3 event with detail.bucket and detail.object, lacks {error}") from error
    if name in _IGNORED_BRIDGED:
        reason = _EXPIRED if detail.get("reason") == "Lifecycle Expiration" else _IGNORED_BRIDGED[name]
        return IgnoredEvent(name, reason, received_at_ns, bucket, key, version_id)
    if name != "Object Created":
        raise _unknown(f"detail-type: expected an event of S3, got {name!r:.100}")
    return Announcement(
        event=name,
        bucket=bucket,
        key=key,
        version_id=version_id,
        size_bytes=found.get("size"),
        etag=_bare(found.get("etag") or found.get("eTag")),
        sequencer=found.get("sequencer"),
        event_at_ns=_nanoseconds(event.get("time")),
    )


def _unknown(what: str) -> BadInputError:
    return BadInputError(what, reason="unknown_event")


def _bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def _nanoseconds(text: object) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
