"""How well camera-LiDAR verification tells good calibrations from bad ones, and what it costs.

Every window is a simulated drive of its own: 100 keyframes in 40 s, with a world, a rig and noise drawn from its seed.
The same frames are judged under their true calibration and under wrong ones, each turned or moved in a direction drawn
evenly from the sphere. Limits and thresholds were chosen on other seeds (``TUNING_SEEDS``) and are those of the
checks as they ship. Windows that show nothing of a calibration must come back as not observable.
"""

import os
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration.kept import KeptWindows, code_digest
from benchmarks.calibration.real import nuscenes_peaks
from benchmarks.calibration.scenes import POOR
from benchmarks.calibration.windows import CONDITIONS, TRUE, Job, estimate_window
from benchmarks.environments import CACHE
from benchmarks.quality.statistics import Share
from scenelake.quality.calibration.keyframes import WINDOW_FRAMES
from scenelake.quality.calibration_checks import (
    CAMERA_LIDAR_ROTATION,
    CAMERA_LIDAR_TRANSLATION,
    CAMERA_LIDAR_TURNED,
    judged,
)
from scenelake.quality.checks import Verdict

TUNING_SEEDS = (
    *range(1_000, 1_030), *range(50_000, 50_125), *range(50_240, 50_245), *range(60_000, 60_010),
    *range(70_000, 70_240), *range(80_000, 80_012), *range(90_500, 90_503), *range(110_000, 110_240),
    *range(120_000, 120_012), *range(130_000, 130_240), *range(140_000, 140_012),
)  # fmt: skip
"""What thresholds were chosen on, those included on which versions before this one were measured."""
FIRST_SEED, FIRST_POOR_SEED = 150_000, 160_000
WINDOWS, CLEAN_PER_POOR = 240, 20
SUSPECT, VERIFIED, UNKNOWN = "suspect", "verified", "not observable"
HELD = "held back"
"""Suspect beyond a limit that costs the scene, with the checks' own consequences."""
LIMITED = (
    (CAMERA_LIDAR_ROTATION, "rotation"), (CAMERA_LIDAR_TURNED, "rotation"), (CAMERA_LIDAR_TRANSLATION, "translation"),
)  # fmt: skip
"""Which measured value each check holds to its limit."""


def run(
    say: Callable[[str], None], windows: int = WINDOWS, cache: Path = CACHE, processes: int | None = None
) -> dict[str, Any]:
    """Judges windows of clean and of feature-poor drives.

    Args:
        windows: clean ones; each twentieth seed brings one of every poor kind.
        cache: folder; windows that the same code has estimated already are read from there.
    """
    code = code_digest()
    kept = KeptWindows(cache / "calibration_windows.jsonl", code)
    wanted = jobs(windows)
    done = kept.rows()
    missing = [job for job in wanted if job not in done]
    started = time.monotonic()
    with get_context("spawn").Pool(processes or os.cpu_count()) as pool:
        for nbr_new, (job, rows) in enumerate(pool.imap_unordered(_estimated, missing), 1):
            kept.add(job, rows)
            done[job] = rows
            say(f"calibration: {nbr_new} of {len(missing)} windows, {time.monotonic() - started:.0f} s")
    rows = [row for job in wanted for row in done[job]]
    return summary(rows) | {"estimated_by": code, "nbr_resumed": len(wanted) - len(missing), "real": nuscenes_peaks()}


def _estimated(job: Job) -> tuple[Job, list[dict[str, Any]]]:
    return job, estimate_window(job)


def jobs(windows: int) -> list[Job]:
    """Drives in the order in which they are estimated: more windows only append, so that a run can be ended early."""
    found: list[Job] = []
    for number in range(windows):
        found.append((FIRST_SEED + number, ""))
        if number % CLEAN_PER_POOR == CLEAN_PER_POOR - 1:
            found += [(FIRST_POOR_SEED + number // CLEAN_PER_POOR, kind) for kind in POOR]
    return found


def summary(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    """Verdicts and figures of all windows."""
    found = [_judged(row) for row in estimates]
    return {
        "windows": sum(r["channel"] == TRUE for r in found),
        "frames": WINDOW_FRAMES,
        "limits": {check.name: check.limit for check, _ in LIMITED},
        "conditions": {name: _counted([r for r in found if r["channel"] == name]) for name in CONDITIONS},
        "poor": {kind: _counted([r for r in found if r["channel"] == kind]) for kind in POOR},
        "cpu_s_per_keyframe": float(np.median([r["cpu_s"] for r in found if "cpu_s" in r])),
    }


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    rotation_deg, translation_m, _ = judged(row)
    values = {"rotation": rotation_deg, "translation": translation_m}
    beyond = [check for check, name in LIMITED if (values[name] or 0.0) > check.limit]
    is_held = any(check.consequence.rank >= Verdict.QUARANTINE.rank for check in beyond)
    said = SUSPECT if beyond else UNKNOWN if None in values.values() else VERIFIED
    return row | values | {"said": said, "is_held": is_held}


def _counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of the verdicts and what was measured."""
    shares = {
        said: Share(sum(r["said"] == said for r in rows), len(rows)).to_json() for said in (SUSPECT, VERIFIED, UNKNOWN)
    }
    shares[HELD] = Share(sum(r["is_held"] for r in rows), len(rows)).to_json()
    observed = [r for r in rows if r["said"] != UNKNOWN]
    of_observed = Share(sum(r["said"] == SUSPECT for r in observed), len(observed)).to_json()
    values = {name: [round(r[name], 4) for r in rows if r[name] is not None] for name in ("rotation", "translation")}
    return {**shares, "suspect of observed": of_observed, **values}
