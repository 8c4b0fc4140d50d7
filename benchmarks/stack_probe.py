"""Watches the processes of a laptop stack: processor time, memory and restarts of each."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from scenelake.stack.state import SUPERVISOR, progress_file, read_state

TASKS = "tasks"
"""What the scheduler started: workers, tasks and the jobs that they run, Spark among them."""

_SAMPLE_SECONDS = 4.0


def cpu_seconds(home: Path) -> dict[str, float]:
    """Processor seconds by part since its start, those of ended children included where their parent waited."""
    found = {}
    for name, process in _parts(home):
        own = _own_seconds(process)
        tree = own if name == SUPERVISOR else _tree_seconds(process)
        if name == "scheduler":
            found[TASKS] = tree - own
            tree = own
        found[name] = tree
    return found


def cpu_difference(before: dict[str, float], after: dict[str, float], digits: int = 2) -> dict[str, float]:
    """Seconds between two readings, and their sum as ``all``."""
    spent = {name: after[name] - before.get(name, 0.0) for name in after}
    return {name: round(seconds, digits) for name, seconds in {**spent, "all": sum(spent.values())}.items()}


def nbr_restarts(home: Path) -> int:
    """Times that the supervisor had to start a part again."""
    return sum("starting it again" in line for line in progress_file(home).read_text().splitlines())


class MemoryWatch:
    """Samples memory from a thread while it is entered.

    Attributes:
        first, peak: ``{part: {"pss_mb", "rss_mb"}}`` of the first sample and of the largest ones. The scheduler's
            is its own; what it started counts as ``tasks``. Resident size counts a shared page in every process.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self.first: dict[str, dict[str, int]] = {}
        self.last: dict[str, dict[str, int]] = {}
        self.peak: dict[str, dict[str, int]] = {}

    def __enter__(self) -> Self:
        self._sample()
        self.first = self.last
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self.last = _memory(self._home)
        for name, sizes in self.last.items():
            known = self.peak.get(name, {})
            self.peak[name] = {kind: max(size, known.get(kind, 0)) for kind, size in sizes.items()}


def _memory(home: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, process in _parts(home):
        own, below = _size([process]), _size(_descendants(process))
        if name == "scheduler":
            found[TASKS] = below
        elif name != SUPERVISOR:
            own = {kind: own[kind] + below[kind] for kind in own}
        found[name] = own
    found["all"] = {kind: sum(sizes[kind] for sizes in found.values()) for kind in ("pss_mb", "rss_mb")}
    return found


def _size(processes: list[psutil.Process]) -> dict[str, int]:
    sizes = {"pss_mb": 0.0, "rss_mb": 0.0}
    for process in processes:
        with _gone_is_nothing():
            memory = process.memory_full_info()
            sizes["pss_mb"] += memory.pss / 1e6
            sizes["rss_mb"] += memory.rss / 1e6
    return {kind: round(size) for kind, size in sizes.items()}


def _parts(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    state = read_state(home)
    for name, identity in (state.processes if state else {}).items():
        process = identity.process()
        if process is not None:
            yield name, process


def _own_seconds(process: psutil.Process) -> float:
    with _gone_is_nothing():
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _tree_seconds(process: psutil.Process) -> float:
    """Of a process and all below it: each counts itself and the children that it has waited for."""
    total = 0.0
    for member in [process, *_descendants(process)]:
        with _gone_is_nothing():
            times = member.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    with _gone_is_nothing():
        found = process.children(recursive=True)
    return found


@contextmanager
def _gone_is_nothing() -> Iterator[None]:
    """A process that ended while it was looked at adds nothing."""
    try:
        yield
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return
