"""Runs the auditor, a program that shares no code with this one, and keeps its report on S3."""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scenelake.adapters.objects import s3_objects, write_json
from scenelake.contracts.errors import ScenelakeError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.ledger.transitions import utc_text
from scenelake.runtime.command import run_command
from scenelake.runtime.faults import now_ns
from scenelake.runtime.settings import Settings

log = logging.getLogger(__name__)

_CLEAN, _VIOLATIONS = 0, 1
_MAX_LOGGED = 5
"""Violations of one check that are logged: one cause breaks many rows, and must not hide another one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{nbr_checks, report_uri}``; violations are logged one by one and fail the job."""
    parser = argparse.ArgumentParser(prog="scenelake-audit-job", description="Audits landing, ledger and lake.")
    parser.add_argument("--grace-seconds", type=float, help="age from which a file is an orphan")
    parser.add_argument(
        "--event-grace-seconds",
        type=float,
        help="age from which an object is registered, and a lapsed batch taken over",
    )
    parser.add_argument("--deep", action="store_true", help="read everything: no bound on payload and scenes")
    return run_command("audit", parser, _audit, argv)


def _audit(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    # In a folder of its own: the auditor would otherwise take up a laptop stack's description where it finds one.
    with tempfile.TemporaryDirectory(prefix="scenelake-audit-job-") as folder:
        words = audit_command(arguments, settings)
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (_CLEAN, _VIOLATIONS):
        raise TransientError(f"the auditor could not audit: {done.stderr.strip()[-500:]}")
    report = json.loads(done.stdout)
    run = arguments.dag_run_id or utc_text(now_ns(), "%Y%m%dT%H%M%SZ")
    report_uri = f"{LakePaths(settings.lake_uri).reconciliation(run)}/audit.json"
    write_json(s3_objects(settings), report_uri, report)
    counts = {check: found["violations"] for check, found in report["checks"].items() if found["violations"]}
    logged: Counter[str] = Counter()
    for violation in report["violations"]:
        logged[violation["check"]] += 1
        if logged[violation["check"]] <= _MAX_LOGGED:
            evidence = [violation[name] for name in ("check", "subject", "expected", "found")]
            log.error("%s: %s: expected %s, found %s", *evidence)
    if counts:
        named = ", ".join(f"{count} x {check}" for check, count in sorted(counts.items()))
        raise ScenelakeError(f"the audit found violations: {named}; the report is {report_uri}")
    return {"nbr_checks": len(report["checks"]), "report_uri": report_uri}


def audit_command(arguments: argparse.Namespace, settings: Settings) -> list[str]:
    """The auditor's command line for the settings' landing zone, ledger and lake."""
    named = {
        "endpoint-url": settings.endpoint_url,
        "region": settings.region,
        "landing": settings.landing_bucket,
        "lake": settings.lake_bucket,
        "ledger": settings.ledger_table,
        "database": settings.glue_database,
        "grace-seconds": arguments.grace_seconds,
        "event-grace-seconds": arguments.event_grace_seconds,
    }
    words = [word for name, value in named.items() if value is not None for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "scenelake_audit.cli", "--json", *words, *(["--deep"] if arguments.deep else [])]


if __name__ == "__main__":
    raise SystemExit(main())
