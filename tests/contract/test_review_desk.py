"""A held scene from the quarantine through a person's decision into gold, on the stand-in for AWS, every stage real."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.contract.audit_lake import LIMITS, T0_NS, SmallLake, recording
from tests.contract.audit_plants import Planter, Rows
from tests.contract.catalog_server import KEYS, aws

from scenelake.adapters.held_scene import HeldSceneReader
from scenelake.contracts.drops import DropState, Settlement
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.reviews import Decision, ReviewSource
from scenelake.contracts.stages import Stage
from scenelake.review import answer_job, build_job, picture_job, question_job
from scenelake.review.desk import ReviewDesk
from scenelake.review.filters import Filters
from scenelake.review.questions import PICTURES, HeldScene, Status, picture_uri
from scenelake.review.signals import panels
from scenelake_audit.audit import audit
from scenelake_audit.config import Depth, Lake

STRICT = Depth(is_deep=True, grace_seconds=0.0, event_grace_seconds=0.0)


STUCK = range(40, 80)
"""Tenths of a second of the dark drive in which its IMU repeats itself."""


def dark_recording(folder: Path) -> bytes:
    return recording(folder / "dark.mcap", seed=3, is_camera_broken=True, stuck_imu=STUCK)


@pytest.fixture
def lake(
    repository: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallLake]:
    """A lake with a good drive and a dark one, which is held back."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with aws(tmp_path_factory.mktemp("home")) as settings:
        made = SmallLake(settings, repository)
        made.drop("good", "fleet/car/d1/a.mcap", recording(tmp_path / "good.mcap", seed=1))
        made.drop("dark", "fleet/car/d3/a.mcap", dark_recording(tmp_path))
        made.build()
        yield made


def open_desk(lake: SmallLake) -> ReviewDesk:
    return ReviewDesk(lake.settings, lake.objects, lake.ledger)


def place(lake: SmallLake) -> Lake:
    s = lake.settings
    return Lake(s.endpoint_url, s.region, s.landing_bucket, s.lake_bucket, s.ledger_table, s.glue_database)


def run_job(main: Any, lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str) -> dict[str, Any]:
    monkeypatch.setattr("scenelake.runtime.command.load_settings", lambda: lake.settings)
    result = tmp_path / "result.json"
    assert main([*words, "--result", str(result)]) == 0
    answer: dict[str, Any] = json.loads(result.read_text())
    return answer


def waiting(desk: ReviewDesk) -> list[HeldScene]:
    return list(desk.listing(Filters()).scenes)


def rows_of(lake: SmallLake, table: str, scene_id: str) -> Rows:
    with Planter(lake) as reader:
        return [row for row in reader.rows(table) if row["scene_id"] == scene_id]


def decide(desk: ReviewDesk, scene: HeldScene, decision: str, reviewer: str = "ada") -> None:
    ruling = desk.decide(scene.scene_id, scene.review_hash, decision, "looked at it", reviewer, ReviewSource.PAGE)
    assert ruling.is_own


def test_a_released_scene_joins_the_next_release_exactly_once(lake: SmallLake) -> None:
    desk = open_desk(lake)
    held = waiting(desk)
    assert held, "the dark drive was to be held back"
    assert {s.status for s in held} == {Status.WAITING}
    released, *others = held
    before = lake.release()
    assert released.scene_id not in before.scenes
    decide(desk, released, "release")
    assert desk.scene(released.scene_id).status is Status.RELEASING
    assert set(desk.drives_to_build()) == {released.drive_id}
    lake.build_again("dark")
    after = lake.release()
    assert after.delta.added == (released.scene_id,)
    assert not after.delta.replaced
    assert set(after.scenes) - set(before.scenes) == {released.scene_id}
    (row,) = rows_of(lake, "quarantine", released.scene_id)
    assert (row["state"], row["reviewer"], row["review_hash"]) == ("RELEASED", "ada", released.review_hash)
    assert row["decided_at_ns"]
    (kept,) = rows_of(lake, "release_scene", released.scene_id)
    assert (kept["verdict"], kept["kept_because"]) == ("quarantine", "released by ada: looked at it")
    assert len(rows_of(lake, "scene", released.scene_id)) == 1
    assert not audit(place(lake), STRICT).violations
    fresh = open_desk(lake)
    assert fresh.drives_to_build() == {}, "a decision that was followed asks for nothing more"
    assert [s.scene_id for s in waiting(fresh)] == [s.scene_id for s in others]
    lake.build_again("dark")
    assert lake.release().scenes == after.scenes
    assert not audit(place(lake), STRICT).violations


def test_lineage_names_the_reviewer(lake: SmallLake) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    decide(desk, scene, "RELEASE")
    batch = lake.build_again("dark")
    inputs = lake.outcomes[batch.batch_id, Stage.SERIALISE].inputs
    (edge,) = (e for e in inputs if e.dataset == f"review/{scene.scene_id}")
    assert edge.version.startswith("RELEASE by ada at ")
    assert edge.content_hash == scene.review_hash


def test_a_rejected_scene_stays_out_whatever_the_policy_says_later(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    decide(desk, scene, "REJECT", "bob")
    lake.build_again("dark")
    (row,) = rows_of(lake, "quarantine", scene.scene_id)
    assert (row["state"], row["reviewer"]) == ("REJECTED", "bob")
    assert scene.scene_id not in lake.release().scenes
    assert not audit(place(lake), STRICT).violations
    assert open_desk(lake).scene(scene.scene_id).status is Status.REJECTED
    monkeypatch.setattr("scenelake.serialise.quarantine.ACCEPTED_VERDICTS", {"pass", "warn", "quarantine"})
    monkeypatch.setattr("scenelake.serialise.drives.ACCEPTED_VERDICTS", {"pass", "warn", "quarantine"})
    monkeypatch.setattr("scenelake.serialise.accounts._FATE_OF_VERDICT", {"pass": "accepted", "warn": "accepted",
                        "quarantine": "accepted", "reject": "rejected"})  # fmt: skip
    lake.build_again("dark")
    assert scene.scene_id not in lake.release().scenes
    (row,) = rows_of(lake, "quarantine", scene.scene_id)
    assert (row["state"], row["reviewer"]) == ("REJECTED", "bob")


def test_late_data_makes_a_new_question(lake: SmallLake, tmp_path: Path) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    decide(desk, scene, "RELEASE")
    late = recording(tmp_path / "late.mcap", seed=9, is_camera_broken=True)
    lake.drop("late", "fleet/car/d3/late.mcap", late)
    lake.build()
    now = open_desk(lake).scene(scene.scene_id)
    assert now.review_hash != scene.review_hash
    assert now.status is Status.WAITING
    assert scene.scene_id not in lake.release().scenes
    with pytest.raises(BadInputError, match="new revision") as refused:
        open_desk(lake).decide(scene.scene_id, scene.review_hash, "REJECT", "", "ada", ReviewSource.PAGE)
    assert refused.value.reason == "stale_review"
    assert not audit(place(lake), STRICT).violations


def test_a_request_to_process_again_builds_once_and_decides_nothing(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk = open_desk(lake)
    scenes = waiting(desk)
    for scene in scenes:
        decide(desk, scene, "REPROCESS")
    found = run_job(build_job.main, lake, monkeypatch, tmp_path)["drives"]
    assert [(d["prefix"], d["nbr_scenes"]) for d in found] == [("fleet/car/d3/", len(scenes))]
    again = run_job(build_job.main, lake, monkeypatch, tmp_path)["drives"]
    assert again == found, "the same run, which is not started twice"
    claimed = lake.ledger.claim_drops([lake.names["dark"]], LIMITS, 2**62, rebuild=True)
    assert claimed is not None
    assert run_job(build_job.main, lake, monkeypatch, tmp_path)["drives"] == [], "it is being built now"
    ends = [
        Settlement(d.drop_id, DropState.BUILT, outcome=dict(d.outcome))
        for d in lake.ledger.drops_of(claimed.batch_id, 1)
    ]
    lake.ledger.settle(claimed.batch_id, 1, ends, 2**62)
    assert run_job(build_job.main, lake, monkeypatch, tmp_path)["drives"] == []
    assert {s.status for s in waiting(open_desk(lake))} == {Status.REPROCESS}


def test_a_drive_whose_raw_object_is_gone_is_not_tried_and_says_why(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    decide(desk, scene, "RELEASE")
    assert "raw_object_gone" not in desk.scene_page(scene.scene_id)
    drop = lake.ledger.get(lake.names["dark"])
    assert drop is not None
    lake.s3.delete_object(Bucket=drop.bucket, Key=drop.key, VersionId=drop.version_id)
    told = run_job(build_job.main, lake, monkeypatch, tmp_path)
    assert (told["drives"], told["gone"]) == ([], [scene.drive_id])
    assert told["reason"].startswith("raw_object_gone")
    assert "raw_object_gone" in desk.scene_page(scene.scene_id)
    lake.drop("back", drop.key, dark_recording(tmp_path))
    assert [d["drive_id"] for d in run_job(build_job.main, lake, monkeypatch, tmp_path)["drives"]] == [scene.drive_id]


def test_pictures_of_an_earlier_verdict_are_not_shown(lake: SmallLake) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    document = desk.document(scene)
    lake.objects.write(picture_uri(scene.evidence_uri, document, "sheet.png"), b"drawn")
    assert desk.picture(scene.scene_id, "sheet.png") == b"drawn"
    lake.objects.write(scene.evidence_uri, json.dumps({**document, "reason": "another policy"}).encode())
    assert desk.picture(scene.scene_id, "sheet.png") is None


def test_page_and_form_race_over_the_whole_way(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    with ThreadPoolExecutor(2) as pool:
        page = pool.submit(
            desk.decide, scene.scene_id, scene.review_hash, "RELEASE", "", "ada", ReviewSource.PAGE
        )  # fmt: skip
        form = pool.submit(
            open_desk(lake).decide, scene.scene_id, scene.review_hash, "REJECT", "", "bob", ReviewSource.FORM
        )
        rulings = page.result(), form.result()
    assert sorted(r.is_own for r in rulings) == [False, True]
    assert rulings[0].review == rulings[1].review
    loser = next(r for r in rulings if not r.is_own)
    assert loser.message.startswith(f"not recorded: {loser.review.reviewer} was first")


def test_the_form_asks_about_what_waits_and_its_answer_is_recorded(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = run_job(question_job.main, lake, monkeypatch, tmp_path)["questions"]
    desk = open_desk(lake)
    assert {q["scene_id"] for q in asked} == {s.scene_id for s in waiting(desk)}
    assert f"/scenelake/scene/{asked[0]['scene_id']}" in asked[0]["body"]
    answer = {**asked[0], "decision": "reject", "note": "dark", "reviewer": "bob", "decided_at_ns": 5}
    told = run_job(answer_job.main, lake, monkeypatch, tmp_path, "--answer", json.dumps(answer))
    assert (told["decision"], told["reviewer"], told["is_own"]) == ("REJECT", "bob", True)
    again = run_job(answer_job.main, lake, monkeypatch, tmp_path, "--answer", json.dumps(answer))
    assert again["is_own"], "a retry of the task finds its own decision"
    second = {**answer, "reviewer": "eve", "decision": "release", "decided_at_ns": 6}
    told = run_job(answer_job.main, lake, monkeypatch, tmp_path, "--answer", json.dumps(second))
    assert (told["is_own"], told["reviewer"]) == (False, "bob")
    (review,) = lake.ledger.reviews([(asked[0]["scene_id"], asked[0]["review_hash"])])
    assert (review.source, review.decision, review.note) == (ReviewSource.FORM, Decision.REJECT, "dark")
    left = run_job(question_job.main, lake, monkeypatch, tmp_path)["questions"]
    assert asked[0]["scene_id"] not in {q["scene_id"] for q in left}


def test_a_held_scene_is_drawn_beside_its_evidence(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    assert desk.picture(scene.scene_id, "sheet.png") is None
    run_job(picture_job.main, lake, monkeypatch, tmp_path, "--scene-id", scene.scene_id)
    begins = {"sheet.png": b"\x89PNG", "thumb.jpg": b"\xff\xd8", "timeline.svg": b"<svg",
              "signals.png": b"\x89PNG"}  # fmt: skip
    for name in PICTURES:
        found = desk.picture(scene.scene_id, name)
        assert found is not None
        assert found.startswith(begins[name])
        assert found == lake.objects.read(picture_uri(scene.evidence_uri, desk.document(scene), name))
    timeline = (desk.picture(scene.scene_id, "timeline.svg") or b"").decode()
    assert all(channel in timeline for channel in ("lidar /lidar", "imu /imu"))


def test_a_fault_of_an_imu_is_drawn_with_its_time_marked(lake: SmallLake) -> None:
    desk = open_desk(lake)
    first_ns = T0_NS + STUCK.start * 10**8
    scenes = [desk.scene(s.scene_id) for s in waiting(desk)]
    documents = [desk.document(s) for s in scenes]
    (at,) = (k for k, d in enumerate(documents) if d["scene"]["start_ns"] <= first_ns < d["scene"]["exclusive_end_ns"])
    assert f"{scenes[at].scene_id}/signals.png" in desk.scene_page(scenes[at].scene_id)
    reader = HeldSceneReader(lake.objects, documents[at], lake.release())
    marked = (first_ns, first_ns + (len(STUCK) - 2) * 10**8)
    (panel,) = (p for p in panels(documents[at]["checks"], reader.rows) if p.marks_ns == (marked,))
    assert panel.channel == "/imu"
    assert any("the same numbers for 3.8" in said for said in panel.said)
    force, turn = panel.plots
    still = [t.values[(t.stamps_ns >= first_ns) & (t.stamps_ns < marked[1])] for t in force.traces]
    assert [len(values) for values in still] == [len(STUCK) // 2 - 1] * 3
    assert all((values == values[0]).all() for values in still)
    assert turn.traces


def test_the_page_filters(lake: SmallLake) -> None:
    desk = open_desk(lake)
    scene = waiting(desk)[0]
    check = scene.checks[0]
    everything = {s.scene_id for s in waiting(desk)}

    def found(**query: str) -> set[str]:
        return {s.scene_id for s in desk.listing(Filters.from_query(query)).scenes}

    assert found(vehicle="car", fleet="fleet", check=check) == everything
    assert found(vehicle="other") == found(check=check[:-1]) == found(state="released") == set()
    assert found(state="all") == everything
    assert found(days="1") == set(), "it was recorded years ago"
    facets = desk.listing(Filters()).facets
    assert (facets.fleets, facets.vehicles) == (("fleet",), ("car",))
    assert check in facets.checks
    assert scene.scene_id in desk.list_page({"state": "nonsense"})
    assert check in desk.scene_page(scene.scene_id)
