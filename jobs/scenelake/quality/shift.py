"""Did what checks measure change its distribution between two releases, or between two periods?"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.quality.baseline import groups_of
from scenelake.timebase.arrays import FloatArray

SMALL_PSI = 0.1
LARGE_PSI = 0.25
"""Below the first no change, above the second a large one: the usual thresholds of credit scoring (Siddiqi, "Credit
Risk Scorecards", 2006). They hold for hundreds of scenes; with few, chance alone makes as much."""

NBR_BINS = 10
MIN_SCENES = 10
"""On either side, for a comparison."""

SHIFT_SCHEMA = pa.schema(
    [
        pa.field("robot_id", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("statistic", pa.string()),
        pa.field("psi", pa.float64()),
        pa.field("ks", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("nbr_before", pa.int64()),
        pa.field("nbr_after", pa.int64()),
        pa.field("q_value", pa.float64()),
    ]
)
"""``q_value`` is the p-value after Benjamini and Hochberg's correction over all rows."""

_NBR_TERMS = 100


def shifts(before: pa.Table, after: pa.Table) -> pa.Table:
    """Compares observations (``baseline.OBSERVATION_SCHEMA``) by robot, channel and statistic (``SHIFT_SCHEMA``).

    What has fewer than ``MIN_SCENES`` values on either side is left out. The order of the rows does not matter; the
    answer's is that of robot, channel and statistic.
    """
    earlier = dict(groups_of(before))
    rows: list[dict[str, Any]] = []
    for (robot_id, channel, statistic), later in groups_of(after):
        base = earlier.get((robot_id, channel, statistic))
        if base is None or min(len(base), len(later)) < MIN_SCENES:
            continue
        distance, p_value = kolmogorov_smirnov(base, later)
        rows.append(
            {
                "robot_id": robot_id,
                "channel": channel,
                "statistic": statistic,
                "psi": population_stability(base, later),
                "ks": distance,
                "p_value": p_value,
                "nbr_before": len(base),
                "nbr_after": len(later),
            }
        )
    corrected = benjamini_hochberg(np.array([row["p_value"] for row in rows], np.float64))
    for row, q_value in zip(rows, corrected.tolist(), strict=True):
        row["q_value"] = q_value
    return pa.Table.from_pylist(rows, schema=SHIFT_SCHEMA)


def shifted(rows: pa.Table, least_psi: float = LARGE_PSI, false_discovery_rate: float = 0.01) -> pa.Table:
    """Those that are both large and no work of chance."""
    return rows.filter(
        pc.and_(pc.greater_equal(rows["psi"], least_psi), pc.less_equal(rows["q_value"], false_discovery_rate))
    )


def population_stability(before: FloatArray, after: FloatArray) -> float:
    """Population stability index over bins that hold a tenth of the earlier values each.

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
