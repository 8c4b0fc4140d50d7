"""What moto's S3 notifications leave out, put in as S3 sends it: versions, their order, and delete markers."""

import itertools
import threading
from typing import Any

from moto.s3 import notifications
from moto.s3.models import FakeDeleteMarker, S3Backend

_MARKER_CREATED = notifications.S3NotificationEvent.OBJECT_REMOVED_DELETE_MARKER_CREATED_EVENT


def name_versions_in_events() -> None:
    """Adds ``versionId`` and ``sequencer``. Without the version its receiver would have to list the bucket."""
    stock = notifications._get_s3_event
    numbers = itertools.count(1)
    lock = threading.Lock()

    def get_s3_event(event_name: str, bucket: Any, key: Any, notification_id: str) -> dict[str, Any]:
        event: dict[str, Any] = stock(event_name, bucket, key, notification_id)
        found = event["Records"][0]["s3"]["object"]
        with lock:
            found["sequencer"] = f"{next(numbers):016X}"
        if bucket.is_versioned:
            found["versionId"] = key.version_id
        return event

    notifications._get_s3_event = get_s3_event


def announce_delete_markers() -> None:
    """Sends an event when a delete marker hides a key."""
    stock = S3Backend._set_delete_marker

    def set_delete_marker(self: Any, bucket_name: str, key_name: str) -> FakeDeleteMarker:
        marker = stock(self, bucket_name, key_name)
        notifications.send_event(self.account_id, _MARKER_CREATED, self.get_bucket(bucket_name), marker)
        return marker

    # Stock moto asks every subject of an event for these, also a marker.
    FakeDeleteMarker.size = 0
    FakeDeleteMarker.etag = ""
    S3Backend._set_delete_marker = set_delete_marker
