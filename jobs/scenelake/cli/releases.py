"""The releases of a lake, for a terminal."""

import json
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from scenelake.cli.plain import plain
from scenelake.cli.stack_commands import Workspace
from scenelake.contracts.releases import Release
from scenelake.serialise.releases import list_releases, read_release


def release_line(release: Release) -> dict[str, Any]:
    """What a list says of a release."""
    samples = release.tables.get("sample")
    return {
        "release_id": release.release_id,
        "committed_at_ns": release.committed_at_ns,
        "committed_at": datetime.fromtimestamp(release.committed_at_ns // 1_000_000_000, UTC).isoformat(),
        "parent": release.parent,
        "batch_id": release.batch_id,
        "merkle_root": release.merkle_root,
        "nbr_drives": len({drive_id for drive_id, _ in release.scenes.values()}),
        "nbr_scenes": len(release.scenes),
        "nbr_samples": samples.nbr_rows if samples else 0,
        "nbr_added": len(release.delta.added),
        "nbr_replaced": len(release.delta.replaced),
        "nbr_removed": len(release.delta.removed),
    }


def print_releases(console: Console, workspace: Workspace, *, as_json: bool) -> None:
    """Prints all releases, the newest last: as a table, or as a JSON list."""
    numbers = list_releases(workspace.objects, workspace.paths)
    lines = [release_line(read_release(workspace.objects, workspace.paths, number)) for number in numbers]
    if as_json:
        console.print_json(json.dumps(lines))
        return
    if not lines:
        console.print("no release yet: drop a recording first", highlight=False)
        return
    table = Table(title=f"{len(lines)} releases, the newest last", title_justify="left")
    shown = {
        "release": "release_id", "committed (UTC)": "committed_at", "parent": "parent", "drives": "nbr_drives",
        "scenes": "nbr_scenes", "samples": "nbr_samples", "added": "nbr_added", "replaced": "nbr_replaced",
        "removed": "nbr_removed",
    }  # fmt: skip
    for title, name in shown.items():
        table.add_column(title, justify="right" if name.startswith("nbr_") else "left")
    for line in lines:
        table.add_row(*(plain("" if line[name] is None else str(line[name])) for name in shown.values()))
    console.print(table)
