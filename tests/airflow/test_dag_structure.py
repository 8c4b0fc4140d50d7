"""The order of the tasks, what each is told, and what happens to a run whose stage fails or has nothing to do."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, TriggerRule
from airflow.sdk.exceptions import ParamValidationError

from scenelake.contracts.stages import JOB_MODULES, Stage

DAGS = Path(__file__).resolve().parents[2] / "dags"
STAGES = [str(stage) for stage in Stage]


@pytest.fixture(scope="module")
def dags() -> Mapping[str, DAG]:
    return DagBag(str(DAGS)).dags


@pytest.fixture(scope="module")
def build(dags: Mapping[str, DAG]) -> DAG:
    return dags["build_scenes"]


def test_stages_run_in_the_order_of_the_contracts(build: DAG) -> None:
    assert set(build.task_ids) == {*STAGES, "built", "hand_back"}
    for task_id, next_id in zip(STAGES, [*STAGES[1:], "built"], strict=True):
        assert build.get_task(task_id).downstream_task_ids == {next_id, "hand_back"}


def test_each_stage_runs_the_job_of_its_own_name(build: DAG) -> None:
    for stage in JOB_MODULES:
        assert build.get_task(str(stage)).job == stage


def test_a_failed_run_hands_its_batch_back_and_still_ends_failed(build: DAG) -> None:
    hand_back = build.get_task("hand_back")
    assert hand_back.trigger_rule == TriggerRule.ONE_FAILED
    assert hand_back.upstream_task_ids == set(STAGES)
    leaves = {task.task_id: task for task in build.leaves}
    assert set(leaves) == {"built", "hand_back"}, "a leaf other than hand_back must fail with the stages"
    assert leaves["built"].trigger_rule == TriggerRule.ALL_SUCCESS
    assert leaves["built"].inherits_from_empty_operator, "built must cost no worker"


def test_every_end_of_a_batch_wakes_ingest_drops(dags: Mapping[str, DAG], build: DAG) -> None:
    woken_by = {asset.name for asset in dags["ingest_drops"].timetable.asset_condition.objects}
    for task_id in ("settle_batch", "hand_back"):
        assert {a.name for a in build.get_task(task_id).outlets} == {"scenelake_backlog"} <= woken_by
    assert {a.name for a in build.get_task("serialise").outlets} == {"scenelake_gold"}


def test_a_claimed_batch_finds_a_place(dags: Mapping[str, DAG], build: DAG) -> None:
    """Its lease runs from the claim, and would lapse in Airflow's queue where builds take longer than that."""
    assert dags["ingest_drops"].get_task("claim_batches").max_places == build.max_active_runs


def test_claims_go_one_after_the_other(dags: Mapping[str, DAG]) -> None:
    """Two at once would each see the same free places."""
    assert dags["ingest_drops"].get_task("claim_batches").max_active_tis_per_dag == 1


def test_one_run_is_started_per_claimed_batch(dags: Mapping[str, DAG]) -> None:
    start = dags["ingest_drops"].get_task("build_scenes")
    assert start.is_mapped
    assert start.upstream_task_ids == {"claim_batches"}


class FakeTaskInstance:
    def __init__(self, opened: dict[str, Any] | None, failures: Mapping[str, str]) -> None:
        self.opened = opened
        self.failures = failures

    def xcom_pull(self, task_ids: str | Iterable[str], key: str = "return_value") -> Any:
        if key == "failure":
            return [self.failures.get(task_id) for task_id in task_ids]
        return self.opened if task_ids == "open_batch" else None


NO_FAILURE: Mapping[str, str] = {}


def render(
    build: DAG, task_id: str, opened: dict[str, Any] | None, failures: Mapping[str, str] = NO_FAILURE, **conf: Any
) -> Any:
    params = copy.deepcopy(build.params)
    params.update(conf)
    task = build.get_task(task_id).prepare_for_execution()
    context = {"ti": FakeTaskInstance(opened, failures), "task": task, "params": params.validate()}
    task.render_template_fields(context, build.get_template_env())
    return task


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"batch_id": "b1", "attempt": 2}, ["--batch-id=b1", "--attempt=2"]),
        ({"batch_id": "b1", "attempt": 2, "rebuild": True, "bucket": "x"}, ["--batch-id=b1", "--attempt=2"]),
        ({"bucket": "x", "prefix": "f/v/"}, ["--bucket=x", "--prefix=f/v/"]),
        ({"prefix": "f/v/", "rebuild": True}, ["--prefix=f/v/", "--rebuild"]),
        ({"drops": ["s3://x/a b", "s3://x/c,d"]}, ['--drops=["s3://x/a b", "s3://x/c,d"]']),
        ({"drops": None, "prefix": "f/"}, ["--prefix=f/"]),
        ({}, []),
    ],
)
def test_open_batch_is_told_the_batch_or_what_a_person_chose(
    build: DAG, conf: dict[str, Any], words: list[str]
) -> None:
    task = render(build, "open_batch", None, **conf)
    assert list(task.command("run").arguments) == [*words, "--dag-run-id", "run"]


@pytest.mark.parametrize("task_id", [*STAGES[1:], "hand_back"])
def test_the_batch_that_was_opened_rules_over_the_params(build: DAG, task_id: str) -> None:
    task = render(build, task_id, {"batch_id": "opened", "attempt": 3}, batch_id="claimed", attempt=1)
    assert list(task.command("run").arguments)[:4] == ["--batch-id", "opened", "--attempt", "3"]


def test_a_batch_whose_opening_failed_is_handed_back_too(build: DAG) -> None:
    task = render(build, "hand_back", None, batch_id="claimed", attempt=1)
    assert list(task.command("run").arguments)[:4] == ["--batch-id", "claimed", "--attempt", "1"]


def test_hand_back_is_told_what_failed(build: DAG) -> None:
    opened = {"batch_id": "b1", "attempt": 2}
    task = render(build, "hand_back", opened, {"quality": "quality exited 70 (BUG): a -b"})
    assert "--failure=quality exited 70 (BUG): a -b" in task.command("run").arguments
    silent = render(build, "hand_back", opened)
    assert not [word for word in silent.command("run").arguments if word.startswith("--failure")]


def test_nothing_is_handed_back_when_no_batch_was_opened_by_hand(build: DAG) -> None:
    assert render(build, "hand_back", None, prefix="f/v/").batch_id == ""


def test_the_trigger_form_opens_on_what_a_person_fills_in_and_requires_none_of_it(build: DAG) -> None:
    schemas = {name: build.params.get_param(name).schema for name in build.params}
    open_fields = [name for name, schema in schemas.items() if "section" not in schema]
    assert open_fields == ["bucket", "prefix", "drops", "rebuild"]
    assert [n for n in open_fields if "null" not in schemas[n]["type"]] == ["rebuild"], "the form stars these"
    assert set(schemas) - set(open_fields) == {"batch_id", "attempt"}


@pytest.mark.parametrize("bad", [{"drops": ["not a uri"]}, {"attempt": 0}, {"rebuild": "perhaps"}])
def test_params_refuse_what_cannot_be_meant(build: DAG, bad: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        render(build, "open_batch", None, **bad)
