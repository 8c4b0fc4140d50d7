"""Launches one job, waits, and turns its exit code into a task state."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from scenelake.contracts.errors import ConfigurationError, ExitCode
from scenelake.runtime.settings import load_settings
from scenelake_airflow.launchers import JobCommand, JobEnd, Launcher, launcher_for

FINAL_EXIT_CODES = frozenset({ExitCode.BAD_INPUT, ExitCode.BUG, ExitCode.CONFIGURATION, ExitCode.FENCED})
"""Exits that a retry cannot change. Every other one, a signal included, is worth a retry."""

LEDGER_JOBS = {
    "claim": "scenelake.ledger.claim_job",
    "hand_back": "scenelake.ledger.hand_back_job",
    "reconcile": "scenelake.ledger.reconcile_job",
    "redrive": "scenelake.ledger.redrive_job",
    "audit": "scenelake.ledger.audit_job",
    "sweep": "scenelake.serialise.sweep_job",
    "report": "scenelake.report.job",
    "fit_baselines": "scenelake.quality.baseline_job",
    "review_question": "scenelake.review.question_job",
    "review_answer": "scenelake.review.answer_job",
    "review_build": "scenelake.review.build_job",
}
"""Jobs that are not stages of a batch."""

FAILURE = "failure"
"""XCom key under which a failed job leaves its failure in words, for hand_back."""

MAX_FAILURE_CHARACTERS = 500

SAME_IN_EVERY_LINE = frozenset({"stage", "batch_id", "attempt"})
"""What a job writes into each of its log lines."""


class ScenelakeJobOperator(BaseOperator):
    """Runs a stage (or a ledger job) of Scenelake wherever the ``runtime`` setting says.

    The answer of the job (ids, URIs, counts) is the task's XCom and the extra of its asset events.

    Args:
        job: a stage of ``contracts.stages``, or one of ``LEDGER_JOBS``.
        batch_id, attempt: the batch; templated. Where a batch id is given but renders to nothing there is
            no batch to work on, and the task is skipped.
        arguments: further words of the command line, templated; words that render to nothing are left out.
        skip_without: field of the answer without which the task, and so what follows it, is skipped; the
            answer's ``reason`` is logged.
    """

    template_fields: Sequence[str] = ("batch_id", "attempt", "arguments")
    ui_color = "#e3f1f4"

    def __init__(
        self,
        *,
        job: str,
        batch_id: str | None = None,
        attempt: str | None = None,
        arguments: Sequence[str] = (),
        skip_without: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.batch_id = batch_id
        self.attempt = attempt
        self.arguments = list(arguments)
        self.skip_without = skip_without
        self._launcher: Launcher | None = None

    def execute(self, context: Context) -> Any:
        return self.run_job(context)

    def on_kill(self) -> None:
        if self._launcher is not None:
            self._launcher.kill()

    def run_job(self, context: Context) -> dict[str, Any]:
        """Runs the job and returns its answer.

        Raises:
            AirflowFailException: for an exit that a retry cannot change.
            AirflowException: for any other failure, to be retried.
            AirflowSkipException: when there is nothing to work on.
        """
        if self.batch_id is not None and not self.batch_id:
            raise AirflowSkipException(f"{self.job}: no batch was opened")
        output = JobOutput(self.log)
        try:
            command = self.command(context["run_id"])
            self._launcher = launcher_for(load_settings())
            end = self._launcher.run(command, output.write)
        except ConfigurationError as error:
            raise AirflowFailException(str(error)) from error
        if end.exit_code != ExitCode.OK:
            context["ti"].xcom_push(FAILURE, failure_in_words(self.job, end.exit_code, output.last_error))
        answer = self._answer(end, output.last_error)
        if self.skip_without and not answer.get(self.skip_without):
            raise AirflowSkipException(f"{self.job}: {answer.get('reason') or 'nothing to do'}")
        for asset in self.outlets:
            context["outlet_events"][asset].extra = answer
        return answer

    def command(self, dag_run_id: str) -> JobCommand:
        """The command of this task, once its templates are rendered.

        Raises:
            ConfigurationError: for a job that the contracts do not know.
        """
        # contracts.stages costs as much to import as a whole DAG file may: it brings pyarrow.
        from scenelake.contracts.stages import JOB_MODULES

        modules = {**LEDGER_JOBS, **{str(stage): module for stage, module in JOB_MODULES.items()}}
        if self.job not in modules:
            raise ConfigurationError(f"job: expected one of {sorted(modules)}, got {self.job!r}")
        words = [word for word in self.arguments if word]
        if self.batch_id is not None:
            words += ["--batch-id", self.batch_id, "--attempt", str(self.attempt)]
        words += ["--dag-run-id", dag_run_id]
        return JobCommand(modules[self.job], tuple(words))

    def _answer(self, end: JobEnd, last_error: str | None) -> dict[str, Any]:
        if end.exit_code == ExitCode.OK:
            if end.result is None:
                raise AirflowFailException(f"{self.job} exited 0 but wrote no answer to --result; this is a bug")
            return end.result
        message = failure_in_words(self.job, end.exit_code, last_error)
        raise (AirflowFailException if end.exit_code in FINAL_EXIT_CODES else AirflowException)(message)


class JobOutput:
    """Writes a job's lines to the task log, at the level that the job gave them."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.last_error: str | None = None

    def write(self, line: str) -> None:
        """Writes one line: a JSON log line of ``runtime.logs``, or any text."""
        entry = _json_object(line)
        if entry is None or "message" not in entry:
            if line.strip():
                self._log.info("%s", line)
            return
        level = logging.getLevelNamesMapping().get(str(entry.get("level")), logging.INFO)
        text = str(entry["message"])
        if level >= logging.ERROR:
            # The last line of a traceback names the error; the message of an unforeseen one does not.
            self.last_error = ": ".join([text, *str(entry.get("exception", "")).strip().splitlines()[-1:]])
        self._log.log(level, "%s", text + _rest(entry))


def failure_in_words(job: str, exit_code: int, last_error: str | None) -> str:
    """What failed and how, short enough for an XCom and for the history of a drop."""
    return f"{job} {describe_exit(exit_code)}: {last_error or 'see the lines above'}"[:MAX_FAILURE_CHARACTERS]


def describe_exit(code: int) -> str:
    """An exit code in words, for example ``exited 65 (BAD_INPUT)`` or ``was ended by signal 9``."""
    if code < 0:
        return f"was ended by signal {-code}"
    names = {int(known): known.name for known in ExitCode}
    return f"exited {code} ({names.get(code, 'unknown')})"


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _rest(entry: dict[str, Any]) -> str:
    shown = {k: v for k, v in entry.items() if k not in ("time", "level", "logger", "message", "exception")}
    # What is the same in every line of the task goes last: the log view cuts a line at its right edge.
    words = "".join(f" {name}={shown[name]}" for name in sorted(shown, key=SAME_IN_EVERY_LINE.__contains__))
    return words + (f"\n{entry['exception']}" if "exception" in entry else "")
