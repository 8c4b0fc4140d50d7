"""
### Review quarantine
Asks a person about scenes that quality holds back: look under *Required Actions*, or straight at **Browse > Review
scenes**, where the pictures are. Each question has a link to its scene there.

- **release** lets the scene into the next release, **reject** keeps it out; both are final for this revision of it.
- **reprocess** builds the drive again, after a policy or a calibration was put right.
- **later**, or no answer within 22 hours, leaves it as it is: it is asked about again tomorrow.

It makes no difference whether the page or this form is used. Whoever is first decides; `record` of the other one says
who that was. Up to 20 scenes are asked about in a run, those of the newest drives first; the page shows all of them.
**apply_reviews** then builds the drives again.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, task_group

from scenelake_airflow.assets import REVIEWS
from scenelake_airflow.operators.reviews import AskReviewOperator, ListReviewsOperator, RecordReviewOperator

with DAG(
    dag_id="review_quarantine",
    description="Asks a person about scenes that quality holds back.",
    doc_md=__doc__,
    # Zero: a stack that has just started waits for the next time; by default it would make up for the last one.
    schedule=CronTriggerTimetable("0 7 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(hours=23),
    tags={"scenelake", "review"},
    params={
        "max_questions": Param(
            20,
            type="integer",
            minimum=1,
            maximum=100,
            title="Questions",
            description="Scenes to ask about at most, those of the newest drives first.",
        ),
    },
    default_args={
        "owner": "scenelake",
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=5),
    },
):
    look = ListReviewsOperator(
        task_id="look",
        job="review_question",
        arguments=["--max-questions={{ params.max_questions }}"],
        field="questions",
        execution_timeout=timedelta(minutes=10),
        doc_md="Lists scenes that wait for a person. Skipped, and with it the questions, when none does.",
    )

    @task_group(group_id="scene")
    def one_scene(question: Any) -> None:
        """Each scene is recorded as soon as it is answered, whatever becomes of the others."""
        ask = AskReviewOperator(
            task_id="ask",
            question=question,
            answer_within=timedelta(hours=22),
            map_index_template="{{ task.question['scene_id'] }}",
            doc_md="Waits for a person, without a worker.",
        )
        RecordReviewOperator(
            task_id="record",
            answer=ask.output,
            outlets=[REVIEWS],
            execution_timeout=timedelta(minutes=5),
            map_index_template="{{ task.answer['scene_id'] }}",
            doc_md="Records the answer, unless the page was first. Skipped when nobody answered.",
        )

    one_scene.expand(question=look.output)
