"""Which keyframe stands in which cell of a batch, by arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenelake.loader.config import StreamConfig
from scenelake.loader.reading import SceneGroup
from scenelake.loader.windows import Windows

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Layout:
    """Keyframes of n items of length l (an item is a window, or several that are packed together).

    Attributes:
        frame: (n, l) int64 row in the group; 0 where nothing stands.
        low, high: (n, l) int64, the rows of the frame's scene, half-open.
        owner: (n, l) int64 position in ``windows``; -1 where nothing stands.
        segment: (n, l) int64 number of the window in its item; -1 where nothing stands.
        windows: (w,) int64 number of every window, item by item.
        first: (n + 1,) int64, windows of item i are first[i] to first[i + 1].
    """

    frame: Int64Array
    low: Int64Array
    high: Int64Array
    owner: Int64Array
    segment: Int64Array
    windows: Int64Array
    first: Int64Array

    @property
    def is_frame(self) -> BoolArray:
        return self.owner >= 0

    def at(self, rows: slice) -> "Layout":
        """The same for some of the items; ``windows`` and ``owner`` stay those of all."""
        first = self.first[rows.start : min(rows.stop, len(self.frame)) + 1]
        return Layout(
            self.frame[rows], self.low[rows], self.high[rows], self.owner[rows], self.segment[rows], self.windows, first
        )

    def cells(self, stream: StreamConfig) -> tuple[Int64Array, BoolArray]:
        """Rows (n, l, k) that a stream gives, and which of them lie in the frame's scene; others are clipped to it."""
        wanted = self.frame[:, :, None] + np.arange(stream.first, stream.exclusive_last)
        low, high = self.low[:, :, None], self.high[:, :, None]
        inside = (wanted >= low) & (wanted < high) & self.is_frame[:, :, None]
        return np.clip(wanted, low, np.maximum(high - 1, low)), inside


def lay_out(items: Sequence[Int64Array], windows: Windows, group: SceneGroup, length: int) -> Layout:
    """Layout of items, each of which holds the numbers of its windows.

    Args:
        group: holds the windows' scenes.
        length: cells of an item.
    """
    counts = np.array([len(i) for i in items], np.int64)
    numbers = np.concatenate(items) if items else np.empty(0, np.int64)
    scene, start = windows.locate(numbers)
    lengths = windows.lengths(numbers)
    place = np.array([group.place[s] for s in scene.tolist()], np.int64)
    low, high = group.first[place], group.first[place + 1]
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    item = np.repeat(np.arange(len(items)), counts)
    before = np.cumsum(lengths) - lengths
    column = before - before[first[:-1]][item] if len(items) else before
    # Cell by cell: the window that owns it, its row and column in the layout.
    owner = np.repeat(np.arange(len(numbers)), lengths)
    within = np.arange(int(lengths.sum())) - before[owner] if len(numbers) else np.empty(0, np.int64)
    rows, columns = item[owner], column[owner] + within
    shape = (len(items), length)
    zeros, nothing = np.zeros((3, *shape), np.int64), np.full((2, *shape), -1, np.int64)
    found = Layout(zeros[0], zeros[1], zeros[2], nothing[0], nothing[1], numbers, first)
    found.frame[rows, columns] = low[owner] + start[owner] + within
    found.low[rows, columns] = low[owner]
    found.high[rows, columns] = high[owner]
    found.owner[rows, columns] = owner
    found.segment[rows, columns] = (np.arange(len(numbers)) - first[item])[owner] if len(numbers) else owner
    return found
