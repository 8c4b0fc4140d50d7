"""``scenelake judge``: another policy, held against what was measured."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from scenelake.adapters.iceberg import committer
from scenelake.cli.plain import plain
from scenelake.cli.stack_commands import Workspace
from scenelake.contracts.stages import Stage
from scenelake.quality.config import QualityPolicy
from scenelake.rejudge.run import Judgement, judge_release
from scenelake.runtime.policy import stage_policy

_SHOWN = 10


def judge(console: Console, workspace: Workspace, policy: str, *, is_dry: bool, as_json: bool) -> None:
    """Judges the newest release by a policy file and says what changed."""
    held = stage_policy(QualityPolicy, Stage.QUALITY, policy, workspace.objects)
    found = judge_release(held, committer(workspace.settings), workspace.objects, workspace.paths, is_dry=is_dry)
    if as_json:
        console.print_json(json.dumps(_document(found)))
        return
    console.print(_headline(found, is_dry=is_dry), highlight=False, soft_wrap=True)
    if found.changes:
        table = Table(title="scenes of gold", title_justify="left")
        for title in ("verdict", "now"):
            table.add_column(title)
        table.add_column("scenes", justify="right")
        for (was, now), count in sorted(found.changes.items()):
            table.add_row(plain(was), plain(now), f"{count:,}")
        console.print(table)
    if found.waiting:
        more = f" and {len(found.waiting) - _SHOWN:,} more" if len(found.waiting) > _SHOWN else ""
        console.print(
            f"{len(found.waiting):,} scenes wait in quarantine and would pass now: "
            f"{', '.join(found.waiting[:_SHOWN])}{more}. Gold takes them when their drives are built again under this "
            "policy: set SCENELAKE_POLICY to it and trigger build_scenes with rebuild.",
            highlight=False,
            soft_wrap=True,
        )


def _headline(found: Judgement, *, is_dry: bool) -> str:
    if found.release is not None:
        return f"{found.release.release_id}: {found.nbr_scenes:,} scenes of {found.parent.release_id} judged anew"
    if is_dry:
        return f"{found.nbr_scenes:,} scenes of {found.parent.release_id} judged; nothing was written"
    return f"{found.nbr_scenes:,} scenes of {found.parent.release_id} judged; no verdict changes, no release made"


def _document(found: Judgement) -> dict[str, Any]:
    return {
        "parent": found.parent.release_id,
        "release_id": found.release.release_id if found.release else None,
        "nbr_scenes": found.nbr_scenes,
        "changes": [{"before": was, "now": now, "nbr_scenes": n} for (was, now), n in sorted(found.changes.items())],
        "waiting": list(found.waiting),
    }
