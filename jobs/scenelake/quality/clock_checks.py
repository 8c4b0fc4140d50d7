"""Did every clock of the drive run forwards, in the right year, in step with the reference?

These are facts of the drive; they are told of every scene, because every scene inherits them.
"""

from collections.abc import Iterator
from typing import Any

from scenelake.contracts.stages import ChannelClock
from scenelake.quality.checks import Bound, Check, Measurement
from scenelake.quality.evidence import DriveFacts

_SECOND_NS = 1_000_000_000
_NONE = "A working clock has none."

DUPLICATE_STAMPS = Check(
    "duplicate_stamps", "1", "1", Bound.MAX, 0.0,
    "Messages of the drive whose stamp repeats the one before.", _NONE,
)  # fmt: skip
BACKWARD_JUMPS = Check(
    "backward_jumps", "1", "1", Bound.MAX, 0.0,
    "Stamps of the drive that go back in the order of recording.", _NONE,
)  # fmt: skip
CLOCK_OFFSET = Check(
    "clock_offset", "1", "ns", Bound.MAX, 0.0,
    "Distance of the channel's first stamp from the reference's, where the two hardly overlap; else 0.",
    "Sensors of one drive overlap.",
)  # fmt: skip
EPOCH = Check(
    "epoch", "1", "1", Bound.MAX, 0.0,
    "1 where the stamps are no UTC times (since boot, or in the future).", "By definition.",
)  # fmt: skip

CHECKS = (DUPLICATE_STAMPS, BACKWARD_JUMPS, CLOCK_OFFSET, EPOCH)

_BURSTY = frozenset(
    {
        "can", "radar_track", "transform", "raw", "language", "calibration", "annotation", "text_log", "gnss_raw",
        "audio",
    }
)  # fmt: skip
"""Several messages of one instant are normal here."""


def measure_clocks(facts: DriveFacts) -> Iterator[Measurement]:
    """All four clock checks, for every scene and every channel of the drive."""
    found = [(clock, list(_found(clock))) for clock in facts.clocks.values()]
    for scene in facts.scenes:
        for clock, measured in found:
            for check, value, said, evidence in measured:
                yield Measurement(scene, clock.channel, check, value, said, evidence, modality=clock.modality)


def _found(clock: ChannelClock) -> Iterator[tuple[Check, float, str, dict[str, Any]]]:
    name = clock.channel
    if clock.modality not in _BURSTY:
        count = clock.nbr_duplicate_stamps
        said = f"{name}: {count} of {clock.nbr_messages} stamps repeat the one before"
        yield DUPLICATE_STAMPS, float(count), said, {"nbr_messages": clock.nbr_messages}
    jumps, back_s = clock.nbr_backward_jumps, clock.largest_backward_ns / _SECOND_NS
    said = f"{name}: {jumps} stamp(s) go back" + (f", by up to {back_s:.3f} s" if jumps else "")
    yield BACKWARD_JUMPS, float(jumps), said, {"largest_backward_ns": clock.largest_backward_ns}
    offset_ns = clock.offset_from_reference_ns or 0
    said = f"{name}: clock lies {offset_ns / _SECOND_NS:+.2f} s from the reference's"
    span = {"start_ns": clock.start_ns, "exclusive_end_ns": clock.exclusive_end_ns}
    yield CLOCK_OFFSET, float(abs(offset_ns)), said, span | {"offset_ns": offset_ns}
    is_utc = clock.epoch == "utc"
    said = f"{name}: stamps are {'' if is_utc else 'no '}UTC times ({clock.epoch})"
    yield EPOCH, float(not is_utc), said, {"epoch": clock.epoch, "timestamp_basis": clock.timestamp_basis}


MEASURES = (measure_clocks,)
