"""Decisions that come at a bad moment, evidence and storage that go away: nothing that a person said is lost."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.contract.audit_lake import LIMITS, SmallLake, recording
from tests.contract.catalog_server import KEYS, aws
from tests.contract.test_review_desk import STRICT, open_desk, place, run_job, waiting

from scenelake.contracts.errors import BadInputError, TransientError
from scenelake.contracts.paths import split_uri
from scenelake.contracts.reviews import ReviewSource
from scenelake.review import answer_job, build_job, question_job
from scenelake.review.questions import Status
from scenelake_audit.audit import audit


@pytest.fixture
def lake(
    repository: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallLake]:
    """A lake with a drive that waits to be built and will be held back."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with aws(tmp_path_factory.mktemp("home")) as settings:
        made = SmallLake(settings, repository)
        made.drop("dark", "fleet/car/d3/a.mcap", recording(tmp_path / "dark.mcap", seed=3, is_camera_broken=True))
        yield made


def is_clean(lake: SmallLake) -> None:
    found = audit(place(lake), STRICT)
    assert found.is_clean, found.to_text()


def test_an_answer_that_waited_for_a_worker_is_followed_by_a_build(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lake.build()
    scene = waiting(open_desk(lake))[0]
    said_at_ns = time.time_ns()
    lake.build_again("dark")
    answer = {
        "scene_id": scene.scene_id, "review_hash": scene.review_hash, "decision": "release", "note": "",
        "reviewer": "bob", "decided_at_ns": said_at_ns,
    }  # fmt: skip
    for _ in range(2):
        assert run_job(answer_job.main, lake, monkeypatch, tmp_path, "--answer", json.dumps(answer))["is_own"]
    is_clean(lake)
    (drive,) = run_job(build_job.main, lake, monkeypatch, tmp_path)["drives"]
    assert (drive["bucket"], drive["prefix"]) == (lake.settings.landing_bucket, "fleet/car/d3/")
    lake.build_again("dark")
    assert scene.scene_id in lake.release().scenes
    assert not open_desk(lake).drives_to_build()
    is_clean(lake)


def test_a_decision_before_the_retry_of_a_build_that_had_its_release_is_followed(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(lake, "_settle", lambda *words: None)
        first = lake.build()
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    assert desk.decide(scene.scene_id, scene.review_hash, "release", "", "ada", ReviewSource.PAGE).is_own
    assert not desk.drives_to_build(), "it is being built"
    again = lake.ledger.claim(LIMITS, 2**62)
    assert again is not None
    assert (again.batch_id, again.attempt) == (first.batch_id, 2)
    lake.build(again)
    assert lake.release().number == 1, "the release of the first attempt stands"
    assert scene.scene_id not in lake.release().scenes
    is_clean(lake)
    assert set(open_desk(lake).drives_to_build()) == {scene.drive_id}
    lake.build_again("dark")
    assert scene.scene_id in lake.release().scenes
    is_clean(lake)


def test_evidence_that_is_gone_is_named_and_holds_up_no_other_question(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lake.build()
    desk = open_desk(lake)
    scene, *others = waiting(desk)
    assert others
    bucket, key = split_uri(scene.evidence_uri)
    lake.s3.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(BadInputError, match="evidence is gone") as refused:
        desk.scene_page(scene.scene_id)
    assert refused.value.reason == "not_found"
    asked = run_job(question_job.main, lake, monkeypatch, tmp_path)["questions"]
    assert {q["scene_id"] for q in asked} == {s.scene_id for s in (scene, *others)}
    desk.decide(scene.scene_id, scene.review_hash, "reprocess", "", "ada", ReviewSource.PAGE)
    lake.build_again("dark")
    assert open_desk(lake).scene_page(scene.scene_id)


def test_a_release_is_read_once_and_one_that_cannot_be_is_said_to_be_out_of_reach(lake: SmallLake) -> None:
    lake.build()
    desk = open_desk(lake)
    scenes = waiting(desk)
    files = [info.uri for info in lake.objects.list(f"{lake.settings.lake_uri}/gold/quarantine/data/")]
    assert files
    for bucket, key in map(split_uri, files):
        lake.s3.delete_object(Bucket=bucket, Key=key)
    assert desk.scene(scenes[0].scene_id) == scenes[0]
    with pytest.raises(TransientError, match="quarantine"):
        waiting(open_desk(lake))


def test_storage_that_cannot_be_read_is_asked_anew(lake: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    class Expired:
        def cursor(self) -> Any:
            raise duckdb.HTTPException("403: the token has expired")

    lake.build()
    desk = open_desk(lake)
    held = waiting(desk)
    monkeypatch.setattr(desk.reader, "_connection", Expired())
    with pytest.raises(TransientError, match="expired"):
        waiting(desk)
    assert [(s.scene_id, s.status) for s in waiting(desk)] == [(s.scene_id, Status.WAITING) for s in held]
