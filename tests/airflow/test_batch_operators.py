"""Claims are bounded by free places, and each batch starts one run."""

from typing import Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from scenelake_airflow.operators.batches import BuildBatchOperator, ClaimBatchesOperator
from scenelake_airflow.operators.job import ScenelakeJobOperator

BATCH = {"batch_id": "b1", "attempt": 2, "run_id": "b1.2", "nbr_drops": 3, "bytes": 10}


class FakeTaskInstance:
    def __init__(self, nbr_runs: int) -> None:
        self.nbr_runs = nbr_runs
        self.asked: list[Any] = []

    def get_dr_count(self, dag_id: str, states: list[str]) -> int:
        self.asked.append((dag_id, states))
        return self.nbr_runs


@pytest.fixture(autouse=True)
def outside_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    words: list[list[str]] = []

    def run_job(self: ScenelakeJobOperator, context: Any) -> dict[str, Any]:
        words.append(list(self.command("r").arguments))
        return {"batches": [BATCH]}

    monkeypatch.setattr(ScenelakeJobOperator, "run_job", run_job)
    return words


def claim(nbr_runs: int) -> tuple[Any, FakeTaskInstance]:
    ti = FakeTaskInstance(nbr_runs)
    task = ClaimBatchesOperator(task_id="claim_batches", build_dag_id="build_scenes", max_places=3)
    return task.execute({"ti": ti, "run_id": "r"}), ti


@pytest.mark.parametrize(("nbr_runs", "nbr_claimed"), [(0, 3), (1, 2), (2, 1)])
def test_claims_as_many_batches_as_there_are_places(nbr_runs: int, nbr_claimed: int, launched: list[list[str]]) -> None:
    batches, ti = claim(nbr_runs)
    assert batches == [BATCH]
    assert launched == [[f"--max-batches={nbr_claimed}", "--dag-run-id", "r"]]
    assert ti.asked == [("build_scenes", ["queued", "running"])]


@pytest.mark.parametrize("nbr_runs", [3, 4])
def test_claims_nothing_while_every_place_is_taken(nbr_runs: int, launched: list[list[str]]) -> None:
    with pytest.raises(AirflowSkipException, match=f"{nbr_runs} runs of build_scenes are under way"):
        claim(nbr_runs)
    assert not launched


def test_a_batch_starts_the_run_of_its_attempt_once() -> None:
    task = BuildBatchOperator(task_id="build_scenes", batch=BATCH, build_dag_id="build_scenes")
    with pytest.raises(DagRunTriggerException) as raised:
        task.execute({})
    asked = raised.value
    assert (asked.trigger_dag_id, asked.dag_run_id) == ("build_scenes", "b1.2")
    assert asked.conf == {"batch_id": "b1", "attempt": 2}
    assert asked.skip_when_already_exists
    assert not asked.reset_dag_run
    assert not asked.wait_for_completion
    assert asked.logical_date is None
