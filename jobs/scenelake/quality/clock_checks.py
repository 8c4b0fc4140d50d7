"""Did every clock of the drive run forwards, in the right year, in step with the reference?

These are facts of the drive; they are told of every scene, because every scene inherits them.
"""

from collections.abc import Iterator
from typing import Any

from scenelake.contracts.stages import ChannelClock
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts, Finding, judged

DUPLICATE_STAMPS = ("duplicate_stamps", "1")
BACKWARD_JUMPS = ("backward_jumps", "1")
CLOCK_OFFSET = ("clock_offset", "1")
EPOCH = ("epoch", "1")

_SECOND_NS = 1_000_000_000
_BURSTY = frozenset(
    {
        "can", "radar_track", "transform", "raw", "language", "calibration", "annotation", "text_log", "gnss_raw",
        "audio",
    }
)  # fmt: skip
"""Several messages of one instant are normal here."""


def check_clocks(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """All four clock checks, for every scene and every channel of the drive."""
    for scene in facts.scenes:
        for clock in facts.clocks.values():
            for check, measured, threshold, reason, evidence in _facts(clock):
                yield judged(
                    policy,
                    scene,
                    clock.channel,
                    check,
                    is_good=reason is None,
                    measured=measured,
                    threshold=threshold,
                    reason=reason or "",
                    evidence=evidence,
                )


_Fact = tuple[tuple[str, str], float | None, float | None, str | None, dict[str, Any]]


def _facts(clock: ChannelClock) -> Iterator[_Fact]:
    name = clock.channel
    if clock.modality not in _BURSTY:
        count = clock.nbr_duplicate_stamps
        reason = f"{name}: {count} of {clock.nbr_messages} stamps repeat the one before" if count else None
        yield DUPLICATE_STAMPS, float(count), 0.0, reason, {"nbr_messages": clock.nbr_messages}
    jumps, back_s = clock.nbr_backward_jumps, clock.largest_backward_ns / _SECOND_NS
    reason = f"{name}: {jumps} stamp(s) go back, by up to {back_s:.3f} s" if jumps else None
    yield BACKWARD_JUMPS, float(jumps), 0.0, reason, {"largest_backward_ns": clock.largest_backward_ns}
    span = {"start_ns": clock.start_ns, "exclusive_end_ns": clock.exclusive_end_ns}
    offset_ns = clock.offset_from_reference_ns
    reason = None if offset_ns is None else f"{name}: clock lies {offset_ns / _SECOND_NS:+.2f} s from the reference's"
    yield CLOCK_OFFSET, None if offset_ns is None else float(offset_ns), None, reason, span
    reason = None if clock.epoch == "utc" else f"{name}: stamps are no UTC times ({clock.epoch})"
    yield EPOCH, float(clock.start_ns), None, reason, {"epoch": clock.epoch, "timestamp_basis": clock.timestamp_basis}
