"""Statistics for normalisation: mean, standard deviation, extremes and quantiles of vectors and of pixels.

The names and shapes are LeRobot's (``compute_stats.py``): vectors ``(width,)``, pixels ``(3, 1, 1)`` in 0 to 1.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scenelake.decode.video_access import Image
from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.timebase.moments import RunningMoments

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_BINS = 65_536
"""A quantile over a whole dataset is within one bin: 1/65536 of the range between the extremes."""
_LEVELS = 256

Statistics = dict[str, Any]
"""``min``, ``max``, ``mean``, ``std``, ``count`` and the quantiles, as lists."""


def vector_statistics(values: FloatArray) -> Statistics:
    """Exact statistics of (n, w) values, n at least 1; quantiles interpolate linearly."""
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "count": [len(values)],
        **{name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)},
    }


class VectorStatistics:
    """Statistics of vectors that come in pieces, in memory for one piece."""

    def __init__(self) -> None:
        self._moments: RunningMoments | None = None

    def add(self, values: FloatArray) -> None:
        """Takes (n, w) values, n at least 1."""
        if self._moments is None:
            self._moments = RunningMoments(values.shape[1])
        self._moments.update(values)

    def finish(self, again: Callable[[], Iterator[FloatArray]]) -> Statistics:
        """All statistics; ``again`` gives the same values once more, for the quantiles."""
        moments = self._moments or RunningMoments(0)
        low, high = moments.min, moments.max
        span = np.where(high > low, high - low, 1.0)
        counts = np.zeros((moments.width, _BINS), np.int64)
        for values in again():
            bins = ((values - low) / span * _BINS).astype(np.int64).clip(0, _BINS - 1)
            for i in range(moments.width):
                counts[i] += np.bincount(bins[:, i], minlength=_BINS)
        middles = (np.arange(_BINS) + 0.5) / _BINS
        found = {
            name: np.clip(low + middles[_at_quantile(counts, share)] * span, low, high).tolist()
            for name, share in QUANTILES.items()
        }
        return {
            "min": low.tolist(),
            "max": high.tolist(),
            "mean": moments.mean.tolist(),
            "std": moments.std.tolist(),
            "count": [int(moments.count.max(initial=0))],
            **found,
        }


class PixelStatistics:
    """Statistics of 8-bit RGB pictures, exact: a count of each level of each colour."""

    def __init__(self) -> None:
        self._counts: Int64Array = np.zeros((3, _LEVELS), np.int64)
        self._nbr_pictures = 0

    def add(self, picture: Image) -> None:
        for i in range(3):
            self._counts[i] += np.bincount(picture[:, :, i].ravel(), minlength=_LEVELS)
        self._nbr_pictures += 1

    def merge(self, other: "PixelStatistics") -> None:
        self._counts += other._counts
        self._nbr_pictures += other._nbr_pictures

    def finish(self) -> Statistics:
        levels = np.arange(_LEVELS) / (_LEVELS - 1)
        total = self._counts.sum(axis=1)
        mean = self._counts @ levels / total
        std = np.sqrt((self._counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total)
        present = self._counts > 0
        found = {
            "min": levels[present.argmax(axis=1)],
            "max": levels[_LEVELS - 1 - present[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": std,
            **{name: levels[_at_quantile(self._counts, share)] for name, share in QUANTILES.items()},
        }
        shaped = {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}
        return shaped | {"count": [self._nbr_pictures]}


def _at_quantile(counts: Int64Array, share: float) -> Int64Array:
    """Bin in which each row's quantile lies: the first at which so large a share is reached."""
    reached = np.cumsum(counts, axis=1)
    return np.asarray((reached >= share * reached[:, -1:]).argmax(axis=1), np.int64)
