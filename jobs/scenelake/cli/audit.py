"""The auditor, run as what it is: another program, which shares no code with the pipeline."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from scenelake.runtime.settings import STACK_FILE


def audit_command(home: Path, words: Sequence[str] = ()) -> list[str]:
    """The auditor's command line for the stack of a home folder; further words are its own options."""
    return [sys.executable, "-m", "scenelake_audit.cli", "--stack", str(home / STACK_FILE), *words]


def audit_stack(console: Console, home: Path) -> bool:
    """Audits the stack's landing zone, ledger and newest release. Prints one line when all is well, else everything."""
    done = subprocess.run(audit_command(home), capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0:
        nbr_checks = sum(line.startswith("I") for line in lines)
        console.print(f"\n[bold]Audit[/]: {nbr_checks} checks of landing zone, ledger and lake, no violation")
        return True
    console.print("\n[red]Audit[/]:")
    console.print("\n".join([*lines, done.stderr.strip()]), markup=False, highlight=False, soft_wrap=True)
    return False
