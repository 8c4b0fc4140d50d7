"""From dead letters to a question that a person answers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException


class AskForRedriveOperator(BaseOperator):
    """Starts the run that asks a person about dead letters, and does not wait for it.

    Skipped when there is nothing to ask, while another question waits, and when these messages were asked about
    before: the run id is made of the question's id.

    Args:
        question_id: names the messages; empty when there are none. Templated.
        redrive_dag_id: DAG that asks.
    """

    template_fields: Sequence[str] = ("question_id",)
    ui_color = "#ffefeb"

    def __init__(self, *, question_id: str, redrive_dag_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.question_id = question_id
        self.redrive_dag_id = redrive_dag_id

    def execute(self, context: Context) -> None:
        if not self.question_id:
            raise AirflowSkipException("the dead-letter queues are empty")
        if context["ti"].get_dr_count(self.redrive_dag_id, states=["queued", "running"]):
            raise AirflowSkipException(f"a run of {self.redrive_dag_id} waits for a person already")
        raise DagRunTriggerException(
            trigger_dag_id=self.redrive_dag_id,
            dag_run_id=f"dead_letters_{self.question_id}",
            conf={},
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=0,
            deferrable=False,
        )


class PersonApprovesOperator(ApprovalOperator):
    """Asks a person and waits, without a worker; silence is a no.

    Args:
        answer_within: after this time the question counts as rejected.
    """

    def __init__(self, *, answer_within: timedelta, **kwargs: Any) -> None:
        super().__init__(response_timeout=answer_within, defaults=[ApprovalOperator.REJECT], **kwargs)
