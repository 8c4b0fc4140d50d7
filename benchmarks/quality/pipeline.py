"""A recording through decode, synchronise, the checks and the policy, as the pipeline does it, on this machine."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.quality.recording import Recording
from scenelake.adapters.objects import LocalObjects, write_json, write_table
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.decode.config import DecodeConfig
from scenelake.decode.task import DecodeTask
from scenelake.quality.baseline import Baselines
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts
from scenelake.quality.job import read_facts
from scenelake.quality.judge import measure, measurement_table, result_table, verdict_table
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveObject
from scenelake.synchronise.job import read_drive

FileEdit = Callable[[bytes], bytes]
POLICY = QualityPolicy(calibration_share=1.0, max_calibration_keyframes=120)
"""The default, but that the camera-LiDAR check looks at drives of two minutes."""


def facts_of(recording: Recording, robot_id: str, baselines: Baselines, edit: FileEdit | None = None) -> DriveFacts:
    """What the checks see of a recording.

    Args:
        edit: what happens to the file before it is decoded.
    """
    with tempfile.TemporaryDirectory(prefix="scenelake-trial-") as name:
        folder = Path(name)
        file = folder / "recording.mcap"
        recording.write(file)
        if edit is not None:
            file.write_bytes(edit(file.read_bytes()))
        objects = LocalObjects(folder / "s3")
        key = f"fleet/{robot_id}/drive/{file.name}"
        objects.write_file(f"s3://landing/{key}", file)
        drop = Drop(
            ids.drop_id("landing", key, "1"), "landing", key, "1", file.stat().st_size, "e", 1, "fleet", robot_id,
            "drive", ids.drive_id("fleet", robot_id, "drive"),
        )  # fmt: skip
        paths = LakePaths("s3://lake")
        outcome = DecodeTask(lambda: objects, paths, DecodeConfig(), "r")(drop)
        drive = read_drive(objects, [DriveObject(drop, paths.decoded("r", drop.drop_id), outcome)])
        done = synchronise_drive(drive, SynchroniseConfig())
        for table, rows in done.tables.items():
            write_table(objects, f"s3://lake/drive/{table}.parquet", rows)
        write_json(objects, "s3://lake/drive/clocks.json", [asdict(clock) for clock in done.clocks])
        return replace(read_facts(objects, "s3://lake/drive", drive.plan, POLICY), baselines=baselines)


def judged(
    facts: DriveFacts, policy: QualityPolicy, windows: Mapping[int, tuple[int, int]]
) -> tuple[list[dict[str, Any]], dict[int, str], pa.Table]:
    """Findings (rows of ``qc_result``, each with its scene's number), verdicts by scene, and the measurements.

    Args:
        windows: by number of a scene, when it is, in ns.
    """
    measurements = measurement_table(measure(facts))
    results = result_table(measurements, policy)
    numbers = {
        scene.scene_id: number
        for scene in facts.scenes
        for number, (start_ns, exclusive_end_ns) in windows.items()
        if start_ns <= scene.start_ns < exclusive_end_ns
    }
    rows = results.select(["scene_id", "channel", "check_name", "measured", "verdict"]).to_pylist()
    rows = [row | {"scene": numbers[row["scene_id"]]} for row in rows if row["scene_id"] in numbers]
    verdicts = verdict_table(list(numbers), results)["verdict"].to_pylist()
    return rows, dict(zip(numbers.values(), verdicts, strict=True)), measurements
