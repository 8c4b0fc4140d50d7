"""From scenes that are held back to a question that a person answers, and from decisions to builds."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseOperator, Context, Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DagRunTriggerException

from scenelake.contracts.reviews import MAX_NOTE_CHARACTERS
from scenelake_airflow.operators.job import ScenelakeJobOperator

LATER = "later"
OPTIONS = ["release", "reject", "reprocess", LATER]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ListReviewsOperator(ScenelakeJobOperator):
    """Runs a job that lists something, for the tasks that are mapped over it.

    Args:
        field: of the job's answer, with the list. Where it is empty the task is skipped.
    """

    def __init__(self, *, field: str, **kwargs: Any) -> None:
        super().__init__(skip_without=field, **kwargs)
        self.field = field

    def execute(self, context: Context) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run_job(context)[self.field]
        return found


class AskReviewOperator(HITLOperator):
    """Asks a person about one scene and waits, without a worker; silence decides nothing.

    The question's words come from recordings: they are shown, and never rendered as templates. Airflow keeps the words
    of the first try: where a run is cleared after answers came in, its list is shorter, and a form may show one scene
    for the task of another. So the form hands back the revision that it showed, and no other is decided by it.

    Args:
        question: ``{scene_id, review_hash, subject, body}``.
        answer_within: after this time the scene is left as it is.
    """

    template_fields: Sequence[str] = ("question",)

    def __init__(self, *, question: dict[str, str], answer_within: timedelta, **kwargs: Any) -> None:
        super().__init__(
            subject="A scene is held back",
            options=OPTIONS,
            defaults=[LATER],
            response_timeout=answer_within,
            **kwargs,
        )
        self.question = question

    def execute(self, context: Context) -> Any:
        self.subject, self.body = self.question["subject"], self.question["body"]
        self.params = self._fields()
        return super().execute(context)

    @property
    def revision(self) -> str:
        """What of the scene is decided on, as the form shows it."""
        return f"{self.question['scene_id']} @ {self.question['review_hash'][:12]}"

    def _fields(self) -> ParamsDict:
        # The form shows the task's own fields; Airflow passes those of the DAG along.
        note = Param("", type=["null", "string"], title="Note", description="Why?", source="task")
        revision = Param(
            self.revision, type="string", enum=[self.revision], title="Revision of the scene", source="task"
        )
        return ParamsDict({"note": note, "revision": revision})

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """The answer with what it is about.

        Raises:
            AirflowFailException: the answer is about another revision than this task asks about.
        """
        self.params = self._fields()
        if event.get("chosen_options") == [LATER]:
            event = {**event, "params_input": {}}
        elif "error" not in event and (shown := (event["params_input"] or {}).get("revision")) != self.revision:
            raise AirflowFailException(
                f"this task asks about {self.revision}, and the answer is about {shown or 'no revision'}: it is not "
                "recorded. The run was cleared after its questions were shown, the question is from before an "
                "upgrade, or the answer's params_input has no revision. Decide under Browse > Review scenes, or "
                "trigger review_quarantine anew."
            )
        said = super().execute_complete(context, event)
        user = said["responded_by_user"] or {}
        return {
            "scene_id": self.question["scene_id"],
            "review_hash": self.question["review_hash"],
            "decision": said["chosen_options"][0],
            # Airflow holds a note to no length, and a decision is not to be lost for one.
            "note": (said["params_input"].get("note") or "")[:MAX_NOTE_CHARACTERS],
            "reviewer": user.get("name") or user.get("id") or "",
            "decided_at_ns": (said["responded_at"] - _EPOCH) // timedelta(microseconds=1) * 1000,
        }


class RecordReviewOperator(ScenelakeJobOperator):
    """Records one answer of the form, unless somebody was first: then it says who.

    Args:
        answer: of ``AskReviewOperator``.
    """

    template_fields: Sequence[str] = ("answer",)

    def __init__(self, *, answer: Any, **kwargs: Any) -> None:
        super().__init__(job="review_answer", **kwargs)
        self.answer = answer

    def execute(self, context: Context) -> dict[str, Any]:
        if self.answer["decision"] == LATER:
            raise AirflowSkipException(f"scene {self.answer['scene_id']}: nobody decided; it is asked about again")
        self.arguments = [f"--answer={json.dumps(self.answer)}"]
        told = self.run_job(context)
        self.log.info("%s", told["message"])
        return told


class RebuildDriveOperator(BaseOperator):
    """Starts the run that builds one drive again, and does not wait for it.

    Args:
        drive: ``{run_id, bucket, prefix, …}``; skipped while the run is under way.
        build_dag_id: DAG that builds it.
    """

    template_fields: Sequence[str] = ("drive",)
    ui_color = "#ffefeb"

    def __init__(self, *, drive: dict[str, Any], build_dag_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drive = drive
        self.build_dag_id = build_dag_id

    def execute(self, context: Context) -> None:
        run_id = self.drive["run_id"]
        # A run that ended and left the drive as it was (the ledger was out of reach, say) would be in the way for ever.
        has_ended = context["ti"].get_dr_count(self.build_dag_id, run_ids=[run_id], states=["success", "failed"]) > 0
        raise DagRunTriggerException(
            trigger_dag_id=self.build_dag_id,
            dag_run_id=run_id,
            conf={"bucket": self.drive["bucket"], "prefix": self.drive["prefix"], "rebuild": True},
            reset_dag_run=has_ended,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=0,
            deferrable=False,
        )
