"""Did what checks measure change its distribution between two releases, or between two periods?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

import numpy as np
import pyarrow as pa

from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

SMALL_PSI = 0.1
LARGE_PSI = 0.25
"""Below the first no change, above the second a large one: the usual thresholds of credit scoring (Siddiqi, "Credit
Risk Scorecards", 2006). They hold for hundreds of scenes; with few, chance alone makes as much."""

FALSE_DISCOVERY_RATE = 0.01
"""Of the shifts that are called, so many may be chance's."""

NBR_BINS = 10
MIN_SCENES = 10
"""On either side, for a comparison."""

NBR_BARS = 24
_SHOWN_SHARE = 0.99
_KEYS = ("robot_id", "channel", "statistic")
_NBR_TERMS = 100


class Reading(StrEnum):
    """What a shift comes to."""

    CHANCE = "no more than chance"
    NONE = "none"
    MODERATE = "moderate"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Both sides in the same bars of equal width; what lies beyond the outer ones is counted in them.

    Attributes:
        low, high: where the first bar begins and the last one ends.
        before, after: (``NBR_BARS``,) scenes.
    """

    low: float
    high: float
    before: Int64Array
    after: Int64Array


@dataclass(frozen=True, slots=True)
class Shift:
    """One statistic of one channel of one robot, earlier and later.

    Attributes:
        channel: empty for the scene as a whole.
        statistic: as in ``quality.baseline``.
        psi: population stability index.
        ks: distance of Kolmogorov and Smirnov, and ``p_value`` of that.
        q_value: the p-value after Benjamini and Hochberg's correction over all that was compared at once.
    """

    robot_id: str
    channel: str
    statistic: str
    psi: float
    ks: float
    p_value: float
    q_value: float
    nbr_before: int
    nbr_after: int
    median_before: float
    median_after: float
    histogram: Histogram

    @property
    def reading(self) -> Reading:
        """The usual one of the index, where the distance is no work of chance."""
        if self.q_value > FALSE_DISCOVERY_RATE:
            return Reading.CHANCE
        return Reading.NONE if self.psi < SMALL_PSI else Reading.MODERATE if self.psi <= LARGE_PSI else Reading.LARGE


def shifts(rows: Iterable[pa.RecordBatch]) -> list[Shift]:
    """Compares earlier and later observations by robot, channel and statistic, and answers in their order.

    What has fewer than ``MIN_SCENES`` values on either side is left out. No more than one group of rows and one batch
    is held at a time.

    Args:
        rows: ``robot_id``, ``channel``, ``statistic``, ``value`` (finite) and ``is_after``, ordered by the first three;
            the order within a group does not matter.
    """
    found = [_shift(key, values[~is_after], values[is_after]) for key, values, is_after in _groups(rows)]
    compared = [shift for shift in found if shift is not None]
    corrected = benjamini_hochberg(np.array([shift.p_value for shift in compared], np.float64))
    return [replace(shift, q_value=q) for shift, q in zip(compared, corrected.tolist(), strict=True)]


def called(found: Iterable[Shift]) -> list[Shift]:
    """Those that are at least moderate and no work of chance, the largest first."""
    telling = [shift for shift in found if shift.reading in (Reading.MODERATE, Reading.LARGE)]
    return sorted(telling, key=lambda s: (-s.psi, s.robot_id, s.channel, s.statistic))


def _shift(key: tuple[str, str, str], before: FloatArray, after: FloatArray) -> Shift | None:
    if min(len(before), len(after)) < MIN_SCENES:
        return None
    distance, p_value = kolmogorov_smirnov(before, after)
    return Shift(
        *key, population_stability(before, after), distance, p_value, 1.0, len(before), len(after),
        float(np.median(before)), float(np.median(after)), _histogram(before, after),
    )  # fmt: skip


def _groups(rows: Iterable[pa.RecordBatch]) -> Iterator[tuple[tuple[str, str, str], FloatArray, BoolArray]]:
    """Key, values (n,) and sides (n,) of each group; a group may go on in the next batch."""
    key: tuple[str, str, str] | None = None
    parts: list[tuple[FloatArray, BoolArray]] = []
    for batch in rows:
        # Minus zero is zero: which of them a value is must not decide on its bin.
        values = np.asarray(batch["value"].to_numpy(zero_copy_only=False), np.float64) + 0.0
        is_after = np.asarray(batch["is_after"].to_numpy(zero_copy_only=False), np.bool_)
        for found, first, end in _runs(batch):
            if key is not None and found != key:
                yield key, *_joined(parts)
                parts = []
            key = found
            parts.append((values[first:end], is_after[first:end]))
    if key is not None:
        yield key, *_joined(parts)


def _runs(batch: pa.RecordBatch) -> Iterator[tuple[tuple[str, str, str], int, int]]:
    """Rows of one key in a row: the key, the first row and the one behind the last."""
    is_new = np.zeros(max(batch.num_rows - 1, 0), np.bool_)
    for name in _KEYS:
        codes = np.asarray(batch[name].dictionary_encode().indices.to_numpy(zero_copy_only=False), np.int64)
        is_new |= np.diff(codes) != 0
    bounds = [0, *(np.flatnonzero(is_new) + 1).tolist(), batch.num_rows] if batch.num_rows else []
    for first, end in pairwise(bounds):
        robot_id, channel, statistic = (batch[name][first].as_py() for name in _KEYS)
        yield (robot_id, channel, statistic), first, end


def _joined(parts: Sequence[tuple[FloatArray, BoolArray]]) -> tuple[FloatArray, BoolArray]:
    return np.concatenate([values for values, _ in parts]), np.concatenate([is_after for _, is_after in parts])


def _histogram(before: FloatArray, after: FloatArray) -> Histogram:
    """From the lower to the upper percentile of either side, whichever lies further out."""
    shares = [(1.0 - _SHOWN_SHARE) / 2, (1.0 + _SHOWN_SHARE) / 2]
    ends = np.array([np.quantile(side, shares, method="inverted_cdf") for side in (before, after)])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if not high > low:
        low, high = low - 0.5 * max(abs(low), 1.0), low + 0.5 * max(abs(low), 1.0)
    bounds = np.linspace(low, high, NBR_BARS + 1)[1:-1]
    counts = (np.bincount(np.searchsorted(bounds, side, side="right"), minlength=NBR_BARS) for side in (before, after))
    return Histogram(low, high, *(np.asarray(count, np.int64) for count in counts))


def population_stability(before: FloatArray, after: FloatArray) -> float:
    """Population stability index (Siddiqi, "Credit Risk Scorecards", 2006) over bins that hold a tenth of the earlier
    values each.

    A value that fills more than one bin has a bin of its own. Half a scene is added to every bin, as an empty one
    would make the index infinite.

    Args:
        before, after: (n,), (m,) finite, at least one of either.
    """
    edges = np.quantile(before, np.arange(1, NBR_BINS) / NBR_BINS, method="inverted_cdf")
    found, counts = np.unique(edges, return_counts=True)
    bounds = np.union1d(found, np.nextafter(found[counts > 1], np.inf))
    old, new = (_shares(values, bounds) for values in (before, after))
    return float(np.sum((new - old) * np.log(new / old)))


def _shares(values: FloatArray, bounds: FloatArray) -> FloatArray:
    counts = np.bincount(np.searchsorted(bounds, values, side="right"), minlength=len(bounds) + 1) + 0.5
    return np.asarray(counts / counts.sum())


def kolmogorov_smirnov(before: FloatArray, after: FloatArray) -> tuple[float, float]:
    """Two-sample distance of Kolmogorov and Smirnov, and its p-value.

    The p-value is Kolmogorov's asymptotic one with Stephens' correction for few values (J. R. Stat. Soc. B 32, 1970);
    ties make it too large, never too small.

    Args:
        before, after: (n,), (m,) finite, at least one of either.
    """
    old, new = np.sort(before), np.sort(after)
    at = np.concatenate([old, new])
    gaps = np.searchsorted(old, at, side="right") / len(old) - np.searchsorted(new, at, side="right") / len(new)
    distance = float(np.abs(gaps).max())
    root = float(np.sqrt(len(old) * len(new) / (len(old) + len(new))))
    return distance, _kolmogorov((root + 0.12 + 0.11 / root) * distance)


def _kolmogorov(size: float) -> float:
    """Probability that Kolmogorov's distribution exceeds ``size``, by the one of its two series that converges."""
    number = np.arange(1, _NBR_TERMS + 1)
    if size < 0.2:
        return 1.0
    if size < 1.18:
        odd = (2 * number - 1) ** 2
        return 1.0 - float(np.sqrt(2.0 * np.pi) / size * np.exp(-odd * np.pi**2 / (8.0 * size**2)).sum())
    signs = np.where(number % 2 == 1, 1.0, -1.0)
    return float(np.clip(2.0 * (signs * np.exp(-2.0 * number**2 * size**2)).sum(), 0.0, 1.0))


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Least false discovery rate at which each of (n,) tests is called: (n,) in [0, 1].

    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Stat. Soc. B 57, 1995.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    raised = p_values[order] * count / np.arange(1, count + 1)
    corrected = np.empty(count)
    corrected[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return corrected
