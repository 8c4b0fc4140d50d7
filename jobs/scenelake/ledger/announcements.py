"""What an S3 event says, in each of the shapes in which it arrives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from scenelake.contracts.errors import BadInputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Announcement:
    """An object was created.

    Attributes:
        version_id, size_bytes, etag: None where the event does not say.
        sequencer: hexadecimal; S3's order of events on one key.
        event_at_ns: S3's time of the event, ns UTC.
    """

    bucket: str
    key: str
    version_id: str | None
    size_bytes: int | None
    etag: str | None
    sequencer: str | None
    event_at_ns: int | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that announces no object, and why it does not."""

    event: str
    reason: str
    bucket: str | None = None
    key: str | None = None


def read_announcements(event: Mapping[str, Any]) -> Iterator[Announcement | Ignored]:
    """Reads one S3 notification (``Records``), one EventBridge event (``detail``) or S3's test event.

    Raises:
        BadInputError: reason ``unknown_event`` for anything else.
    """
    if event.get("Event") == "s3:TestEvent":
        yield Ignored("s3:TestEvent", "S3 tests its notifications", event.get("Bucket"))
    elif event.get("source") == "aws.s3" and "detail" in event:
        yield _from_event_bridge(event)
    elif isinstance(event.get("Records"), list):
        yield from map(_from_notification, event["Records"])
    else:
        raise BadInputError(
            f"expected an S3 notification or an EventBridge event of aws.s3, got keys {sorted(event)[:10]}",
            reason="unknown_event",
        )


def _from_notification(record: Mapping[str, Any]) -> Announcement | Ignored:
    try:
        name: str = record["eventName"]
        bucket, found = record["s3"]["bucket"]["name"], record["s3"]["object"]
        # Notifications, unlike EventBridge, carry the key URL-encoded with + for a space.
        key = unquote_plus(found["key"])
    except (KeyError, TypeError) as error:
        raise BadInputError(f"expected an S3 record, lacks {error}", reason="unknown_event") from error
    if not name.removeprefix("s3:").startswith("ObjectCreated:"):
        return Ignored(name, "announces no new object", bucket, key)
    return Announcement(
        bucket=bucket,
        key=key,
        version_id=found.get("versionId"),
        size_bytes=found.get("size"),
        etag=_bare(found.get("eTag")),
        sequencer=found.get("sequencer"),
        event_at_ns=_nanoseconds(record.get("eventTime")),
    )


def _from_event_bridge(event: Mapping[str, Any]) -> Announcement | Ignored:
    name = str(event.get("detail-type"))
    detail = event["detail"]
    try:
        bucket, found = detail["bucket"]["name"], detail["object"]
        key = found["key"]
    except (KeyError, TypeError) as error:
        raise BadInputError(f"expected an aws.s3 event, lacks {error}", reason="unknown_event") from error
    if name != "Object Created":
        return Ignored(name, "announces no new object", bucket, key)
    return Announcement(
        bucket=bucket,
        key=key,
        version_id=found.get("version-id"),
        size_bytes=found.get("size"),
        etag=_bare(found.get("etag") or found.get("eTag")),
        sequencer=found.get("sequencer"),
        event_at_ns=_nanoseconds(event.get("time")),
    )


def _bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def _nanoseconds(text: str | None) -> int | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
