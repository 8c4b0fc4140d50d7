"""Logarithmic histograms of a scene, summed up as quantiles, and how far two such sums are apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.quality.checks import Check
from scenelake.quality.evidence import DriveFacts
from scenelake.quality.series import vectors
from scenelake.quality.usual import Usual, statistics, usual
from scenelake.timebase.arrays import FloatArray

NBR_BINS = 32
_LEVELS = np.arange(1, 10) / 10
NAMES = tuple(f"q{k}0" for k in range(1, 10))
"""Deciles, as statistics."""


def deciles(rows: pa.Table, name: str, octaves_per_bin: float) -> FloatArray:
    """Inner deciles of all counts of a scene, in octaves from the first bin's beginning: (9,); NaN without any."""
    counts = vectors(rows, name, NBR_BINS)
    total = np.nansum(counts, axis=0) if len(counts) else np.zeros(NBR_BINS)
    if not total.sum() > 0:
        return np.full(len(_LEVELS), np.nan)
    shares = np.concatenate([[0.0], np.cumsum(total) / total.sum()])
    # Empty bins make steps: the least slope keeps the inverse single-valued.
    shares = shares + np.linspace(0.0, 1e-9, len(shares))
    return np.asarray(np.interp(_LEVELS, shares, np.arange(NBR_BINS + 1)) * octaves_per_bin, np.float64)


def distance(found: FloatArray, usually: Usual) -> float:
    """First Wasserstein distance in octaves: the mean over the deciles of how far each has moved."""
    return float(np.abs(found - usually.values).mean())


def shifts(
    facts: DriveFacts, channel: str, check: Check, of_scenes: Sequence[FloatArray]
) -> Iterable[tuple[float | None, float | None, dict[str, Any]]]:
    """Of each scene its distance from what is usual, the spread of that over scenes, and the evidence."""
    usually = usual(facts, channel, check, NAMES, of_scenes)
    for found in of_scenes:
        evidence: dict[str, Any] = {"statistics": statistics(NAMES, found)}
        if usually is None or not np.isfinite(found).all():
            yield None, None, evidence
            continue
        evidence |= {"usual_deciles_octaves": np.round(usually.values, 3).tolist(), "usual_of": usually.source}
        yield distance(found, usually), float(usually.spreads.mean()), evidence
