"""``scenelake report``: a day for people."""

from datetime import date
from pathlib import Path

import typer
from rich.console import Console

from scenelake.cli.stack_commands import Workspace
from scenelake.contracts.paths import LakePaths
from scenelake.report.config import ReportConfig
from scenelake.report.job import build_report


def report_day(
    console: Console, workspace: Workspace, day: str, release_id: str, out: Path | None, usd_per_job_hour: float
) -> None:
    """Builds the report of a day, copies it where that is asked for, and says where it is."""
    try:
        wanted = date.fromisoformat(day)
    except ValueError as error:
        raise typer.BadParameter(f"DAY: expected a date such as 2026-01-31, got {day!r}") from error
    config = ReportConfig(usd_per_job_hour=usd_per_job_hour)
    found = build_report(workspace.settings, wanted, release_id, config)
    shown = found["uri"]
    if out is not None:
        folder_uri = LakePaths(workspace.settings.lake_uri).report(wanted.isoformat())
        for info in workspace.objects.list(f"{folder_uri}/"):
            target = out / info.uri.removeprefix(f"{folder_uri}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(workspace.objects.read(info.uri))
        shown = out / "index.html"
    console.print(
        f"{found['nbr_vehicles']} vehicles, {found['nbr_pictures']} pictures: {shown}", highlight=False, soft_wrap=True
    )
