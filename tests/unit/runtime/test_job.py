"""How a stage runs as a process: its lease, its record and its exit code."""

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.adapters.objects import LocalObjects, read_json
from scenelake.contracts import ids
from scenelake.contracts.drops import Batch, Drop
from scenelake.contracts.errors import BadInputError, ExitCode, FencedError, TransientError
from scenelake.contracts.stages import DatasetVersion, Stage, StageOutcome, StageRecord
from scenelake.ledger.protocol import ClaimLimits
from scenelake.runtime import job
from scenelake.runtime.job import StageContext, run_stage

PATIENCE_SECONDS = 10.0


class WatchedLedger(MemoryLedger):
    """Counts renewals, and fails them on demand.

    Attributes:
        answers: errors of the next renewals, in order; None lets one through.
        enough: set once ``wanted`` renewals were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Exception | None] = []
        self.nbr_renewals = 0
        self.wanted = 1
        self.enough = threading.Event()

    def renew(self, batch_id: str, attempt: int, now_ns: int) -> Batch:
        self.nbr_renewals += 1
        if self.nbr_renewals >= self.wanted:
            self.enough.set()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return super().renew(batch_id, attempt, now_ns)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def ledger() -> WatchedLedger:
    made = WatchedLedger()
    drive = ids.drive_id("fleet", "car", "d1")
    drop = Drop("drop", "landing", "fleet/car/d1/a.mcap", "v1", 10, "e", 1, "fleet", "car", "d1", drive)
    made.register(drop)
    return made


@pytest.fixture
def batch(ledger: WatchedLedger) -> Batch:
    claimed = ledger.claim(ClaimLimits(10, 1000, 1_000_000_000, 3), now_ns=1)
    assert claimed is not None
    return claimed


@pytest.fixture
def objects(ledger: WatchedLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalObjects:
    class Opened:
        @staticmethod
        def from_settings(_: object) -> WatchedLedger:
            return ledger

    kept = LocalObjects(tmp_path / "objects")
    monkeypatch.setattr(job, "DynamoLedger", Opened)
    monkeypatch.setattr(job, "s3_objects", lambda _: kept)
    monkeypatch.setattr(job, "_RENEWALS_PER_LEASE", 200)
    monkeypatch.setenv("SCENELAKE_HOME", str(tmp_path))
    monkeypatch.setenv("SCENELAKE_LEASE_SECONDS", "1")
    return kept


def words(batch: Batch, *more: str) -> list[str]:
    return ["--batch-id", batch.batch_id, "--attempt", str(batch.attempt), *more]


def test_a_stage_leaves_its_record_and_its_answer(objects: LocalObjects, batch: Batch, tmp_path: Path) -> None:
    def work(context: StageContext) -> StageOutcome:
        assert [d.drop_id for d in context.drops] == ["drop"]
        return StageOutcome({"n": 1}, {"p": 2}, (DatasetVersion("a", "1"),), (DatasetVersion("b", "2", "h"),))

    result = tmp_path / "result.json"
    assert run_stage(Stage.QUALITY, work, words(batch, "--dag-run-id", "run", "--result", str(result))) == ExitCode.OK
    assert json.loads(result.read_text()) == {"n": 1}
    folder = f"s3://scenelake-lake/work/batches/{batch.batch_id}/001/quality"
    record = StageRecord.from_json(read_json(objects, f"{folder}/record.json"))
    assert (record.run_id, record.dag_run_id) == (f"{batch.batch_id}.1.quality", "run")
    assert (record.params, record.params_hash) == ({"p": 2}, ids.recipe({"p": 2}))
    assert (record.inputs, record.outputs) == ((DatasetVersion("a", "1"),), (DatasetVersion("b", "2", "h"),))
    assert record.started_at_ns <= record.ended_at_ns


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInputError("x", reason="r"), ExitCode.BAD_INPUT),
        (TransientError("x"), ExitCode.TRANSIENT),
        (FencedError("x"), ExitCode.FENCED),
        (KeyError("x"), ExitCode.BUG),
    ],
)
def test_an_error_is_an_exit_code_and_leaves_no_record(
    objects: LocalObjects, batch: Batch, error: Exception, code: ExitCode
) -> None:
    def work(_: StageContext) -> StageOutcome:
        raise error

    assert run_stage(Stage.QUALITY, work, words(batch)) == code
    assert list(objects.list("s3://scenelake-lake/")) == []


def test_a_stale_attempt_does_not_start(objects: LocalObjects, ledger: WatchedLedger, batch: Batch) -> None:
    ledger.claim(ClaimLimits(10, 1000, 10**18, 3), now_ns=batch.lease_until_ns)
    started: list[Any] = []
    assert run_stage(Stage.QUALITY, started.append, words(batch)) == ExitCode.FENCED  # type: ignore[arg-type]
    assert not started


def test_the_lease_is_kept_while_the_stage_works_and_a_failed_renewal_is_repeated(
    objects: LocalObjects, ledger: WatchedLedger, batch: Batch
) -> None:
    ledger.answers, ledger.wanted = [None, TransientError("busy")], 4

    def work(_: StageContext) -> StageOutcome:
        assert ledger.enough.wait(PATIENCE_SECONDS)
        return StageOutcome({}, {})

    assert run_stage(Stage.QUALITY, work, words(batch)) == ExitCode.OK
    ended = ledger.nbr_renewals
    assert not any(t.name == "lease" for t in threading.enumerate()), "nobody renews the lease of a stage that ended"
    assert ledger.nbr_renewals == ended


def test_a_stage_that_loses_its_lease_ends_at_once(
    objects: LocalObjects, ledger: WatchedLedger, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr("os._exit", leave)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    ledger.answers = [None, FencedError("a later attempt holds the batch")]

    def work(_: StageContext) -> StageOutcome:
        assert ended.wait(PATIENCE_SECONDS), "the stage worked on without its lease"
        return StageOutcome({}, {})

    run_stage(Stage.QUALITY, work, words(batch))
    assert codes == [ExitCode.FENCED]
