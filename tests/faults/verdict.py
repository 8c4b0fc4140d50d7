"""What one fault did, and whether that is right: everything ended, the auditor is content, gold is as without it."""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from scenelake.stack.state import STACK_FILE

COULD_NOT = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table.

    Attributes:
        fault, dose: what was done, and how much of it.
        nbr_events, wanted_events: S3 events that the registering function was given, and how many it should be.
        nbr_kills, wanted_kills: processes that were killed, and how many should be.
        nbr_drops: object versions that were put.
        unfinished: object versions and drops that came to no end.
        violations: what the auditor found.
        differences: where gold is not what it is without faults; None until that is known.
        broken: what the fault itself saw go wrong.
        notes: for a person; they decide nothing.
        skipped: why the fault could not be tried here.
        has_load: see ``Did``.
    """

    fault: str
    dose: str
    seed: int
    nbr_events: int = 0
    wanted_events: int = 0
    nbr_kills: int = 0
    wanted_kills: int = 0
    nbr_drops: int = 0
    seconds: float = 0.0
    unfinished: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()
    differences: tuple[str, ...] | None = None
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    has_load: bool = True

    @property
    def problems(self) -> list[str]:
        """Why this row is red; empty when it is green."""
        if self.skipped:
            return []
        found = [*self.broken, *self.unfinished, *self.violations, *(self.differences or ())]
        if self.differences is None:
            found.append("gold was not compared with a run without faults")
        if self.has_load and self.nbr_drops == 0:
            found.append("nothing was put, so nothing was shown")
        for what, got, wanted in (
            ("events", self.nbr_events, self.wanted_events),
            ("kills", self.nbr_kills, self.wanted_kills),
        ):
            if got < wanted:
                found.append(f"{got} {what}, expected at least {wanted}")
        return found

    @property
    def verdict(self) -> str:
        return "skipped" if self.skipped else "RED" if self.problems else "green"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the auditor said.

    Attributes:
        problems: one line per violation.
        nbr_checked: how many things it examined.
    """

    problems: tuple[str, ...]
    nbr_checked: int


def audit(home: Path, words: Sequence[str] = ()) -> Judgement:
    """Audits the lake of a home folder."""
    return _auditor(["--stack", str(home / STACK_FILE), "--json", *words])


def compare(first: Path, second: Path) -> Judgement:
    """Compares the newest releases of the lakes of two home folders (I5).

    Args:
        first, second: home folders, or ``<stack file>#<release>``.
    """
    return _auditor(["compare", *(str(h / STACK_FILE) if h.is_dir() else str(h) for h in (first, second)), "--json"])


def _auditor(words: Sequence[str]) -> Judgement:
    command = [sys.executable, "-m", "scenelake_audit.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode >= COULD_NOT or not done.stdout:
        return Judgement((f"the auditor could not audit: {done.stderr.strip()[-1000:]}",), 0)
    return judgement_of(json.loads(done.stdout))


def judgement_of(report: dict[str, Any]) -> Judgement:
    """The auditor's own report, in lines. One that examined nothing is no report of a clean lake."""
    lines = [f"{v['check']} {v['subject']}: expected {v['expected']}, found {v['found']}" for v in report["violations"]]
    counts = {name: check["violations"] for name, check in report["checks"].items()}
    lines += [f"{name}: {n} violation(s)" for name, n in counts.items() if n and not any(map(_of(name), lines))]
    nbr_checked = sum(check["examined"] for check in report["checks"].values())
    if not nbr_checked:
        lines.append("the auditor examined nothing")
    return Judgement(tuple(lines), nbr_checked)


def _of(check: str) -> Any:
    return lambda line: line.startswith(check)


def with_differences(outcomes: Iterable[Outcome], lines: Sequence[str], owners: dict[str, str]) -> list[Outcome]:
    """Gives each fault the differences of gold that name one of its drives or drops; what names none goes to all.

    Args:
        owners: ``{id or key that a line may name: fault}``.
    """
    by_fault: dict[str, list[str]] = {}
    for line in lines:
        faults = {fault for name, fault in owners.items() if name in line}
        for fault in faults or {""}:
            by_fault.setdefault(fault, []).append(line)
    return [
        replace(o, differences=tuple(by_fault.get(o.fault, []) + by_fault.get("", []))) if not o.skipped else o
        for o in outcomes
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """The whole battery's result."""

    seed: int
    scale: float
    outcomes: tuple[Outcome, ...]
    failpoints: dict[str, int] = field(default_factory=dict)
    """Kills at each failpoint."""
    machine: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_green(self) -> bool:
        return bool(self.outcomes) and all(o.verdict != "RED" for o in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        rows = [{**asdict(o), "verdict": o.verdict, "problems": o.problems} for o in self.outcomes]
        return {
            "seed": self.seed, "scale": self.scale, "seconds": round(self.seconds), "is_green": self.is_green,
            "machine": self.machine, "faults": rows, "kills_at_failpoints": self.failpoints,
        }  # fmt: skip

    def to_markdown(self) -> str:
        head = ["fault", "dose", "drops", "events", "kills", "unfinished", "auditor", "gold", "seconds", "verdict"]
        lines = [
            "# Fault battery",
            "",
            f"Seed {self.seed}, scale {self.scale:g}, {self.seconds / 60:.0f} minutes: "
            f"**{'green' if self.is_green else 'RED'}**. `make faults` writes this file; docs/faults.md explains it.",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *(f"| {' | '.join(_cells(o))} |" for o in self.outcomes),
        ]
        for o in self.outcomes:
            said = ([f"skipped: {o.skipped}"] if o.skipped else []) + o.problems[:20] + list(o.notes)
            if said:
                lines += ["", f"**{o.fault}, {o.dose}**", *(f"- {_plain(text)}" for text in said)]
        if self.failpoints:
            lines += ["", "| failpoint | kills |", "|---|---|"]
            lines += [f"| `{name}` | {n} |" for name, n in sorted(self.failpoints.items())]
        return "\n".join(lines) + "\n"


def _cells(o: Outcome) -> list[str]:
    if o.skipped:
        return [o.fault, o.dose, *["–"] * 7, o.verdict]
    equal = "not compared" if o.differences is None else "equal" if not o.differences else f"{len(o.differences)} off"
    audited = "clean" if not o.violations else f"{len(o.violations)} violation(s)"
    return [
        o.fault, o.dose, f"{o.nbr_drops:,}", f"{o.nbr_events:,}", str(o.nbr_kills), str(len(o.unfinished)),
        audited, equal, f"{o.seconds:.0f}", o.verdict,
    ]  # fmt: skip


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:600]
