"""The laptop stack from outside: start it, stop it, ask how it is."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.runtime.settings import StackConfig, environment_for, load_stack_config
from scenelake.stack.processes import ProcessId, check_port_is_free, end_trees, spawn
from scenelake.stack.state import SUPERVISOR, StackState, forget_state, progress_file, read_state

_PATIENCE_SECONDS = 420
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class StackInfo:
    """A running stack.

    Attributes:
        settings: where the landing zone, the ledger and the lake are, as ``runtime.settings`` reads them.
        pids: of its processes, by name.
    """

    home: Path
    airflow_url: str
    airflow_user: str
    airflow_password: str
    aws_endpoint_url: str
    settings: dict[str, str]
    pids: dict[str, int]


def stack_config() -> StackConfig:
    """The configuration that the environment gives."""
    return load_stack_config()


def start(config: StackConfig, report: Callable[[str], None]) -> StackInfo:
    """Starts the stack and returns when Airflow is healthy; a stack that runs already is left as it is.

    Args:
        report: is told of each step, in words for a person.

    Raises:
        ConfigurationError: for a busy port or a checkout without the stack's files.
        TransientError: when a part does not come up; its log is named.
    """
    state = read_state(config.home)
    if state is not None and state.is_running and state.phase == "ready":
        report(f"the stack is running already: Airflow at {state.airflow['url']}")
        return _info(config.home, state)
    stop(config.home)
    template = config.repository / "deploy" / "landing_zone.yaml"
    if not template.is_file():
        raise ConfigurationError(f"{template} is not there: run inside the checkout or set SCENELAKE_REPOSITORY")
    check_port_is_free(config.aws_port, "SCENELAKE_AWS_PORT")
    check_port_is_free(config.airflow_port, "SCENELAKE_AIRFLOW_PORT")
    progress = progress_file(config.home)
    progress.parent.mkdir(parents=True, exist_ok=True)
    progress.write_text("")
    environment = environment_for(
        {
            "SCENELAKE_HOME": str(config.home),
            "SCENELAKE_REPOSITORY": str(config.repository),
            "SCENELAKE_AIRFLOW_PORT": str(config.airflow_port),
            "SCENELAKE_AWS_PORT": str(config.aws_port),
            "SCENELAKE_PARALLELISM": str(config.parallelism),
            "SCENELAKE_PATIENCE_SECONDS": str(config.patience_seconds),
        }
    )
    log_file = config.home / "logs" / "supervisor.log"
    process = spawn([sys.executable, "-m", "scenelake.stack.supervisor"], environment, log_file, config.home)
    try:
        return _follow(config.home, ProcessId.of(process.pid), progress, log_file, report)
    except BaseException:
        # An interrupted start leaves nothing behind.
        stop(config.home)
        end_trees([ProcessId.of(process.pid)] if process.poll() is None else [])
        raise


def stop(home: Path) -> bool:
    """Ends every process of the stack and forgets it. False when none was running."""
    state = read_state(home)
    if state is None:
        return False
    alive = [process for process in state.processes.values() if process.is_alive]
    supervisor = state.processes.get(SUPERVISOR)
    if supervisor is not None and supervisor.is_alive:
        # It ends its children itself; ended first, it cannot start them again.
        end_trees([supervisor], grace_seconds=15)
    end_trees([process for name, process in state.processes.items() if name != SUPERVISOR])
    forget_state(home)
    return bool(alive)


def status(home: Path) -> StackInfo | None:
    """The running stack, or None."""
    state = read_state(home)
    if state is None or not state.is_running or state.phase != "ready":
        return None
    return _info(home, state)


def _follow(
    home: Path, supervisor: ProcessId, progress: Path, log_file: Path, report: Callable[[str], None]
) -> StackInfo:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    nbr_shown = 0
    while time.monotonic() < deadline:
        is_alive = supervisor.is_alive
        lines = progress.read_text().splitlines()
        for line in lines[nbr_shown:]:
            report(line)
        nbr_shown = len(lines)
        state = read_state(home)
        if state is not None and state.phase == "ready":
            return _info(home, state)
        if state is not None and state.phase == "failed":
            raise TransientError(f"the stack did not start: {state.problem} (logs: {log_file.parent})")
        if not is_alive:
            raise TransientError(f"the stack's supervisor ended; see {log_file}")
        time.sleep(_POLL_SECONDS)
    raise TransientError(f"the stack did not start within {_PATIENCE_SECONDS} s; see {log_file.parent}")


def _info(home: Path, state: StackState) -> StackInfo:
    return StackInfo(
        home=home,
        airflow_url=state.airflow["url"],
        airflow_user=state.airflow["user"],
        airflow_password=state.airflow["password"],
        aws_endpoint_url=state.settings["endpoint_url"],
        settings=dict(state.settings),
        pids={name: process.pid for name, process in state.processes.items()},
    )
