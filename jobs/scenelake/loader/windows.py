"""Sliding windows over the keyframes of scenes, by arithmetic: nothing is read to know how many there are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scenelake.loader.config import WindowConfig, WindowEnds

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """All windows of some scenes, numbered by scene and start.

    A window starts at every ``stride``-th keyframe of its scene, as long as the one before it leaves keyframes
    uncovered. It never leaves its scene.

    Attributes:
        nbr_frames: (s,) int64 keyframes of each scene.
    """

    nbr_frames: Int64Array
    config: WindowConfig

    @cached_property
    def counts(self) -> Int64Array:
        """(s,) windows of each scene."""
        n, length, stride = self.nbr_frames, self.config.length, self.config.stride
        if self.config.ends is WindowEnds.DROP:
            return np.where(n >= length, (n - length) // stride + 1, 0)
        # Start k exists when it lies in the scene and window k - 1 ends before the scene does.
        last = np.minimum(-(-n // stride) - 1, np.maximum(-(-(n - length) // stride), 0))
        counts: Int64Array = np.where(n > 0, last + 1, 0)
        return counts

    @cached_property
    def first(self) -> Int64Array:
        """(s + 1,) number of the first window of each scene, and of all windows."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.first[-1])

    def locate(self, windows: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Scene and first keyframe of each window: (n,) and (n,) int64."""
        scene = np.searchsorted(self.first, windows, side="right") - 1
        return scene, (windows - self.first[scene]) * self.config.stride

    def lengths(self, windows: Int64Array) -> Int64Array:
        """(n,) keyframes that each window really has, at most ``length``."""
        scene, start = self.locate(windows)
        lengths: Int64Array = np.minimum(self.config.length, self.nbr_frames[scene] - start)
        return lengths


def runs_of(counts: Int64Array, run_windows: int | None) -> tuple[Int64Array, Int64Array]:
    """Runs of neighbouring windows of one scene: first window and count of each.

    Args:
        counts: (s,) windows of each scene.
        run_windows: longest run; None for whole scenes.
    """
    firsts = np.cumsum(counts) - counts
    if run_windows is None:
        kept = counts > 0
        return firsts[kept], counts[kept]
    nbr_runs = -(-counts // run_windows)
    scene = np.repeat(np.arange(len(counts)), nbr_runs)
    within = np.arange(len(scene)) - np.repeat(np.cumsum(nbr_runs) - nbr_runs, nbr_runs)
    return firsts[scene] + within * run_windows, np.minimum(run_windows, counts[scene] - within * run_windows)
