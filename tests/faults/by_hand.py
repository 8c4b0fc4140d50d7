"""A lake without Airflow and without faults: the same jobs, one after the other, each a process.

It builds the lake that a faulted one is compared with, and brings batches to the brink of their commit.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.landing import Journal, Landing

from scenelake.contracts.stages import JOB_MODULES, Stage
from scenelake.runtime.settings import Settings, environment_for, load_settings
from scenelake.stack.landing_zone import create_landing_zone
from scenelake.stack.processes import ProcessId, end_trees, spawn
from scenelake.stack.state import StackState, forget_state, write_state

REPOSITORY = Path(__file__).resolve().parents[2]
BEFORE_COMMIT = (Stage.OPEN_BATCH, Stage.DECODE, Stage.SYNCHRONISE, Stage.QUALITY)
AFTER_COMMIT = (Stage.LINEAGE, Stage.SETTLE_BATCH)
_PATIENCE_SECONDS = 60


class HarnessError(Exception):
    """The harness itself could not do its work: it says nothing about the pipeline."""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def job_environment(home: Path, endpoint_url: str, changes: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a job on the lake of ``home``; nothing of the caller's own lake leaks into it."""
    variables = {
        "SCENELAKE_HOME": str(home),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": Settings(home=home).region,
        "AWS_ENDPOINT_URL": endpoint_url,
        **(changes or {}),
    }
    return environment_for(variables, without=("SCENELAKE_", "AWS_", "AIRFLOW"))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch as the claim job answered it."""

    batch_id: str
    attempt: int
    nbr_drops: int


@dataclass
class Jobs:
    """Runs jobs on one lake."""

    home: Path
    environment: dict[str, str]

    def command(self, module: str, words: Sequence[str], result: Path) -> list[str]:
        return [sys.executable, "-m", module, *words, "--result", str(result)]

    def run(self, module: str, words: Sequence[str] = ()) -> dict[str, Any]:
        """Runs a job to its end and returns its answer.

        Raises:
            HarnessError: the job failed.
        """
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            command = self.command(module, words, result)
            done = subprocess.run(command, env=self.environment, cwd=self.home, capture_output=True, text=True)
            if done.returncode != 0:
                raise HarnessError(f"{' '.join(command[2:])} exited {done.returncode}: {done.stderr[-2000:]}")
            answer: dict[str, Any] = json.loads(result.read_text())
            return answer

    def claim(self, nbr_batches: int = 1) -> list[Claimed]:
        answer = self.run("scenelake.ledger.claim_job", ["--max-batches", str(nbr_batches)])
        return [Claimed(b["batch_id"], b["attempt"], b["nbr_drops"]) for b in answer["batches"]]

    def stages(self, batch: Claimed, stages: Sequence[Stage]) -> None:
        for stage in stages:
            self.run(JOB_MODULES[stage], self.words(batch))

    def words(self, batch: Claimed) -> list[str]:
        return ["--batch-id", batch.batch_id, "--attempt", str(batch.attempt)]

    def build_waiting(self, report: Callable[[str], None]) -> None:
        """Builds batches until no drop waits."""
        while batches := self.claim():
            report(f"building {batches[0].batch_id} with {batches[0].nbr_drops} drops")
            self.stages(batches[0], (*BEFORE_COMMIT, Stage.SERIALISE, *AFTER_COMMIT))


@dataclass
class LakeByHand:
    """A stand-in for AWS with a landing zone, and jobs run on it by hand."""

    home: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> Settings:
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        self.home.mkdir(parents=True, exist_ok=True)
        self._spawn("scenelake.stack.moto_server", "--port", str(port), environment=job_environment(self.home, ""))
        _await_server(endpoint)
        settings = Settings(home=self.home, endpoint_url=endpoint)
        zone = create_landing_zone(settings, REPOSITORY / "deploy" / "landing_zone.yaml")
        found = {"endpoint_url": endpoint, "region": settings.region, **zone.stack_settings()}
        write_state(self.home, StackState("ready", settings=found))
        return load_settings({"SCENELAKE_HOME": str(self.home)})

    def stop(self) -> None:
        end_processes(self.processes)
        forget_state(self.home)

    def build(self, journal: Journal, report: Callable[[str], None]) -> None:
        """Does what the journal says and builds everything that then waits."""
        settings = load_settings({"SCENELAKE_HOME": str(self.home)})
        landing = Landing(settings, Journal())
        environment = job_environment(self.home, settings.endpoint_url or "", {"SCENELAKE_QUIET_SECONDS": "1"})
        landing.replay(journal)
        register_all(landing, environment, self.home)
        jobs = Jobs(self.home, environment)
        while landing.nbr_waiting():
            jobs.build_waiting(report)

    def _spawn(self, module: str, *words: str, environment: dict[str, str]) -> None:
        log_file = self.home / "logs" / f"{module.rsplit('.', 1)[-1]}.log"
        self.processes.append(spawn([sys.executable, "-m", module, *words], environment, log_file, self.home))


def end_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends processes with everything that they started."""
    end_trees([ProcessId.of(process.pid) for process in processes if process.poll() is None])
    for process in processes:
        process.wait()


def register_all(landing: Landing, environment: dict[str, str], home: Path) -> None:
    """Runs an event runner until the ledger knows every object version.

    Raises:
        HarnessError: it does not come to that.
    """
    log_file = home / "logs" / "event-runner-by-hand.log"
    process = spawn([sys.executable, "-m", "scenelake.stack.event_runner"], environment, log_file, home)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS + 0.1 * len(landing.journal.operations)
        while landing.nbr_queued(landing.settings.event_queue_url) or landing.unregistered():
            if time.monotonic() > deadline:
                raise HarnessError(f"without faults, these are not registered: {sorted(landing.unregistered())[:5]}")
            time.sleep(0.5)
    finally:
        end_processes([process])


def _await_server(endpoint: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > deadline:
                raise HarnessError(f"nothing answers at {endpoint}") from None
            time.sleep(0.2)
