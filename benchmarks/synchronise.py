"""Synchronise: an hour of twelve sensors, against pandas' ``merge_asof`` and a range join in Spark; and its memory.

Everything runs in processes of its own on one core. ``stage`` is the whole of ``synchronise_into``, from decode's rows
to those of every table; ``files`` is that with decode's Parquet files read and the stage's written; ``clocks`` and
``match`` are the two halves that look at every stamp; the peers do what ``match`` does: for each keyframe the nearest
row of each channel, with its distance.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.synchronise_drive import (
    BUCKET,
    drive_in_memory,
    drive_object,
    index_of,
    schedules,
    write_files,
)
from scenelake.adapters.objects import LocalObjects, ObjectInfo
from scenelake.simulate.clock import Schedule
from scenelake.synchronise.assign import measure_clocks
from scenelake.synchronise.build import synchronise_into
from scenelake.synchronise.clock_faults import find_faults
from scenelake.synchronise.clock_model import model_clock
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.job import synchronise_files
from scenelake.synchronise.nearest import match_nearest
from scenelake.synchronise.row_sources import TableRows
from scenelake.synchronise.scenes import choose_reference
from scenelake.synchronise.streams import read_streams
from scenelake.timebase.grids import Grid
from scenelake.timebase.scratch import Scratch

MINUTES = 60
REPEATS = 3
LENGTHS = (1, 4, 16)
"""Drives that memory is measured on, in times ``MINUTES``."""
_SAMPLING_SECONDS = 0.01


class _Memory:
    """Samples what the process has in memory: all of it, and what of it is not the copy of a file's pages."""

    def __init__(self) -> None:
        self.rss_mb, self.own_mb = 0.0, 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLING_SECONDS):
            rss_mb, own_mb = memory_mb()
            self.rss_mb, self.own_mb = max(self.rss_mb, rss_mb), max(self.own_mb, own_mb)


def memory_mb() -> tuple[float, float]:
    """Resident memory of this process, and what of it is anonymous: no file has it."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    rss_mb, own_mb = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return rss_mb, own_mb


def _timed(work: Callable[[], Any]) -> dict[str, Any]:
    """CPU and wall time, and how much the work added to the process's memory at its peak."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    before_mb = memory_mb()
    with _Memory() as memory:
        cpu, wall = time.process_time(), time.perf_counter()
        answer = work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "cpu_s": round(cpu, 3),
        "wall_s": round(wall, 3),
        "input_mb": round(before_mb[0]),
        "added_mb": round(max(memory.rss_mb - before_mb[0], 0)),
        "added_own_mb": round(max(memory.own_mb - before_mb[1], 0)),
        "answer": answer,
    }


def _stage(minutes: int) -> dict[str, Any]:
    drive = drive_in_memory(index_of(schedules(minutes)))
    with tempfile.TemporaryDirectory() as folder:
        return _timed(lambda: _nbr_rows(drive, Path(folder))["sync_index"])


def _nbr_rows(drive: Any, folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}

    def write(name: str, rows: pa.Table) -> None:
        counts[name] = counts.get(name, 0) + len(rows)

    synchronise_into(drive, SynchroniseConfig(), write, Scratch(folder))
    return counts


class _Files(LocalObjects):
    """Objects whose size costs as little to ask for as S3's."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._folder = root

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        return ObjectInfo(uri, (self._folder / uri.removeprefix("s3://")).stat().st_size, "")


def _files(minutes: int) -> dict[str, Any]:
    root = Path(os.environ["BENCHMARK_FOLDER"]) / str(minutes)
    nbr_parts = len(list(root.rglob("message_index-*.parquet")))
    objects, members = _Files(root), [drive_object(nbr_parts)]

    def work() -> int:
        _, counts = synchronise_files(objects, members, f"s3://{BUCKET}/drive", SynchroniseConfig())
        return counts["sample_data"]

    return _timed(work)


def _write(minutes: int) -> dict[str, Any]:
    return {"answer": write_files(Path(os.environ["BENCHMARK_FOLDER"]) / str(minutes), minutes)}


def _clocks(minutes: int) -> dict[str, Any]:
    streams, config = read_streams(TableRows(index_of(schedules(minutes)))).by_channel, SynchroniseConfig()

    def work() -> int:
        models = {s.channel: model for s in streams.values() if (model := model_clock(s, config)) is not None}
        return len(find_faults(models, measure_clocks(streams, choose_reference(streams), config, models), config))

    return _timed(work)


def _keyframes(planned: dict[str, Schedule]) -> np.ndarray:
    reference = np.sort(planned["/lidar"].stamp_ns)
    return np.asarray(reference[Grid(2).first_of_each_tick(reference)])


def _others(planned: dict[str, Schedule]) -> dict[str, np.ndarray]:
    return {name: s.stamp_ns for name, s in planned.items() if name != "/lidar"}


def _match(minutes: int) -> dict[str, Any]:
    planned = schedules(minutes)
    keyframes, others = _keyframes(planned), _others(planned)

    def work() -> int:
        found = [match_nearest(keyframes, np.sort(stamps, kind="stable")) for stamps in others.values()]
        return int(sum(int(np.abs(f.delta_ns).sum()) for f in found))

    return _timed(work)


def _pandas(minutes: int) -> dict[str, Any]:
    import pandas as pd

    planned = schedules(minutes)
    keyframes = pd.DataFrame({"at": _keyframes(planned)})
    others = {name: pd.DataFrame({"at": ns, "stamp": ns}) for name, ns in _others(planned).items()}

    def work() -> int:
        total = 0
        for frame in others.values():
            found = pd.merge_asof(keyframes, frame.sort_values("at"), on="at", direction="nearest")
            total += int((found["stamp"] - found["at"]).abs().sum())
        return total

    return _timed(work)


def _spark(minutes: int) -> dict[str, Any]:
    """A join within 100 ms by buckets of it, and the nearest of each keyframe: what a SQL user would write."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    bucket_ns = 100_000_000
    planned = schedules(minutes)
    session = (
        SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "4").config("spark.driver.memory", "4g")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true").getOrCreate()
    )  # fmt: skip
    session.sparkContext.setLogLevel("ERROR")
    others = _others(planned)
    channel = np.repeat(np.arange(len(others)), [len(ns) for ns in others.values()])
    stamps = session.createDataFrame(pa.table({"channel": channel, "stamp": np.concatenate(list(others.values()))}))
    keyframes = session.createDataFrame(pa.table({"at": _keyframes(planned)}))
    stamps, keyframes = stamps.cache(), keyframes.cache()
    stamps.count(), keyframes.count()

    def work() -> int:
        near = [keyframes.withColumn("bucket", f.floor(f.col("at") / bucket_ns) + i) for i in (-1, 0, 1)]
        wanted = near[0].union(near[1]).union(near[2])
        placed = stamps.withColumn("bucket", f.floor(f.col("stamp") / bucket_ns))
        away = f.abs(f.col("stamp") - f.col("at"))
        best = wanted.join(placed, "bucket").groupBy("channel", "at").agg(f.min(away).alias("away"))
        return int(best.agg(f.sum("away")).first()[0])

    measured = _timed(work)
    session.stop()
    # The work is done by another process, whose CPU time and memory this one does not see.
    return measured | {"cpu_s": measured["wall_s"], "input_mb": None, "added_mb": None, "added_own_mb": None}


MODES: dict[str, Callable[[int], dict[str, Any]]] = {
    "stage": _stage, "files": _files, "clocks": _clocks, "match": _match, "pandas": _pandas, "spark": _spark,
    "write": _write,
}  # fmt: skip
_TURNS = ("stage", "clocks", "match", "pandas", "spark")


def _measured(mode: str, minutes: int, folder: str) -> dict[str, Any]:
    settings = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_IO_THREADS")}
    settings["BENCHMARK_FOLDER"] = folder
    command = [sys.executable, "-m", "benchmarks.synchronise", mode, str(minutes)]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _lengths(say: Callable[[str], None], minutes: int, repeats: int) -> list[dict[str, Any]]:
    """The stage from files to files on ever longer drives, each written, measured and taken away."""
    found = []
    for times in LENGTHS:
        with tempfile.TemporaryDirectory(prefix="scenelake-benchmark-") as folder:
            nbr_messages = _measured("write", times * minutes, folder)["answer"]
            turns = [_measured("files", times * minutes, folder) for _ in range(repeats if times == 1 else 1)]
        best = min(turns, key=lambda turn: turn["cpu_s"])
        if best["answer"] != nbr_messages:
            raise ValueError(f"{times * minutes} minutes: expected {nbr_messages} rows, got {best['answer']}")
        found.append({"minutes": times * minutes, "nbr_stamps": nbr_messages, **best})
        say(f"files: {found[-1]}")
    return found


def run(say: Callable[[str], None], minutes: int = MINUTES, repeats: int = REPEATS) -> dict[str, Any]:
    """Measures every mode; of several turns the one with the least CPU time is kept."""
    found: dict[str, dict[str, Any]] = {}
    for mode in _TURNS:
        turns = [_measured(mode, minutes, "") for _ in range(repeats)]
        found[mode] = min(turns, key=lambda turn: turn["cpu_s"])
        say(f"{mode}: {found[mode]}")
    agree = {found[mode]["answer"] for mode in ("match", "pandas", "spark")}
    return {
        "minutes": minutes,
        "nbr_stamps": sum(len(s) for s in schedules(minutes).values()),
        "repeats": repeats,
        "modes": found,
        "lengths": _lengths(say, minutes, repeats),
        "ratio_to_pandas": round(found["pandas"]["cpu_s"] / found["match"]["cpu_s"], 1),
        "ratio_to_spark": round(found["spark"]["wall_s"] / found["match"]["wall_s"], 1),
        "do_all_agree": len(agree) == 1,
    }


def main() -> None:
    pa.set_cpu_count(1)
    mode, minutes = sys.argv[1], int(sys.argv[2])
    sys.stdout.write(json.dumps(MODES[mode](minutes)) + "\n")


if __name__ == "__main__":
    main()
