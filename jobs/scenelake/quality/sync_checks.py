"""How well are the sensors of a scene in step?"""

from collections.abc import Iterator

from scenelake.contracts.modalities import Modality
from scenelake.quality.checks import Bound, Check, Measurement
from scenelake.quality.evidence import PERIODIC, DriveFacts

_MS = 1_000_000

SYNC_MATCH = Check(
    "sync_match", "1", "share", Bound.MIN, 0.9,
    "Share of the scene's keyframes that found a row of the channel within tolerance, by the stamps.",
    "As for completeness.",
)  # fmt: skip
SYNC_ERROR = Check(
    "sync_error", "1", "ns", Bound.MAX, 60.0 * _MS,
    "Median distance from every reference row to the nearest row of the channel, before any tolerance: of the stamps"
    " alone. A constant latency in all stamps of a sensor is not observable here; motion.*_lag, calibration.imu_lag and"
    " robot.action_lag see it where something moves, and of other sensors nothing does.",
    "Camera: Argoverse 2's camera-LiDAR tolerance of 25 ms; half a period, because no free-running sensor can be nearer"
    " than that for certain.",
    by_modality={Modality.CAMERA: 25.0 * _MS, Modality.DEPTH: 25.0 * _MS, Modality.LIDAR: 50.0 * _MS},
    per_scale=0.5,
)  # fmt: skip

CHECKS = (SYNC_MATCH, SYNC_ERROR)


def measure_match_share(facts: DriveFacts) -> Iterator[Measurement]:
    """Share of a scene's keyframes that found a row of the channel within tolerance.

    Channels that speak only when there is something to say (annotations, language) are left out.
    """
    scenes = {scene.scene_id: scene for scene in facts.scenes}
    keys = ["scene_id", "channel", "modality"]
    figures = [("is_match", "sum"), ("is_match", "count"), ("tolerance_ns", "max")]
    matches = facts.sync_index.select([*keys, "is_match", "tolerance_ns"])
    grouped = matches.group_by(keys, use_threads=False).aggregate(figures)
    for row in grouped.to_pylist():
        if Modality(row["modality"]) not in PERIODIC:
            continue
        matched, count = int(row["is_match_sum"] or 0), int(row["is_match_count"])
        yield Measurement(
            scenes[row["scene_id"]],
            row["channel"],
            SYNC_MATCH,
            matched / count,
            f"{row['channel']}: {matched} of {count} keyframes have a match",
            {"nbr_matched": matched, "nbr_keyframes": count, "tolerance_ns": row["tolerance_ns_max"]},
            modality=row["modality"],
        )


def measure_sync_error(facts: DriveFacts) -> Iterator[Measurement]:
    """Median distance from every reference row to the nearest row of the channel, before any tolerance."""
    scenes = {scene.scene_id: scene for scene in facts.scenes}
    for row in facts.sync_error.to_pylist():
        clock = facts.clocks.get(row["channel"])
        median_ns = row["median_abs_delta_ns"]
        if clock is None or median_ns is None:
            continue
        figures = ("reference_channel", "nbr_reference", "p99_abs_delta_ns", "max_abs_delta_ns")
        said = f"{row['channel']} is {median_ns / _MS:.1f} ms from {row['reference_channel']} by their stamps"
        unobservable = {}
        if clock.unobservable:
            said += ", which a latency common to all stamps of one of them does not change"
            unobservable = {"unobservable": clock.unobservable}
        yield Measurement(
            scenes[row["scene_id"]],
            row["channel"],
            SYNC_ERROR,
            float(median_ns),
            said,
            {name: row[name] for name in figures} | unobservable,
            scale=float(clock.median_period_ns or 0),
            modality=clock.modality,
        )


MEASURES = (measure_match_share, measure_sync_error)
