"""
### Reconcile, hourly
Compares the object versions that landed in the last hours with the ledger, and the ledger with gold.

- What **no event announced** is registered, through the same function that takes S3's events, and gets built.
- A batch whose **lease lapsed** is announced by a ring of the doorbell; the next claim takes it over.
- What it can only report is in the task's XCom and in full on S3 (`report_uri`): drops that wait for long and what
  they wait for, and drops that the ledger calls built and gold does not hold.
- **Dead letters** start `redrive_dead_letters`, which asks a person. This run does not wait for the answer.

Differences do not fail the run; `reconcile_daily` compares everything and ends with an audit.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from scenelake_airflow.operators.dead_letters import AskForRedriveOperator
from scenelake_airflow.operators.job import ScenelakeJobOperator

with DAG(
    dag_id="reconcile_hourly",
    description="Compares what landed lately with the ledger and gold; registers what no event announced.",
    doc_md=__doc__,
    # Zero: a stack that has just started waits for the next time; by default it would make up for the last one.
    schedule=CronTriggerTimetable("17 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(minutes=55),
    tags={"scenelake", "reconcile"},
    params={
        "since_hours": Param(
            3,
            type="number",
            exclusiveMinimum=0,
            title="Hours",
            description="How far to look back; more than one, so that a run that failed is made up for.",
        ),
        "prefix": Param(
            "",
            type=["null", "string"],
            title="Prefix",
            description="Only object versions whose key starts with this, for example fleet/vehicle/.",
        ),
        "grace_seconds": Param(
            300,
            type="integer",
            minimum=0,
            title="Grace in seconds",
            description="A younger object may still have its event on the way; a lease that lapsed, its next claim.",
        ),
        "stuck_seconds": Param(
            3600,
            type="integer",
            minimum=0,
            title="Stuck after seconds",
            description="Drops that have waited for longer are reported.",
        ),
    },
    default_args={
        "owner": "scenelake",
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=5),
    },
):
    reconcile = ScenelakeJobOperator(
        task_id="reconcile",
        job="reconcile",
        arguments=[
            "--since-hours={{ params.since_hours }}",
            "{{ '--prefix=' ~ params.prefix if params.prefix }}",
            "--grace-seconds={{ params.grace_seconds }}",
            "--stuck-seconds={{ params.stuck_seconds }}",
        ],
        execution_timeout=timedelta(minutes=50),
        doc_md="Compares, registers what no event announced, rings for lapsed leases, reports the rest.",
    )
    ask_for_redrive = AskForRedriveOperator(
        task_id="ask_for_redrive",
        question_id="{{ ti.xcom_pull(task_ids='reconcile')['question_id'] or '' }}",
        redrive_dag_id="redrive_dead_letters",
        execution_timeout=timedelta(minutes=5),
        doc_md="Starts the run that asks a person about dead letters. Skipped when there are none, or it was asked.",
    )

    reconcile >> ask_for_redrive
