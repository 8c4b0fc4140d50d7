"""Many small drops at once, and one at a time on an idle stack: throughput, latency, memory and processor time.

It starts a laptop stack of its own in a temporary folder and ends it.
"""

import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import quote

from benchmarks.small_drops import write_drops
from benchmarks.stack_probe import MemoryWatch, cpu_difference, cpu_seconds, nbr_restarts
from scenelake.adapters.airflow_api import AirflowApi
from scenelake.adapters.aws import aws_client
from scenelake.adapters.ledger_items import drop_pk
from scenelake.adapters.ledger_table import LedgerTable
from scenelake.cli.follow import parse_time
from scenelake.contracts import ids
from scenelake.contracts.drops import DropState
from scenelake.runtime.settings import (
    HOME_VARIABLE,
    Settings,
    StackConfig,
    environment_for,
    load_settings,
    load_stack_config,
)
from scenelake.stack.up import StackInfo, start, stop

SCALES = (100, 1_000, 10_000)
NBR_SINGLES = 30
IDLE_SECONDS = 60
NBR_PUTTERS = 16
TIMEOUT_SECONDS = 7_200
_POLL_SECONDS = 3.0
_READ_AT_ONCE = 100
_SETTLING_SECONDS = 10.0
_ACTIVE = ("queued", "running")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """One running stack and the doors to it."""

    info: StackInfo
    settings: Settings
    airflow: AirflowApi
    table: LedgerTable
    s3: Any

    @classmethod
    def open(cls, info: StackInfo) -> "Bench":
        settings = load_settings(environment_for({HOME_VARIABLE: str(info.home)}))
        airflow = AirflowApi(info.airflow_url, info.airflow_user, info.airflow_password)
        table = LedgerTable(aws_client("dynamodb", settings), settings.ledger_table)
        return cls(info, settings, airflow, table, aws_client("s3", settings))

    def put(self, path: Path, key: str) -> tuple[str, float]:
        """Puts a file into landing; returns its drop id and when the answer came."""
        bucket = self.settings.landing_bucket
        answer = self.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        return ids.drop_id(bucket, key, answer["VersionId"]), time.time()

    def runs(self, dag_id: str, since: float) -> list[dict[str, Any]]:
        """Runs of a DAG that were made after a time, oldest first."""
        found: list[dict[str, Any]] = []
        after = quote(time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(since - 1)))
        while True:
            page = self.airflow.get(
                f"/dags/{dag_id}/dagRuns?order_by=run_after&limit=100&offset={len(found)}&run_after_gte={after}"
            )["dag_runs"]
            found += page
            if len(page) < 100:
                return found

    def await_idle(self) -> None:
        """Waits until no run is under way."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while any(self._nbr_runs(dag, state) for dag in ("build_scenes", "ingest_drops") for state in _ACTIVE):
            if time.monotonic() > deadline:
                raise SystemExit(f"runs are still under way after {TIMEOUT_SECONDS} s")
            time.sleep(_POLL_SECONDS)

    def await_end(self, drop_ids: Sequence[str], progress: Progress) -> list[dict[str, Any]]:
        """Items of the drops once all are terminal. Reads the ledger little: what ended is not read again."""
        ended: list[dict[str, Any]] = []
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while len(ended) < len(drop_ids):
            wanted = drop_ids[len(ended) : len(ended) + _READ_AT_ONCE]
            found = self.table.get_many([drop_pk(d) for d in wanted])
            if len(found) == len(wanted) and all(DropState(item["state"]).is_terminal for item in found):
                ended += found
                progress(f"{len(ended)} of {len(drop_ids)} drops are terminal")
                continue
            if time.monotonic() > deadline:
                states = Counter(item["state"] for item in found)
                raise SystemExit(f"{len(ended)} of {len(drop_ids)} drops ended in {TIMEOUT_SECONDS} s; next {states}")
            time.sleep(_POLL_SECONDS)
        return ended

    def _nbr_runs(self, dag_id: str, state: str) -> int:
        return int(self.airflow.get(f"/dags/{dag_id}/dagRuns?limit=1&state={state}")["total_entries"])


def run(
    progress: Progress,
    scales: Sequence[int] = SCALES,
    nbr_singles: int = NBR_SINGLES,
    idle_seconds: int = IDLE_SECONDS,
    drops_per_drive: int = 0,
) -> dict[str, Any]:
    """Measures idle processor time, latency of single drops, and each scale in turn on the same, growing lake.

    Args:
        scales: numbers of drops put at once.
        drops_per_drive: 0 keeps a vehicle's drops in one drive of a hundred; 1 gives each drop a drive of its own.
    """
    with tempfile.TemporaryDirectory(prefix="scenelake-bench-") as folder:
        home = Path(folder) / "home"
        repository = load_stack_config().repository
        config = StackConfig(home=home, repository=repository, airflow_port=_free_port(), aws_port=_free_port())
        bench = Bench.open(start(config, progress))
        try:
            recordings = Path(folder) / "drops"
            recordings.mkdir()
            result: dict[str, Any] = {
                "claim_max_drops": bench.settings.claim_max_drops,
                "drops_per_drive": drops_per_drive or "100",
            }
            if nbr_singles:
                result |= _latency(bench, recordings, nbr_singles, progress)
            if idle_seconds:
                result["idle"] = _idle(bench, idle_seconds, progress)
            result["scales"] = [_at_once(bench, recordings, n, drops_per_drive, progress) for n in scales]
            return result
        finally:
            stop(home)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _idle(bench: Bench, seconds: int, progress: Progress) -> dict[str, Any]:
    bench.await_idle()
    time.sleep(_SETTLING_SECONDS)
    progress(f"doing nothing for {seconds} s")
    before = cpu_seconds(bench.info.home)
    time.sleep(seconds)
    spent = cpu_difference(before, cpu_seconds(bench.info.home))
    return {"seconds": seconds, "cpu_seconds": spent, "cores": round(spent["all"] / seconds, 3)}


def _latency(bench: Bench, folder: Path, nbr_drops: int, progress: Progress) -> dict[str, Any]:
    """Single drops, each put when nothing runs; seconds from the answer to its PUT."""
    steps: dict[str, list[float]] = {
        "registered": [],
        "ingest_run": [],
        "claim_task": [],
        "build_run": [],
        "terminal": [],
    }
    for number, (_, path) in enumerate(write_drops(folder, nbr_drops)):
        bench.await_idle()
        # Not in step with the scheduler's own rounds.
        time.sleep(1.0 + 0.37 * (number % 7))
        drop_id, put_at_s = bench.put(path, f"bench/single/drive-{number:05d}/drop.mcap")
        item = bench.await_end([drop_id], lambda _: None)[0]
        found = _steps(bench, item, put_at_s)
        for name, at_s in found.items():
            steps[name].append(at_s - put_at_s)
        progress(f"single drop {number}: " + ", ".join(f"{n} {t - put_at_s:.1f} s" for n, t in found.items()))
        path.unlink()
    return {"latency_seconds": {name: _percentiles(values) for name, values in steps.items()}}


def _steps(bench: Bench, item: dict[str, Any], put_at_s: float) -> dict[str, float]:
    build_id = ids.run_id(item["batch_id"], item["attempt"])
    build = bench.airflow.get(f"/dags/build_scenes/dagRuns/{quote(build_id)}")
    ingests = [r for r in bench.runs("ingest_drops", put_at_s) if r["start_date"] and _started_before(r, build)]
    tasks = bench.airflow.tasks("ingest_drops", ingests[-1]["dag_run_id"]) or []
    claim = next(t for t in tasks if t.task_id == "claim_batches" and t.start)
    return {
        "registered": item["received_at_ns"] / 1e9,
        "ingest_run": _seconds(ingests[-1]["start_date"]),
        "claim_task": _seconds(claim.start or ""),
        "build_run": _seconds(build["start_date"]),
        "terminal": item["history"][-1]["at_ns"] / 1e9,
    }


def _started_before(run: dict[str, Any], build: dict[str, Any]) -> bool:
    return _seconds(run["start_date"]) <= _seconds(build["queued_at"])


def _seconds(text: str) -> float:
    return parse_time(text).timestamp()


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [*values] * 99
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(values), 2)}


def _at_once(bench: Bench, folder: Path, nbr_drops: int, drops_per_drive: int, progress: Progress) -> dict[str, Any]:
    progress(f"writing {nbr_drops} recordings")
    fleet = f"many{nbr_drops}"
    files = []
    for number, (drive, path) in enumerate(write_drops(folder, nbr_drops)):
        name = f"drive-{number:05d}" if drops_per_drive == 1 else f"drive-{drive:05d}"
        files.append((path, f"{fleet}/vehicle-{drive % 10}/{name}/{path.name}"))
    nbr_bytes = sum(path.stat().st_size for path, _ in files)
    bench.await_idle()
    home = bench.info.home
    before, restarts_before, started_at_s = cpu_seconds(home), nbr_restarts(home), time.time()
    with MemoryWatch(home) as memory:
        with ThreadPoolExecutor(NBR_PUTTERS) as pool:
            drop_ids = [drop_id for drop_id, _ in pool.map(lambda item: bench.put(*item), files)]
        put_s = time.time() - started_at_s
        progress(f"{nbr_drops} drops were put in {put_s:.1f} s")
        items = bench.await_end(drop_ids, progress)
        bench.await_idle()
    spent = cpu_difference(before, cpu_seconds(home), digits=1)
    for path, _ in files:
        path.unlink()
    seconds = max(item["history"][-1]["at_ns"] for item in items) / 1e9 - started_at_s
    return {
        "drops": nbr_drops,
        "bytes_per_drop": round(nbr_bytes / nbr_drops),
        "put_seconds": round(put_s, 1),
        "registered_seconds": round(max(item["received_at_ns"] for item in items) / 1e9 - started_at_s, 1),
        "terminal_seconds": round(seconds, 1),
        "drops_per_second": round(nbr_drops / seconds, 2),
        "wall_ms_per_drop": round(seconds / nbr_drops * 1e3, 1),
        "cpu_ms_per_drop": {name: round(s / nbr_drops * 1e3, 1) for name, s in spent.items()},
        "states": dict(Counter(item["state"] for item in items)),
        "attempts": dict(Counter(str(item["attempt"]) for item in items)),
        "batches": len({item["batch_id"] for item in items}),
        "restarts": nbr_restarts(home) - restarts_before,
        "runs": {dag: _run_states(bench, dag, started_at_s) for dag in ("ingest_drops", "build_scenes")},
        "mean_stage_seconds": _stage_seconds(bench, started_at_s),
        "memory_at_start": memory.first,
        "memory_at_end": memory.last,
        "memory_peak": memory.peak,
    }


def _run_states(bench: Bench, dag_id: str, since: float) -> dict[str, int]:
    return dict(Counter(run["state"] for run in bench.runs(dag_id, since)))


def _stage_seconds(bench: Bench, since: float) -> dict[str, float]:
    """Mean wall time of each task of the builds."""
    spans: dict[str, list[float]] = {}
    for build in bench.runs("build_scenes", since):
        for task in bench.airflow.tasks("build_scenes", build["dag_run_id"]) or ():
            if task.start and task.end and task.state == "success":
                spans.setdefault(task.task_id, []).append(_seconds(task.end) - _seconds(task.start))
    return {name: round(sum(values) / len(values), 1) for name, values in sorted(spans.items())}
