"""Claims are bounded by free places, and each batch starts one run."""

from typing import Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import DagRunTriggerException

from scenelake_airflow.operators.batches import BuildBatchOperator, ClaimBatchesOperator
from scenelake_airflow.operators.job import ScenelakeJobOperator

BATCH = {"batch_id": "b1", "attempt": 2, "run_id": "b1.2", "nbr_drops": 3, "bytes": 10}


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


def test_a_claim_says_how_many_places_there_are(launched: list[list[str]]) -> None:
    task = ClaimBatchesOperator(task_id="claim_batches", max_places=3)
    assert task.execute({"run_id": "r"}) == [BATCH]
    assert launched == [["--max-batches=3", "--max-places=3", "--dag-run-id", "r"]]


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
