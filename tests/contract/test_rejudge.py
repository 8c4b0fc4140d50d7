"""Another policy judges a lake anew: a release of its own, no byte touched, and the auditor agrees."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.audit_lake import SmallLake, recording
from tests.contract.audit_plants import Planter
from tests.contract.catalog_server import KEYS, aws

from scenelake.adapters.baselines import read_baselines
from scenelake.adapters.iceberg import committer
from scenelake.adapters.release_reader import open_release
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release
from scenelake.quality import baseline_job, job
from scenelake.quality.baseline import Baselines, baselines_of, version_of
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts
from scenelake.quality.job import read_facts
from scenelake.rejudge.run import Judgement, judge_release
from scenelake.runtime import command
from scenelake.runtime.settings import Settings
from scenelake_audit.audit import audit
from scenelake_audit.config import Depth, Lake

STRICT = Depth(is_deep=True, grace_seconds=0.0, event_grace_seconds=0.0)
BY_VERDICT = {"release_scene", "qc_result"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with aws(tmp_path_factory.mktemp("home")) as found:
            yield found


@pytest.fixture(scope="module")
def lake(settings: Settings, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    folder = tmp_path_factory.mktemp("recordings")
    made = SmallLake(settings, repository)
    with pytest.raises(BadInputError, match="drop a recording first"):
        rejudge(made)
    made.drop("good", "fleet/car/d1/a.mcap", recording(folder / "good.mcap", seed=1))
    made.drop("dark", "fleet/car/d2/a.mcap", recording(folder / "dark.mcap", seed=2, is_camera_broken=True))
    made.build()
    return made


def rejudge(lake: SmallLake, *, is_dry: bool = False, **policy: Any) -> Judgement:
    held = QualityPolicy.model_validate(policy)
    paths = LakePaths(lake.settings.lake_uri)
    return judge_release(held, committer(lake.settings), lake.objects, paths, is_dry=is_dry)


def rows(lake: SmallLake, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = open_release(lake.settings).rows(table).to_pylist()
    return found


def audited(lake: SmallLake) -> Any:
    s = lake.settings
    return audit(
        Lake(s.endpoint_url, s.region, s.landing_bucket, s.lake_bucket, s.ledger_table, s.glue_database), STRICT
    )


def test_a_policy_that_changes_nothing_makes_no_release(lake: SmallLake) -> None:
    before = lake.release()
    found = rejudge(lake, version="another name for the same")
    assert (found.release, found.changes, found.waiting) == (None, {}, ())
    assert found.nbr_scenes > len(before.scenes) > 0
    assert lake.release() == before


def test_a_stricter_policy_takes_scenes_out_and_the_old_one_brings_them_back(lake: SmallLake) -> None:
    before = lake.release()
    strict: dict[str, Any] = {"limits": {"sync_match": 2.0}, "consequences": {"sync_match": "quarantine"}}
    assert rejudge(lake, is_dry=True, **strict).changes
    assert lake.release() == before, "a look wrote something"

    found = rejudge(lake, **strict)
    assert found.release == lake.release()
    assert sum(found.changes.values()) == len(before.scenes)
    assert {now for _, now in found.changes} == {"quarantine"}
    assert found.release is not None
    touched = {name for name, pin in found.release.tables.items() if before.tables[name] != pin}
    assert touched == BY_VERDICT
    assert (found.release.scenes, found.release.merkle_root) == (before.scenes, before.merkle_root)
    assert len(open_release(lake.settings).scenes()) == 0, "readers still see what the policy took out"
    judged = rows(lake, "release_scene")
    assert {(r["is_kept"], r["kept_because"], r["release_id"]) for r in judged} == {
        (False, "quality says quarantine: sync_match", found.release.release_id)
    }
    assert {r["split"] for r in judged} <= {"train", "validation", "test"}
    failed = [r for r in rows(lake, "qc_result") if r["check_name"] == "sync_match"]
    assert {(r["threshold"], r["verdict"]) for r in failed} == {(2.0, "quarantine")}
    assert all(r["reason"] and json.loads(r["evidence"]) for r in failed)
    assert audited(lake).is_clean, audited(lake).to_text()

    assert rejudge(lake, **strict).release is None, "the same again is another release"
    again = rejudge(lake)
    assert again.release is not None
    assert len(open_release(lake.settings).scenes()) == len(before.scenes)
    assert audited(lake).is_clean, audited(lake).to_text()


def test_a_change_beneath_the_worst_verdict_is_told_too(lake: SmallLake) -> None:
    strict = {"sync_match": "quarantine"}
    rejudge(lake, limits={"sync_match": 2.0}, consequences=strict)
    found = rejudge(lake, limits={"sync_match": 2.0, "completeness": 2.0}, consequences=strict)
    assert found.release is not None
    assert set(found.changes) == {("quarantine", "quarantine")}
    verdicts = {r["verdict"] for r in rows(lake, "qc_result") if r["check_name"] == "completeness"}
    assert verdicts == {"warn"}


def test_scenes_that_would_pass_now_are_named_and_wait_for_their_drive(lake: SmallLake) -> None:
    held = {r["scene_id"] for r in rows(lake, "quarantine")}
    assert held
    found = rejudge(lake, consequences={"camera_undecodable": "warn"})
    assert set(found.waiting) == held
    assert not held & set(lake.release().scenes), "a scene joined gold without its rows"
    assert {r["state"] for r in rows(lake, "quarantine")} == {"QUARANTINED"}
    assert rejudge(lake, consequences={"camera_undecodable": "warn"}).waiting == found.waiting


def test_lineage_tells_of_the_judgement(lake: SmallLake) -> None:
    parent = lake.release()
    release = rejudge(lake, limits={"coverage": 2.0}).release
    assert release is not None
    run_id = f"{release.batch_id}.1.judge"
    runs, edges = (committer(lake.settings).load(name) for name in ("lineage_run", "lineage_edge"))
    assert runs is not None
    assert edges is not None
    (run,) = runs.scan(f"run_id = '{run_id}'").to_arrow().to_pylist()
    assert json.loads(run["params"])["limits"] == {"coverage": 2.0}
    found = {(e["direction"], e["version"]) for e in edges.scan(f"run_id = '{run_id}'").to_arrow().to_pylist()}
    assert found == {("input", parent.release_id), ("output", release.release_id)}


def test_a_judgement_that_died_after_its_release_is_recorded_when_it_is_given_again(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*words: Any) -> None:
        raise KeyboardInterrupt

    def recorded(release: Release) -> list[dict[str, Any]]:
        runs = committer(lake.settings).load("lineage_run")
        assert runs is not None
        found: list[dict[str, Any]] = runs.scan(f"run_id = '{release.batch_id}.1.judge'").to_arrow().to_pylist()
        return found

    strict: dict[str, Any] = {"limits": {"coverage": 3.0}, "consequences": {"coverage": "quarantine"}}
    with monkeypatch.context() as crash:
        crash.setattr("scenelake.rejudge.run._record", die)
        with pytest.raises(KeyboardInterrupt):
            rejudge(lake, **strict)
    made = lake.release()
    assert made.batch_id.startswith("judge-")
    assert not recorded(made)
    assert rejudge(lake, limits={"coverage": 3.0}, is_dry=True).parent == made
    assert not recorded(made), "a look wrote something"
    for _ in range(2):
        assert rejudge(lake, **strict).release is None
        (run,) = recorded(made)
        assert json.loads(run["params"])["limits"] == {"coverage": 3.0}
        assert run["ended_at_ns"] == made.committed_at_ns
    assert audited(lake).is_clean, audited(lake).to_text()


@pytest.mark.parametrize("consequence", ["reject", "quarantine"])
def test_a_policy_that_turns_everything_down_can_be_taken_back(lake: SmallLake, consequence: str) -> None:
    rejudge(lake)
    before = {r["scene_id"]: (r["verdict"], r["is_kept"], r["kept_because"]) for r in rows(lake, "release_scene")}
    rule = {"check": "*", "limit": -1e300, "per_scale": 0.0, "consequence": consequence}
    under = {"check": "*", "limit": 1e300, "consequence": consequence}
    for rules in ([rule], [under], [rule, under]):
        found = rejudge(lake, rules=rules)
        assert found.release is not None
        assert audited(lake).is_clean, audited(lake).to_text()
        assert rejudge(lake, rules=rules).release is None
    rejudge(lake)
    now = {r["scene_id"]: (r["verdict"], r["is_kept"], r["kept_because"]) for r in rows(lake, "release_scene")}
    assert now == before


def test_baselines_are_fitted_to_a_release_and_named_by_the_next_build(
    lake: SmallLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_settings", lambda: lake.settings)

    def fit(min_scenes: int) -> dict[str, Any]:
        answer = tmp_path / "answer.json"
        assert baseline_job.main(["--min-scenes", str(min_scenes), "--result", str(answer)]) == 0
        found: dict[str, Any] = json.loads(answer.read_text())
        return found

    made = fit(2)
    assert made["nbr_baselines"] > 10
    assert fit(1_000)["version"] == made["version"], "a release's baselines were written twice, or misreported"
    paths = LakePaths(lake.settings.lake_uri)
    assert read_baselines(lake.objects, paths, 0) is None, "a drop from before them would be judged by them"
    uri, known = read_baselines(lake.objects, paths, time.time_ns() + 10**10) or ("", None)
    assert (uri, version_of(known)) == (made["uri"], made["version"])
    assert baselines_of(known, "fleet/car").of("/imu", "completeness") is not None
    assert not baselines_of(known, "another/car").known
    judged_by: list[Baselines] = []

    def read(objects: Any, source: str, plan: Any, policy: Any, baselines: Baselines) -> DriveFacts:
        judged_by.append(baselines)
        return read_facts(objects, source, plan, policy, baselines)

    monkeypatch.setattr(job, "read_baselines", lambda *_: (uri, known))
    monkeypatch.setattr(job, "read_facts", read)
    lake.build_again("dark")
    assert judged_by == [baselines_of(known, "fleet/car")]


def test_a_scene_that_a_person_released_stays(lake: SmallLake) -> None:
    review = lake.held()
    lake.ledger.decide(review)
    lake.build_again("dark")
    assert review.scene_id in lake.release().scenes
    found = rejudge(lake, limits={"sync_match": 2.0}, consequences={"sync_match": "reject"})
    assert found.release is not None
    kept = {r["scene_id"]: r["is_kept"] for r in rows(lake, "release_scene")}
    assert {s for s, is_kept in kept.items() if is_kept} == {review.scene_id}
    assert audited(lake).is_clean, audited(lake).to_text()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d, first: d["scenes"].popitem(), "the scenes of its parent"),
        (lambda d, first: d["tables"].update(scene=first["tables"]["qc_measurement"]), "new snapshots of qc_result"),
    ],
)
def test_a_judgement_that_touches_more_than_verdicts_is_caught(lake: SmallLake, edit: Any, said: str) -> None:
    newest: Release = lake.release()
    assert newest.batch_id.startswith("judge-")
    first = json.loads(lake.objects.read(LakePaths(lake.settings.lake_uri).release(1)))
    with Planter(lake) as planter:
        planter.edit_release(newest.number, lambda d: edit(d, first))
        found = [v for v in audited(lake).violations if v.check == "I3.attempt" and said in v.expected]
    assert found
