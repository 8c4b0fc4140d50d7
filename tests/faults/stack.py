"""The stack that faults are done to: real Airflow, real queues, real Spark, with short time-outs and open wounds."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tests.faults.by_hand import REPOSITORY, HarnessError, end_processes, free_port, job_environment

from scenelake.runtime.settings import Settings, load_settings
from scenelake.stack.processes import end_trees, spawn
from scenelake.stack.state import SUPERVISOR, read_state
from scenelake.stack.supervisor import AWS, EVENTS

PATIENCE_SECONDS = 5
QUIET_SECONDS = 2
CLAIM_MAX_DROPS = 512
SCHEDULER, TRIGGERER = "scheduler", "triggerer"
_HANDLED = re.compile(r'"(drop registered|drop known already|event ignored)"')

_POLICY = '''"""Written by the fault battery: retries come at once, and more builds run at a time than on a laptop."""

from datetime import timedelta


def task_policy(task):
    if type(task).__name__ != "MappedOperator":
        task.retry_delay = timedelta(seconds=1)
        task.retry_exponential_backoff = False
        task.retries = max(task.retries, 8)
    if task.task_id == "claim_batches":
        task.max_places = 3


def dag_policy(dag):
    if dag.dag_id == "build_scenes":
        dag.max_active_runs = 3
'''


@dataclass
class Wounds:
    """The folder that ``runtime.faults`` and the stand-in for AWS read: which faults are due."""

    folder: Path

    def record(self, is_on: bool = True) -> None:
        """Has every failpoint that is passed leave its name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if is_on:
            (self.folder / "record").touch()
        else:
            (self.folder / "record").unlink(missing_ok=True)

    def seen(self) -> list[str]:
        return sorted(p.name for p in self._files("seen"))

    def arm(self, name: str, number: int, action: str) -> None:
        draft = self.folder / f".{name}@{number}"
        draft.write_text(json.dumps({"action": action}))
        (self.folder / "armed").mkdir(exist_ok=True)
        draft.rename(self.folder / "armed" / f"{name}@{number}")

    def armed(self) -> list[str]:
        return sorted(p.name for p in self._files("armed"))

    def fired(self) -> dict[str, dict[str, Any]]:
        """What was fired, by ``<name>@<n>``."""
        return {p.stem: json.loads(p.read_text()) for p in self._files("fired") if p.suffix == ".json"}

    def release(self, order: str) -> None:
        """Lets a halted process go on."""
        (self.folder / "fired" / f"{order}.done").touch()

    def is_released(self, order: str) -> bool:
        return (self.folder / "fired" / f"{order}.done").exists()

    def aws(self, plan: dict[str, Any]) -> None:
        self._replace("aws.json", plan)

    def aws_counts(self) -> dict[str, dict[str, int]]:
        """Requests by service and fault since the plan changed; empty before the first."""
        try:
            found: dict[str, dict[str, int]] = json.loads((self.folder / "aws_counts.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def clock(self, max_jump_seconds: int, seed: int) -> None:
        self._replace("clock.json", {"max_jump_seconds": max_jump_seconds, "seed": seed})

    def heal(self) -> None:
        """Takes away every fault that is due."""
        for name in ("aws.json", "clock.json", "record"):
            (self.folder / name).unlink(missing_ok=True)
        for path in self._files("armed"):
            path.unlink(missing_ok=True)

    def _files(self, name: str) -> list[Path]:
        folder = self.folder / name
        return [p for p in folder.iterdir() if not p.name.startswith(".")] if folder.is_dir() else []

    def _replace(self, name: str, value: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{name}"
        draft.write_text(json.dumps(value))
        os.replace(draft, self.folder / name)


@dataclass
class FaultedStack:
    """A stack of its own in a home of its own.

    Attributes:
        patience_seconds: see ``StackConfig``; the shorter, the sooner a dead part's work is taken over.
        claim_max_drops: small, so that there are many batches.
    """

    home: Path
    patience_seconds: int = PATIENCE_SECONDS
    claim_max_drops: int = CLAIM_MAX_DROPS
    wounds: Wounds = field(init=False)
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.wounds = Wounds(self.home / "faults")
        self.environment = job_environment(self.home, "", self._variables())

    def _variables(self) -> dict[str, str]:
        return {
            "SCENELAKE_AIRFLOW_PORT": str(free_port()),
            "SCENELAKE_AWS_PORT": str(free_port()),
            "SCENELAKE_PATIENCE_SECONDS": str(self.patience_seconds),
            "SCENELAKE_PARALLELISM": "8",
            "SCENELAKE_QUIET_SECONDS": str(QUIET_SECONDS),
            "SCENELAKE_MAX_ATTEMPTS": "1000",
            "SCENELAKE_CLAIM_MAX_DROPS": str(self.claim_max_drops),
            "SCENELAKE_FAULTS": str(self.wounds.folder),
            # Temporary files of every job, on a disk that the battery can fill.
            "TMPDIR": str(self.scratch),
        }

    @property
    def scratch(self) -> Path:
        return self.home / "scratch"

    def start(self) -> Settings:
        """Starts the stack as a person would.

        Raises:
            HarnessError: it does not come up.
        """
        for folder in (self.wounds.folder, self.scratch, self.home / "airflow" / "config"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.home / "airflow" / "config" / "airflow_local_settings.py").write_text(_POLICY)
        done = self._scenelake("up")
        if done.returncode != 0:
            raise HarnessError(f"the stack did not start: {done.stdout}{done.stderr}")
        return load_settings({"SCENELAKE_HOME": str(self.home)})

    def stop(self) -> None:
        self._scenelake("down")

    def keep_only_the_data(self) -> None:
        """Ends everything but the stand-in for AWS, so that what it holds can still be read."""
        state = read_state(self.home)
        if state is None:
            raise HarnessError(f"no stack runs under {self.home}")
        # Asked to end, the supervisor would take the data along.
        os.kill(state.processes[SUPERVISOR].pid, signal.SIGKILL)
        end_trees([p for name, p in state.processes.items() if name not in (AWS, SUPERVISOR)])

    def _scenelake(self, word: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("scenelake")), word]
        environment = {**self.environment}
        environment.pop("AWS_ENDPOINT_URL", None)
        return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    def pid(self, name: str) -> int | None:
        """The pid of a part of the stack; None while it is being started again."""
        state = read_state(self.home)
        process = state.processes.get(name) if state else None
        return process.pid if process and process.is_alive else None

    def kill(self, name: str) -> bool:
        """SIGKILL to a part of the stack. False when it was not there."""
        pid = self.pid(name)
        if pid is None:
            return False
        return kill_pid(pid)

    @contextmanager
    def held(self, name: str, seconds: float) -> Iterator[None]:
        """Keeps a part from running for a while, longer than its messages stay hidden."""
        pid = self.pid(name)
        if pid is None:
            yield
            return
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
            time.sleep(seconds)
        finally:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def another_event_runner(self, seconds: float) -> Iterator[None]:
        """A second event runner for a while, as Lambda would call the function anew; it writes into the same log."""
        settings = load_settings({"SCENELAKE_HOME": str(self.home)})
        environment = job_environment(self.home, settings.endpoint_url or "")
        log_file = self.home / "logs" / f"{EVENTS}.log"
        process = spawn([sys.executable, "-m", "scenelake.stack.event_runner"], environment, log_file, self.home)
        try:
            yield
            time.sleep(seconds)
        finally:
            end_processes([process])

    def nbr_handled(self) -> int:
        """Announcements that the registering function has worked on so far, duplicates and ignored ones included."""
        log = self.home / "logs" / f"{EVENTS}.log"
        if not log.is_file():
            return 0
        with log.open(errors="replace") as lines:
            return sum(1 for line in lines if _HANDLED.search(line))

    def problems(self) -> list[str]:
        """What the stack's own log says about parts that ended, for the notes."""
        log = self.home / "logs" / "progress.txt"
        return [line for line in log.read_text().splitlines() if "starting it again" in line] if log.is_file() else []


def kill_pid(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def find_process(root: int | None, is_wanted: Callable[[psutil.Process], bool]) -> psutil.Process | None:
    """The first process below a root that is wanted."""
    if root is None:
        return None
    try:
        for process in psutil.Process(root).children(recursive=True):
            with _gone_is_no():
                if is_wanted(process):
                    return process
    except psutil.NoSuchProcess:
        return None
    return None


@contextmanager
def _gone_is_no() -> Iterator[None]:
    try:
        yield
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return
