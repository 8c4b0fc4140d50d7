"""Count, mean, spread and extremes of columns of numbers that come in pieces, in memory for one piece."""

from dataclasses import dataclass, field

import numpy as np

from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array


@dataclass
class RunningMoments:
    """Of rows of ``width`` numbers, by the pairwise update of Chan, Golub and LeVeque (1983).

    Equal to NumPy's on all rows at once within float64 rounding. Numbers that are not finite do not count.

    Attributes:
        count: (w,) int64 numbers so far, of each column.
    """

    width: int
    count: Int64Array = field(init=False)
    _mean: FloatArray = field(init=False)
    _squares: FloatArray = field(init=False)
    _min: FloatArray = field(init=False)
    _max: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.count = np.zeros(self.width, np.int64)
        self._mean, self._squares = np.zeros(self.width), np.zeros(self.width)
        self._min, self._max = np.full(self.width, np.inf), np.full(self.width, -np.inf)

    def update(self, rows: FloatArray) -> BoolArray:
        """Takes (n, w) numbers; which of them are finite: (n, w)."""
        is_finite = np.isfinite(rows)
        part = RunningMoments(self.width)
        part.count = is_finite.sum(axis=0)
        part._mean = np.where(is_finite, rows, 0.0).sum(axis=0) / np.maximum(part.count, 1)
        part._squares = (np.where(is_finite, rows - part._mean, 0.0) ** 2).sum(axis=0)
        part._min = np.where(is_finite, rows, np.inf).min(axis=0, initial=np.inf)
        part._max = np.where(is_finite, rows, -np.inf).max(axis=0, initial=-np.inf)
        self.merge(part)
        return is_finite

    def merge(self, other: "RunningMoments") -> None:
        """Takes all that another one was given."""
        total = self.count + other.count
        share = other.count / np.maximum(total, 1)
        delta = other._mean - self._mean
        self._squares += other._squares + delta**2 * self.count * share
        self._mean += delta * share
        self._min, self._max = np.minimum(self._min, other._min), np.maximum(self._max, other._max)
        self.count = total

    @property
    def mean(self) -> FloatArray:
        """(w,); NaN of a column without numbers, as of the others."""
        return self._known(self._mean)

    @property
    def std(self) -> FloatArray:
        """Standard deviation of the numbers themselves (no Bessel correction)."""
        return self._known(np.sqrt(self._squares / np.maximum(self.count, 1)))

    @property
    def min(self) -> FloatArray:
        return self._known(self._min)

    @property
    def max(self) -> FloatArray:
        return self._known(self._max)

    def _known(self, values: FloatArray) -> FloatArray:
        return np.where(self.count > 0, values, np.nan)
