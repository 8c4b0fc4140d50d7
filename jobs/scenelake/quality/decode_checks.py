"""What decode could not read of the objects behind a scene."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.quality.checks import Bound, Check, Measurement, Verdict
from scenelake.quality.evidence import DriveFacts

UNDECODABLE = Check(
    "undecodable", "1", "share", Bound.MAX, 0.0,
    "Share of the channel's messages in the drive that contradict their schema.",
    "A recorder writes none.",
)  # fmt: skip
CAMERA_UNDECODABLE = Check(
    "camera_undecodable", "1", "share", Bound.MAX, 0.5,
    "Share of a camera's messages in the drive that contradict their schema.",
    "What is left above it is no view of the drive.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip
LOST_MESSAGES = Check(
    "lost_messages", "1", "1", Bound.MAX, 0.0,
    "Messages that the recording counts and that could not be read.",
    "A whole file has none.",
)  # fmt: skip
BAD_BYTES = Check(
    "bad_bytes", "1", "B", Bound.MAX, 0.0,
    "Bytes that could not be used, of the objects that the scene has messages from.",
    "A whole file has none.",
)  # fmt: skip

CHECKS = (UNDECODABLE, CAMERA_UNDECODABLE, LOST_MESSAGES, BAD_BYTES)


def measure_channels_read(facts: DriveFacts) -> Iterator[Measurement]:
    """Messages per channel that were read and contradict their schema, and that could not be read at all."""
    totals: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(lambda: {"recorded": 0, "read": 0, "bad": 0})
    for outcome in facts.outcomes:
        for count in outcome.channels:
            total = totals[count.channel, count.modality]
            total["recorded"] += count.recorded
            total["read"] += count.read
            total["bad"] += count.undecodable
    for scene in facts.scenes:
        for (channel, modality), total in sorted(totals.items()):
            bad, lost = total["bad"], total["recorded"] - total["read"]
            share = bad / total["read"] if total["read"] else 0.0
            undecodable = f"{channel}: {bad} of {total['read']} messages cannot be decoded"
            found = [(UNDECODABLE, share, undecodable)]
            if modality == Modality.CAMERA:
                found.append((CAMERA_UNDECODABLE, share, undecodable))
            found.append((LOST_MESSAGES, float(lost), f"{channel}: {lost} of {total['recorded']} messages lost"))
            evidence = {"nbr_recorded": total["recorded"], "nbr_read": total["read"], "nbr_undecodable": bad}
            for check, measured, said in found:
                yield Measurement(scene, channel, check, measured, said, evidence, modality=modality)


def measure_bad_bytes(facts: DriveFacts) -> Iterator[Measurement]:
    """Byte ranges that could not be used, of the objects that a scene has messages from."""
    for scene in facts.scenes:
        ranges: list[dict[str, Any]] = [
            {
                "object_sha256": outcome.object_sha256,
                "reason": problem.reason,
                "start_byte": problem.start_byte,
                "exclusive_end_byte": problem.exclusive_end_byte,
            }
            for outcome in facts.outcomes
            if outcome.object_sha256 in scene.objects
            for problem in outcome.problems
        ]
        lost = sum(r["exclusive_end_byte"] - r["start_byte"] for r in ranges)
        # A range of no bytes is a problem all the same: something is missing there.
        measured = float(max(lost, len(ranges)))
        said = f"{len(ranges)} byte range(s) of the recording cannot be used, {lost} bytes"
        yield Measurement(scene, None, BAD_BYTES, measured, said, {"ranges": ranges})


MEASURES = (measure_channels_read, measure_bad_bytes)
