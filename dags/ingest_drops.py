"""
### Ingest drops
Wakes when the doorbell rings (a drop was put on S3 and is in the ledger), when a build ends, and every five
minutes in case a ring was lost. It claims waiting drops from the ledger, a bounded batch at a time, and
starts one **build_scenes** run per batch.

*The ledger is the truth; the bell only rings.* A lost, doubled or late ring changes nothing.

| state | meaning |
|---|---|
| all skipped | no drop waits, or every place for a build is taken |
| green | one build was started per mapped `build_scenes` task; the label is its run id |
"""

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from scenelake_airflow.assets import BACKLOG, DOORBELL
from scenelake_airflow.operators.batches import BuildBatchOperator, ClaimBatchesOperator

BUILD_DAG_ID = "build_scenes"

with DAG(
    dag_id="ingest_drops",
    description="Claims waiting drops and starts one build per batch.",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("*/5 * * * *", timezone="UTC"), assets=(DOORBELL | BACKLOG)
    ),
    catchup=False,
    # Two, as a run that starts while its DAG is parsed anew may find the only place taken by the one that just ended.
    # Their claims go one after the other.
    max_active_runs=2,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(minutes=30),
    tags={"scenelake", "ingest"},
    default_args={
        "owner": "scenelake",
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=5),
    },
):
    claim_batches = ClaimBatchesOperator(
        task_id="claim_batches",
        max_places=2,
        max_active_tis_per_dag=1,
        doc_md="Leases waiting drops, grouped by drive, for as many batches as can soon be built. "
        "Batches of builds that failed or whose lease lapsed come first, with a new attempt.",
    )

    build_scenes = BuildBatchOperator.partial(
        task_id="build_scenes",
        build_dag_id=BUILD_DAG_ID,
        map_index_template="{{ task.batch['run_id'] }}",
        doc_md="Starts `build_scenes` for one batch under the run id `<batch>.<attempt>` and does not wait. "
        "Skipped when that run is there already.",
    ).expand(batch=claim_batches.output)

    claim_batches >> build_scenes
