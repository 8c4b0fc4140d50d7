"""Is every sensor there, all the time, at its own rate?"""

from collections.abc import Iterator

from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import ChannelClock
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import PERIODIC, ChannelInScene, DriveFacts, Finding, SceneFacts, judged

MISSING_SENSOR = ("missing_sensor", "1")
COMPLETENESS = ("completeness", "1")
COVERAGE = ("coverage", "1")
GAPS = ("gaps", "1")
IMPLAUSIBLE_RATE = ("implausible_rate", "1")
NO_KEYFRAMES = ("no_keyframes", "1")

_SECOND_NS = 1_000_000_000
_IN_BURSTS = frozenset({Modality.CAN, Modality.RADAR_TRACK})


def check_keyframes(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """A scene without a keyframe can be shown to no model."""
    for scene in facts.scenes:
        yield judged(
            policy,
            scene,
            None,
            NO_KEYFRAMES,
            is_good=scene.nbr_samples > 0,
            measured=float(scene.nbr_samples),
            threshold=1.0,
            reason="the scene has no keyframe",
            evidence={},
        )


def check_missing_sensors(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """Sensors that the drive has and the scene has not."""
    for scene in facts.scenes:
        for clock in _periodic(facts, policy):
            present = scene.channels.get(clock.channel)
            yield judged(
                policy,
                scene,
                clock.channel,
                MISSING_SENSOR,
                is_good=present is not None,
                measured=float(present.nbr_messages if present else 0),
                threshold=1.0,
                reason=f"{clock.channel} has {clock.nbr_messages} messages in the drive and none in the scene",
                evidence={"nbr_messages_in_drive": clock.nbr_messages},
            )


def check_completeness(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """Messages against what the channel's median period over the drive promises between its own first and
    last message in the scene. Channels that send in bursts are left out: their median period promises nothing."""
    for scene, clock, present, period_ns in _rated(facts, policy):
        if clock.modality in _IN_BURSTS:
            continue
        expected = (present.last_ns - present.first_ns) // period_ns + 1
        share = min(present.nbr_distinct / expected, 1.0)
        yield judged(
            policy,
            scene,
            clock.channel,
            COMPLETENESS,
            is_good=share >= policy.min_completeness,
            measured=share,
            threshold=policy.min_completeness,
            reason=f"{clock.channel}: {present.nbr_distinct} of {expected} messages",
            evidence={"nbr_distinct": present.nbr_distinct, "nbr_expected": expected, "median_period_ns": period_ns},
        )


def check_coverage(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """Share of the scene between the channel's first message and one period after its last."""
    for scene, clock, present, period_ns in _rated(facts, policy):
        covered_ns = min(present.last_ns - present.first_ns + period_ns, scene.duration_ns)
        # Half a period at each edge is the sensor's phase, not an absence.
        share = min((covered_ns + period_ns) / scene.duration_ns, 1.0)
        yield judged(
            policy,
            scene,
            clock.channel,
            COVERAGE,
            is_good=share >= policy.min_coverage,
            measured=share,
            threshold=policy.min_coverage,
            reason=f"{clock.channel} covers {share:.0%} of the scene",
            evidence={
                "first_ns": present.first_ns,
                "last_ns": present.last_ns,
                "scene_start_ns": scene.start_ns,
                "scene_exclusive_end_ns": scene.exclusive_end_ns,
            },
        )


def check_gaps(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """The longest silence between two messages of a scene."""
    for scene, clock, present, period_ns in _rated(facts, policy):
        limit_ns = max(policy.gap_periods * period_ns, policy.min_gap_ns)
        yield judged(
            policy,
            scene,
            clock.channel,
            GAPS,
            is_good=present.largest_step_ns <= limit_ns,
            measured=float(present.largest_step_ns),
            threshold=float(limit_ns),
            reason=f"{clock.channel} is silent for {present.largest_step_ns / _SECOND_NS:.3f} s",
            evidence={
                "start_ns": present.largest_step_start_ns,
                "exclusive_end_ns": present.largest_step_start_ns + present.largest_step_ns,
                "median_period_ns": period_ns,
            },
        )


def check_rates(facts: DriveFacts, policy: QualityPolicy) -> Iterator[Finding]:
    """Rates that no sensor of the kind has: then the stamps are of something else, such as a conversion."""
    for scene, clock, _, period_ns in _rated(facts, policy):
        limit_hz = policy.max_rate_hz.get(Modality(clock.modality))
        if limit_hz is None:
            continue
        rate_hz = _SECOND_NS / period_ns
        yield judged(
            policy,
            scene,
            clock.channel,
            IMPLAUSIBLE_RATE,
            is_good=rate_hz <= limit_hz,
            measured=rate_hz,
            threshold=limit_hz,
            reason=f"{clock.channel} is stamped at {rate_hz:.0f} Hz: these are not times of measurement",
            evidence={"median_period_ns": period_ns, "nbr_messages": clock.nbr_messages},
        )


def _periodic(facts: DriveFacts, policy: QualityPolicy) -> Iterator[ChannelClock]:
    for clock in facts.clocks.values():
        if Modality(clock.modality) in PERIODIC and clock.nbr_messages >= policy.min_messages:
            yield clock


def _rated(facts: DriveFacts, policy: QualityPolicy) -> Iterator[tuple[SceneFacts, ChannelClock, ChannelInScene, int]]:
    """Scenes and the channels in them that have a period."""
    for scene in facts.scenes:
        for clock in _periodic(facts, policy):
            present = scene.channels.get(clock.channel)
            if present is not None and clock.median_period_ns:
                yield scene, clock, present, clock.median_period_ns
