"""``scenelake-audit``: audits a lake, or compares two."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from botocore.exceptions import BotoCoreError, ClientError
from pyarrow import ArrowException

from scenelake_audit.audit import audit
from scenelake_audit.compare import compare
from scenelake_audit.config import STACK_FILE, AuditError, Depth, Lake, lake_of_stack, parse_lake
from scenelake_audit.report import Report

CLEAN, VIOLATIONS, COULD_NOT_AUDIT = 0, 1, 2
_REPORT = "also write the report to this file: JSON for .json, Markdown for .md, else text"
_LAKE = "BUCKET[@ENDPOINT_URL][#RELEASE], or a stack.json or settings file, which may be of another endpoint"


def run() -> None:
    """Console script."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Audits and writes the report to standard output.

    Returns:
        0 clean, 1 violations, 2 could not audit.
    """
    arguments = _parser().parse_args(argv)
    try:
        report = _report(arguments)
        if arguments.report:
            report.write(Path(arguments.report))
    except (AuditError, BotoCoreError, ClientError, ArrowException, OSError, ValueError, duckdb.Error) as error:
        sys.stderr.write(f"could not audit: {type(error).__name__}: {error}\n")
        return COULD_NOT_AUDIT
    sys.stdout.write(report.to_json_text() if arguments.json else report.to_text())
    return CLEAN if report.is_clean else VIOLATIONS


def _report(arguments: argparse.Namespace) -> Report:
    if arguments.command == "compare":
        return compare(parse_lake(arguments.first), parse_lake(arguments.second), arguments.prefix)
    stack = Path(arguments.stack)
    if not stack.is_file() and arguments.stack != str(STACK_FILE):
        raise AuditError(f"{stack}: there is no such file")
    lake = lake_of_stack(stack) if stack.is_file() else Lake()
    named = {
        name: getattr(arguments, name)
        for name in (f.name for f in fields(Lake))
        if getattr(arguments, name) is not None
    }
    lake = replace(lake, **named)
    if arguments.compare:
        return compare((lake, arguments.release), parse_lake(arguments.compare))
    depth = Depth(
        release=arguments.release,
        is_ledger_only=arguments.ledger_only,
        is_deep=arguments.deep,
        grace_seconds=arguments.grace_seconds,
        event_grace_seconds=arguments.event_grace_seconds,
        pending_seconds=arguments.pending_seconds,
        seed=arguments.seed,
    )
    return audit(lake, depth)


def _parser() -> argparse.ArgumentParser:
    defaults = Depth()
    parser = argparse.ArgumentParser(
        prog="scenelake-audit",
        description="Checks a scene lake from S3, DynamoDB and Iceberg alone. Exit code: 0 clean, 1 violations, "
        "2 could not audit.",
    )
    parser.add_argument("--stack", default=str(STACK_FILE), help="stack description that gives the defaults")
    parser.add_argument("--endpoint-url", help="AWS endpoint, for a stand-in")
    parser.add_argument("--region", help="AWS region")
    parser.add_argument("--landing", help="landing bucket")
    parser.add_argument("--lake", help="lake bucket")
    parser.add_argument("--ledger", help="DynamoDB table of the ledger")
    parser.add_argument("--database", help="Glue database of the gold tables")
    parser.add_argument("--release", help="release to audit, the newest by default")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    parser.add_argument("--report", metavar="FILE", help=_REPORT)
    parser.add_argument("--ledger-only", action="store_true", help="only landing and ledger (I1)")
    parser.add_argument("--deep", action="store_true", help="read everything: no bound on payload, scenes, recordings")
    parser.add_argument(
        "--grace-seconds", type=float, default=defaults.grace_seconds, help="age from which a file is an orphan"
    )
    parser.add_argument(
        "--event-grace-seconds", type=float, default=defaults.event_grace_seconds,
        help="age from which an object version must be in the ledger, and a lapsed batch claimed again",
    )  # fmt: skip
    parser.add_argument(
        "--pending-seconds", type=float, default=defaults.pending_seconds,
        help="how long a drop may be PENDING whose drive is free and whose recording is quiet",
    )  # fmt: skip
    parser.add_argument(
        "--seed", default=datetime.now(UTC).date().isoformat(),
        help="which part is read when not --deep; today's date by default, so that every day reads another part",
    )  # fmt: skip
    parser.add_argument("--compare", metavar="LAKE", help=f"compare with another lake (I5): {_LAKE}")
    commands = parser.add_subparsers(dest="command", metavar="")
    two = commands.add_parser("compare", help="compare two lakes (I5)")
    two.add_argument("first", help=_LAKE)
    two.add_argument("second", help=_LAKE)
    two.add_argument("--prefix", default="", help="only drives whose objects' keys begin so, as FLEET/VEHICLE/DRIVE/")
    two.add_argument("--report", metavar="FILE", help=_REPORT, default=argparse.SUPPRESS)
    two.add_argument("--json", action="store_true", help="report as JSON", default=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    run()
