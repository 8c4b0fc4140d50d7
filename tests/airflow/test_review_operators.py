"""The form asks about one scene, its answer is recorded as it was given, and a drive is built again once."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    DagRunTriggerException,
    TaskAwaitingInput,
)

from scenelake.contracts.reviews import MAX_NOTE_CHARACTERS
from scenelake_airflow.operators.job import ScenelakeJobOperator
from scenelake_airflow.operators.reviews import (
    AskReviewOperator,
    ListReviewsOperator,
    RebuildDriveOperator,
    RecordReviewOperator,
)

DAGS = Path(__file__).resolve().parents[2] / "dags"
QUESTION = {"scene_id": "s1", "review_hash": "h", "subject": "{{ 1/0 }}", "body": "body of {{ ti }}"}


@pytest.fixture(autouse=True)
def outside_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    words: list[list[str]] = []

    def run_job(self: ScenelakeJobOperator, context: Any) -> dict[str, Any]:
        words.append(list(self.command("r").arguments))
        return {"questions": [QUESTION], "message": "RELEASE is on record"}

    monkeypatch.setattr(ScenelakeJobOperator, "run_job", run_job)
    return words


def asking() -> AskReviewOperator:
    return AskReviewOperator(task_id="ask", question=QUESTION, answer_within=timedelta(hours=1))


def answered(option: str, user: dict[str, str] | None) -> dict[str, Any]:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    said = {"chosen_options": [option], "params_input": {"note": "sun glare", "revision": asking().revision}}
    return asking().execute_complete({}, {**said, "responded_at": at, "responded_by_user": user})


def test_what_is_asked_is_shown_and_never_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.HITLOperator.execute",
        lambda self, context: shown.append({"subject": self.subject, "body": self.body}),
    )
    task = asking()
    assert tuple(task.template_fields) == ("question",), "a template in a channel's name would be run"
    task.execute({})
    assert shown == [{"subject": QUESTION["subject"], "body": QUESTION["body"]}]


def test_an_answer_says_who_gave_it_and_when_to_the_microsecond() -> None:
    assert answered("release", {"id": "1", "name": "ada"}) == {
        "scene_id": "s1", "review_hash": "h", "decision": "release", "note": "sun glare", "reviewer": "ada",
        "decided_at_ns": 1_767_323_045_678_901_000,
    }  # fmt: skip


def test_a_long_note_costs_no_decision() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    said = {"chosen_options": ["reject"], "params_input": {"note": "ä" * 200_000, "revision": asking().revision}}
    told = asking().execute_complete({}, {**said, "responded_at": at, "responded_by_user": {"id": "ada"}})
    assert (told["decision"], told["note"]) == ("reject", "ä" * MAX_NOTE_CHARACTERS)
    assert len(json.dumps(told)) < 128 * 1024, "more than a word of a command line may hold"


@pytest.mark.parametrize("fields", [{}, {"note": "", "revision": "s2 @ h"}, {"note": "", "revision": "s1 @ other"}])
def test_a_form_that_showed_another_revision_decides_nothing(fields: dict[str, str]) -> None:
    said = {
        "params_input": fields,
        "responded_at": datetime(2026, 1, 2, tzinfo=UTC),
        "responded_by_user": {"id": "ada"},
    }
    with pytest.raises(AirflowFailException, match="asks about s1 @ h, and the answer is about"):
        asking().execute_complete({}, {"chosen_options": ["release"], **said})
    assert asking().execute_complete({}, {"chosen_options": ["later"], **said})["decision"] == "later"


def test_the_form_hands_back_the_revision_that_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **asked: shown.append(asked["params"])
    )
    with pytest.raises(TaskAwaitingInput):
        asking().execute({"task_instance": SimpleNamespace(id="ti")})
    (fields,) = shown
    assert fields["revision"]["value"] == "s1 @ h"
    assert fields["revision"]["schema"]["enum"] == ["s1 @ h"]


def test_silence_decides_nothing(launched: list[list[str]]) -> None:
    task = RecordReviewOperator(task_id="record", answer=answered("later", None))
    with pytest.raises(AirflowSkipException, match="asked about again"):
        task.execute({"run_id": "r"})
    assert not launched


def test_an_answer_is_handed_to_the_job_as_one_word(launched: list[list[str]]) -> None:
    task = RecordReviewOperator(task_id="record", answer=answered("release", {"id": "ada"}))
    task.execute({"run_id": "r"})
    ((word, *rest),) = launched
    assert word.startswith('--answer={"scene_id": "s1"')
    assert '"reviewer": "ada"' in word
    assert rest == ["--dag-run-id", "r"]


def test_a_list_is_handed_on_for_mapping(launched: list[list[str]]) -> None:
    task = ListReviewsOperator(task_id="look", job="review_question", field="questions")
    assert task.execute({"run_id": "r"}) == [QUESTION]
    assert task.skip_without == "questions"


class Runs:
    """A task instance that knows the state of the one run."""

    def __init__(self, state: str | None) -> None:
        self.state = state

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert (dag_id, run_ids) == ("build_scenes", ["review_d_1"])
        return int(self.state in states)


@pytest.mark.parametrize(
    ("state", "is_reset"), [(None, False), ("queued", False), ("running", False), ("success", True), ("failed", True)]
)
def test_a_drive_is_built_again_once_and_tried_again_where_that_came_to_nothing(
    state: str | None, is_reset: bool
) -> None:
    drive = {"drive_id": "d", "run_id": "review_d_1", "bucket": "b", "prefix": "f/v/d/", "nbr_scenes": 5}
    with pytest.raises(DagRunTriggerException) as raised:
        RebuildDriveOperator(task_id="build", drive=drive, build_dag_id="build_scenes").execute({"ti": Runs(state)})
    asked = raised.value
    assert (asked.trigger_dag_id, asked.dag_run_id) == ("build_scenes", "review_d_1")
    assert asked.conf == {"bucket": "b", "prefix": "f/v/d/", "rebuild": True}
    assert asked.skip_when_already_exists
    assert asked.reset_dag_run is is_reset


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    return dict(DagBag(str(DAGS)).dags)


def test_scenes_are_asked_about_one_by_one_and_recorded_as_they_are_answered(dags: dict[str, DAG]) -> None:
    dag = dags["review_quarantine"]
    ask, record = dag.get_task("scene.ask"), dag.get_task("scene.record")
    assert record.upstream_task_ids == {"scene.ask"}
    assert ask.upstream_task_ids == {"look"}
    assert ask.get_closest_mapped_task_group() is record.get_closest_mapped_task_group() is not None
    assert ask.response_timeout < dag.dagrun_timeout
    assert ask.options == ["release", "reject", "reprocess", "later"]
    assert ask.defaults == ["later"]


def test_a_recorded_answer_wakes_the_dag_that_applies_it(dags: dict[str, DAG]) -> None:
    outlets = {asset.name for asset in dags["review_quarantine"].get_task("scene.record").outlets}
    woken_by = {asset.name for asset in dags["apply_reviews"].timetable.asset_condition.objects}
    assert outlets == woken_by == {"scenelake_reviews"}
    assert dags["apply_reviews"].get_task("build_scenes").partial_kwargs["build_dag_id"] in dags
