"""``rejudge``: another policy for a lake of many scenes, from the data files of a catalog on disk to a new release.

Every scene has a measurement of every check for each of a car's sensors. The limit is 60 s for 100,000 scenes.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.adapters.iceberg import IcebergCommitter
from scenelake.adapters.local_catalog import open_local_catalog
from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, ReleaseDelta, TablePin, release_id
from scenelake.contracts.tables import GOLD
from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.checks import Check
from scenelake.quality.config import QualityPolicy
from scenelake.quality.judge import findings_of, result_table
from scenelake.rejudge.run import judge_release
from scenelake.serialise.merkle import release_root
from scenelake.serialise.releases import write_release

NBR_SCENES = 100_000
LIMIT_SECONDS = 60.0
_SCENES_A_BATCH = 1_000
_SCENES_A_DRIVE = 50
_CHANNELS = [
    *((f"/camera/{n}", "camera") for n in ("front", "left", "right", "rear", "rear_left", "rear_right")),
    *((f"/lidar/{n}", "lidar") for n in ("top", "front")),
    *((f"/radar/{n}", "radar") for n in ("front", "left", "right")),
    ("/imu", "imu"), ("/gnss", "gnss"), ("/odom", "ego_pose"),
]  # fmt: skip
_GOOD = QualityPolicy()
_SHARES = (0.0, 0.001, 0.01)


def run(say: Callable[[str], None], *, scale: float = 1.0) -> dict[str, Any]:
    """Fills a lake and judges it by policies that change none of its scenes, some, and one in eight."""
    count = max(int(NBR_SCENES * scale) // _SCENES_A_BATCH, 1) * _SCENES_A_BATCH
    with tempfile.TemporaryDirectory(prefix="scenelake-rejudge-") as folder:
        root = Path(folder)
        committer = IcebergCommitter(open_local_catalog(root, "bench"), "bench", LakePaths(f"file://{root}/lake"))
        objects, paths = LocalObjects(root / "s3"), LakePaths("s3://lake")
        say(f"writing {count:,} scenes with {len(_measured()):,} measurements each")
        write_release(objects, paths, _filled(committer, count))
        found = [_judged(say, share, committer, objects, paths) for share in _SHARES]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worst = max(row["seconds"] for row in found)
    return {
        "nbr_scenes": count, "nbr_measurements": count * len(_measured()), "policies": found, "peak_mb": round(peak_mb),
        "seconds_for_100000_scenes": round(worst * NBR_SCENES / count, 1), "limit_seconds": LIMIT_SECONDS,
    }  # fmt: skip


def _measured() -> list[tuple[str, str, Check]]:
    """The checks that a scene has on each channel: those of every sensor, and those of its kind."""
    return [
        (channel, modality, check)
        for channel, modality in _CHANNELS
        for name, check in CATALOGUE.items()
        if name.partition(".")[0] in (name, "time", modality) or (modality == "ego_pose" and name.startswith("motion."))
    ]


def _judged(
    say: Callable[[str], None], share: float, committer: IcebergCommitter, objects: LocalObjects, paths: LakePaths
) -> dict[str, Any]:
    # Completeness lies evenly between 0.9 and 1.9, so that the limit decides how many sensors fall
    # short of it; a scene changes with any of its sensors.
    policy = QualityPolicy(limits={"completeness": 0.9 + share})
    started, cpu = time.perf_counter(), time.process_time()
    judgement = judge_release(policy, committer, objects, paths)
    seconds = time.perf_counter() - started
    changed = sum(judgement.changes.values())
    say(f"{changed:,} scenes change: {seconds:.1f} s")
    return {
        "share": share, "nbr_changed": changed, "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2), "has_release": judgement.release is not None,
    }  # fmt: skip


def _filled(committer: IcebergCommitter, count: int) -> Release:
    pins: dict[str, TablePin] = {}
    scenes: dict[str, tuple[str, str]] = {}
    for number, first in enumerate(range(0, count, _SCENES_A_BATCH)):
        ids = [f"00000000-0000-5000-8000-{scene:012x}" for scene in range(first, first + _SCENES_A_BATCH)]
        drives = [f"10000000-0000-5000-8000-{(first + i) // _SCENES_A_DRIVE:012x}" for i in range(len(ids))]
        day = date(2026, 1, 1) + timedelta(days=number // 30)
        scenes |= {scene: (drive, "0" * 64) for scene, drive in zip(ids, drives, strict=True)}
        measured = _measurements(ids, drives, day, np.random.default_rng(number))
        kept = [
            {"release_id": "r00000001", "scene_id": s, "drive_id": d, "revision": "0" * 64, "verdict": "pass",
             "is_kept": True, "kept_because": "quality says pass", "split": "train", "split_group": d,
             "drive_date": day}
            for s, d in zip(ids, drives, strict=True)
        ]  # fmt: skip
        rows = {
            "qc_measurement": measured,
            "qc_result": findings_of(result_table(measured, _GOOD)),
            "release_scene": pa.Table.from_pylist(kept, GOLD["release_scene"].schema),
        }
        owners = tuple(sorted(set(drives)))
        for name, table in rows.items():
            token = CommitToken(f"b{number:06d}", 1, release_id(1))
            pin = committer.commit(TableChange(GOLD[name], table, owners=owners), token, pins.get(name))
            pins |= {name: pin} if pin is not None else {}
    committer.publish(pins, 1)
    return Release(
        release_id(1), 1, None, "b000000", 1, "recipe", 0, release_root(scenes), pins,
        ReleaseDelta(tuple(scenes), {}, ()), scenes,
    )  # fmt: skip


def _measurements(ids: list[str], drives: list[str], day: date, random: np.random.Generator) -> pa.Table:
    """Every check of every channel of every scene: all good."""
    of_scene = _measured()
    limits = np.array([_GOOD.ruling(check, channel, modality).limit for channel, modality, check in of_scene])
    spread = np.array([check.name == "completeness" for _, _, check in of_scene])
    measured = np.where(spread, 0.9 + random.random((len(ids), len(of_scene))), limits)
    columns: dict[str, Any] = {
        "scene_id": np.repeat(np.array(ids, object), len(of_scene)),
        "drive_id": np.repeat(np.array(drives, object), len(of_scene)),
        "channel": [channel for channel, _, _ in of_scene] * len(ids),
        "modality": [modality for _, modality, _ in of_scene] * len(ids),
        "check_name": [check.name for _, _, check in of_scene] * len(ids),
        "check_version": [check.version for _, _, check in of_scene] * len(ids),
        "measured": measured.reshape(-1),
        "scale": np.zeros(measured.size),
        "description": [f"{channel}: 190 of 200 messages" for channel, _, _ in of_scene] * len(ids),
        "evidence": ['{"median_period_ns":50000000,"nbr_distinct":190,"nbr_expected":200}'] * measured.size,
        "drive_date": [day] * measured.size,
    }
    schema = GOLD["qc_measurement"].schema
    return pa.table({f.name: pa.array(columns[f.name], f.type) for f in schema}, schema=schema)
