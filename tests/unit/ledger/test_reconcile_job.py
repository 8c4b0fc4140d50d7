"""The reconciler against a landing zone in moto: what it finds, what it mends, what it leaves alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from scenelake.adapters.objects import read_json, s3_objects
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, DropState, Settlement
from scenelake.contracts.manifests import ManifestFile, manifest_bytes
from scenelake.ledger import reconcile_job
from scenelake.ledger.protocol import ClaimLimits
from scenelake.runtime.settings import load_settings

from .conftest import Zone

HOUR_NS = 3600 * 1_000_000_000
LIMITS = ClaimLimits(max_drops=10, max_bytes=10**9, lease_ns=60 * 1_000_000_000, max_attempts=3)
Reconcile = Callable[..., dict[str, Any]]


@pytest.fixture
def reconcile(zone: Zone, tmp_path: Any) -> Reconcile:
    def run(*words: str) -> dict[str, Any]:
        result = tmp_path / "answer.json"
        assert reconcile_job.main([*words, "--dag-run-id", "manual run:1", "--result", str(result)]) == 0
        answer: dict[str, Any] = json.loads(result.read_text())
        return answer

    return run


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets hours pass for the reconciler."""
    clock = reconcile_job.now_ns

    def shift(hours: float) -> None:
        monkeypatch.setattr(reconcile_job, "now_ns", lambda: clock() + int(hours * HOUR_NS))

    return shift


def register(zone: Zone, key: str, body: bytes = b"data") -> Drop:
    """An object whose event came."""
    version_id = zone.put(key, body)
    found = reconcile_job.ObjectVersion("scenelake-landing", key, version_id, len(body), "e")
    reconcile_job.handler(reconcile_job.announcement(found), None)
    drop = zone.ledger.get(ids.drop_id("scenelake-landing", key, version_id))
    assert drop is not None
    return drop


def drain(zone: Zone) -> None:
    """Hears every ring so far, of which there must be one."""
    assert zone.rings()
    while zone.rings():
        pass


def differences(answer: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in answer["differences"].items() if count}


def test_what_no_event_announced_is_registered_once_and_the_bell_rings(zone: Zone, reconcile: Reconcile) -> None:
    versions = [zone.put("f/v/d/a.mcap"), zone.put("f/v/d/a.mcap", b"newer"), zone.put("outside.mcap")]
    known = register(zone, "f/v/d/known.mcap")
    drain(zone)
    answer = reconcile("--grace-seconds=0")
    assert differences(answer) == {"unregistered": 3}
    assert answer["counts"] == {"object versions": 4, "drops compared": 1, "registered": 3}
    assert {e["version_id"] for e in answer["examples"]["unregistered"]} == set(versions)
    assert {e["outcome"] for e in answer["examples"]["unregistered"]} == {"registered"}
    states = {d.drop_id: d.state for d in zone.ledger.drops()}
    assert len(states) == 4
    assert states[known.drop_id] is DropState.PENDING
    assert sorted(states.values()) == ["PENDING", "PENDING", "PENDING", "REJECTED"]
    drain(zone)
    assert differences(reconcile("--grace-seconds=0")) == {}
    assert not zone.rings()


def test_a_young_object_s_event_may_still_be_on_its_way(zone: Zone, reconcile: Reconcile) -> None:
    zone.put("f/v/d/a.mcap")
    assert differences(reconcile("--grace-seconds=300")) == {}
    assert not list(zone.ledger.drops())


def test_the_hourly_run_looks_at_what_landed_lately(zone: Zone, reconcile: Reconcile, later: Any) -> None:
    zone.put("f/v/d/a.mcap")
    later(5)
    answer = reconcile("--since-hours=3")
    assert answer["counts"]["object versions"] == 0
    assert differences(answer) == {}
    assert reconcile("--since-hours=6")["differences"]["unregistered"] == 1


def test_a_prefix_narrows_both_sides(zone: Zone, reconcile: Reconcile) -> None:
    register(zone, "f/other/d/a.mcap")
    zone.put("f/v/d/a.mcap")
    zone.put("f/w/d/a.mcap")
    answer = reconcile("--prefix=f/v/", "--grace-seconds=0")
    assert differences(answer) == {"unregistered": 1}
    assert answer["counts"]["drops compared"] == 0


def test_one_that_cannot_be_registered_is_reported_and_stops_no_other(
    zone: Zone, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.put("f/v/d/a.mcap")
    bad = zone.put("f/v/d/b.mcap")
    real = reconcile_job.handler

    def half(event: dict[str, Any], context: object) -> dict[str, Any]:
        names_bad = [r for r in event["Records"] if bad in r["body"]]
        others = [r for r in event["Records"] if r not in names_bad]
        answer = real({"Records": others}, context)
        return {**answer, "batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in names_bad]}

    monkeypatch.setattr(reconcile_job, "handler", half)
    answer = reconcile("--grace-seconds=0")
    assert answer["counts"]["registered"] == 1
    outcomes = {e["version_id"]: e["outcome"] for e in answer["examples"]["unregistered"]}
    assert outcomes[bad] == "could not be registered, see the log"
    assert len(outcomes) == 2


def test_a_lapsed_batch_is_rung_for_and_the_next_claim_takes_it_over(
    zone: Zone, reconcile: Reconcile, later: Any
) -> None:
    register(zone, "f/v/d/a.mcap")
    batch = zone.ledger.claim(LIMITS, reconcile_job.now_ns())
    assert batch is not None
    drain(zone)
    assert differences(reconcile()) == {}
    assert not zone.rings()
    later(0.5)
    answer = reconcile()
    assert differences(answer) == {"lapsed": 1}
    (lapsed,) = answer["examples"]["lapsed"]
    assert (lapsed["batch_id"], lapsed["nbr_drops"]) == (batch.batch_id, 1)
    assert "attempt 1 is OPEN; its lease ended" in lapsed["why"]
    assert zone.rings() == [{"from": "reconcile"}]
    again = zone.ledger.claim(LIMITS, reconcile_job.now_ns())
    assert again is not None
    assert (again.batch_id, again.attempt) == (batch.batch_id, 2)


def test_a_drop_that_waits_for_long_says_what_for(zone: Zone, reconcile: Reconcile, later: Any) -> None:
    register(zone, "f/v/held/a.mcap")
    batch = zone.ledger.claim(LIMITS, reconcile_job.now_ns())
    assert batch is not None
    register(zone, "f/v/held/b.mcap")
    manifest = manifest_bytes([ManifestFile("one.mcap", 4), ManifestFile("two.mcap", 4)])
    register(zone, "f/v/parts/run/_MANIFEST.json", manifest)
    register(zone, "f/v/parts/run/one.mcap")
    register(zone, "f/v/free/a.mcap")
    assert differences(reconcile("--stuck-seconds=60")) == {}
    why = {
        e["key"]: e["why"]
        for e in reconcile("--stuck-seconds=0")["examples"]["stuck"]
    }  # fmt: skip
    assert why["f/v/held/b.mcap"] == f"its drive is held by batch {batch.batch_id}"
    assert (
        "waits for 1 part(s) that its manifest lists (f/v/parts/run/two.mcap), or until"
        in why["f/v/parts/run/one.mcap"]
    )
    assert why["f/v/free/a.mcap"].startswith("nothing holds it back")
    later(1)
    why = {e["key"]: e["why"] for e in reconcile("--stuck-seconds=60")["examples"]["stuck"]}
    assert why["f/v/parts/run/one.mcap"].startswith("nothing holds it back"), "its quiet time has passed"


def test_why_a_recording_waits_is_asked_once_and_not_for_each_of_its_objects(
    zone: Zone, reconcile: Reconcile, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        register(zone, f"f/v/d/rec/{number}.mcap")
    parts_of, asked = reconcile_job.DynamoLedger.parts_of, []
    monkeypatch.setattr(
        reconcile_job.DynamoLedger, "parts_of", lambda self, *which: asked.append(which) or parts_of(self, *which)
    )
    later(2)
    assert len(reconcile()["examples"]["stuck"]) == 3
    assert len(asked) == 1


def test_a_version_that_is_gone_is_reported_unless_it_was_forgotten_or_known_missing(
    zone: Zone, reconcile: Reconcile
) -> None:
    gone, missing, there = (register(zone, f"f/v/{name}/a.mcap") for name in ("gone", "missing", "there"))
    end(zone, missing, Settlement(missing.drop_id, DropState.REJECTED, "object_missing: version x"))
    for drop in (gone, missing):
        zone.s3.delete_object(Bucket=drop.bucket, Key=drop.key, VersionId=drop.version_id)
    answer = reconcile()
    assert differences(answer) == {"version_gone": 1}
    (found,) = answer["examples"]["version_gone"]
    assert (found["drop_id"], found["state"]) == (gone.drop_id, "PENDING")
    assert zone.ledger.get(there.drop_id)


def test_a_built_drop_without_a_release_is_not_in_gold(zone: Zone, reconcile: Reconcile) -> None:
    drop, empty = register(zone, "f/v/d/a.mcap"), register(zone, "f/v/e/a.mcap")
    end(zone, drop, Settlement(drop.drop_id, DropState.BUILT, None, {"messages": 5, "release_id": "r00000001"}))
    end(zone, empty, Settlement(empty.drop_id, DropState.BUILT, None, {"messages": 0, "release_id": None}))
    for words in ((), ("--since-hours=1",)):
        answer = reconcile(*words)
        assert differences(answer) == {"not_in_gold": 1}
        (found,) = answer["examples"]["not_in_gold"]
        assert (found["drop_id"], found["built_in"], found["newest_release"]) == (drop.drop_id, "r00000001", "none")


def end(zone: Zone, drop: Drop, settlement: Settlement) -> None:
    now_ns = reconcile_job.now_ns()
    batch = zone.ledger.claim_drops([drop.drop_id], LIMITS, now_ns, rebuild=False)
    assert batch is not None
    zone.ledger.settle(batch.batch_id, batch.attempt, [settlement], now_ns)


def test_the_answer_is_bounded_and_the_report_is_whole(zone: Zone, reconcile: Reconcile) -> None:
    for number in range(25):
        zone.put(f"f/v/d{number}/a.mcap")
    answer = reconcile("--grace-seconds=0")
    assert answer["differences"]["unregistered"] == 25
    assert len(answer["examples"]["unregistered"]) == 20
    objects = s3_objects(load_settings())
    assert answer["report_uri"] == "s3://scenelake-lake/work/reconcile/manual_run_1/report.json"
    assert read_json(objects, answer["report_uri"]) == answer
    folder = answer["report_uri"].rpartition("/")[0]
    lines = [json.loads(line) for line in objects.read(f"{folder}/differences.jsonl").splitlines()]
    assert len(lines) == 25
    assert {line["difference"] for line in lines} == {"unregistered"}
    text = objects.read(f"{folder}/report.md").decode()
    assert "unregistered: 25" in text
    assert "f/v/d0/a.mcap" in text


def test_dead_letters_are_shown_and_left(zone: Zone, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {name: zone.sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("events", "dead-events")}
    monkeypatch.setenv("SCENELAKE_EVENT_QUEUE_URL", urls["events"])
    monkeypatch.setenv("SCENELAKE_EVENT_DEAD_LETTER_QUEUE_URL", urls["dead-events"])
    assert reconcile()["question_id"] is None
    zone.sqs.send_message(QueueUrl=urls["dead-events"], MessageBody="neither JSON")
    answer = reconcile()
    assert answer["nbr_dead_letters"] == 1
    (message,) = answer["dead_letters"]["events"]["messages"]
    assert message["why"].startswith("not JSON")
    assert answer["question_id"]
    assert reconcile()["question_id"] == answer["question_id"], "the same letters are the same question"
