"""Named points before and after every durable write, at which the fault battery stops a process for good.

Everywhere but in the battery ``Settings.faults`` is empty, and both functions do nothing of note. Otherwise it
names a folder, which the battery fills and reads while the processes run:

- ``record``: while this file exists, ``seen/<name>`` appears when a point is passed.
- ``armed/<name>@<n>``: JSON ``{"action": "kill" | "halt"}``. The next passage of the point, in whichever process,
  takes the file away (only one process can) and acts; ``n`` tells several orders for one point apart, and the
  lowest goes first.
- ``fired/<name>@<n>.json``: written before the action, ``{name, pid, component, at_ns, action}``. ``kill`` is
  SIGKILL to the process itself; ``halt`` waits for ``fired/<name>@<n>.done``, so that the battery can meanwhile
  kill another process, and goes on after 15 s at the latest.
- ``clock.json``: ``{"max_jump_seconds": n, "seed": s}``; each process draws one jump of its clock from it.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from scenelake.contracts.errors import ConfigurationError
from scenelake.runtime.logs import current_stage
from scenelake.runtime.settings import load_settings

_LONGEST_HALT_SECONDS = 15.0
_HALT_POLL_SECONDS = 0.02


def failpoint(name: str) -> None:
    """Marks a point at which a process may die; ``<stage>.<what>.before`` or ``.after`` a durable write."""
    faults = _faults()
    if faults is not None:
        faults.pass_point(name)


@contextmanager
def durable_write(name: str) -> Iterator[None]:
    """A failpoint before the block, which makes one write that outlives the process, and one after its success."""
    failpoint(f"{name}.before")
    yield
    failpoint(f"{name}.after")


def now_ns() -> int:
    """The time by which leases, claims and commits go: the system's clock, plus the battery's jump."""
    faults = _faults()
    return time.time_ns() + (0 if faults is None else faults.clock_jump_ns())


class Faults:
    """The battery's folder as one process sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._jump: tuple[tuple[int, int], int] = ((0, 0), 0)
        for name in ("seen", "armed", "fired"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def pass_point(self, name: str) -> None:
        """Records the passage and carries out the point's first order, if there is one."""
        if name not in self._seen and (self._folder / "record").exists():
            (self._folder / "seen" / name).touch()
            self._seen.add(name)
        for order in sorted((self._folder / "armed").glob(f"{name}@*"), key=lambda path: (len(path.name), path.name)):
            action = _take(order)
            if action is not None:
                self._act(name, order.name, action)
                return

    def clock_jump_ns(self) -> int:
        """This process's jump; it is drawn anew when ``clock.json`` is replaced, and by a forked child."""
        path = self._folder / "clock.json"
        try:
            drawn_from = (os.getpid(), path.stat().st_mtime_ns)
            if drawn_from != self._jump[0]:
                clock = json.loads(path.read_text())
                longest_ns = int(clock["max_jump_seconds"] * 1_000_000_000)
                jump_ns = random.Random(f"{clock['seed']}:{os.getpid()}").randint(-longest_ns, longest_ns)
                self._jump = (drawn_from, jump_ns)
        except FileNotFoundError:
            return 0
        return self._jump[1]

    def _act(self, name: str, order: str, action: str) -> None:
        fired = {
            "name": name,
            "pid": os.getpid(),
            "component": current_stage() or _program(),
            "at_ns": time.time_ns(),
            "action": action,
        }
        self._write(f"{order}.json", fired)
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        done = self._folder / "fired" / f"{order}.done"
        deadline = time.monotonic() + _LONGEST_HALT_SECONDS
        while not done.exists() and time.monotonic() < deadline:
            time.sleep(_HALT_POLL_SECONDS)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        draft = self._folder / "fired" / f".{name}.{os.getpid()}"
        draft.write_text(json.dumps(value))
        os.replace(draft, self._folder / "fired" / name)


def _take(order: Path) -> str | None:
    """What the order says, if this process is the one that takes it away."""
    try:
        text = order.read_text()
        order.unlink()
    except FileNotFoundError:
        return None
    action = json.loads(text)["action"]
    if action not in ("kill", "halt"):
        raise ConfigurationError(f"{order}: action: expected kill or halt, got {action!r}")
    return str(action)


def _program() -> str:
    """What runs here, where no stage was named: ``airflow triggerer``, ``daemon`` (a Spark worker)."""
    path = Path(sys.argv[0])
    return f"{path.parent.name} {' '.join(sys.argv[1:2])}".strip() if path.stem == "__main__" else path.stem


@cache
def _faults() -> Faults | None:
    folder = load_settings().faults
    if not folder:
        return None
    if not os.path.isabs(folder):
        raise ConfigurationError(f"SCENELAKE_FAULTS: expected an absolute path of a folder, got {folder!r}")
    return Faults(Path(folder))
