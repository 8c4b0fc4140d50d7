"""Recordings of many objects at the door: manifests, and when the doorbell rings for a part."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scenelake.contracts import ids
from scenelake.contracts.drops import DropState
from scenelake.contracts.manifests import MAX_BYTES, ManifestFile, manifest_bytes
from scenelake.ledger import register_drop
from scenelake.ledger.register_drop import handler, open_doors

DRIVE = ids.drive_id("f", "v", "d")
MANIFEST = "f/v/d/rec/_MANIFEST.json"
QUIET_SECONDS = 60


def created(key: str, version: str, size: int = 4) -> dict[str, Any]:
    found = {"key": key, "size": size, "etag": "abc", "version-id": version, "sequencer": "00AA"}
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-22T00:00:00Z",
        "detail": {"bucket": {"name": "scenelake-landing"}, "object": found},
    }


def deliver(*events: Any) -> list[str]:
    """Delivers messages in one call and returns those that failed."""
    records = [
        {"eventSource": "aws:sqs", "messageId": f"m{i}", "body": json.dumps(event)} for i, event in enumerate(events)
    ]
    return [f["itemIdentifier"] for f in handler({"Records": records}, None)["batchItemFailures"]]


def land(zone: Any, key: str, body: bytes) -> list[str]:
    return deliver(created(key, zone.put(key, body), len(body)))


def listing(*paths: str, size_bytes: int = 4) -> bytes:
    return manifest_bytes([ManifestFile(path, size_bytes) for path in paths])


@pytest.fixture
def delays(zone: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The delay of each ring, in order; the rings are sent all the same."""
    sent: list[int] = []
    sqs = open_doors().sqs
    send = sqs.send_message

    def send_message(**request: Any) -> Any:
        sent.append(request["DelaySeconds"])
        return send(**request)

    monkeypatch.setattr(sqs, "send_message", send_message)
    return sent


def test_a_manifest_is_a_drop_and_its_parts_are_expected_by_full_key(zone) -> None:
    assert land(zone, MANIFEST, listing("CAM/0.mcap", "LIDAR/0.mcap")) == []
    (drop,) = zone.ledger.drops()
    assert (drop.state, drop.recording) == (DropState.PENDING, "rec")
    (parts,) = zone.ledger.parts_of(DRIVE, ["rec"])
    assert parts.sizes_bytes == {"f/v/d/rec/CAM/0.mcap": 4, "f/v/d/rec/LIDAR/0.mcap": 4}
    assert (parts.drop_id, parts.recording, parts.drive_id) == (drop.drop_id, "rec", DRIVE)


def test_a_manifest_in_the_drive_itself_speaks_of_the_whole_drive(zone) -> None:
    land(zone, "f/v/d/_MANIFEST.json", listing("a.mcap", "rec/b.mcap"))
    (parts,) = zone.ledger.parts_of(DRIVE, [""])
    assert sorted(parts.sizes_bytes) == ["f/v/d/a.mcap", "f/v/d/rec/b.mcap"]


def test_no_claim_sees_a_manifest_without_its_parts(zone, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = open_doors().ledger
    calls: list[str] = []
    for name in ("expect_parts", "register"):
        method = getattr(ledger, name)
        monkeypatch.setattr(
            ledger, name, lambda value, method=method, name=name: (calls.append(name), method(value))[1]
        )
    land(zone, MANIFEST, listing("a.mcap"))
    assert calls == ["expect_parts", "register"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"not json", "expected JSON"),
        (b"[]", "expected an object with version 1"),
        (b'{"version": 1, "files": []}', "files:"),
        (listing("../../other/drive.mcap"), "path:"),
        (b" " * (MAX_BYTES + 1), f"expected at most {MAX_BYTES} bytes"),
    ],
    ids=["text", "list", "no files", "path that leaves", "too large"],
)
def test_a_bad_manifest_is_rejected_naming_itself_and_holds_up_nothing(zone, body: bytes, says: str) -> None:
    assert land(zone, MANIFEST, body) == []
    (drop,) = zone.ledger.drops()
    assert drop.state is DropState.REJECTED
    assert drop.reason is not None
    assert drop.reason.startswith(f"bad_manifest: s3://scenelake-landing/{MANIFEST}: ")
    assert says in drop.reason
    assert zone.ledger.parts_of(DRIVE, ["rec"]) == []
    assert zone.rings() == []


def test_a_manifest_that_is_gone_is_rejected(zone) -> None:
    zone.put(MANIFEST, listing("a.mcap"))
    assert deliver(created(MANIFEST, "e3b0c442-98fc-4c14-9afb-f4c8996fb924")) == []
    (drop,) = zone.ledger.drops()
    assert (drop.state, (drop.reason or "").split(":")[0]) == (DropState.REJECTED, "object_missing")


def test_a_manifest_that_cannot_be_read_now_comes_again(zone, monkeypatch: pytest.MonkeyPatch) -> None:
    version = zone.put(MANIFEST, listing("a.mcap"))
    busy = ClientError(
        {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}},  # type: ignore[typeddict-item]
        "GetObject",
    )
    s3 = open_doors().s3
    with monkeypatch.context() as patch:
        patch.setattr(s3, "get_object", lambda **_: (_ for _ in ()).throw(busy))
        assert deliver(created(MANIFEST, version), created("f/v/d/a.mcap", "v1")) == ["m0"]
    assert [d.key for d in zone.ledger.drops()] == ["f/v/d/a.mcap"]
    assert deliver(created(MANIFEST, version)) == []
    assert len(list(zone.ledger.drops())) == 2


def test_the_newest_manifest_rules_in_whichever_order_events_come(zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 stores to the second, so the two versions are told apart by a clock that the test sets."""
    old, new = zone.put(MANIFEST, listing("a.mcap")), zone.put(MANIFEST, listing("a.mcap", "b.mcap"))
    seconds = {old: 1_000_000_000, new: 2_000_000_000}
    read = register_drop.read_version

    def read_at(client: Any, found: Any, limit: int) -> Any:
        stored = read(client, found, limit)
        return type(stored)(stored.content, seconds[found.version_id])

    monkeypatch.setattr(register_drop, "read_version", read_at)
    for version in (new, old, old):
        assert deliver(created(MANIFEST, version)) == []
    (parts,) = zone.ledger.parts_of(DRIVE, ["rec"])
    assert sorted(parts.sizes_bytes) == ["f/v/d/rec/a.mcap", "f/v/d/rec/b.mcap"]


def keys_of(*names: str) -> Sequence[dict[str, Any]]:
    return [created(f"f/v/d/{name}", f"v{i}") for i, name in enumerate(names)]


def test_a_file_of_the_drive_rings_at_once(zone, delays: list[int]) -> None:
    deliver(*keys_of("a.mcap", "b.mcap"))
    assert delays == [0]


def test_a_part_without_a_manifest_rings_when_it_may_have_been_quiet_for_long_enough(zone, delays: list[int]) -> None:
    deliver(*keys_of("rec/CAM/0.mcap", "rec/CAM/1.mcap", "other/0.mcap"))
    assert delays == [QUIET_SECONDS]


def test_a_manifest_and_parts_that_may_complete_it_ring_at_once_and_later(zone, delays: list[int]) -> None:
    land(zone, MANIFEST, listing("0.mcap", "1.mcap"))
    assert delays == [0, QUIET_SECONDS]
    deliver(*keys_of("rec/0.mcap"))
    assert delays == [0, QUIET_SECONDS] * 2
    deliver(*keys_of("other/0.mcap"))
    assert delays == [*[0, QUIET_SECONDS] * 2, QUIET_SECONDS]


def test_a_manifest_of_the_drive_makes_its_files_ring_later_too(zone, delays: list[int]) -> None:
    land(zone, "f/v/d/_MANIFEST.json", listing("a.mcap", "b.mcap"))
    deliver(*keys_of("a.mcap"))
    assert delays == [0, QUIET_SECONDS] * 2


def test_without_a_quiet_time_everything_rings_at_once(
    zone, delays: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = replace(open_doors(), quiet_seconds=0)
    monkeypatch.setattr(register_drop, "open_doors", lambda: doors)
    deliver(*keys_of("rec/0.mcap", "a.mcap"))
    assert delays == [0]


def test_a_ring_that_fails_fails_the_messages_that_asked_for_it(zone, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs = open_doors().sqs
    send = sqs.send_message

    def only_at_once(**request: Any) -> Any:
        if request["DelaySeconds"]:
            raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "SendMessage")
        return send(**request)

    monkeypatch.setattr(sqs, "send_message", only_at_once)
    assert deliver(*keys_of("rec/0.mcap", "a.mcap")) == ["m0"]
    assert len(list(zone.ledger.drops())) == 2
    assert len(zone.rings()) == 1


def test_a_quiet_time_that_no_queue_can_keep_is_refused(zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENELAKE_QUIET_SECONDS", "901")
    open_doors.cache_clear()
    with pytest.raises(register_drop.ConfigurationError, match="expected 0 to 900, got 901"):
        handler({"Records": []}, None)
