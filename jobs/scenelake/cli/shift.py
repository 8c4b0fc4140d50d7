"""``scenelake shift``: which distributions moved between two releases."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from scenelake.cli.plain import plain
from scenelake.cli.stack_commands import Workspace
from scenelake.quality.shift import MIN_SCENES, Reading, Shift, called
from scenelake.report.between import Comparison, shifts_between
from scenelake.report.page import unit_of

_STYLE = {Reading.LARGE: "red", Reading.MODERATE: "yellow"}
_NUMBERS = ("PSI", "KS", "before", "after", "scenes before", "scenes after")


def shift(console: Console, workspace: Workspace, before: str, after: str, *, as_json: bool, lists_all: bool) -> None:
    """Prints what moved: as a table, or everything that was compared as JSON."""
    found = shifts_between(workspace.settings, before, after)
    if as_json:
        console.print_json(json.dumps(_document(found)))
        return
    telling = called(found.shifts)
    console.print(
        f"{found.nbr_arrived:,} scenes that {found.after.release_id} brought or built anew, against the"
        f" {found.nbr_before:,} of {found.before.release_id}: {len(telling):,} of {len(found.shifts):,} distributions"
        f" moved (those with at least {MIN_SCENES} scenes of a vehicle on either side)",
        highlight=False,
        soft_wrap=True,
    )
    shown = found.shifts if lists_all else telling
    if shown:
        console.print(_table(shown))


def _table(rows: Sequence[Shift]) -> Table:
    table = Table()
    for title in ("vehicle", "channel", "statistic", "shift"):
        table.add_column(title)
    for title in _NUMBERS:
        table.add_column(title, justify="right")
    for row in rows:
        unit, factor = unit_of(row.statistic)
        table.add_row(
            plain(row.robot_id), plain(row.channel or "scene"), plain(row.statistic), str(row.reading),
            f"{row.psi:.3f}", f"{row.ks:.3f}", f"{row.median_before * factor:.4g} {unit}",
            f"{row.median_after * factor:.4g} {unit}",
            f"{row.nbr_before:,}", f"{row.nbr_after:,}", style=_STYLE.get(row.reading),
        )  # fmt: skip
    return table


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "before": found.before.release_id,
        "after": found.after.release_id,
        "nbr_scenes_before": found.nbr_before,
        "nbr_scenes_arrived": found.nbr_arrived,
        "shifts": [
            {
                "vehicle": row.robot_id, "channel": row.channel or None, "statistic": row.statistic,
                "reading": str(row.reading), "psi": row.psi, "ks": row.ks,
                "p_value": row.p_value, "q_value": row.q_value, "median_before": row.median_before,
                "median_after": row.median_after, "nbr_scenes_before": row.nbr_before,
                "nbr_scenes_after": row.nbr_after,
            }
            for row in found.shifts
        ],
    }  # fmt: skip
