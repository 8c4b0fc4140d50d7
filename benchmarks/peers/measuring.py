"""Processor time, wall-clock time and peak memory of one step. Standard library alone: every environment has it."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
_PROC = Path("/proc")


@dataclass(frozen=True)
class Step:
    """What one process measures.

    Attributes:
        path: the recording as a local file.
        uri: the same in storage; empty for a step that does not read from there.
        folder: an empty folder of the step's own for what it writes.
        endpoint_url: of the storage.
        options: what else the step wants to know.
    """

    path: Path
    uri: str
    folder: Path
    endpoint_url: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> "Step":
        value = json.loads(text)
        return cls(**{**value, "path": Path(value["path"]), "folder": Path(value["folder"])})

    def to_json(self) -> str:
        return json.dumps({**vars(self), "path": str(self.path), "folder": str(self.folder)})


Prepare = Callable[[Step], Callable[[], Facts]]
"""Makes everything ready that is not to be measured, and returns what is."""


def main(prepare: Prepare, *, is_whole_tree: bool = False) -> None:
    """Runs a step from the command line, ``<step for warming up> <step>``, and prints what it took as JSON.

    Args:
        is_whole_tree: counts the processes that the step left running too (Spark, Ray), to 10 ms each.
    """
    steps = [Step.from_json(text) for text in sys.argv[-2:]]
    sys.stdout.write(json.dumps(measure(prepare, *steps, is_whole_tree=is_whole_tree)) + "\n")


def measure(prepare: Prepare, warm_up: Step, step: Step, *, is_whole_tree: bool = False) -> Facts:
    """A step's seconds and peak memory; the first run, on another recording, is not counted."""
    prepare(warm_up)()
    run = prepare(step)
    cpu_seconds = tree_cpu_seconds if is_whole_tree else _cpu_seconds
    start_cpu, start = cpu_seconds(), time.perf_counter()
    facts = run()
    took_cpu, took = cpu_seconds() - start_cpu, time.perf_counter() - start
    peak = max(map(peak_mb, _workers())) if is_whole_tree else peak_mb(os.getpid())
    return {"cpu_s": took_cpu, "wall_s": took, "peak_rss_mb": round(peak), **facts}


def _cpu_seconds() -> float:
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def tree_cpu_seconds() -> float:
    """Of this process, what it started, and what they started and have waited for."""
    ticks = sum(sum(map(int, _stat(pid)[11:15])) for pid in _tree())
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """A process's largest resident memory so far; 0 once it has ended.

    ``getrusage`` would tell a child the peak of the process that started it.
    """
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _workers() -> list[int]:
    """This process and those below it that run Python."""
    return [pid for pid in _tree() if _name(pid) not in ("java", "gcs_server", "raylet")]


def _name(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the state on; zeros once the process has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ["0"] * 50


def _tree() -> list[int]:
    parents = {int(entry.name): int(_stat(int(entry.name))[1]) for entry in _PROC.iterdir() if entry.name.isdigit()}
    tree = [os.getpid()]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree
