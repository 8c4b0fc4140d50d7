"""A real subprocess with a tiny job: exit codes, the answer, the log, and what is left after a kill."""

import importlib.util
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from scenelake.contracts import stages
from scenelake.contracts.errors import ExitCode
from scenelake.contracts.stages import Stage
from scenelake_airflow.launchers import LocalProcessLauncher
from scenelake_airflow.operators.job import (
    FINAL_EXIT_CODES,
    LEDGER_JOBS,
    JobOutput,
    ScenelakeJobOperator,
    describe_exit,
)

JOB = """
import argparse, json, os, pathlib, signal, subprocess, sys, time
parser = argparse.ArgumentParser()
for word in ("batch-id", "attempt", "dag-run-id", "result", "exit", "signal", "child", "answer"):
    parser.add_argument("--" + word)
parser.add_argument("--deaf", action="store_true")
a = parser.parse_args()
print("plain words", flush=True)
line = {"time": "t", "level": "WARNING", "logger": "l", "message": "low light", "stage": "quality", "drop_id": "d1"}
print(json.dumps(line), file=sys.stderr, flush=True)
if a.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if a.child:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pathlib.Path(a.child).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(60)
if a.signal:
    os.kill(os.getpid(), int(a.signal))
if a.exit:
    print(json.dumps({"level": "ERROR", "message": "it broke"}), file=sys.stderr)
    sys.exit(int(a.exit))
if a.answer != "none":
    told = {"batch_id": a.batch_id, "attempt": a.attempt, "dag_run_id": a.dag_run_id}
    pathlib.Path(a.result).write_text(a.answer or json.dumps(told))
"""


@pytest.fixture
def fake_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenelake_home: Path) -> None:
    (tmp_path / "fake_job.py").write_text(JOB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(stages.JOB_MODULES, Stage.QUALITY, "fake_job")


def operator(*words: str, **kwargs: Any) -> ScenelakeJobOperator:
    given = {"task_id": "quality", "job": "quality", "batch_id": "b1", "attempt": "2", "arguments": words, **kwargs}
    return ScenelakeJobOperator(**given)


class FakeTaskInstance:
    def __init__(self) -> None:
        self.pushed: dict[str, str] = {}

    def xcom_push(self, key: str, value: str) -> None:
        self.pushed[key] = value


CONTEXT: Any = {"run_id": "b1.2", "ti": FakeTaskInstance()}


@pytest.mark.usefixtures("fake_job")
def test_job_is_told_its_batch_and_its_answer_comes_back() -> None:
    assert operator().run_job(CONTEXT) == {"batch_id": "b1", "attempt": "2", "dag_run_id": "b1.2"}


@pytest.mark.usefixtures("fake_job")
@pytest.mark.parametrize("code", [c for c in ExitCode if c is not ExitCode.OK])
def test_exit_codes_say_whether_to_retry(code: ExitCode) -> None:
    retries = {ExitCode.TRANSIENT, ExitCode.COMMIT_STATE_UNKNOWN}
    expected = AirflowException if code in retries else AirflowFailException
    with pytest.raises(AirflowException, match=rf"quality exited {int(code)} \({code.name}\): it broke") as raised:
        operator(f"--exit={int(code)}").run_job(CONTEXT)
    assert raised.type is expected


@pytest.mark.usefixtures("fake_job")
def test_a_failed_job_leaves_its_failure_in_words_for_hand_back() -> None:
    task_instance = FakeTaskInstance()
    with pytest.raises(AirflowException):
        operator("--exit=70").run_job({**CONTEXT, "ti": task_instance})
    assert task_instance.pushed == {"failure": "quality exited 70 (BUG): it broke"}


def test_the_last_error_names_an_unforeseen_exception() -> None:
    output = JobOutput(logging.getLogger("test"))
    entry = {"level": "ERROR", "message": "stage failed", "exception": "Traceback …\nKeyError: 'drops.json'\n"}
    output.write(json.dumps(entry))
    assert output.last_error == "stage failed: KeyError: 'drops.json'"


def test_every_exit_code_is_either_final_or_worth_a_retry() -> None:
    assert set(ExitCode) == FINAL_EXIT_CODES | {ExitCode.OK, ExitCode.TRANSIENT, ExitCode.COMMIT_STATE_UNKNOWN}


@pytest.mark.usefixtures("fake_job")
@pytest.mark.parametrize(
    ("word", "message"), [("--exit=1", "exited 1 (unknown): it broke"), ("--signal=9", "was ended by signal 9")]
)
def test_an_exit_that_nobody_planned_is_retried(word: str, message: str) -> None:
    with pytest.raises(AirflowException) as raised:
        operator(word).run_job(CONTEXT)
    assert raised.type is AirflowException
    assert message in str(raised.value)


@pytest.mark.usefixtures("fake_job")
def test_a_job_without_an_answer_is_a_bug() -> None:
    with pytest.raises(AirflowFailException, match="wrote no answer"):
        operator("--answer=none").run_job(CONTEXT)


@pytest.mark.usefixtures("fake_job")
def test_task_is_skipped_without_the_field_it_needs() -> None:
    answer = '--answer={"batch_id": null, "reason": "all 3 drops are built"}'
    with pytest.raises(AirflowSkipException, match="quality: all 3 drops are built"):
        operator(answer, skip_without="batch_id").run_job(CONTEXT)


def test_task_is_skipped_without_a_batch(scenelake_home: Path) -> None:
    with pytest.raises(AirflowSkipException, match="no batch was opened"):
        operator(batch_id="").run_job(CONTEXT)


def test_unknown_job_and_runtime_are_configuration_errors(
    scenelake_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AirflowFailException, match=r"job: expected one of .*'decode'.*got 'cook'"):
        operator(job="cook").run_job(CONTEXT)
    monkeypatch.setenv("SCENELAKE_RUNTIME", "moon")
    with pytest.raises(AirflowFailException, match=r"SCENELAKE_RUNTIME.*expected one of \['local'\], got 'moon'"):
        operator().run_job(CONTEXT)


@pytest.mark.usefixtures("fake_job")
def test_lines_reach_the_task_log_at_their_own_level(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str]] = []

    class Log:
        def log(self, level: int, text: str, *args: object) -> None:
            seen.append((level, text % args))

        def info(self, text: str, *args: object) -> None:
            self.log(logging.INFO, text, *args)

    monkeypatch.setattr(ScenelakeJobOperator, "log", Log())
    operator().run_job(CONTEXT)
    assert seen == [(logging.INFO, "plain words"), (logging.WARNING, "low light drop_id=d1 stage=quality")]


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def has_pids(file: Path) -> bool:
    return file.is_file() and len(file.read_text().split()) == 2


@pytest.mark.usefixtures("fake_job")
@pytest.mark.parametrize("deaf", [False, True])
def test_a_timeout_leaves_no_process_behind(deaf: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenelake_airflow.launchers.KILL_GRACE_SECONDS", 0.2)
    pids = tmp_path / "pids"

    def ring(*_: object) -> None:
        raise AirflowTaskTimeout("too long")

    previous = signal.signal(signal.SIGALRM, ring)
    clock = threading.Thread(target=lambda: (wait_for(lambda: has_pids(pids)), os.kill(os.getpid(), signal.SIGALRM)))
    clock.start()
    try:
        with pytest.raises(AirflowTaskTimeout):
            operator(f"--child={pids}", "--deaf" if deaf else "").run_job(CONTEXT)
    finally:
        clock.join()
        signal.signal(signal.SIGALRM, previous)
    wait_for(lambda: not any(is_alive(int(p)) for p in pids.read_text().split()))


@pytest.mark.usefixtures("fake_job")
@pytest.mark.parametrize("deaf", [False, True])
def test_on_kill_ends_the_whole_group(deaf: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenelake_airflow.launchers.KILL_GRACE_SECONDS", 0.2)
    pids = tmp_path / "pids"
    task = operator(f"--child={pids}", "--deaf" if deaf else "")
    clock = threading.Thread(target=lambda: (wait_for(lambda: has_pids(pids)), task.on_kill()))
    clock.start()
    with pytest.raises(AirflowException, match="was ended by signal"):
        task.run_job(CONTEXT)
    clock.join()
    wait_for(lambda: not any(is_alive(int(p)) for p in pids.read_text().split()))


def test_on_kill_before_the_start_does_nothing() -> None:
    operator().on_kill()


def test_a_job_is_run_as_a_module_by_the_worker_s_own_interpreter() -> None:
    command = operator(task_id="decode", job="decode").command("b1.2")
    words = LocalProcessLauncher().command_line(command)
    assert words[:3] == [sys.executable, "-m", "scenelake.decode.job"]
    assert words[3:] == ["--batch-id", "b1", "--attempt", "2", "--dag-run-id", "b1.2"]


def test_every_job_that_the_contracts_name_can_be_imported() -> None:
    modules = {*stages.JOB_MODULES.values(), *LEDGER_JOBS.values()}
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    assert modules
    assert not missing


@pytest.mark.parametrize(("code", "words"), [(79, "exited 79 (FENCED)"), (3, "exited 3 (unknown)"), (-15, "signal 15")])
def test_exits_in_words(code: int, words: str) -> None:
    assert words in describe_exit(code)
