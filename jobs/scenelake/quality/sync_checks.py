"""How well are the sensors of a scene in step?"""

from collections.abc import Iterator

from scenelake.contracts.modalities import Modality
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import PERIODIC, DriveFacts, Finding, judged

SYNC_MATCH = ("sync_match", "1")
SYNC_ERROR = ("sync_error", "1")

_MS = 1_000_000


def check_match_share(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
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
        yield judged(
            policy,
            scenes[row["scene_id"]],
            row["channel"],
            SYNC_MATCH,
            is_good=matched / count >= policy.min_match_share,
            measured=matched / count,
            threshold=policy.min_match_share,
            reason=f"{row['channel']}: {matched} of {count} keyframes have a match",
            evidence={"nbr_matched": matched, "nbr_keyframes": count, "tolerance_ns": row["tolerance_ns_max"]},
        )


def check_sync_error(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """Median distance from every reference row to the nearest row of the channel, before any tolerance."""
    scenes = {scene.scene_id: scene for scene in facts.scenes}
    for row in facts.sync_error.to_pylist():
        clock = facts.clocks.get(row["channel"])
        median_ns = row["median_abs_delta_ns"]
        if clock is None or median_ns is None:
            continue
        usual_ns = policy.default_max_median_sync_error_ns
        limit_ns = policy.max_median_sync_error_ns.get(Modality(clock.modality), usual_ns)
        limit_ns = max(limit_ns, (clock.median_period_ns or 0) // 2)
        figures = ("reference_channel", "nbr_reference", "p99_abs_delta_ns", "max_abs_delta_ns")
        yield judged(
            policy,
            scenes[row["scene_id"]],
            row["channel"],
            SYNC_ERROR,
            is_good=median_ns <= limit_ns,
            measured=float(median_ns),
            threshold=float(limit_ns),
            reason=f"{row['channel']} is {median_ns / _MS:.1f} ms from {row['reference_channel']} (median)",
            evidence={name: row[name] for name in figures},
        )
