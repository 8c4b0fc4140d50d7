"""Where a job runs. The operators know the protocol; one setting (``runtime``) picks the launcher."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scenelake.contracts.errors import ConfigurationError
from scenelake.runtime.settings import Settings

log = logging.getLogger(__name__)

KILL_GRACE_SECONDS = 3.0
"""From SIGTERM to SIGKILL; less than the 5 s that Airflow's supervisor leaves a task."""


@dataclass(frozen=True, slots=True)
class JobCommand:
    """What to run.

    Attributes:
        module: Python module with a ``__main__`` part.
        arguments: its command line, without ``--result``.
    """

    module: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended.

    Attributes:
        exit_code: ``contracts.errors.ExitCode``, another positive code, or minus the signal that ended it.
        result: what the job wrote to ``--result``; None when it wrote nothing.
    """

    exit_code: int
    result: dict[str, Any] | None


class Launcher(Protocol):
    def run(self, command: JobCommand, on_line: Callable[[str], None]) -> JobEnd:
        """Runs the job to its end and hands on its output line by line. Leaves nothing of it behind."""
        ...

    def kill(self) -> None:
        """Ends the running job, with everything it started. Called from a signal handler; returns at once."""
        ...


def launcher_for(settings: Settings) -> Launcher:
    """The launcher that the settings ask for.

    Raises:
        ConfigurationError: for a runtime that nobody has built.
    """
    if settings.runtime == "local":
        return LocalProcessLauncher()
    raise ConfigurationError(f"runtime (SCENELAKE_RUNTIME): expected one of ['local'], got {settings.runtime!r}")


class LocalProcessLauncher:
    """Runs a job as a process group on the worker's own machine."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, command: JobCommand, on_line: Callable[[str], None]) -> JobEnd:
        with tempfile.TemporaryDirectory(prefix="scenelake-job-") as folder:
            result = Path(folder) / "result.json"
            argv = [*self.command_line(command), "--result", str(result)]
            log.info("running %s", " ".join(argv))
            # A session of its own, so that one signal reaches the JVM and the Python workers as well.
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._process = process
            try:
                for line in process.stdout or ():
                    on_line(line.rstrip("\n"))
                exit_code = process.wait()
            finally:
                self._reap(process)
            return JobEnd(exit_code, json.loads(result.read_text()) if result.is_file() else None)

    def kill(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        last_word = threading.Timer(KILL_GRACE_SECONDS, _signal_group, (process.pid, signal.SIGKILL))
        last_word.daemon = True
        last_word.start()

    def command_line(self, command: JobCommand) -> list[str]:
        """The words of the command, without ``--result``.

        A Spark stage starts its own session from the settings, as ``spark-submit`` in client mode would.
        """
        return [sys.executable, "-m", command.module, *command.arguments]

    def _reap(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            _signal_group(process.pid, signal.SIGTERM)
            try:
                process.wait(KILL_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                log.warning("job did not end within %s s of SIGTERM", KILL_GRACE_SECONDS)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _signal_group(group_id: int, number: signal.Signals) -> None:
    try:
        os.killpg(group_id, number)
    except ProcessLookupError:
        log.debug("process group %d has ended already", group_id)
