"""Does the LiDAR get its returns, from everywhere, and new ones every time?"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality
from scenelake.quality.checks import Bound, Check, Measurement, Verdict
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.quality.histograms import deciles, shifts
from scenelake.quality.series import messages, quantile, scalars, vectors
from scenelake.quality.usual import by_channel, repeats, statistics, usual
from scenelake.timebase.arrays import BoolArray, FloatArray

RETURNS = Check(
    "lidar.returns", "1", "1", Bound.MIN, 0.85,
    "Returns of a sweep (one in ten has fewer) over the fewest that are usual: of earlier scenes all but one in a"
    " hundred have more, or 0.7 of the drive's median.",
    "Rain, fog and open fields cost up to a third; what they leave varies by a tenth from sweep to sweep.",
)  # fmt: skip
EMPTY_SECTORS = Check(
    "lidar.empty_sectors", "2", "share", Bound.MAX, 0.01,
    "Share of the sectors of 5 degrees, by group of rings, that stay empty with those below them where others of their"
    " groups have returns, less what is usual.",
    "One sector of 72 in every group of rings, which a leaf on the housing hides.",
)  # fmt: skip
SILENT_RINGS = Check(
    "lidar.silent_rings", "1", "1", Bound.MAX, 0.5,
    "Rings without a return between the outer ones that have some, median over the sweeps, less what is usual.",
    "Own measurement: none in nuScenes', Argoverse 2's and RADIATE's sweeps.",
)  # fmt: skip
RANGE_SHIFT = Check(
    "lidar.range_shift", "1", "octaves", Bound.MAX, 0.8,
    "How far the distribution of ranges is from the usual one: Wasserstein distance of their logarithms.",
    "Streets and fields are as far apart; the spread over earlier scenes rules where it is wider.",
    per_scale=5.0,
)  # fmt: skip
INTENSITY_SHIFT = Check(
    "lidar.intensity_shift", "1", "octaves", Bound.MAX, 0.6,
    "How far the distribution of intensities is from the usual one: Wasserstein distance of their logarithms.",
    "A third of the intensity lost; a wet road and fog cost 0.35 octaves at most in simulated drives.",
    per_scale=5.0,
)  # fmt: skip
INVALID_POINTS = Check(
    "lidar.invalid_points", "1", "share", Bound.MAX, 0.02,
    "Share of the points that are not finite or at the sensor itself, less what is usual, mean over the sweeps.",
    "Own measurement: none in nuScenes', Argoverse 2's and RADIATE's sweeps; drivers that send missing returns send "
    "them always.",
)  # fmt: skip
STUCK = Check(
    "lidar.stuck", "1", "share", Bound.MAX, 0.1,
    "Share of the sweeps that repeat the points of the one before, to the bit.",
    "Range noise changes every sweep; what repeats one in ten is no picture of the drive.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip

CHECKS = (RETURNS, EMPTY_SECTORS, SILENT_RINGS, RANGE_SHIFT, INTENSITY_SHIFT, INVALID_POINTS, STUCK)

NBR_SECTORS, NBR_GROUPS = 72, 4
MIN_SWEEPS = 2
_RANGE_OCTAVES, _INTENSITY_OCTAVES = 10.0 / 32, 16.0 / 32
_USUALLY_LEFT = 0.7
_SEEING_SHARE = 0.5
"""Of the sectors of a group of rings that has returns around the car."""
_FULL_SHARE = 0.8
"""Of the returns of the fullest group: what meets roof and bonnet has fewer, and hides what it likes."""
_OWN_SHARE = 0.03
"""What a car's own mast and antennas may hide where no earlier drive tells."""
_MIN_IN_SECTOR, _MIN_IN_SCENE = 1.0, 8.0
"""Sampled points in a lit sector (median), of a sweep and of a scene: with fewer, an empty one can be chance."""

Sweeps = Sequence[tuple[SceneFacts, pa.Table]]


def measure_lidars(facts: DriveFacts) -> Iterator[Measurement]:
    """Every check of every LiDAR."""
    for channel, groups in by_channel(facts, "point_statistic", Modality.LIDAR):
        yield from _returns(facts, channel, groups)
        yield from _sectors(facts, channel, groups)
        yield from _rings(facts, channel, groups)
        yield from _shift(facts, channel, groups, RANGE_SHIFT, "range_counts", _RANGE_OCTAVES)
        yield from _shift(facts, channel, groups, INTENSITY_SHIFT, "intensity_counts", _INTENSITY_OCTAVES)
        yield from _invalid(facts, channel, groups)
        for scene, rows in groups:
            yield stuck(scene, channel, rows, STUCK, Modality.LIDAR)


MEASURES = (measure_lidars,)


def stuck(scene: SceneFacts, channel: str, rows: pa.Table, check: Check, modality: Modality) -> Measurement:
    """Share of the rows that repeat the one before; empty sweeps are all alike and count for nothing."""
    same = repeats(rows)
    if "nbr_points" in rows.column_names:
        same &= (scalars(rows, "nbr_points") > np.nan_to_num(scalars(rows, "nbr_invalid")))[1:]
    share = float(same.mean()) if len(same) else None
    said = f"{channel}: {np.count_nonzero(same)} of {len(same)} messages repeat the one before"
    evidence = {"messages": messages(rows, np.flatnonzero(same) + 1)}
    return Measurement(scene, channel, check, share, said, evidence, modality=modality)


def _of(
    scene: SceneFacts, channel: str, check: Check, measured: float | None, said: str, evidence: dict[str, Any],
    scale: float | None = None,
) -> Measurement:  # fmt: skip
    return Measurement(scene, channel, check, measured, f"{channel}: {said}", evidence, scale, modality=Modality.LIDAR)


def _valid(rows: pa.Table) -> FloatArray:
    return scalars(rows, "nbr_points") - np.nan_to_num(scalars(rows, "nbr_invalid"))


def _returns(facts: DriveFacts, channel: str, groups: Sweeps) -> Iterator[Measurement]:
    counts = [_valid(rows) for _, rows in groups]
    medians = [np.array([quantile(count, 0.5)]) for count in counts]
    usually = usual(facts, channel, RETURNS, ("returns",), medians)
    for (scene, rows), count, median in zip(groups, counts, medians, strict=True):
        expected = _USUALLY_LEFT * float(usually.values[0] if usually else median[0])
        if usually and usually.least is not None:
            expected = float(usually.least[0])
        least = quantile(count, 0.1)
        ratio = least / expected if expected > 0 and np.isfinite(least) else None
        evidence: dict[str, Any] = {"fewest_usual_returns": expected} if np.isfinite(expected) else {}
        evidence |= {"statistics": statistics(("returns",), median), "messages": messages(rows, np.argsort(count))}
        said = "no sweeps" if not np.isfinite(least) else f"one sweep in ten has {least:.0f} returns or fewer"
        yield _of(scene, channel, RETURNS, ratio, said, evidence)


def _sectors(facts: DriveFacts, channel: str, groups: Sweeps) -> Iterator[Measurement]:
    usually = usual(facts, channel, EMPTY_SECTORS, ("share",), [])
    for scene, rows in groups:
        found = empty_sectors(vectors(rows, "sector_counts", NBR_GROUPS * NBR_SECTORS))
        if found is None:
            yield _of(scene, channel, EMPTY_SECTORS, None, "too few points to tell", {})
            continue
        is_empty, nbr_judged = found
        share = float(is_empty.sum() / nbr_judged)
        expected = float(usually.values[0]) if usually else _OWN_SHARE
        evidence = {
            "empty_deg": [[g, int(s) * 5 - 180] for g, s in np.argwhere(is_empty).tolist()][:NBR_SECTORS],
            "usual": expected,
            "statistics": statistics(("share",), np.array([share])),
            "messages": messages(rows, range(len(rows))),
        }
        said = f"{np.count_nonzero(is_empty)} of {nbr_judged} sectors stay empty"
        yield _of(scene, channel, EMPTY_SECTORS, max(share - expected, 0.0), said, evidence)


def empty_sectors(counts: FloatArray) -> tuple[BoolArray, int] | None:
    """Sectors (``NBR_GROUPS``, ``NBR_SECTORS``) that stay empty and should not, and the number of sectors of the groups
    that have returns around the car; None when no group has.

    Upper rings see sky between houses, for as long as the car stands or the street goes on; only the lowest, which
    meet the ground, should have returns everywhere. An empty sector counts where those of all lower groups are empty.

    Args:
        counts: (n, ``NBR_GROUPS * NBR_SECTORS``) of the sweeps of a scene.
    """
    known = counts[np.isfinite(counts).all(axis=1)]
    if len(known) < MIN_SWEEPS:
        return None
    cells = known.reshape(len(known), NBR_GROUPS, NBR_SECTORS)
    # A leaf moves a little, and a passing car may shine through: nine in ten sweeps must be empty.
    is_empty = (cells > 0).mean(axis=0) <= 0.1
    usual_count = np.array([np.median(group[group > 0]) if (group > 0).any() else 0.0 for group in cells.mean(axis=0)])
    enough = max(_MIN_IN_SECTOR, _MIN_IN_SCENE / len(known))
    lit = np.where(usual_count >= enough, (~is_empty).mean(axis=1), 0.0)
    is_seeing = lit >= _SEEING_SHARE
    if not is_seeing.any():
        return None
    is_hidden = np.logical_and.accumulate(is_empty | ~is_seeing[:, None], axis=0) & is_seeing[:, None]
    # One empty sector of one group is a gap between houses; what sits on the housing is wider or hides all rings.
    is_full = usual_count >= _FULL_SHARE * usual_count.max()
    is_wide = is_hidden & (np.roll(is_hidden, 1, axis=1) | np.roll(is_hidden, -1, axis=1)) & is_full[:, None]
    is_through = is_empty[is_seeing].all(axis=0) & is_seeing[:, None]
    return is_wide | is_through, int(is_seeing.sum()) * NBR_SECTORS


def _rings(facts: DriveFacts, channel: str, groups: Sweeps) -> Iterator[Measurement]:
    usually = usual(facts, channel, SILENT_RINGS, ("rings",), [])
    expected = float(usually.values[0]) if usually else 0.0
    for scene, rows in groups:
        silent = scalars(rows, "nbr_silent_rings")
        median = quantile(silent, 0.5)
        measured = max(median - expected, 0.0) if np.isfinite(median) else None
        lit = quantile(scalars(rows, "nbr_rings"), 0.5)
        evidence = {"usual": expected, "statistics": statistics(("rings", "lit_rings"), np.array([median, lit]))}
        said = "no rings" if measured is None else f"{median:.0f} rings between others have no return"
        yield _of(scene, channel, SILENT_RINGS, measured, said, evidence)


def _shift(
    facts: DriveFacts, channel: str, groups: Sweeps, check: Check, name: str, octaves_per_bin: float
) -> Iterator[Measurement]:
    found = [deciles(rows, name, octaves_per_bin) for _, rows in groups]
    for (scene, _), (measured, scale, evidence) in zip(groups, shifts(facts, channel, check, found), strict=True):
        said = "nothing to compare with" if measured is None else f"{measured:.2f} octaves from the usual distribution"
        yield _of(scene, channel, check, measured, said, evidence, scale)


def _invalid(facts: DriveFacts, channel: str, groups: Sweeps) -> Iterator[Measurement]:
    """Without earlier drives, the sweeps of this one with the fewest tell what its driver always sends."""
    shares = []
    for _, rows in groups:
        points = scalars(rows, "nbr_points")
        with np.errstate(invalid="ignore", divide="ignore"):
            shares.append(np.where(points > 0, scalars(rows, "nbr_invalid") / points, np.nan))
    usually = usual(facts, channel, INVALID_POINTS, ("share",), [])
    least = quantile(np.concatenate(shares), 0.1) if shares else float("nan")
    expected = float(usually.values[0]) if usually else float(np.nan_to_num(least))
    for (scene, rows), share in zip(groups, shares, strict=True):
        finite = share[np.isfinite(share)]
        mean = float(finite.mean()) if len(finite) else None
        not_finite = float(np.nansum(scalars(rows, "nbr_not_finite")))
        evidence = {
            "usual": expected,
            "nbr_not_finite": int(not_finite),
            "statistics": statistics(("share",), np.array([np.nan if mean is None else mean])),
            "messages": messages(rows, np.argsort(-np.nan_to_num(share), kind="stable")),
        }
        said = "no points" if mean is None else f"{mean:.1%} of the points are none"
        yield _of(scene, channel, INVALID_POINTS, None if mean is None else max(mean - expected, 0.0), said, evidence)
