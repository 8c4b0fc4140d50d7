import json
from typing import Any

import pytest

from scenelake.contracts.drops import DropState
from scenelake.contracts.errors import BadInputError
from scenelake.ledger.register_drop import handler


def notification(key: str, event: str = "ObjectCreated:Put", **found: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": event,
                "eventTime": "2026-11-22T00:00:00.123Z",
                "s3": {"bucket": {"name": "scenelake-landing"}, "object": {"key": key, **found}},
            }
        ]
    }


def event_bridge(key: str, version: str, kind: str = "Object Created") -> dict[str, Any]:
    found = {"key": key, "size": 4, "etag": "abc", "version-id": version, "sequencer": "00AA"}
    return {
        "source": "aws.s3",
        "detail-type": kind,
        "time": "2026-11-22T00:00:00Z",
        "detail": {"bucket": {"name": "scenelake-landing"}, "object": found},
    }


def queued(*events: Any) -> dict[str, Any]:
    return {
        "Records": [
            {"eventSource": "aws:sqs", "messageId": f"m{i}", "body": e if isinstance(e, str) else json.dumps(e)}
            for i, e in enumerate(events)
        ]
    }


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("f%2Fv%2Fd%2Fa.mcap", "f/v/d/a.mcap"),
        ("f/v/d/my+file.mcap", "f/v/d/my file.mcap"),
        ("f/v/d/a%2Bb.mcap", "f/v/d/a+b.mcap"),
        ("f/v/d/%C3%A9.mcap", "f/v/d/é.mcap"),
    ],
)
def test_keys_of_notifications_are_decoded_and_a_missing_version_is_looked_up(zone, sent: str, meant: str) -> None:
    version = zone.put(meant)
    assert handler(queued(notification(sent, size=4)), None) == {"batchItemFailures": [], "registered": 1}
    (drop,) = zone.ledger.drops()
    assert (drop.key, drop.version_id, drop.size_bytes, drop.state) == (meant, version, 4, DropState.PENDING)
    assert (drop.fleet, drop.vehicle, drop.drive) == ("f", "v", "d")
    assert drop.event_at_ns == 1_795_305_600_123_000_000


def test_an_event_without_a_version_registers_every_version_with_its_content_only(zone) -> None:
    first, second = zone.put("f/v/d/a.mcap", b"one"), zone.put("f/v/d/a.mcap", b"two")
    etags = {
        v["VersionId"]: v["ETag"].strip('"')
        for v in zone.s3.list_object_versions(Bucket="scenelake-landing")["Versions"]
    }
    handler(notification("f/v/d/a.mcap", eTag=etags[first]), None)
    assert [d.version_id for d in zone.ledger.drops()] == [first]
    handler(notification("f/v/d/a.mcap", eTag=etags[second]), None)
    assert {d.version_id for d in zone.ledger.drops()} == {first, second}


def test_an_event_with_a_version_needs_no_look_at_the_bucket(zone) -> None:
    handler(notification("f/v/d/gone.mcap", versionId="v1", size=9, eTag='"e"', sequencer="00BB"), None)
    (drop,) = zone.ledger.drops()
    assert (drop.version_id, drop.size_bytes, drop.etag, drop.sequencer) == ("v1", 9, "e", "00BB")


def test_event_bridge_keys_are_taken_as_they_are(zone) -> None:
    handler(event_bridge("f/v/d/a+b%2F.mcap", "v1"), None)
    handler(queued(event_bridge("f/v/d/c.mcap", "v2")), None)
    assert {d.key for d in zone.ledger.drops()} == {"f/v/d/a+b%2F.mcap", "f/v/d/c.mcap"}


@pytest.mark.parametrize("time", [1795305600.5, None, "yesterday"])
def test_a_time_that_is_no_timestamp_is_left_out(zone, time: object) -> None:
    handler({**event_bridge("f/v/d/a.mcap", "v1"), "time": time}, None)
    (drop,) = zone.ledger.drops()
    assert drop.event_at_ns is None


def test_a_second_delivery_changes_nothing_and_rings_again(zone) -> None:
    zone.put("f/v/d/a.mcap")
    event = queued(notification("f/v/d/a.mcap"))
    assert handler(event, None)["registered"] == 1
    (before,) = zone.ledger.drops()
    assert handler(event, None)["registered"] == 0
    assert list(zone.ledger.drops()) == [before]
    assert zone.rings() == [{"drop_id": before.drop_id, "key": "f/v/d/a.mcap", "nbr_drops": 1}] * 2


@pytest.mark.parametrize("key", ["stray.bin", "f/v/a.mcap", "f/v//a.mcap", "f/v/bad drive/a.mcap"])
def test_a_key_outside_the_layout_is_recorded_with_a_reason_that_names_it(zone, key: str) -> None:
    zone.put(key)
    handler(notification(key), None)
    (drop,) = zone.ledger.drops()
    assert drop.state is DropState.REJECTED
    assert drop.reason is not None
    assert drop.reason.startswith("key_outside_layout: ")
    assert key in drop.reason
    assert zone.rings() == [], "nothing waits, so nobody needs to look"


def test_an_empty_object_is_rejected_naming_file_and_byte(zone) -> None:
    zone.put("f/v/d/empty.mcap", b"")
    handler(notification("f/v/d/empty.mcap"), None)
    (drop,) = zone.ledger.drops()
    assert (drop.state, drop.reason) == (
        DropState.REJECTED,
        "empty_object: 'f/v/d/empty.mcap' ends at byte 0; expected a recording",
    )


def test_a_folder_marker_is_recorded_as_rejected_and_rings_nothing(zone) -> None:
    zone.put("f/v/d/folder/", b"")
    handler(queued(notification("f/v/d/folder/", size=0)), None)
    (drop,) = zone.ledger.drops()
    assert drop.state is DropState.REJECTED
    assert drop.reason is not None
    assert drop.reason.startswith("folder_marker: 'f/v/d/folder/'")
    assert zone.rings() == []


def test_a_key_that_ends_like_a_folder_but_holds_bytes_is_no_marker(zone) -> None:
    zone.put("f/v/d/folder/", b"data")
    handler(queued(notification("f/v/d/folder/", size=4)), None)
    (drop,) = zone.ledger.drops()
    assert drop.reason is not None
    assert drop.reason.startswith("key_outside_layout: ")


@pytest.mark.parametrize(
    ("key", "recording", "sensor"),
    [
        ("f/v/d/a.mcap", "", None),
        ("f/v/d/rec/a.mcap", "rec", None),
        ("f/v/d/rec/CAM_FRONT/0.mcap", "rec", "CAM_FRONT"),
    ],
)
def test_recording_and_sensor_come_from_the_key(zone, key: str, recording: str, sensor: str | None) -> None:
    handler(event_bridge(key, "v1"), None)
    (drop,) = zone.ledger.drops()
    assert (drop.recording, drop.sensor, drop.sequencer) == (recording, sensor, "00AA")
    assert drop.received_at_ns > 0


TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "scenelake-landing"}
EXPIRED = event_bridge("f/v/d/a.mcap", "v1", kind="Object Deleted")
EXPIRED["detail"]["reason"] = "Lifecycle Expiration"


@pytest.mark.parametrize(
    ("event", "name", "reason"),
    [
        (TEST_EVENT, "s3:TestEvent", "tests"),
        (notification("f/v/d/a.mcap", event="ObjectRemoved:Delete", versionId="v1"), "ObjectRemoved:Delete", "deleted"),
        (
            notification("f/v/d/a.mcap", event="s3:ObjectRemoved:DeleteMarkerCreated", versionId="v1"),
            "ObjectRemoved:DeleteMarkerCreated",
            "deleted",
        ),
        (notification("f/v/d/a.mcap", event="LifecycleExpiration:Delete"), "LifecycleExpiration:Delete", "expired"),
        (event_bridge("f/v/d/a.mcap", "v1", kind="Object Deleted"), "Object Deleted", "deleted"),
        (EXPIRED, "Object Deleted", "expired"),
        (notification("f/v/d/a.mcap", event="ObjectTagging:Put"), "ObjectTagging:Put", "no new object"),
        (event_bridge("f/v/d/a.mcap", "v1", kind="Object Tags Added"), "Object Tags Added", "no new object"),
        (notification("f/v/d/never-there.mcap"), "ObjectCreated:Put", "gone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_announces_no_drop_is_kept_with_its_reason(zone, event: dict[str, Any], name: str, reason: str) -> None:
    for _ in range(2):
        assert handler(queued(event), None) == {"batchItemFailures": [], "registered": 0}
    (kept,) = zone.ledger.ignored()
    assert kept.event == name
    assert reason in kept.reason
    assert kept.bucket == "scenelake-landing"
    assert list(zone.ledger.drops()) == []
    assert zone.rings() == []


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "null",
        "[]",
        "{}",
        {"unknown": 1},
        {"Records": [None]},
        {"Records": [{"eventName": "ObjectCreated:Put"}]},
        {"Records": [{"eventName": 7, "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]},
        notification("f/v/d/a.mcap", event="ObjectInvented:Now"),
        {"source": "aws.s3", "detail": None},
        event_bridge("f/v/d/a.mcap", "v1", kind="Object Invented"),
    ],
    ids=str,
)
def test_an_unknown_event_fails_its_message_alone(zone, body: Any) -> None:
    zone.put("f/v/d/a.mcap")
    answer = handler(queued(body, notification("f/v/d/a.mcap")), None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}], "registered": 1}
    assert len(zone.rings()) == 1


def test_a_body_of_several_records_registers_each_and_what_precedes_a_bad_one(zone) -> None:
    good = [notification(f"f/v/d/{name}.mcap", versionId=name, size=1, eTag="e")["Records"][0] for name in "ab"]
    assert handler(queued({"Records": good}), None) == {"batchItemFailures": [], "registered": 2}
    third = notification("f/v/d/c.mcap", versionId="c", size=1, eTag="e")["Records"][0]
    zone.rings()
    answer = handler(queued({"Records": [third, None]}), None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}], "registered": 1}
    assert len(zone.rings()) == 1, "what was registered does not wait for the next delivery"


def test_ten_drops_of_one_call_ring_once(zone) -> None:
    events = [event_bridge(f"f/v/d{i}/a.mcap", "v1") for i in range(10)]
    assert handler(queued(*events), None)["registered"] == 10
    (ring,) = zone.rings()
    assert ring["nbr_drops"] == 10


def test_only_the_messages_that_failed_are_delivered_again(zone) -> None:
    zone.put("f/v/d/a.mcap")
    answer = handler(queued("not json", notification("f/v/d/a.mcap"), {"unknown": 1}), None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}], "registered": 1}


def test_a_direct_event_that_is_unknown_raises_so_that_its_sender_tries_again(zone) -> None:
    with pytest.raises(BadInputError) as caught:
        handler({"unknown": 1}, None)
    assert caught.value.reason == "unknown_event"


def test_a_bell_that_cannot_ring_fails_the_message_so_that_it_comes_again(zone) -> None:
    zone.put("f/v/d/a.mcap")
    zone.sqs.delete_queue(QueueUrl=zone.doorbell)
    answer = handler(queued(notification("f/v/d/a.mcap")), None)
    assert answer["batchItemFailures"] == [{"itemIdentifier": "m0"}]
    assert len(list(zone.ledger.drops())) == 1
