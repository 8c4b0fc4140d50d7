"""
### Reconcile, daily
Compares every object version in landing with the ledger, every drop of the ledger with landing and gold, then
sweeps the lake and audits it.

- **reconcile** does what `reconcile_hourly` does, for everything, and also reports drops whose object version is
  gone. Differences do not fail it.
- **sweep** reports what nobody refers to: orphaned files in gold, branches and snapshots of candidates that lost,
  work of superseded attempts. It removes them only when *remove* is set, and never what is younger than the grace.
- **audit** runs the independent auditor, whatever became of the two. Violations fail it, by name, in its log.
- `reconciled` is green only when all three are.

Each keeps its report under `work/reconcile/<run>/` of the lake bucket.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, TriggerRule

from scenelake_airflow.operators.batches import MilestoneOperator
from scenelake_airflow.operators.dead_letters import AskForRedriveOperator
from scenelake_airflow.operators.job import ScenelakeJobOperator

with DAG(
    dag_id="reconcile_daily",
    description="Compares landing, ledger and gold; sweeps the lake; audits it.",
    doc_md=__doc__,
    # Zero: a stack that has just started waits for the next time; by default it would make up for the last one.
    schedule=CronTriggerTimetable("41 2 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(hours=20),
    tags={"scenelake", "reconcile"},
    params={
        "prefix": Param(
            "",
            type=["null", "string"],
            title="Prefix",
            description="Compare only keys that start with this, for example fleet/vehicle/.",
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
        "remove": Param(
            False,
            type="boolean",
            title="Remove what is swept",
            description="Without it the sweep only reports. Look at a report before you set it.",
        ),
        "sweep_grace_days": Param(
            7,
            type="number",
            minimum=0,
            title="Sweep grace in days",
            description="The sweep leaves younger files alone. The audit allows orphans one day more.",
        ),
    },
    default_args={
        "owner": "scenelake",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=15),
    },
):
    reconcile = ScenelakeJobOperator(
        task_id="reconcile",
        job="reconcile",
        arguments=[
            "{{ '--prefix=' ~ params.prefix if params.prefix }}",
            "--grace-seconds={{ params.grace_seconds }}",
            "--stuck-seconds={{ params.stuck_seconds }}",
        ],
        execution_timeout=timedelta(hours=6),
        doc_md="Compares, registers what no event announced, rings for lapsed leases, reports the rest.",
    )
    ask_for_redrive = AskForRedriveOperator(
        task_id="ask_for_redrive",
        question_id="{{ ti.xcom_pull(task_ids='reconcile')['question_id'] or '' }}",
        redrive_dag_id="redrive_dead_letters",
        execution_timeout=timedelta(minutes=5),
        doc_md="Starts the run that asks a person about dead letters. Skipped when there are none, or it was asked.",
    )
    sweep = ScenelakeJobOperator(
        task_id="sweep",
        job="sweep",
        arguments=["{{ '--remove' if params.remove }}", "--grace-days={{ params.sweep_grace_days }}"],
        execution_timeout=timedelta(hours=6),
        doc_md="Reports, or removes, what nobody refers to and what is older than the grace.",
    )
    audit = ScenelakeJobOperator(
        task_id="audit",
        job="audit",
        arguments=[
            "--grace-seconds={{ (params.sweep_grace_days + 1) * 86400 }}",
            "--event-grace-seconds={{ params.grace_seconds }}",
        ],
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=timedelta(hours=6),
        doc_md="Runs the auditor, which shares no code with the pipeline. Fails when it finds a violation.",
    )
    reconciled = MilestoneOperator(
        task_id="reconciled",
        execution_timeout=timedelta(minutes=1),
        doc_md="Green only when reconcile, sweep and audit are: it decides the state of the run.",
    )

    reconcile >> [ask_for_redrive, sweep]
    sweep >> audit
    [reconcile, sweep, audit] >> reconciled
