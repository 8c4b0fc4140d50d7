"""PUT to gold for one small drop at a time on an idle laptop stack, where the time goes, and memory by process."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console

from scenelake.cli.follow import Follower, task_seconds
from scenelake.cli.stack_commands import Workspace
from scenelake.cli.summary import put_to_gold_seconds
from scenelake.cli.upload import upload
from scenelake.contracts import ids
from scenelake.convert.converters import CONVERTERS
from scenelake.simulate.config import plan_default_drive
from scenelake.simulate.drive import simulate_drive
from scenelake.stack.state import SUPERVISOR
from scenelake.stack.up import stack_config, start, status

NBR_DROPS = 7
TIMEOUT_SECONDS = 300
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "radiate_tiny_foggy"


def run(progress: Callable[[str], None]) -> dict[str, Any]:
    """Uses the running stack, or starts one and leaves it up."""
    info = start(stack_config(), progress)
    workspace = Workspace.open()
    spans, stages = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drop.mcap"
        source = _recording(path)
        for i in range(NBR_DROPS):
            drive = f"bench-{ids.recipe({'i': i, 'run': str(info.pids), 'at': folder})}"
            done = upload(workspace.settings, path, f"bench/vehicle/{drive}/drop.mcap")
            follower = Follower(workspace.ledger, workspace.airflow, [done.drop_id])
            follower.watch(Console(quiet=True), TIMEOUT_SECONDS)
            follower.poll()
            seconds = put_to_gold_seconds(done, follower.seen)
            if seconds is None:
                raise SystemExit(f"drop {done.uri} did not reach gold: {follower.seen.drops}")
            spans.append(round(seconds, 1))
            stages.append(_stage_seconds(follower))
            progress(f"put to gold: {seconds:.1f} s")
    names = sorted({name for s in stages for name in s})
    return {
        "recording": source,
        "put_to_gold_seconds": spans,
        "p50_seconds": median(spans),
        "limit_seconds": 60,
        "p50_over_limit": round(median(spans) / 60, 3),
        "median_stage_seconds": {n: round(median(s[n] for s in stages if n in s), 1) for n in names},
        "pss_mb": _memory(),
    }


def _recording(path: Path) -> str:
    if REAL.is_dir():
        CONVERTERS["radiate"](REAL, path)
        return "RADIATE tiny_foggy"
    simulate_drive(plan_default_drive(1).model_copy(update={"duration_ns": 5_000_000_000}), path)
    return "simulated 5 s"


def _stage_seconds(follower: Follower) -> dict[str, float]:
    tasks = [t for run in follower.seen.tasks.values() for t in run]
    return {t.task_id: seconds for t in tasks if (seconds := task_seconds(t)) is not None}


def _memory() -> dict[str, int]:
    """Proportional set size of each part with its children, in MB: shared pages are counted once over all."""
    info = status(stack_config().home)
    found = {}
    for name, pid in (info.pids if info else {}).items():
        process = psutil.Process(pid)
        # The supervisor's children are the other parts.
        tree = [process] if name == SUPERVISOR else [process, *process.children(recursive=True)]
        found[name] = round(sum(p.memory_full_info().pss for p in tree if p.is_running()) / 1e6)
    return {**found, "all": sum(found.values())}
