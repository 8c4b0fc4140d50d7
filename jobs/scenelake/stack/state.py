"""What the stack writes down about itself, so that commands in any shell find it: ``stack.json`` and its progress."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenelake.runtime.settings import STACK_FILE
from scenelake.stack.processes import ProcessId

SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class StackState:
    """Contents of ``stack.json``.

    Attributes:
        phase: ``starting``, ``ready`` or ``failed``.
        settings: what ``runtime.settings`` reads.
        processes: by name; the supervisor is one of them.
        problem: why it failed.
    """

    phase: str
    settings: Mapping[str, str] = field(default_factory=dict)
    airflow: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, ProcessId] = field(default_factory=dict)
    problem: str | None = None

    @property
    def is_running(self) -> bool:
        supervisor = self.processes.get(SUPERVISOR)
        return supervisor is not None and supervisor.is_alive


def read_state(home: Path) -> StackState | None:
    """The state as last written; None when there is no stack."""
    path = home / STACK_FILE
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    processes = {name: ProcessId(*pair) for name, pair in value.get("processes", {}).items()}
    return StackState(
        value["phase"], value.get("settings", {}), value.get("airflow", {}), processes, value.get("problem")
    )


def write_state(home: Path, state: StackState) -> None:
    """Replaces the file in one step: a reader sees the old one or the new one."""
    value = {
        "phase": state.phase,
        "settings": dict(state.settings),
        "airflow": dict(state.airflow),
        "processes": {name: [p.pid, p.started_at_s] for name, p in state.processes.items()},
        "problem": state.problem,
    }
    draft = home / f"{STACK_FILE}.draft"
    draft.write_text(json.dumps(value, indent=1))
    os.replace(draft, home / STACK_FILE)


def forget_state(home: Path) -> None:
    (home / STACK_FILE).unlink(missing_ok=True)


def progress_file(home: Path) -> Path:
    return home / "logs" / "progress.txt"
