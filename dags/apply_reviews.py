"""
### Apply reviews
Builds again the drives of scenes that people decided about, so that what was released joins the next release and what
was rejected stays out. The review page starts it with each decision; the form of **review_quarantine** wakes it; and it
looks every quarter of an hour, in case a start was lost or the drive was being built just then.

However many scenes of a drive are decided meanwhile, it is built once: the id of the run that is started names the
drive and its last build.

| state | meaning |
|---|---|
| all skipped | no decision waits for a build |
| green | one build was started per mapped `build_scenes` task; the label is the drive |
"""

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from scenelake_airflow.assets import REVIEWS
from scenelake_airflow.operators.reviews import ListReviewsOperator, RebuildDriveOperator

with DAG(
    dag_id="apply_reviews",
    description="Builds again the drives of scenes that people decided about.",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("*/15 * * * *", timezone="UTC"), assets=[REVIEWS]),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(minutes=30),
    tags={"scenelake", "review"},
    default_args={
        "owner": "scenelake",
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=5),
    },
):
    gather = ListReviewsOperator(
        task_id="gather",
        job="review_build",
        field="drives",
        doc_md="Lists the drives whose last build came before a decision about one of their scenes. Skipped when there "
        "are none.",
    )
    build_scenes = RebuildDriveOperator.partial(
        task_id="build_scenes",
        build_dag_id="build_scenes",
        map_index_template="{{ task.drive['prefix'] }}",
        doc_md="Starts `build_scenes` for one drive, with *rebuild*, and does not wait. Skipped when it is there.",
    ).expand(drive=gather.output)

    gather >> build_scenes
