"""Processes of the stack: each in a group of its own, known by pid and start time, ended with all of theirs."""

import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from scenelake.contracts.errors import ConfigurationError

_GRACE_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process beyond doubt: a pid is used again after a while, a pid with its start time is not."""

    pid: int
    started_at_s: float

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, or None once it has ended."""
        try:
            found = psutil.Process(self.pid)
            is_same = abs(found.create_time() - self.started_at_s) < 0.05
            return found if is_same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    @property
    def is_alive(self) -> bool:
        return self.process() is not None


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log_file: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own, with its output appended to a log file."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end_trees(roots: Sequence[ProcessId], grace_seconds: float = _GRACE_SECONDS) -> None:
    """Ends processes and everything they started, orphans included: asks, waits, then kills what is left."""
    family = {process.pid: process for root in roots for process in _family(root)}
    for process in family.values():
        _quietly(process.terminate)
    _, left = psutil.wait_procs(list(family.values()), timeout=grace_seconds)
    for process in left:
        _quietly(process.kill)
    psutil.wait_procs(left, timeout=grace_seconds)


def _family(root: ProcessId) -> list[psutil.Process]:
    """The process, what it started, and what is left of its session when it has ended itself."""
    process = root.process()
    if process is None and psutil.pid_exists(root.pid) and psutil.Process(root.pid).status() != psutil.STATUS_ZOMBIE:
        # The pid belongs to somebody else by now, and so would its session.
        return []
    found = [process] if process else []
    try:
        found += process.children(recursive=True) if process else []
    except psutil.NoSuchProcess:
        found = []
    return found + [member for member in psutil.process_iter() if _session(member.pid) == root.pid]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


def check_port_is_free(port: int, variable: str, host: str = "127.0.0.1") -> None:
    """Raises ConfigurationError, naming the port and the variable that moves it, when something listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers bind: connections that are closing do not make a port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {host} is busy ({error.strerror}): free it, or choose another with {variable}=<port>"
            ) from error
