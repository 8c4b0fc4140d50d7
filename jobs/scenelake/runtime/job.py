"""The one way to run a stage as a process: arguments in, record and exit code out."""

import argparse
import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.objects import Objects, s3_objects, write_json
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import ExitCode, FencedError, ScenelakeError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import Stage, StageArguments, StageOutcome, StageRecord
from scenelake.runtime.faults import now_ns
from scenelake.runtime.logs import configure_logging
from scenelake.runtime.policy import Model, optional_policy, stage_policy
from scenelake.runtime.settings import Settings, load_settings

log = logging.getLogger(__name__)

_RENEWALS_PER_LEASE = 4


@dataclass
class StageContext:
    """What a stage's function is given.

    Attributes:
        drops: the batch's drops, read once at the start under this attempt's lease.
    """

    stage: Stage
    arguments: StageArguments
    settings: Settings

    @cached_property
    def objects(self) -> Objects:
        return s3_objects(self.settings)

    @cached_property
    def ledger(self) -> DynamoLedger:
        return DynamoLedger.from_settings(self.settings)

    @cached_property
    def paths(self) -> LakePaths:
        return LakePaths(self.settings.lake_uri)

    @cached_property
    def drops(self) -> tuple[Drop, ...]:
        return self.ledger.drops_of(self.arguments.batch_id, self.arguments.attempt)

    def policy(self, model: type[Model]) -> Model:
        """This stage's settings, by the team's policy file where there is one."""
        return stage_policy(model, self.stage, self.settings.policy, self.objects)

    def optional_policy(self, model: type[Model], table: str) -> Model | None:
        """A table of the team's policy file that stands for something to be done; None where it is not there."""
        return optional_policy(model, table, self.settings.policy, self.objects)

    def stage_uri(self, stage: Stage | None = None) -> str:
        """Folder of this attempt's output of a stage (this one by default)."""
        return self.paths.stage(self.arguments.batch_id, self.arguments.attempt, stage or self.stage)

    def drive_uri(self, drive_id: str, stage: Stage | None = None) -> str:
        return f"{self.stage_uri(stage)}/{drive_id}"


StageFunction = Callable[[StageContext], StageOutcome]


def run_stage(stage: Stage, function: StageFunction, argv: Sequence[str] | None = None) -> int:
    """Parses the command line, renews the lease, runs the function and writes its record.

    Returns:
        The exit code: 0, or the one of the error that ended the stage (``contracts.errors.ExitCode``).
    """
    arguments = _parse(stage, argv)
    configure_logging(stage=str(stage), batch_id=arguments.batch_id, attempt=arguments.attempt)
    try:
        context = StageContext(stage, arguments, load_settings())
        context.ledger.renew(arguments.batch_id, arguments.attempt, now_ns())
        started_at_ns = time.time_ns()
        with _kept_lease(context):
            outcome = function(context)
        record = stage_record(context, outcome, started_at_ns)
        write_json(context.objects, f"{context.stage_uri()}/record.json", record.to_json())
        if arguments.result:
            Path(arguments.result).write_text(json.dumps(outcome.result))
        log.info("stage done", extra={"result": outcome.result, "seconds": _seconds(started_at_ns)})
        return ExitCode.OK
    except ScenelakeError as error:
        log.error("%s: %s", type(error).__name__, error, exc_info=error.exit_code is ExitCode.BUG)
        return error.exit_code
    except Exception:
        log.exception("stage failed on an error it did not expect")
        return ExitCode.BUG


@contextmanager
def naming_drive(drive_id: str) -> Iterator[None]:
    """Makes an error that nobody expected say which drive of the batch it came from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while working on drive {drive_id}")
        raise


@contextmanager
def _kept_lease(context: StageContext) -> Iterator[None]:
    """Renews the lease from a thread while the stage works; ends the process at once when it is lost.

    A stage may work longer than a lease lasts. One that lost its lease must write nothing more, and no
    exception raised in a thread could stop it, so the process itself ends.
    """
    done = threading.Event()
    arguments = context.arguments
    ledger = DynamoLedger.from_settings(context.settings)

    def renew() -> None:
        while not done.wait(context.settings.lease_seconds / _RENEWALS_PER_LEASE):
            try:
                ledger.renew(arguments.batch_id, arguments.attempt, now_ns())
            except FencedError as error:
                log.error("lease lost, stopping: %s", error)
                logging.shutdown()
                os._exit(ExitCode.FENCED)
            except (TransientError, BotoCoreError, ClientError) as error:
                log.warning("lease could not be renewed, trying again: %s", error)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _parse(stage: Stage, argv: Sequence[str] | None) -> StageArguments:
    parser = argparse.ArgumentParser(prog=f"scenelake-{stage}", description=f"Runs the {stage} stage of one batch.")
    parser.add_argument("--batch-id", required=True, help="batch to work on, as the ledger knows it")
    parser.add_argument("--attempt", required=True, type=int, help="attempt number; a stale one is fenced off")
    parser.add_argument("--dag-run-id", help="Airflow run that launched this job, for lineage")
    parser.add_argument("--result", help="file that receives the answer (ids, URIs, counts) as JSON")
    return StageArguments(**vars(parser.parse_args(argv)))


def _seconds(since_ns: int) -> float:
    return round((time.time_ns() - since_ns) / 1e9, 3)


def stage_record(context: StageContext, outcome: StageOutcome, started_at_ns: int) -> StageRecord:
    """The run of a stage as lineage tells it, ending now."""
    commit, dirty = code_version()
    arguments = context.arguments
    return StageRecord(
        run_id=f"{ids.run_id(arguments.batch_id, arguments.attempt)}.{context.stage}",
        batch_id=arguments.batch_id,
        attempt=arguments.attempt,
        stage=str(context.stage),
        git_commit=commit,
        is_dirty=dirty,
        image_digest=context.settings.image_digest,
        spark_conf=outcome.spark_conf,
        params_hash=ids.recipe(outcome.params),
        params=outcome.params,
        seed=outcome.seed,
        dag_run_id=arguments.dag_run_id,
        started_at_ns=started_at_ns,
        ended_at_ns=time.time_ns(),
        inputs=outcome.inputs,
        outputs=outcome.outputs,
    )


def code_version() -> tuple[str | None, bool | None]:
    """Git commit of the running code and whether the checkout is dirty; (None, None) outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, None
