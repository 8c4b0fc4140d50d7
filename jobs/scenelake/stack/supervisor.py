"""The process that starts the stack, keeps it running and ends it: ``python -m scenelake.stack.supervisor``."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from scenelake.contracts.errors import ScenelakeError, TransientError
from scenelake.runtime.logs import configure_logging
from scenelake.runtime.settings import Settings, StackConfig, environment_for, load_settings, load_stack_config
from scenelake.stack import airflow
from scenelake.stack.landing_zone import create_landing_zone, drift
from scenelake.stack.processes import ProcessId, end_trees, spawn
from scenelake.stack.state import SUPERVISOR, StackState, progress_file, write_state

log = logging.getLogger(__name__)

AWS, EVENTS = "aws", "event-runner"
_POLL_SECONDS = 0.25
_RESTART_PAUSE_SECONDS = 2.0
_AWS_PATIENCE_SECONDS = 60
_AIRFLOW_PATIENCE_SECONDS = 240


def time_outs(patience_seconds: int) -> dict[str, int]:
    """Settings that say how soon others take over from a part that is silent (``StackConfig.patience_seconds``)."""
    return {
        "lease_seconds": 2 * patience_seconds,
        "doorbell_visibility_seconds": (6 * patience_seconds + 4) // 5,
        "event_visibility_seconds": (3 * patience_seconds + 4) // 5,
    }


def scratch_folder(config: StackConfig) -> Path:
    """Where every process of the stack, jobs included, keeps its temporary files."""
    return config.home / "scratch"


@dataclass
class Child:
    """One process of the stack, started again whenever it ends."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    nbr_restarts: int = 0


class Supervisor:
    """Owns the stack's processes from the first to the last."""

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        self._stop = threading.Event()
        self._children: dict[str, Child] = {}
        self._state = StackState("starting", processes={SUPERVISOR: ProcessId.of(os.getpid())})

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Starts everything, watches over it until told to stop, and ends everything."""
        try:
            self._start()
            if not self._stop.is_set():
                self._keep(phase="ready")
                self._say("ready")
            while not self._stop.wait(_POLL_SECONDS):
                self._restart_dead()
        except ScenelakeError as error:
            log.error("the stack failed: %s", error)
            self._keep(phase="failed", problem=str(error))
        finally:
            end_trees([self._state.processes[name] for name in self._children])

    def _start(self) -> None:
        config = self._config
        self._keep()
        airflow.prepare(config)
        # What killed jobs left of their temporary files goes with the next start.
        shutil.rmtree(scratch_folder(config), ignore_errors=True)
        scratch_folder(config).mkdir(exist_ok=True)
        self._say(f"starting the stand-in for AWS on port {config.aws_port}")
        self._launch(AWS, [sys.executable, "-m", "scenelake.stack.moto_server", "--port", str(config.aws_port)])
        migration = self._migrate()
        self._create_landing_zone()
        self._launch(EVENTS, [sys.executable, "-m", "scenelake.stack.event_runner"])
        self._say("preparing Airflow's database")
        if self._await_end(migration) != 0 and not self._stop.is_set():
            raise TransientError(f"airflow db migrate failed; see {self._log_file('airflow-migrate')}")
        self._say(f"starting Airflow on port {config.airflow_port}")
        for name, words in airflow.PROCESSES.items():
            self._launch(name, airflow.airflow_command(*words))
        self._await_airflow()

    def _migrate(self) -> subprocess.Popen[bytes]:
        return spawn(
            airflow.airflow_command("db", "migrate"),
            self._environment(),
            self._log_file("airflow-migrate"),
            self._config.home,
        )

    def _create_landing_zone(self) -> None:
        config = self._config
        endpoint = f"http://127.0.0.1:{config.aws_port}"
        self._await_aws(endpoint)
        self._say("creating the landing zone from deploy/landing_zone.yaml")
        times = time_outs(config.patience_seconds)
        quiet_seconds = load_settings().quiet_seconds
        settings = Settings(
            home=config.home,
            endpoint_url=endpoint,
            quiet_seconds=quiet_seconds,
            **times,  # type: ignore[arg-type]
        )
        zone = create_landing_zone(settings, config.repository / "deploy" / "landing_zone.yaml")
        differences = drift(zone)
        if differences:
            raise ScenelakeError("the landing zone is not what its template says: " + "; ".join(differences))
        url = airflow.airflow_url(config)
        found = {"endpoint_url": endpoint, "region": settings.region, "airflow_url": url, **zone.stack_settings()}
        found |= {name: str(seconds) for name, seconds in {"quiet_seconds": quiet_seconds, **times}.items()}
        login = {"url": url, "user": airflow.USER, "password": airflow.password(config)}
        self._state = replace(self._state, settings=found, airflow=login)
        self._keep()

    def _await_aws(self, endpoint: str) -> None:
        deadline = time.monotonic() + _AWS_PATIENCE_SECONDS
        while not self._stop.is_set():
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                self._check_alive(AWS)
                if time.monotonic() > deadline:
                    raise TransientError(f"nothing answers at {endpoint}; see {self._log_file(AWS)}") from None
                self._stop.wait(_POLL_SECONDS)

    def _await_airflow(self) -> None:
        deadline = time.monotonic() + _AIRFLOW_PATIENCE_SECONDS
        shown: list[str] = []
        while not self._stop.is_set():
            waiting = airflow.unhealthy_parts(self._config)
            if not waiting:
                return
            if waiting != shown:
                self._say("waiting for Airflow: " + ", ".join(waiting))
                shown = waiting
            self._restart_dead()
            if any(child.nbr_restarts > 3 for child in self._children.values()):
                raise TransientError(f"a process keeps ending; see {self._config.home / 'logs'}")
            if time.monotonic() > deadline:
                raise TransientError(f"Airflow's {', '.join(waiting)} did not report health; see its logs")
            self._stop.wait(_POLL_SECONDS * 2)

    def _await_end(self, process: subprocess.Popen[bytes]) -> int:
        while process.poll() is None:
            if self._stop.wait(_POLL_SECONDS):
                end_trees([ProcessId.of(process.pid)])
        return process.wait()

    def _check_alive(self, name: str) -> None:
        code = self._children[name].process.poll()
        if code is not None:
            raise TransientError(f"{name} ended with {code}; see {self._log_file(name)}")

    def _restart_dead(self) -> None:
        for child in [c for c in self._children.values() if c.process.poll() is not None]:
            log.warning("%s ended with %s and is started again", child.name, child.process.returncode)
            self._say(f"{child.name} ended with {child.process.returncode}; starting it again")
            pause_seconds = min(_RESTART_PAUSE_SECONDS * child.nbr_restarts, 30, self._config.patience_seconds)
            if self._stop.wait(pause_seconds):
                return
            # A process that was killed leaves workers behind, which would go on beside the new ones.
            end_trees([self._state.processes[child.name]])
            nbr_restarts = child.nbr_restarts + 1
            self._launch(child.name, child.command)
            self._children[child.name].nbr_restarts = nbr_restarts
            if child.name == AWS:
                self._create_landing_zone()
                log.error("the stand-in for AWS keeps its data in memory: what was in S3 and the ledger is gone")
                self._say("the landing zone was created anew: what was in S3, the ledger and gold is gone")
            self._keep()

    def _launch(self, name: str, command: list[str]) -> None:
        process = spawn(command, self._environment(), self._log_file(name), self._config.home)
        self._children[name] = Child(name, command, process)
        self._state = replace(self._state, processes={**self._state.processes, name: ProcessId.of(process.pid)})
        self._keep()

    def _environment(self) -> dict[str, str]:
        config = self._config
        changes = {
            "SCENELAKE_HOME": str(config.home),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": Settings(home=config.home).region,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{config.aws_port}",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(scratch_folder(config)),
            # Many threads on few cores: without it, glibc keeps an arena for each and memory only grows.
            "MALLOC_ARENA_MAX": "2",
            **airflow.airflow_environment(config),
        }
        # Jobs start often, so their bytecode is worth keeping whatever the shell that started the stack says.
        unwanted = ("AIRFLOW", "AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONDONTWRITEBYTECODE")
        return environment_for(changes, without=unwanted)

    def _log_file(self, name: str) -> Path:
        return self._config.home / "logs" / f"{name}.log"

    def _say(self, text: str) -> None:
        log.info("%s", text)
        with progress_file(self._config.home).open("a") as file:
            file.write(text + "\n")

    def _keep(self, **changes: str) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]
        write_state(self._config.home, self._state)


def main() -> None:
    """Runs the stack until SIGTERM or SIGINT."""
    configure_logging(stage="stack")
    supervisor = Supervisor(load_stack_config())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run()


if __name__ == "__main__":
    main()
