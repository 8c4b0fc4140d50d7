"""How well camera-LiDAR verification tells good calibrations from bad ones, and what it costs.

Every window is a simulated drive of its own: 100 keyframes in 40 s, with a world, a rig and noise drawn from its seed.
The same frames are judged under their true calibration and under wrong ones, each turned or moved in a direction drawn
evenly from the sphere. Limits and thresholds were chosen on other seeds (``TUNING_SEEDS``) and are those of the
checks as they ship. Windows that show nothing of a calibration must come back as not observable.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np

from benchmarks.calibration.real import nuscenes_peaks
from benchmarks.calibration.scenes import POOR, Drive, clean_drive, error_pose, keyframes, trajectory_of
from benchmarks.quality.statistics import Share
from scenelake.geometry.poses import compose
from scenelake.quality.calibration.keyframes import WINDOW_FRAMES, Keyframe, alignment_table
from scenelake.quality.calibration_checks import CAMERA_LIDAR_ROTATION, CAMERA_LIDAR_TRANSLATION, judged
from scenelake.simulate.geometry import generator

TUNING_SEEDS = (*range(1_000, 1_030), *range(50_000, 50_040))
FIRST_SEED, FIRST_POOR_SEED = 50_040, 60_000
WINDOWS, POOR_WINDOWS = 200, 40
CONDITIONS: dict[str, tuple[float, float]] = {
    "true calibration": (0.0, 0.0),
    "0.25°": (0.25, 0.0),
    "0.5°": (0.5, 0.0),
    "10 cm": (0.0, 0.10),
}
"""Degrees and metres."""
TRUE = next(iter(CONDITIONS))
SUSPECT, VERIFIED, UNKNOWN = "suspect", "verified", "not observable"


def run(say: Callable[[str], None], windows: int = WINDOWS, poor_windows: int = POOR_WINDOWS) -> dict[str, Any]:
    """Judges windows of clean and of feature-poor drives."""
    started = time.monotonic()
    found: list[dict[str, Any]] = []
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        for rows in pool.imap_unordered(estimate_window, jobs(windows, poor_windows)):
            found += rows
            say(f"calibration: {len(found)} estimates, {time.monotonic() - started:.0f} s")
    return summary(found) | {"real": nuscenes_peaks(), "wall_s": time.monotonic() - started}


def jobs(windows: int, poor_windows: int) -> list[tuple[int, str]]:
    """Seed and kind (empty for a clean one) of every drive."""
    clean = [(seed, "") for seed in range(FIRST_SEED, FIRST_SEED + windows)]
    poor = [(FIRST_POOR_SEED + i, kind) for i in range(poor_windows) for kind in POOR]
    return clean + poor


def summary(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    """Verdicts and figures of all windows."""
    found = [_judged(row) for row in estimates]
    return {
        "windows": sum(r["channel"] == TRUE for r in found),
        "frames": WINDOW_FRAMES,
        "limits": {c.name: c.limit for c in (CAMERA_LIDAR_ROTATION, CAMERA_LIDAR_TRANSLATION)},
        "conditions": {name: _counted([r for r in found if r["channel"] == name]) for name in CONDITIONS},
        "poor": {kind: _counted([r for r in found if r["channel"] == kind]) for kind in POOR},
        "cpu_s_per_keyframe": float(np.median([r["cpu_s"] for r in found if "cpu_s" in r])),
    }


def estimate_window(job: tuple[int, str]) -> list[dict[str, Any]]:
    """One row of ``ALIGNMENT_SCHEMA`` per condition of one drive, which stands as its channel."""
    seed, kind = job
    cv2.setNumThreads(1)
    drive = POOR[kind](clean_drive(seed)) if kind else clean_drive(seed)
    conditions = {kind: (0.0, 0.0)} if kind else CONDITIONS
    random = generator(seed, "directions")
    errors = {}
    for name, (rotation_deg, translation_m) in conditions.items():
        direction = random.normal(size=3)
        direction /= np.linalg.norm(direction)
        errors[name] = error_pose(np.radians(rotation_deg) * direction, translation_m * direction)
    clock = _Clock()
    table = alignment_table(_with_errors(drive, errors, clock), trajectory_of(drive))
    cpu_s = clock.spent_s() / WINDOW_FRAMES / len(conditions)
    return [row | {"seed": seed, "cpu_s": cpu_s} for row in table.to_pylist()]


class _Clock:
    """CPU time outside the making of frames."""

    def __init__(self) -> None:
        self._start, self._making = time.process_time(), 0.0

    def making(self, seconds: float) -> None:
        self._making += seconds

    def spent_s(self) -> float:
        return time.process_time() - self._start - self._making


def _with_errors(drive: Drive, errors: dict[str, np.ndarray], clock: _Clock) -> Iterator[Keyframe]:
    """The drive's keyframes with one image for each wrong calibration, under its name."""
    made = keyframes(drive, WINDOW_FRAMES)
    while True:
        before = time.process_time()
        keyframe = next(made, None)
        clock.making(time.process_time() - before)
        if keyframe is None:
            return
        (image,) = keyframe.images
        images = tuple(
            replace(
                image, channel=name, view=replace(image.view, ego_from_camera=compose(image.view.ego_from_camera, pose))
            )
            for name, pose in errors.items()
        )
        yield replace(keyframe, images=images)


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    rotation_deg, translation_m, _ = judged(row)
    is_bad = (rotation_deg or 0.0) > CAMERA_LIDAR_ROTATION.limit or (
        translation_m or 0.0
    ) > CAMERA_LIDAR_TRANSLATION.limit
    is_known = rotation_deg is not None and translation_m is not None
    said = SUSPECT if is_bad else VERIFIED if is_known else UNKNOWN
    return row | {"said": said, "rotation": rotation_deg, "translation": translation_m}


def _counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of the verdicts and what was measured."""
    shares = {
        said: Share(sum(r["said"] == said for r in rows), len(rows)).to_json() for said in (SUSPECT, VERIFIED, UNKNOWN)
    }
    observed = [r for r in rows if r["said"] != UNKNOWN]
    of_observed = Share(sum(r["said"] == SUSPECT for r in observed), len(observed)).to_json()
    values = {name: [round(r[name], 4) for r in rows if r[name] is not None] for name in ("rotation", "translation")}
    return {**shares, "suspect of observed": of_observed, **values}
