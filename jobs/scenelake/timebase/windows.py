"""Half-open windows of time."""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import BoolArray, Int64Array


@dataclass(frozen=True, slots=True)
class Window:
    """``[start_ns, exclusive_end_ns)``. An empty window is not a window.

    Raises:
        ValueError: when the end is not after the start.
    """

    start_ns: int
    exclusive_end_ns: int

    def __post_init__(self) -> None:
        if self.exclusive_end_ns <= self.start_ns:
            raise ValueError(f"exclusive_end_ns: expected after start_ns={self.start_ns}, got {self.exclusive_end_ns}")

    @property
    def duration_ns(self) -> int:
        return self.exclusive_end_ns - self.start_ns

    def contains(self, timestamps_ns: Int64Array) -> BoolArray:
        """Which stamps lie inside: (n,) bool."""
        return np.asarray((timestamps_ns >= self.start_ns) & (timestamps_ns < self.exclusive_end_ns))

    def slice_of(self, sorted_ns: Int64Array) -> slice:
        """The run of a non-decreasing array that lies inside."""
        first, last = np.searchsorted(sorted_ns, [self.start_ns, self.exclusive_end_ns])
        return slice(int(first), int(last))


def window_of(timestamps_ns: Int64Array, windows: tuple[Window, ...]) -> Int64Array:
    """Position of the window that holds each stamp, -1 for none: (n,) int64.

    Args:
        timestamps_ns: (n,) in any order.
        windows: sorted and disjoint; they may touch.

    Raises:
        ValueError: when the windows overlap or are out of order.
    """
    starts = np.array([w.start_ns for w in windows], np.int64)
    ends = np.array([w.exclusive_end_ns for w in windows], np.int64)
    if np.any(starts[1:] < ends[:-1]):
        raise ValueError("windows: expected sorted and disjoint")
    if not windows:
        return np.full(len(timestamps_ns), -1, np.int64)
    position = np.searchsorted(starts, timestamps_ns, side="right") - 1
    inside = (position >= 0) & (timestamps_ns < ends[np.maximum(position, 0)])
    return np.where(inside, position, -1).astype(np.int64)
