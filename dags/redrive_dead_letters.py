"""
### Redrive dead letters
A message that was received five times and never answered for ends in a dead-letter queue: an event of S3 that could
not be registered, or a ring that Airflow never acknowledged. This run shows what lies there and **asks a person**:
look under *Required Actions*.

- **Approve** moves the messages back to their queues, where they are tried again. What fails again comes back here.
- **Reject** leaves them. No answer within a week counts as a rejection. The queues keep a message for 14 days.

Nothing is lost either way: the reconciler registers every object version whose event was. `reconcile_hourly` and
`reconcile_daily` start this run when a queue is not empty, once per set of messages; start it by hand to be asked
again.
"""

from datetime import timedelta

from airflow.sdk import DAG

from scenelake_airflow.operators.dead_letters import PersonApprovesOperator
from scenelake_airflow.operators.job import ScenelakeJobOperator

with DAG(
    dag_id="redrive_dead_letters",
    description="Shows dead letters to a person, who approves or rejects another try.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(days=8),
    tags={"scenelake", "reconcile"},
    default_args={
        "owner": "scenelake",
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=5),
    },
):
    look = ScenelakeJobOperator(
        task_id="look",
        job="redrive",
        arguments=["--look"],
        skip_without="nbr_messages",
        execution_timeout=timedelta(minutes=5),
        doc_md="Reads what lies in the dead-letter queues and leaves it there. Skips, and with it the question, when "
        "they are empty.",
    )
    approve = PersonApprovesOperator(
        task_id="approve",
        subject="{{ ti.xcom_pull(task_ids='look')['nbr_messages'] }} dead letter(s): try them again?",
        body="{{ ti.xcom_pull(task_ids='look')['question'] }}",
        answer_within=timedelta(days=7),
        doc_md="Waits for a person, without a worker. Rejected, it skips what follows.",
    )
    redrive = ScenelakeJobOperator(
        task_id="redrive",
        job="redrive",
        execution_timeout=timedelta(minutes=30),
        doc_md="Sends each message to the queue that it came from, then deletes it from the dead-letter queue.",
    )

    look >> approve >> redrive
