"""Does the radar see something, anew every time, and move as fast as the robot does?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality
from scenelake.quality.checks import Bound, Check, Measurement, Verdict
from scenelake.quality.ego_speed import EgoSpeed
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.quality.lidar_checks import SILENT_RINGS, Sweeps, stuck
from scenelake.quality.series import messages, quantile, scalars, stamps_of
from scenelake.quality.usual import by_channel, statistics, usual

RETURNS = Check(
    "radar.returns", "1", "1", Bound.MIN, 0.5,
    "Detections of a sweep (median, and one) over the fewest that are usual (and one): of earlier scenes all but one in"
    " a hundred have more; or a tenth of the drive's median, or of the usual where some scenes have none and a LiDAR"
    " sees more than the ground.",
    "In an empty field one in twenty is left, and half of what was ever seen is none of the usual views.",
)  # fmt: skip
DOPPLER_SPEED = Check(
    "radar.doppler_speed", "2", "m/s", Bound.MAX, 0.5,
    "How far the speed that the radial velocities agree on is from the robot's, in the tenth of the sweeps where it is"
    " nearest: in others, most of what a radar sees may drive along, and they agree on the speed of the traffic.",
    "Five times the Doppler noise of automotive radars (0.1 m/s, Continental ARS 408 datasheet), and a twentieth of "
    "the speed for what a wheel's odometry is off.",
    per_scale=0.05,
)  # fmt: skip
STUCK = Check(
    "radar.stuck", "1", "share", Bound.MAX, 0.1,
    "Share of the sweeps that repeat the one before, to the bit.",
    "As for LiDAR; the camera and the LiDAR of the scene are worth keeping.",
    consequence=Verdict.WARN,
)  # fmt: skip

CHECKS = (RETURNS, DOPPLER_SPEED, STUCK)

MIN_SWEEPS = 5
"""With an estimate of the speed."""
_USUALLY_LEFT = 0.1
_NEAREST = 0.1
"""Of the sweeps; amid traffic half of them may agree on another speed, of a radar that is off all do."""


def measure_radars(facts: DriveFacts) -> Iterator[Measurement]:
    """Every check of every radar that sends points."""
    speeds = EgoSpeed(facts)
    for channel, groups in by_channel(facts, "point_statistic", Modality.RADAR):
        yield from _returns(facts, channel, groups)
        for scene, rows in groups:
            yield stuck(scene, channel, rows, STUCK, Modality.RADAR)
            yield _doppler(scene, channel, rows, speeds)


def _returns(facts: DriveFacts, channel: str, groups: Sweeps) -> Iterator[Measurement]:
    counts = [scalars(rows, "nbr_points") for _, rows in groups]
    medians = [np.array([quantile(count, 0.5)]) for count in counts]
    usually = usual(facts, channel, RETURNS, ("returns",), medians)
    has_things = _things_around(facts)
    for (scene, rows), count, median in zip(groups, counts, medians, strict=True):
        worst = messages(rows, np.argsort(count, kind="stable"))
        evidence: dict[str, Any] = {"statistics": statistics(("returns",), median), "messages": worst}
        ratio = None
        if usually is not None and np.isfinite(median[0]):
            fewest = float(usually.values[0] * _USUALLY_LEFT)
            if usually.least is not None and not (usually.least[0] < 1.0 and has_things.get(scene.scene_id)):
                fewest = float(usually.least[0])
            ratio = (float(median[0]) + 1.0) / (max(fewest, 0.0) + 1.0)
            evidence |= {"fewest_usual_returns": fewest, "usual_of": usually.source}
        said = f"{channel}: {median[0]:.0f} detections a sweep" if np.isfinite(median[0]) else f"{channel}: no counts"
        yield Measurement(scene, channel, RETURNS, ratio, said, evidence, modality=Modality.RADAR)


def _things_around(facts: DriveFacts) -> dict[str, bool]:
    """By scene, whether a LiDAR sees more than the ground: more rings have returns than in its emptiest scenes."""
    found: dict[str, bool] = {}
    for channel, groups in by_channel(facts, "point_statistic", Modality.LIDAR):
        usually = usual(facts, channel, SILENT_RINGS, ("lit_rings",), [])
        if usually is not None and usually.least is not None:
            for scene, rows in groups:
                found[scene.scene_id] = quantile(scalars(rows, "nbr_rings"), 0.5) > usually.least[0]
    return found


def _doppler(scene: SceneFacts, channel: str, rows: pa.Table, speeds: EgoSpeed) -> Measurement:
    doppler = scalars(rows, "doppler_speed_m_s")
    ego = speeds.at(scene.scene_id, stamps_of(rows))
    differs = np.abs(doppler - ego)
    known = np.isfinite(differs)
    if np.count_nonzero(known) < MIN_SWEEPS:
        said = f"{channel}: too few sweeps whose Doppler can be held against a speed"
        return Measurement(scene, channel, DOPPLER_SPEED, None, said, {}, modality=Modality.RADAR)
    size, usual_m_s = float(np.quantile(differs[known], _NEAREST)), float(np.median(ego[known]))
    evidence = {
        "nbr_compared": int(np.count_nonzero(known)),
        "median_speed_m_s": usual_m_s,
        "median_difference_m_s": float(np.median((doppler - ego)[known])),
        "messages": messages(rows, np.argsort(-np.nan_to_num(differs), kind="stable")),
    }
    said = f"{channel}: Doppler differs from the robot's speed by {size:.2f} m/s or more at {usual_m_s:.1f} m/s"
    return Measurement(scene, channel, DOPPLER_SPEED, size, said, evidence, usual_m_s, modality=Modality.RADAR)


def measure_radar_images(facts: DriveFacts) -> Iterator[Measurement]:
    """Radars whose sweeps are images: whether they repeat themselves."""
    for channel, groups in by_channel(facts, "image_statistic", Modality.RADAR):
        for scene, rows in groups:
            yield stuck(scene, channel, rows, STUCK, Modality.RADAR)


MEASURES = (measure_radars, measure_radar_images)
