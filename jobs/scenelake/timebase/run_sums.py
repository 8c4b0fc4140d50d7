"""Runs of positions that come block by block, with sums of what is said of them; at most a given number."""

from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import Int64Array


@dataclass(frozen=True, slots=True)
class Runs:
    """(m,) arrays, in order.

    Attributes:
        firsts, lasts: first and last position of each run.
        counts: positions in it.
        least, largest, sums: of their values.
    """

    firsts: Int64Array
    lasts: Int64Array
    counts: Int64Array
    least: np.ndarray
    largest: np.ndarray
    sums: np.ndarray

    def __len__(self) -> int:
        return len(self.firsts)

    def merged(self, max_hole: int) -> "Runs":
        """Runs with at most so many positions between them are one."""
        if len(self) == 0:
            return self
        starts = np.flatnonzero(np.concatenate([[True], self.firsts[1:] - self.lasts[:-1] > max_hole + 1]))
        ends = np.append(starts[1:], len(self)) - 1
        return Runs(
            self.firsts[starts],
            self.lasts[ends],
            np.add.reduceat(self.counts, starts),
            np.minimum.reduceat(self.least, starts),
            np.maximum.reduceat(self.largest, starts),
            np.add.reduceat(self.sums, starts),
        )

    def joined(self, other: "Runs") -> "Runs":
        """Both, one after the other."""
        if not len(self) or not len(other):
            return self if len(self) else other
        pairs = zip(*((r.firsts, r.lasts, r.counts, r.least, r.largest, r.sums) for r in (self, other)), strict=True)
        return Runs(*(np.concatenate(pair) for pair in pairs))


class RunSums:
    """Collects runs of set positions. Where there are more than ``max_runs``, those that are further apart are told as
    one as well: the answer is the same however the positions were cut into blocks.

    Args:
        max_hole: runs with at most so many positions between them are one.
    """

    def __init__(self, max_hole: int, max_runs: int) -> None:
        self._max_hole = max_hole
        self._max_runs = max_runs
        nothing = np.empty(0, np.int64)
        self.runs = Runs(nothing, nothing, nothing, nothing, nothing, nothing)

    def add(self, positions: Int64Array, values: np.ndarray, sums: np.ndarray | None = None) -> None:
        """Adds positions behind all others.

        Args:
            values: (k,) of each, of which the least and the largest are kept.
            sums: (k,) of each, which are added up; the values where they are not given.
        """
        if len(positions) == 0:
            return
        ones = np.ones(len(positions), np.int64)
        added = Runs(positions, positions, ones, values, values, values if sums is None else sums)
        self.runs = self.runs.joined(added.merged(self._max_hole)).merged(self._max_hole)
        while len(self.runs) > self._max_runs:
            self._max_hole *= 4
            self.runs = self.runs.merged(self._max_hole)
