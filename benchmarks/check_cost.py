"""``check_cost``: what the checks cost beside decode, in processor time: at most a quarter of it.

Decode measures images and sweeps while their bytes are at hand; quality reads what that left, measures, and judges.
Both count, against a decode that measures nothing. All of a recording is timed in this process, in turns, after a small
one that is not counted; the best is kept. Files are local, and writing them is a hard link.
"""

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.recordings import write_recording
from scenelake.adapters.calibration_keyframes import camera_lidar_alignment
from scenelake.adapters.objects import LocalObjects, ObjectInfo, write_json, write_table
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths, split_uri
from scenelake.contracts.stages import DropOutcome
from scenelake.convert.converters import CONVERTERS
from scenelake.decode.config import DecodeConfig
from scenelake.decode.measured_rows import MeasuredRows
from scenelake.decode.task import DecodeTask
from scenelake.quality.catalogue import MEASURES
from scenelake.quality.config import QualityPolicy
from scenelake.quality.job import read_facts
from scenelake.quality.judge import findings_of, measurement_table, result_table, verdict_table
from scenelake.simulate.config import plan_default_drive
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.robot import simulate_robot_session
from scenelake.simulate.robot_config import plan_default_session
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveObject
from scenelake.synchronise.job import read_drive

LIMIT_SHARE = 0.25
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
REPEATS = 3
_MIXED_SECONDS = 20
_WINDOW_SECONDS = 250
"""The shortest drive with the hundred keyframes that the camera-LiDAR check asks for: there it costs most."""
_WARM_SECONDS = 2.0
_SHOWN_PARTS = 6
_READING = "reading tables"

Seconds = dict[str, float]


@dataclass(frozen=True)
class Source:
    """A recording and what it stands for."""

    name: str
    about: str
    write: Callable[[Path], object]


def sources(scale: float) -> Iterator[Source]:
    """Made recordings, and real ones where they are at hand."""
    for name, kind, length in (
        ("mixed", "mixed", _MIXED_SECONDS),
        ("mixed, calibrated", "calibrated", _WINDOW_SECONDS),
    ):
        seconds = max(length * scale, _WARM_SECONDS)
        yield Source(
            name, f"{seconds:g} s: 6 cameras 1280x720, a LiDAR, IMU, CAN, odometry",
            partial(write_recording, kind, seconds=seconds),
        )  # fmt: skip
    yield Source(
        "simulated drive", "40 s: 3 small cameras, LiDAR, radar, IMU, GNSS, odometry",
        lambda path: simulate_drive(plan_default_drive(7), path),
    )  # fmt: skip
    yield Source(
        "simulated robot", "12 episodes of a humanoid: 2 small cameras, joints, actions",
        lambda path: simulate_robot_session(plan_default_session(7).model_copy(update={"episodes": 12}), path),
    )  # fmt: skip
    for name, folder in (("radiate", "radiate_tiny_foggy"), ("comma2k19", "comma2k19_example1"),
                         ("donkeycar", "donkeycar_tub")):  # fmt: skip
        if (REAL / folder).is_dir():
            yield Source(name, f"real: {folder}", partial(CONVERTERS[name], REAL / folder))


def run(say: Callable[[str], None], *, scale: float = 1.0, repeats: int = REPEATS) -> dict[str, Any]:
    """Measures every recording.

    Args:
        scale: of the length of the largest recording; 1 for results that are kept.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="scenelake-check-cost-") as name:
        path = Path(name) / "warm.mcap"
        write_recording("calibrated", path, _WARM_SECONDS)
        measured(path, 1)
    for source in sources(scale):
        with tempfile.TemporaryDirectory(prefix="scenelake-check-cost-") as name:
            path = Path(name) / "recording.mcap"
            source.write(path)
            row = {"name": source.name, "about": source.about, **measured(path, repeats)}
        say(f"check_cost: {source.name}: {row['share']:.1%} of decode")
        found.append(row)
    return {"limit_share": LIMIT_SHARE, "repeats": repeats, "recordings": found}


def measured(path: Path, repeats: int) -> dict[str, Any]:
    """Processor time of one recording: decode without and with measurements, and the checks, by family."""
    turns: list[Seconds] = []
    parts: list[Seconds] = []
    facts: dict[str, Any] = {}
    for _ in range(repeats):
        with _stage(path) as stage:
            bare, _ = _timed(stage.decode_bare)
            stage.forget()
            whole, outcome = _timed(stage.decode)
            quality, facts = stage.check(outcome)
        turns.append({"decode_s": bare, "measuring_s": whole - bare})
        parts.append(quality)
    decode_s = min(turn["decode_s"] for turn in turns)
    # Of the difference of two, the least would flatter.
    measuring_s = max(median(turn["measuring_s"] for turn in turns), 0.0)
    best = {name: min(part.get(name, 0.0) for part in parts) for name in parts[0]}
    reading_s = best.pop(_READING)
    with _stage(path) as stage:
        in_decode = stage.measuring_by_table()
    checks_s = measuring_s + sum(best.values())
    return {
        **facts, "size_mb": round(path.stat().st_size / 1e6, 1), "decode_cpu_s": round(decode_s, 3),
        "measuring_cpu_s": round(measuring_s, 3), "checks_cpu_s": round(sum(best.values()), 3),
        "reading_cpu_s": round(reading_s, 3), "share": round(checks_s / decode_s, 4),
        "share_with_reading": round((checks_s + reading_s) / decode_s, 4),
        "is_met": checks_s <= LIMIT_SHARE * decode_s,
        "measuring_by_table_s": _largest_first(in_decode), "checks_by_part_s": _largest_first(best),
    }  # fmt: skip


class Storage(LocalObjects):
    """A folder that answers a question about an object as S3 does: without reading the object."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._root = root

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        bucket, key = split_uri(uri)
        return ObjectInfo(uri, (self._root / bucket / key).stat().st_size, "etag")


class Stage:
    """The stages on one recording, in a folder of its own."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._folder = folder
        self._objects = Storage(folder)
        self._paths = LakePaths("s3://lake")
        key = "fleet/vehicle/drive/recording.mcap"
        self._objects.write_file(f"s3://landing/{key}", path)
        self.drop = Drop(
            ids.drop_id("landing", key, "1"), "landing", key, "1", path.stat().st_size, "e", 1, "fleet", "vehicle",
            "drive", ids.drive_id("fleet", "vehicle", "drive"),
        )  # fmt: skip

    def decode(self) -> DropOutcome:
        return DecodeTask(lambda: self._objects, self._paths, DecodeConfig(), "r")(self.drop)

    def forget(self) -> None:
        """Removes what was made, so that it is made again."""
        shutil.rmtree(self._folder / "lake")

    def decode_bare(self) -> DropOutcome:
        """Decode that measures nothing."""
        with patch.object(MeasuredRows, "take", lambda *_: None):
            return self.decode()

    def measuring_by_table(self) -> Seconds:
        """What decode's measurements take, by payload table."""
        spent: defaultdict[str, float] = defaultdict(float)
        take = MeasuredRows.take

        def timed(rows: MeasuredRows, table: str, row: dict[str, Any]) -> None:
            started = time.thread_time()
            take(rows, table, row)
            spent[table] += time.thread_time() - started

        with patch.object(MeasuredRows, "take", timed):
            self.decode()
        return {table: seconds for table, seconds in spent.items() if seconds >= 0.0005}

    def check(self, outcome: DropOutcome) -> tuple[Seconds, dict[str, Any]]:
        """What quality takes, by what it does, and counts."""
        member = DriveObject(self.drop, self._paths.decoded("r", self.drop.drop_id), outcome)
        drive = read_drive(self._objects, [member])
        done = synchronise_drive(drive, SynchroniseConfig())
        folder = "s3://lake/drive"
        for table, rows in done.tables.items():
            write_table(self._objects, f"{folder}/{table}.parquet", rows)
        write_json(self._objects, f"{folder}/clocks.json", [asdict(clock) for clock in done.clocks])
        spent: defaultdict[str, float] = defaultdict(float)
        aligning = 0.0

        def aligned(*arguments: Any) -> Any:
            nonlocal aligning
            aligning, table = _timed(partial(camera_lidar_alignment, *arguments))
            return table

        with patch("scenelake.quality.job.camera_lidar_alignment", aligned):
            reading, facts = _timed(partial(read_facts, self._objects, folder, drive.plan, QualityPolicy()))
        spent["camera-LiDAR keyframes"] = aligning
        spent[_READING] = reading - aligning
        found = []
        for function in MEASURES:
            seconds, measurements = _timed(lambda function=function: list(function(facts)))  # type: ignore[misc]
            spent[function.__module__.rpartition(".")[2]] += seconds
            found += measurements
        spent["judging"], table = _timed(partial(_judged, found, [scene.scene_id for scene in facts.scenes]))
        messages = sum(channel.read for channel in outcome.channels)
        return dict(spent), {"nbr_messages": messages, "nbr_scenes": len(facts.scenes), "nbr_measurements": table}


def _judged(measurements: Sequence[Any], scene_ids: Sequence[str]) -> int:
    table = measurement_table(measurements)
    results = result_table(table, QualityPolicy())
    findings_of(results)
    verdict_table(scene_ids, results)
    return len(table)


@contextmanager
def _stage(path: Path) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="scenelake-check-cost-", dir=path.parent) as name:
        yield Stage(path, Path(name))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of all threads, and the answer."""
    started = time.process_time()
    answer = work()
    return time.process_time() - started, answer


def _largest_first(seconds: Mapping[str, float]) -> Seconds:
    return {name: round(s, 4) for name, s in sorted(seconds.items(), key=lambda item: -item[1])}


def write(result: dict[str, Any], path: Path) -> None:
    """Writes the result as a page beside its JSON."""
    rows = result["recordings"]
    lines = [
        "# What the checks cost",
        "",
        "Generated by `make bench`; do not edit. Processor time of all threads, best of"
        f" {result['repeats']} turns. Decode is the one that measures nothing; *measuring* is what image and sweep"
        " statistics add to it (median of the turns); *checks* is evaluating and judging them, with the keyframes"
        " that the camera-LiDAR check reads; *reading* is the tables that quality reads for it. Goal: measuring and"
        f" checks together at most {result['limit_share']:.0%} of decode.",
        "",
        f"Commit {(result['commit'] or 'unknown')[:12]}{' with changes' if result['dirty'] else ''}.",
        "",
        "| recording | MB | messages | scenes | decode, CPU s | measuring | checks | of decode | met | reading"
        " | with reading |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['name']} | {row['size_mb']:,} | {row['nbr_messages']:,} | {row['nbr_scenes']} |"
            f" {row['decode_cpu_s']:.2f} | {row['measuring_cpu_s']:.2f} | {row['checks_cpu_s']:.2f} |"
            f" {row['share']:.1%} | {'yes' if row['is_met'] else '**no**'} | {row['reading_cpu_s']:.2f} |"
            f" {row['share_with_reading']:.1%} |"
            for row in rows
        ),
        "",
        "## Where it goes",
        "",
        "| recording | what it is | measuring, CPU s | checks, CPU s |",
        "|---|---|---|---|",
        *(
            f"| {row['name']} | {row['about']} | {_told(row['measuring_by_table_s'])} |"
            f" {_told(row['checks_by_part_s'])} |"
            for row in rows
        ),
        "",
    ]
    path.with_suffix(".md").write_text("\n".join(lines))


def _told(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {s:.3f}" for name, s in list(seconds.items())[:_SHOWN_PARTS]) or "–"
