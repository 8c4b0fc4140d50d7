"""What a sensor usually shows: from earlier drives of the robot, else from the rest of this one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.quality.checks import Check
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

MIN_SCENES = 3
"""Of a drive, for its scenes to say what is usual: one bad one among them is then outvoted."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Usual values of some statistics of one channel.

    Attributes:
        values: (k,) medians.
        spreads: (k,) median absolute deviations over scenes; 0 where the drive itself is the history.
        least: (k,) 1st percentiles over scenes, fog, night and open fields among them; None where the drive itself is
            the history, which has not seen them.
        source: ``baseline`` or ``drive``.
    """

    values: FloatArray
    spreads: FloatArray
    least: FloatArray | None
    source: str


def usual(
    facts: DriveFacts, channel: str, check: Check, names: Sequence[str], of_scenes: Iterable[FloatArray]
) -> Usual | None:
    """What is usual of a channel; None where neither a baseline nor enough scenes tell.

    Args:
        names: of statistics that the check leaves in its evidence.
        of_scenes: their values (k,) in each scene of the drive; NaN where there are none.
    """
    known = [facts.baselines.of(channel, f"{check.name}:{name}") for name in names]
    fitted = [baseline for baseline in known if baseline is not None]
    if len(fitted) == len(names):
        medians, mads, least = (np.array(of) for of in zip(*((b.median, b.mad, b.p01) for b in fitted), strict=True))
        return Usual(medians, mads, least, "baseline")
    values = [v for v in of_scenes if np.isfinite(v).all()]
    if len(values) < MIN_SCENES:
        return None
    return Usual(np.median(np.stack(values), axis=0), np.zeros(len(names)), None, "drive")


def statistics(names: Sequence[str], values: FloatArray) -> dict[str, float]:
    """Numbers as evidence has them for the fitting of baselines; those that are not finite are left out."""
    return {n: round(float(v), 6) for n, v in zip(names, values.tolist(), strict=True) if np.isfinite(v)}


def by_channel(facts: DriveFacts, table: str, modality: str) -> Iterator[tuple[str, list[tuple[SceneFacts, pa.Table]]]]:
    """Rows of one of the drive's tables of the channels of a modality: by channel, then by scene."""
    found: dict[str, list[tuple[SceneFacts, pa.Table]]] = {}
    for scene, channel, rows in facts.groups(table):
        clock = facts.clocks.get(channel)
        if clock is not None and clock.modality == modality:
            found.setdefault(channel, []).append((scene, rows))
    yield from sorted(found.items())


def repeats(rows: pa.Table) -> BoolArray:
    """Steps (n - 1,) from a row to one with the same fingerprint and another stamp."""
    prints = np.asarray(pc.fill_null(rows["fingerprint"], 0).to_numpy(), np.int64)
    known = np.asarray(pc.is_valid(rows["fingerprint"]).to_numpy(), np.bool_)
    stamps = np.asarray(rows["timestamp_ns"].to_numpy(), np.int64)
    same: BoolArray = (np.diff(prints) == 0) & known[1:] & known[:-1] & (np.diff(stamps) > 0)
    return same


def nearest_before(is_known: BoolArray) -> Int64Array:
    """For each row (n,) the last known one up to it, or the first known; of none known -1."""
    if not is_known.any():
        return np.full(len(is_known), -1, np.int64)
    at = np.maximum.accumulate(np.where(is_known, np.arange(len(is_known)), -1))
    return np.asarray(np.where(at < 0, int(np.argmax(is_known)), at), np.int64)
