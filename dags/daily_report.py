"""
### Daily report
A page per day and per vehicle: volume, completeness, verdicts by check, synchronisation, the worst scenes with their
pictures, what moved against the days before, and the hours of jobs a terabyte took. Pages and charts lie under
`reports/<day>/` of the lake bucket; the link is in the task's log and its XCom, and *Scenelake* in the menu shows them.

A day is the UTC date on which drives were recorded. The scheduled run reports the day before it; trigger it with
another *day* for one whose drives came late. A report that is built again replaces the old one.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from scenelake_airflow.operators.job import ScenelakeJobOperator

# Runs by hand may have no logical date; every run has a time after which it runs.
YESTERDAY = "(dag_run.run_after - macros.timedelta(days=1)).strftime('%Y-%m-%d')"

with DAG(
    dag_id="daily_report",
    description="Builds the report of a day's drives.",
    doc_md=__doc__,
    # Zero: a stack that has just started waits for the next time; by default it would make up for the last one.
    schedule=CronTriggerTimetable("17 4 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(hours=6),
    tags={"scenelake", "report"},
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="UTC date of the drives; empty: the day before the run.",
        ),
        "release": Param(
            "latest",
            type="string",
            pattern="^(latest|r[0-9]{8})$",
            title="Release",
            description="Release to report of.",
        ),
        "usd_per_job_hour": Param(
            0.0,
            type="number",
            minimum=0,
            title="Price of a job hour in USD",
            description="What an hour of one job costs; 0 leaves money out and tells hours alone.",
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
        task_id="report",
        job="report",
        arguments=[
            f"--day={{{{ params.day or {YESTERDAY} }}}}",
            "--release={{ params.release }}",
            "--usd-per-job-hour={{ params.usd_per_job_hour }}",
        ],
        execution_timeout=timedelta(hours=2),
        doc_md="Asks the release for the day's figures, draws charts and contact sheets, writes the pages.",
    )
