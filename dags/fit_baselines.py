"""
### Fit baselines
What each robot's sensors usually look like, fitted to the scenes of the newest release (the last 30 days of its
drives): medians, spread and quantiles of what the checks measured, by robot, channel and statistic. Checks that compare
a sensor with its own past look here; without a baseline they compare within the drive, or say that nothing can be told.

A file of baselines is written once per release, under `baselines/` of the lake bucket. A batch is judged by the newest
one that was there before its last drop, and its recipe names it, so building a drive again gives the same verdicts.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from scenelake_airflow.operators.job import ScenelakeJobOperator

with DAG(
    dag_id="fit_baselines",
    description="Fits what each robot's sensors usually look like.",
    doc_md=__doc__,
    # Zero: a stack that has just started waits for the next time; by default it would make up for the last one.
    schedule=CronTriggerTimetable("47 3 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(hours=6),
    tags={"scenelake", "quality"},
    params={
        "days": Param(
            30, type="integer", minimum=1, title="Days", description="Days of drives up to the newest that count."
        ),
        "min_scenes": Param(
            30,
            type="integer",
            minimum=5,
            title="Fewest scenes",
            description="A channel of a robot with fewer scenes gets no baseline.",
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
    ScenelakeJobOperator(
        task_id="fit",
        job="fit_baselines",
        arguments=["--days={{ params.days }}", "--min-scenes={{ params.min_scenes }}"],
        skip_without="uri",
        execution_timeout=timedelta(hours=2),
        doc_md="Reads the release's measurements robot by robot and writes the file. Skips while there is no release.",
    )
