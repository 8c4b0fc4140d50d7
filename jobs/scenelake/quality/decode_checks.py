"""What decode could not read of the objects behind a scene."""

from collections import defaultdict
from collections.abc import Iterator

from scenelake.contracts.modalities import Modality
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts, Finding, judged

UNDECODABLE = ("undecodable", "1")
CAMERA_UNDECODABLE = ("camera_undecodable", "1")
LOST_MESSAGES = ("lost_messages", "1")
BAD_BYTES = ("bad_bytes", "1")


def check_channels_read(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """Messages per channel that were read and contradict their schema, and that could not be read at all.

    Of a camera, the share is also held to the policy's limit, by a check of its own with its own consequence.
    """
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
            limits = [(UNDECODABLE, share, 0.0, f"{channel}: {bad} of {total['read']} messages cannot be decoded")]
            if modality == Modality.CAMERA:
                limits.append((CAMERA_UNDECODABLE, share, policy.max_undecodable_share, limits[0][3]))
            limits.append((LOST_MESSAGES, float(lost), 0.0, f"{channel}: {lost} of {total['recorded']} messages lost"))
            for check, measured, limit, reason in limits:
                yield judged(
                    policy,
                    scene,
                    channel,
                    check,
                    is_good=measured <= limit,
                    measured=measured,
                    threshold=limit,
                    reason=reason,
                    evidence={"nbr_recorded": total["recorded"], "nbr_read": total["read"], "nbr_undecodable": bad},
                )


def check_bad_bytes(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """Byte ranges that could not be used, of the objects that a scene has messages from."""
    for scene in facts.scenes:
        problems = [
            (outcome.object_sha256, problem)
            for outcome in facts.outcomes
            if outcome.object_sha256 in scene.objects
            for problem in outcome.problems
        ]
        lost = sum(p.exclusive_end_byte - p.start_byte for _, p in problems)
        ranges = [
            {
                "object_sha256": object_sha256,
                "reason": p.reason,
                "start_byte": p.start_byte,
                "exclusive_end_byte": p.exclusive_end_byte,
            }
            for object_sha256, p in problems
        ]
        yield judged(
            policy,
            scene,
            None,
            BAD_BYTES,
            is_good=not ranges,
            measured=float(lost),
            threshold=0.0,
            reason=f"{len(ranges)} byte range(s) of the recording cannot be used, {lost} bytes",
            evidence={"ranges": ranges},
        )
