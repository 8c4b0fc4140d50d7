"""One window: a simulated drive, estimated under its true calibration and under wrong ones."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from benchmarks.calibration.scenes import POOR, Drive, clean_drive, error_pose, keyframes, trajectory_of
from scenelake.geometry.poses import compose
from scenelake.quality.calibration.keyframes import WINDOW_FRAMES, Keyframe, alignment_table
from scenelake.simulate.geometry import generator

Job = tuple[int, str]
"""Seed and kind (empty for a clean one) of a drive."""

CONDITIONS: dict[str, tuple[float, float]] = {
    "true calibration": (0.0, 0.0),
    "0.25°": (0.25, 0.0),
    "0.5°": (0.5, 0.0),
    "10 cm": (0.0, 0.10),
}
"""Degrees and metres."""
TRUE = next(iter(CONDITIONS))


def estimate_window(job: Job) -> list[dict[str, Any]]:
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
