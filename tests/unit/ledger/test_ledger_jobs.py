import json
from pathlib import Path
from typing import Any

import pytest

from scenelake.contracts.drops import DropState
from scenelake.contracts.errors import ExitCode
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import Stage
from scenelake.ledger import claim_job, hand_back_job, open_batch_job, settle_batch_job
from scenelake.ledger.new_drop import ObjectVersion, new_drop


@pytest.fixture
def ask(zone, tmp_path: Path):
    """Runs a job and gives its exit code and answer."""

    def run(job: Any, *words: str) -> tuple[int, Any]:
        result = tmp_path / "result.json"
        result.unlink(missing_ok=True)
        code = job.main([*words, "--result", str(result)])
        return code, json.loads(result.read_text()) if result.exists() else None

    return run


def test_by_hand_a_prefix_is_registered_and_claimed(zone, ask) -> None:
    for name in ("a", "b"):
        zone.put(f"f/v/d/{name}.mcap")
    zone.put("f/v/other/c.mcap")
    zone.put("f/v/d/folder/", b"")
    code, answer = ask(open_batch_job, "--prefix", "f/v/d/")
    assert code == ExitCode.OK
    assert (answer["drops"], answer["bytes"], answer["attempt"]) == (2, 8, 1)
    held = zone.ledger.drops_of(answer["batch_id"], 1)
    assert sorted(d.key for d in held) == ["f/v/d/a.mcap", "f/v/d/b.mcap"]
    code, again = ask(open_batch_job, "--batch-id", answer["batch_id"], "--attempt", "1")
    assert (code, again) == (ExitCode.OK, answer)


def test_by_hand_a_retry_gets_its_own_batch_back_and_another_run_does_not(zone, ask) -> None:
    zone.put("f/v/d/a.mcap")
    _, first = ask(open_batch_job, "--prefix", "f/v/d/", "--dag-run-id", "manual__1")
    zone.put("f/v/d/b.mcap")
    assert ask(open_batch_job, "--prefix", "f/v/d/", "--dag-run-id", "manual__1") == (ExitCode.OK, first)
    held = zone.ledger.batch(first["batch_id"])
    assert not held.is_waiting, "its run has begun, so an attempt that lapses counts"
    _, other = ask(open_batch_job, "--prefix", "f/v/d/a", "--dag-run-id", "manual__2")
    assert other["batch_id"] is None
    ask(hand_back_job, "--batch-id", first["batch_id"], "--attempt", "1")
    _, after = ask(open_batch_job, "--prefix", "f/v/d/a", "--dag-run-id", "manual__1")
    assert (after["batch_id"], after["attempt"]) == (first["batch_id"], 2)


def test_by_hand_drops_are_named_by_uri(zone, ask) -> None:
    zone.put("f/v/d/run 1,b.mcap")
    zone.put("f/v/d/run 1,b.mcap.part")
    _, answer = ask(open_batch_job, "--drops", '["s3://scenelake-landing/f/v/d/run 1,b.mcap", ""]')
    assert [d.key for d in zone.ledger.drops_of(answer["batch_id"], 1)] == ["f/v/d/run 1,b.mcap"]


def test_nothing_to_claim_is_an_answer_with_a_reason(zone, ask) -> None:
    assert ask(open_batch_job, "--prefix", "none/")[1]["batch_id"] is None
    zone.put("stray.bin")
    code, answer = ask(open_batch_job, "--prefix", "stray")
    assert (code, answer) == (ExitCode.OK, {"batch_id": None, "reason": "nothing to claim: 1 REJECTED"})


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--drops", '["s3://scenelake-landing/f/v/d/none.mcap"]'], ExitCode.BAD_INPUT),
        (["--drops", '["/local/file"]'], ExitCode.BAD_INPUT),
        ([], ExitCode.CONFIGURATION),
        (["--batch-id", "b1"], ExitCode.CONFIGURATION),
        (["--batch-id", "b1", "--attempt", "1"], ExitCode.FENCED),
    ],
)
def test_what_cannot_be_opened_ends_with_its_exit_code(zone, ask, words: list[str], code: ExitCode) -> None:
    assert ask(open_batch_job, *words) == (code, None)


def test_claims_stop_at_the_number_asked_for_and_when_nothing_waits(zone, ask, monkeypatch) -> None:
    monkeypatch.setenv("SCENELAKE_CLAIM_MAX_DROPS", "1")
    for drive in ("d1", "d2", "d3"):
        zone.put(f"f/v/{drive}/a.mcap")
    ask(open_batch_job, "--prefix", "f/v/d1/")
    from scenelake.ledger.register_drop import handler

    for drive in ("d2", "d3"):
        found = {"key": f"f/v/{drive}/a.mcap"}
        handler(
            {"Records": [{"eventName": "ObjectCreated:Put",
                          "s3": {"bucket": {"name": "scenelake-landing"}, "object": found}}]}, None
        )  # fmt: skip
    _, one = ask(claim_job, "--max-batches", "1")
    _, rest = ask(claim_job, "--max-batches", "5")
    _, none = ask(claim_job, "--max-batches", "5")
    assert [len(a["batches"]) for a in (one, rest, none)] == [1, 1, 0]
    first = one["batches"][0]
    assert first["run_id"] == f"{first['batch_id']}.1"
    assert (first["nbr_drops"], first["bytes"]) == (1, 4)
    assert "no drop waits" in none["reason"]


def test_a_retried_claim_gets_its_own_batches_back_and_no_more_than_there_are_places(zone, ask, monkeypatch) -> None:
    monkeypatch.setenv("SCENELAKE_CLAIM_MAX_DROPS", "1")
    for drive in ("d1", "d2", "d3", "d4"):
        zone.ledger.register(new_drop(ObjectVersion("scenelake-landing", f"f/v/{drive}/a", "1", 1, "e"), 1))
    words = ("--max-batches", "2", "--max-places", "2")
    _, first = ask(claim_job, *words, "--dag-run-id", "run1")
    _, again = ask(claim_job, *words, "--dag-run-id", "run1")
    _, other = ask(claim_job, *words, "--dag-run-id", "run2")
    assert len(first["batches"]) == 2
    assert sorted(b["run_id"] for b in again["batches"]) == sorted(b["run_id"] for b in first["batches"])
    assert other["batches"] == []
    assert "2 batch(es) are under way" in other["reason"]
    ask(hand_back_job, "--batch-id", first["batches"][0]["batch_id"], "--attempt", "1")
    _, after = ask(claim_job, *words, "--dag-run-id", "run2")
    assert [(b["batch_id"], b["attempt"]) for b in after["batches"]] == [(first["batches"][0]["batch_id"], 2)]
    _, lost = ask(claim_job, *words, "--dag-run-id", "run1")
    assert [b["batch_id"] for b in lost["batches"]] == [first["batches"][1]["batch_id"]], "one was taken over"


def test_handing_back_lets_the_next_claim_retry_and_is_harmless_when_late(zone, ask) -> None:
    zone.put("f/v/d/a.mcap")
    _, opened = ask(open_batch_job, "--prefix", "f/")
    words = ("--batch-id", opened["batch_id"], "--attempt", "1")
    assert ask(hand_back_job, *words)[1]["handed_back"] is True
    _, claimed = ask(claim_job)
    assert [(b["batch_id"], b["attempt"]) for b in claimed["batches"]] == [(opened["batch_id"], 2)]
    code, late = ask(hand_back_job, *words)
    assert (code, late["handed_back"]) == (ExitCode.OK, False)


def decoded(drop_id: str, verdict: str, reason: str | None = None, detail: str | None = None) -> dict[str, Any]:
    return {
        "drop_id": drop_id,
        "drive_id": "d",
        "decoded_uri": "s3://x",
        "verdict": verdict,
        "reason": reason,
        "detail": detail,
        "object_sha256": "ab",
    }


def test_settling_ends_each_drop_as_the_stages_found_it_and_can_be_repeated(zone, ask) -> None:
    for name in ("bad", "copy", "good", "torn"):
        zone.put(f"f/v/d/{name}.mcap")
    _, opened = ask(open_batch_job, "--prefix", "f/")
    batch_id = opened["batch_id"]
    held = {d.key.split("/")[-1][:-5]: d.drop_id for d in zone.ledger.drops_of(batch_id, 1)}
    paths = LakePaths("s3://scenelake-lake")

    def leave(stage: Stage, name: str, value: Any) -> None:
        key = f"{paths.stage(batch_id, 1, stage)}/{name}".removeprefix("s3://scenelake-lake/")
        zone.s3.put_object(Bucket="scenelake-lake", Key=key, Body=json.dumps(value).encode())

    verdicts = [
        decoded(held["bad"], "rejected", "not_mcap", "bad.mcap: expected magic at byte 0"),
        decoded(held["copy"], "decoded"),
        decoded(held["good"], "decoded"),
        decoded(held["torn"], "salvaged", "truncated", "torn.mcap ends at byte 99"),
    ]
    plan = {
        "drive_id": "d",
        "fleet": "f",
        "vehicle": "v",
        "drive": "d",
        "decoded": {},
        "duplicates": {held["copy"]: held["good"]},
    }
    leave(Stage.DECODE, "drops.json", verdicts[:-1])
    leave(Stage.SYNCHRONISE, "drives.json", [plan])
    leave(Stage.SERIALISE, "outcomes.json", {held["good"]: {"nbr_scenes": 2}})
    leave(Stage.SERIALISE, "release.json", {"release_id": "r00000001"})
    words = ("--batch-id", batch_id, "--attempt", "1")
    assert ask(settle_batch_job, *words)[0] == ExitCode.BUG, "a drop without a verdict is a bug, not a success"
    assert {d.state for d in zone.ledger.drops()} == {DropState.CLAIMED}

    leave(Stage.DECODE, "drops.json", verdicts)
    answers = [ask(settle_batch_job, *words) for _ in range(2)]
    expected = {
        "batch_id": batch_id,
        "attempt": 1,
        "release_id": "r00000001",
        "drops": {"BUILT": 2, "DUPLICATE": 1, "REJECTED": 1},
    }
    assert [(code, dict(answer, drops=dict(sorted(answer["drops"].items())))) for code, answer in answers] == [
        (ExitCode.OK, expected)
    ] * 2
    found = {name: zone.ledger.get(drop_id) for name, drop_id in held.items()}
    assert found["bad"].reason == "not_mcap: bad.mcap: expected magic at byte 0"
    assert found["copy"].reason == f"same content as drop {held['good']}"
    assert found["good"].outcome == {
        "nbr_scenes": 2,
        "object_sha256": "ab",
        "release_id": "r00000001",
        "verdict": "decoded",
    }
    assert found["torn"].reason == "salvaged: truncated: torn.mcap ends at byte 99"
