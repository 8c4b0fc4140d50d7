"""Reconciling, asking a person, sweeping and auditing: who runs after whom, and who waits for nobody."""

import copy
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, TriggerRule
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from scenelake_airflow.operators.dead_letters import AskForRedriveOperator, PersonApprovesOperator

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="module")
def dags() -> Mapping[str, DAG]:
    return DagBag(str(DAGS)).dags


class FakeTaskInstance:
    def __init__(self, nbr_runs: int = 0, answer: Any = None) -> None:
        self.nbr_runs = nbr_runs
        self.answer = answer

    def get_dr_count(self, dag_id: str, states: list[str]) -> int:
        assert (dag_id, states) == ("redrive_dead_letters", ["queued", "running"])
        return self.nbr_runs

    def xcom_pull(self, task_ids: str) -> Any:
        return self.answer


def render(dag: DAG, task_id: str, answer: Any = None, **conf: Any) -> Any:
    params = copy.deepcopy(dag.params)
    params.update(conf)
    task = dag.get_task(task_id).prepare_for_execution()
    task.render_template_fields(
        {"ti": FakeTaskInstance(answer=answer), "task": task, "params": params.validate()}, dag.get_template_env()
    )
    return task


def words(dag: DAG, task_id: str, **conf: Any) -> list[str]:
    return list(render(dag, task_id, **conf).command("run").arguments)[:-2]


def test_hourly_looks_back_and_daily_looks_at_everything(dags: Mapping[str, DAG]) -> None:
    hourly = words(dags["reconcile_hourly"], "reconcile")
    assert hourly == ["--since-hours=3", "--grace-seconds=300", "--stuck-seconds=3600"]
    assert words(dags["reconcile_hourly"], "reconcile", prefix="f/v/")[1] == "--prefix=f/v/"
    assert words(dags["reconcile_daily"], "reconcile") == ["--grace-seconds=300", "--stuck-seconds=3600"]


def test_a_fresh_stack_waits_for_the_next_time(dags: Mapping[str, DAG]) -> None:
    for dag_id in ("reconcile_hourly", "reconcile_daily"):
        assert dags[dag_id].timetable.run_immediately == timedelta(0)


def test_nothing_is_removed_unless_a_person_asks(dags: Mapping[str, DAG]) -> None:
    daily = dags["reconcile_daily"]
    assert words(daily, "sweep") == ["--grace-days=7"]
    assert words(daily, "sweep", remove=True) == ["--remove", "--grace-days=7"]
    assert words(daily, "audit") == [f"--grace-seconds={8 * 86400}", "--event-grace-seconds=300"], (
        "the sweep's grace and a day; events and lapsed leases get as long as from the reconciler"
    )


def test_the_audit_runs_whatever_became_of_the_sweep_and_the_run_is_green_only_when_all_are(
    dags: Mapping[str, DAG],
) -> None:
    daily = dags["reconcile_daily"]
    assert daily.get_task("sweep").upstream_task_ids == {"reconcile"}
    audit, reconciled = daily.get_task("audit"), daily.get_task("reconciled")
    assert audit.upstream_task_ids == {"sweep"}
    assert audit.trigger_rule == TriggerRule.ALL_DONE
    assert reconciled.upstream_task_ids == {"reconcile", "sweep", "audit"}
    assert reconciled.trigger_rule == TriggerRule.ALL_SUCCESS
    assert {task.task_id for task in daily.leaves} == {"reconciled", "ask_for_redrive"}


def test_no_reconciliation_waits_for_a_person(dags: Mapping[str, DAG]) -> None:
    for dag_id in ("reconcile_hourly", "reconcile_daily"):
        assert not [t for t in dags[dag_id].tasks if isinstance(t, PersonApprovesOperator)]
        ask = dags[dag_id].get_task("ask_for_redrive")
        assert ask.upstream_task_ids == {"reconcile"}
        assert not ask.downstream_task_ids
        assert ask.redrive_dag_id in dags
    assert dags["redrive_dead_letters"].max_active_runs == 1, "one question waits at a time"


def test_messages_move_only_after_a_person_said_so_and_silence_is_a_no(dags: Mapping[str, DAG]) -> None:
    dag = dags["redrive_dead_letters"]
    look, approve, redrive = (dag.get_task(name) for name in ("look", "approve", "redrive"))
    assert look.skip_without == "nbr_messages"
    assert words(dag, "look") == ["--look"]
    assert redrive.upstream_task_ids == {"approve"}
    assert approve.upstream_task_ids == {"look"}
    assert approve.defaults == ["Reject"]
    assert approve.response_timeout
    assert words(dag, "redrive") == []


def test_the_person_sees_the_messages(dags: Mapping[str, DAG]) -> None:
    answer = {"nbr_messages": 3, "question": "### events: 3 message(s)"}
    task = render(dags["redrive_dead_letters"], "approve", answer)
    assert task.subject == "3 dead letter(s): try them again?"
    assert task.body == answer["question"]


@pytest.mark.parametrize(("question_id", "rendered"), [("abc", "abc"), (None, "")])
def test_the_question_s_id_comes_from_the_reconciliation(
    dags: Mapping[str, DAG], question_id: str | None, rendered: str
) -> None:
    task = render(dags["reconcile_hourly"], "ask_for_redrive", {"question_id": question_id})
    assert task.question_id == rendered


def ask(question_id: str, nbr_runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    task = AskForRedriveOperator(task_id="ask", question_id=question_id, redrive_dag_id="redrive_dead_letters")
    context: Any = {"ti": FakeTaskInstance(nbr_runs)}
    task.execute(context)


def test_the_same_messages_are_asked_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DagRunTriggerException) as raised:
        ask("abc", 0, monkeypatch)
    asked = raised.value
    assert (asked.trigger_dag_id, asked.dag_run_id) == ("redrive_dead_letters", "dead_letters_abc")
    assert asked.skip_when_already_exists
    assert not asked.reset_dag_run
    assert not asked.wait_for_completion


@pytest.mark.parametrize(("question_id", "nbr_runs", "why"), [("", 0, "are empty"), ("abc", 1, "waits for a person")])
def test_nothing_is_asked_without_letters_or_while_a_question_waits(
    question_id: str, nbr_runs: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AirflowSkipException, match=why):
        ask(question_id, nbr_runs, monkeypatch)
