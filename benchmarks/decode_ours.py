"""Our decode as it is measured: ranges from storage, files to a local folder.

Writing to the local folder is a hard link, so that the processor time is decode's own. Spark and Ray run the same
function.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.peers.measuring import Facts, Step, peak_mb, tree_cpu_seconds
from scenelake.adapters.objects import LocalObjects, ObjectInfo, s3_objects
from scenelake.contracts.drops import Drop
from scenelake.contracts.ids import MERKLE_BLOCK_BYTES, merkle_root
from scenelake.contracts.paths import LakePaths, split_uri
from scenelake.contracts.stages import DropOutcome, DropVerdict
from scenelake.decode.config import DecodeConfig
from scenelake.decode.fetch import RangeSource
from scenelake.decode.parts import PartOutcome
from scenelake.decode.task import BlockRange, DecodeTask, PartOfDrop, SplitPlan
from scenelake.runtime.settings import Settings

LANDING = "landing"
DRIVE = "fleet/vehicle/drive"
NBR_PARTS = 8
"""Parts of a split object: enough for four tasks to end at about the same time."""


class LocalFile:
    """The landing bucket as one local file, read by ranges."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        return ObjectInfo(uri, self._path.stat().st_size, "local")

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        return self._path.read_bytes()

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        with self._path.open("rb") as file:
            return os.pread(file.fileno(), length, offset)


class BenchStorage:
    """Reads the landing bucket from where it is told, and keeps everything else in a local folder."""

    def __init__(self, source: RangeSource, lake: LocalObjects) -> None:
        self._source = source
        self._lake = lake

    def _of(self, uri: str) -> Any:
        return self._source if split_uri(uri)[0] == LANDING else self._lake

    def head(self, uri: str, *, version_id: str | None = None) -> Any:
        return self._of(uri).head(uri, version_id=version_id)

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        content: bytes = self._of(uri).read(uri, version_id=version_id)
        return content

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        content: bytes = self._of(uri).read_range(uri, offset, length, version_id=version_id)
        return content

    def write(self, uri: str, data: bytes) -> None:
        self._lake.write(uri, data)

    def write_file(self, uri: str, path: Path) -> None:
        self._lake.write_file(uri, path)


def bench_storage(folder: Path, endpoint_url: str, path: Path | None) -> BenchStorage:
    """Storage wherever a task runs.

    Args:
        path: the local file to read instead of the storage at the endpoint.
    """
    source: Any = LocalFile(path) if path else s3_objects(Settings(home=folder, endpoint_url=endpoint_url))
    return BenchStorage(source, LocalObjects(folder))


def landing(step: Step) -> Any:
    """The storage that the step reads."""
    return s3_objects(Settings(home=step.folder, endpoint_url=step.endpoint_url))


def task_of(step: Step) -> DecodeTask:
    """The decode task: its configuration is the default but for the step's option ``config``."""
    config = DecodeConfig(**step.options.get("config", {}))
    path = step.path if step.options.get("is_local") else None
    storage = partial(bench_storage, step.folder, step.endpoint_url, path)
    return DecodeTask(storage, LakePaths("s3://lake"), config, "benchmark")


def drops_of(step: Step) -> list[Drop]:
    """As many drops as the step's option ``nbr_drops`` says, all of the one object."""
    size_bytes = step.path.stat().st_size
    key = split_uri(step.uri)[1]
    return [
        Drop(f"{number:064x}", LANDING, key, "null", size_bytes, "etag", 0, *DRIVE.split("/"), "drive")
        for number in range(step.options.get("nbr_drops", 1))
    ]


def decode_whole(step: Step) -> DropOutcome:
    """The plain function on one object.

    Raises:
        ValueError: not every message was decoded, so that a comparison would be unfair.
    """
    outcome = task_of(step)(drops_of(step)[0])
    checked([outcome])
    return outcome


def checked(outcomes: Sequence[DropOutcome]) -> Facts:
    """Counts of what was decoded.

    Raises:
        ValueError: not every message was.
    """
    for outcome in outcomes:
        bad = [c.channel for c in outcome.channels if c.decoded != c.recorded]
        if outcome.verdict is not DropVerdict.DECODED or bad:
            raise ValueError(f"{outcome.verdict}: {outcome.detail}; topics not wholly decoded: {bad}")
    channels = [channel for outcome in outcomes for channel in outcome.channels]
    return {"messages": sum(c.read for c in channels), "payload_bytes": sum(c.payload_bytes for c in channels)}


def plain(step: Step) -> Callable[[], Facts]:
    """One task of its own, without an engine."""
    return lambda: checked([task_of(step)(drops_of(step)[0])])


def spark(step: Step) -> Callable[[], Facts]:
    """The stage's own driver code under Spark, on as many cores as the option ``cores`` says.

    The session is started by the run that warms up; its price is told beside the run.
    """
    from pyspark.sql import SparkSession

    from scenelake.adapters.spark import spark_session
    from scenelake.decode.job import decode_drops

    cores = step.options["cores"]
    before = tree_cpu_seconds() if SparkSession.getActiveSession() is None else None
    settings = Settings(home=step.folder, endpoint_url=step.endpoint_url, spark_master=f"local[{cores}]")
    session = spark_session(settings, "benchmark")
    if before is not None:
        _SESSION["session_start_cpu_s"] = tree_cpu_seconds() - before
    return lambda: {**checked(decode_drops(session, drops_of(step), task_of(step))), **_SESSION}


_SESSION: Facts = {}


def pool(step: Step) -> Callable[[], Facts]:
    """One object by parts, in so many processes as the option ``cores`` says, which are ready before the clock runs."""
    return _POOLS.setdefault(step.options["cores"], _Pool(step.options["cores"])).prepared(step)


class _Pool:
    """Processes that work on parts of an object, as tasks of an engine would."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._executor = ProcessPoolExecutor(cores, mp_context=get_context("spawn"))

    def prepared(self, step: Step) -> Callable[[], Facts]:
        # Whoever is free takes the next, so that more than the number of processes keeps none of them cold.
        list(self._executor.map(_imported, range(self._cores * 4)))
        return partial(self._run, step)

    def _run(self, step: Step) -> Facts:
        task, drop = task_of(step), drops_of(step)[0]
        plan = task.plan(drop)
        if not isinstance(plan, SplitPlan):
            raise ValueError(f"{step.path}: not to be split: {plan}")
        nbr_blocks = -(-plan.size_bytes // MERKLE_BLOCK_BYTES)
        ranges = [BlockRange(drop, plan.size_bytes, n, n + 1) for n in range(nbr_blocks)]
        digests = [digest for found in self._executor.map(task.hash_blocks, ranges) for digest in found]
        sha = merkle_root(digests)
        items = [PartOfDrop(drop, plan.size_bytes, sha, part) for part in plan.parts]
        found = list(self._executor.map(partial(_part, task), items))
        outcome = task.merge(plan, sha, [part for part, _ in found])
        return {
            **checked([outcome]),
            "nbr_parts": len(plan.parts),
            "peak_task_mb": round(max(peak for _, peak in found)),
        }


_POOLS: dict[int, _Pool] = {}


def _imported(number: int) -> str:
    """Keeps a process busy for a moment, in which the others take the rest."""
    return hashlib.sha256(bytes(8 * 1024 * 1024) + bytes([number])).hexdigest()


def _part(task: DecodeTask, item: PartOfDrop) -> tuple[PartOutcome, float]:
    outcome = task.decode_part(item)
    if outcome is None:
        raise ValueError(f"part {item.part}: the object must be read whole")
    return outcome, peak_mb(os.getpid())


def split_config(size_bytes: int) -> Facts:
    """Configuration with which an object of that size has ``NBR_PARTS`` parts."""
    return {"part_bytes": -(-size_bytes // NBR_PARTS)}
