"""Statistics for normalisation in one pass: mean, std, min, max, 1% and 99% of every number of every stream.

Mean and variance by ``timebase.moments``, equal to NumPy's within float64 rounding; quantiles of values by
``quantiles.QuantileSketch`` within its rank error; those of images from histograms of their 256 grey levels, exactly.
Parts of a release can be measured apart and merged.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from scenelake.contracts.errors import BadInputError
from scenelake.loader.config import Normalisation
from scenelake.loader.quantiles import DEFAULT_K, QuantileSketch
from scenelake.timebase.moments import RunningMoments

FloatArray = NDArray[np.float64]
QUANTILES = (0.01, 0.99)
_LEAST_SPREAD = 1e-8
_LEVELS = 256


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one stream; every array is (w,) float64: one number per value, or per colour of an image on 0 to 1.

    Attributes:
        count: rows (of images: pixels); zero leaves the arrays NaN.
    """

    count: int
    mean: FloatArray
    std: FloatArray
    min: FloatArray
    max: FloatArray
    q01: FloatArray
    q99: FloatArray

    def normalised(self, values: NDArray[Any], how: Normalisation) -> NDArray[np.float32]:
        """Values (..., w) on a common scale: by mean and std to about unit spread, otherwise to -1 to 1.

        A number that never varied comes out as 0 (mean and std) or -1.
        """
        if how is Normalisation.NONE:
            return np.asarray(values, np.float32)
        if how is Normalisation.MEAN_STD:
            low, spread, shift = self.mean, self.std, 0.0
        else:
            low, high = (self.min, self.max) if how is Normalisation.MIN_MAX else (self.q01, self.q99)
            spread, shift = (high - low) / 2, -1.0
        spread = np.where(spread > _LEAST_SPREAD, spread, 1.0)
        return np.asarray((values - low) / spread + shift, np.float32)

    def to_json(self) -> dict[str, Any]:
        arrays = ("mean", "std", "min", "max", "q01", "q99")
        return {"count": self.count, **{name: getattr(self, name).tolist() for name in arrays}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(int(value["count"]), **{n: np.asarray(v, np.float64) for n, v in value.items() if n != "count"})


class Running(Protocol):
    """Statistics that grow."""

    def update(self, values: NDArray[Any]) -> None: ...

    def result(self) -> Statistics: ...


@dataclass
class RunningValues:
    """Of rows of numbers. A row with NaN counts where it has none.

    Attributes:
        width: numbers in a row.
    """

    width: int
    k: int = DEFAULT_K
    _moments: RunningMoments = field(init=False)
    _sketches: list[QuantileSketch] = field(init=False)

    def __post_init__(self) -> None:
        self._moments = RunningMoments(self.width)
        self._sketches = [QuantileSketch(self.k) for _ in range(self.width)]

    def update(self, values: NDArray[Any]) -> None:
        """Takes (..., width) numbers.

        Raises:
            BadInputError: reason ``width_changed``.
        """
        rows = np.asarray(values, np.float64).reshape(-1, np.shape(values)[-1])
        if rows.shape[1] != self.width:
            raise BadInputError(f"expected rows of {self.width} numbers, got {rows.shape[1]}", reason="width_changed")
        is_finite = self._moments.update(rows)
        for sketch, column, good in zip(self._sketches, rows.T, is_finite.T, strict=True):
            sketch.update(column if good.all() else column[good])

    def merge(self, other: "RunningValues") -> None:
        """Takes all that another one was given."""
        self._moments.merge(other._moments)
        for mine, theirs in zip(self._sketches, other._sketches, strict=True):
            mine.merge(theirs)

    def result(self) -> Statistics:
        moments = self._moments
        quantiles = np.array([s.quantiles(QUANTILES) for s in self._sketches]).reshape(self.width, 2)
        return Statistics(
            int(moments.count.max(initial=0)), moments.mean, moments.std, moments.min, moments.max,
            quantiles[:, 0], quantiles[:, 1],
        )  # fmt: skip


@dataclass
class RunningImages:
    """Of images of uint8, per colour."""

    _histograms: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, _LEVELS), np.int64))

    def update(self, values: NDArray[Any]) -> None:
        """Takes (..., height, width, 3) uint8."""
        pixels = values.reshape(-1, 3)
        self._histograms += np.stack([np.bincount(pixels[:, c], minlength=_LEVELS) for c in range(3)])

    def merge(self, other: "RunningImages") -> None:
        self._histograms += other._histograms

    def result(self) -> Statistics:
        count = int(self._histograms[0].sum())
        if not count:
            return Statistics(0, *(np.full(3, np.nan) for _ in range(6)))
        levels = np.arange(_LEVELS) / (_LEVELS - 1)
        mean = self._histograms @ levels / count
        variance = (self._histograms * (levels - mean[:, None]) ** 2).sum(axis=1) / count
        ranks = np.cumsum(self._histograms, axis=1)
        found = [levels[np.array([np.searchsorted(r, q * count) for r in ranks])] for q in QUANTILES]
        low = levels[(self._histograms > 0).argmax(axis=1)]
        high = levels[_LEVELS - 1 - (self._histograms[:, ::-1] > 0).argmax(axis=1)]
        return Statistics(count, mean, np.sqrt(variance), low, high, *found)


def dumps(statistics: Mapping[str, Statistics]) -> str:
    """Statistics of streams by name, as JSON."""
    return json.dumps({name: s.to_json() for name, s in statistics.items()}, indent=1, sort_keys=True)


def loads(text: str) -> dict[str, Statistics]:
    """The inverse of ``dumps``."""
    return {name: Statistics.from_json(value) for name, value in json.loads(text).items()}
