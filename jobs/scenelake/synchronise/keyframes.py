"""Keyframes of one scene."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.scenes import SceneWindow
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.grids import Grid
from scenelake.timebase.windows import Window


@dataclass(frozen=True, slots=True)
class Keyframes:
    """Strictly increasing stamps, and which of them are on the default grid.

    Attributes:
        timestamps_ns: (m,) int64.
        is_key_frame: (m,) bool, the first of its tick of ``keyframe_ticks_per_second``.
    """

    timestamps_ns: Int64Array
    is_key_frame: BoolArray


def keyframes_of(
    scene: SceneWindow, stretches: Sequence[Window], reference_ns: Int64Array | None, config: SynchroniseConfig
) -> Keyframes:
    """Chooses a scene's keyframes.

    With a reference they are rows of it: the first in each tick (half-open, from the tick to the next) of the
    epoch's grid, or every row where the native rate is asked for and in episodes; a second row with the same
    stamp is none. Without one they are the ticks themselves, where there is data: one wrong stamp may lie decades
    away from the others, and nobody could hold (or use) the ticks in between.

    Args:
        stretches: of the scene that hold data, disjoint and in order (``assign.data_stretches``).
        reference_ns: (n,) non-decreasing decoded stamps of the reference over the drive; None for a fixed grid.
    """
    grid = Grid(config.keyframe_ticks_per_second)
    is_episode = scene.kind == "episode"
    if reference_ns is None:
        ticking = Grid(config.fixed_grid_episode_hz) if is_episode else grid
        stamps = np.concatenate([np.empty(0, np.int64), *(ticking.times_in(s) for s in stretches)])
    else:
        stamps = np.unique(reference_ns[scene.window.slice_of(reference_ns)])
    on_grid = np.zeros(len(stamps), np.bool_)
    on_grid[grid.first_of_each_tick(stamps)] = True
    if reference_ns is not None and not (is_episode or config.is_native_rate):
        return Keyframes(stamps[on_grid], on_grid[on_grid])
    return Keyframes(stamps, on_grid)
