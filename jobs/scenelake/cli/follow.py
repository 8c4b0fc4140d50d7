"""Follows drops from landing to their end, stage by stage, live on a terminal or as lines in a log."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table

from scenelake.adapters.airflow_api import AirflowApi, TaskState
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import TransientError
from scenelake.contracts.stages import Stage

_POLL_SECONDS = 1.0
_MARKS = {
    "success": "[green]✔[/]",
    "running": "[yellow]▶[/]",
    "queued": "[dim]…[/]",
    "scheduled": "[dim]…[/]",
    "up_for_retry": "[yellow]↻[/]",
    "failed": "[red]✘[/]",
    "upstream_failed": "[red]–[/]",
    "skipped": "[dim]–[/]",
}


@dataclass
class Followed:
    """What is known of the drops at one moment.

    Attributes:
        drops: by drop id; a drop that no event has registered yet is absent.
        tasks: by Airflow run id.
    """

    drops: dict[str, Drop] = field(default_factory=dict)
    tasks: dict[str, list[TaskState]] = field(default_factory=dict)

    def is_done(self, drop_ids: Sequence[str]) -> bool:
        return all(d in self.drops and self.drops[d].state.is_terminal for d in drop_ids)


class Follower:
    """Polls the ledger, and Airflow where it answers, for a set of drops."""

    def __init__(self, ledger: DynamoLedger, airflow: AirflowApi | None, drop_ids: Sequence[str]) -> None:
        self._ledger = ledger
        self._airflow = airflow
        self._drop_ids = tuple(drop_ids)
        self.seen = Followed()

    def poll(self) -> Followed:
        """Looks once; runs that ended are not asked for again."""
        for drop_id in self._drop_ids:
            known = self.seen.drops.get(drop_id)
            if known and known.state.is_terminal:
                continue
            drop = self._ledger.get(drop_id)
            if drop is not None:
                self.seen.drops[drop_id] = drop
        for drop in self.seen.drops.values():
            if drop.batch_id:
                self._poll_run(ids.run_id(drop.batch_id, drop.attempt))
        return self.seen

    def _poll_run(self, run_id: str) -> None:
        tasks = self.seen.tasks.get(run_id)
        if self._airflow is None or (tasks and all(t.state in ("success", "skipped", "failed") for t in tasks)):
            return
        try:
            found = self._airflow.tasks("build_scenes", run_id)
        except TransientError:
            return
        if found is not None:
            self.seen.tasks[run_id] = found

    def watch(self, console: Console, timeout_seconds: float) -> bool:
        """Shows progress until every drop has ended. False when the time ran out first."""
        deadline = time.monotonic() + timeout_seconds
        if console.is_terminal:
            with Live(progress_table(self.seen, self._drop_ids), console=console, refresh_per_second=4) as live:
                while not self.poll().is_done(self._drop_ids) and time.monotonic() < deadline:
                    live.update(progress_table(self.seen, self._drop_ids))
                    time.sleep(_POLL_SECONDS)
                live.update(progress_table(self.seen, self._drop_ids))
        else:
            last = ""
            while True:
                done = self.poll().is_done(self._drop_ids)
                line = progress_line(self.seen, self._drop_ids)
                if line != last:
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
                    last = line
                if done or time.monotonic() >= deadline:
                    break
                time.sleep(_POLL_SECONDS)
        return self.seen.is_done(self._drop_ids)


def _count_states(seen: Followed, drop_ids: Sequence[str]) -> Counter[str]:
    return Counter(str(seen.drops[d].state) if d in seen.drops else "LANDED" for d in drop_ids)


def progress_line(seen: Followed, drop_ids: Sequence[str]) -> str:
    """One line: drops by state, then each run's running stages."""
    states = ", ".join(f"{n} {state}" for state, n in sorted(_count_states(seen, drop_ids).items()))
    runs = []
    for run_id, tasks in sorted(seen.tasks.items()):
        done = sum(t.state == "success" for t in tasks)
        busy = [f"{t.task_id} {t.state}" for t in tasks if t.state not in (None, "success", "skipped")]
        runs.append(f"{run_id}: {done} tasks done" + (f", {', '.join(busy)}" if busy else ""))
    return " | ".join([states, *runs])


def progress_table(seen: Followed, drop_ids: Sequence[str]) -> Table:
    """A table: one row a run, one column a stage."""
    states = "  ".join(f"{n} {state}" for state, n in sorted(_count_states(seen, drop_ids).items()))
    table = Table(title=f"drops: {states}", title_justify="left")
    table.add_column("build_scenes run", no_wrap=True)
    for stage in Stage:
        table.add_column(str(stage), justify="center")
    for run_id, tasks in sorted(seen.tasks.items()):
        by_id = {t.task_id: t for t in tasks}
        table.add_row(run_id, *(_cell(by_id.get(str(stage))) for stage in Stage))
    return table


def _cell(task: TaskState | None) -> str:
    if task is None or task.state is None:
        return ""
    seconds = task_seconds(task)
    return _MARKS.get(task.state, task.state) + (f" {seconds:.0f} s" if seconds is not None else "")


def task_seconds(task: TaskState) -> float | None:
    """How long a task ran, or None while it has not ended."""
    if not task.start or not task.end:
        return None
    return (parse_time(task.end) - parse_time(task.start)).total_seconds()


def parse_time(text: str) -> datetime:
    """Airflow's ISO time as an aware datetime."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
