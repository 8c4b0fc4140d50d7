"""From the ledger's batches to runs of the DAG that builds them."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import DagRunTriggerException

from scenelake_airflow.operators.job import ScenelakeJobOperator


class ClaimBatchesOperator(ScenelakeJobOperator):
    """Claims as many batches as there are free places.

    A batch is leased from its claim on. Claiming more than can start would let leases lapse in Airflow's queue: such
    attempts do not count against the drops, but each leaves a run that is fenced off. The end of every build rings
    the backlog, so what is left waits for a place and not for the clock.

    Args:
        max_places: batches that may be under way at once, by the ledger's count: the ``max_active_runs`` of the DAG
            that builds them.
    """

    def __init__(self, *, max_places: int, **kwargs: Any) -> None:
        super().__init__(job="claim", skip_without="batches", **kwargs)
        self.max_places = max_places

    def execute(self, context: Context) -> list[dict[str, Any]]:
        self.arguments = [f"--max-batches={self.max_places}", f"--max-places={self.max_places}"]
        batches: list[dict[str, Any]] = self.run_job(context)["batches"]
        return batches


class BuildBatchOperator(BaseOperator):
    """Starts the run that builds one batch, and does not wait for it.

    The run id names the batch and the attempt, so a retry of this task starts nothing twice: it is skipped
    when the run is there already.

    Args:
        batch: ``{"batch_id", "attempt", "run_id", ...}`` of one claimed batch.
        build_dag_id: DAG that builds it.
    """

    template_fields: Sequence[str] = ("batch",)
    ui_color = "#ffefeb"

    def __init__(self, *, batch: dict[str, Any], build_dag_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.build_dag_id = build_dag_id

    def execute(self, context: Context) -> None:
        # What TriggerDagRunOperator raises. Importing that operator costs 0.45 s in every parse.
        raise DagRunTriggerException(
            trigger_dag_id=self.build_dag_id,
            dag_run_id=self.batch["run_id"],
            conf={"batch_id": self.batch["batch_id"], "attempt": self.batch["attempt"]},
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=0,
            deferrable=False,
        )


class MilestoneOperator(BaseOperator):
    """A mark in the graph that the scheduler sets by itself; no worker runs it."""

    inherits_from_empty_operator = True
    ui_color = "#e8f7e4"

    def execute(self, context: Context) -> None:
        """Nothing to do."""
