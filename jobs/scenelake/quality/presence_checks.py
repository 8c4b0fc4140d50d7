"""Is every sensor there, all the time, at its own rate?"""

from collections.abc import Iterator

from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import ChannelClock
from scenelake.quality.checks import Bound, Check, Measurement, Verdict
from scenelake.quality.evidence import PERIODIC, ChannelInScene, DriveFacts, SceneFacts

_MS = 1_000_000
_SECOND_NS = 1_000_000_000

NO_KEYFRAMES = Check(
    "no_keyframes", "1", "1", Bound.MIN, 1.0,
    "Keyframes of the scene.",
    "A scene without a keyframe can be shown to no model.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip
MISSING_SENSOR = Check(
    "missing_sensor", "1", "1", Bound.MIN, 1.0,
    "Messages in the scene of a sensor that the drive has.",
    "By definition.",
)  # fmt: skip
COMPLETENESS = Check(
    "completeness", "1", "share", Bound.MIN, 0.9,
    "Messages against what the channel's median period promises over its own span in the scene.",
    "One in ten lost leaves pairs of frames at twice the period, which tracking still bridges.",
)  # fmt: skip
COVERAGE = Check(
    "coverage", "1", "share", Bound.MIN, 0.9,
    "Share of the scene between the channel's first and last message.",
    "As for completeness.",
)  # fmt: skip
GAPS = Check(
    "gaps", "1", "ns", Bound.MAX, 100.0 * _MS,
    "Longest silence of the channel in the scene.",
    "Three periods: two messages in a row lost; below 100 ms schedulers alone cause them.",
    per_scale=3.0,
)  # fmt: skip
IMPLAUSIBLE_RATE = Check(
    "implausible_rate", "1", "Hz", Bound.MAX, 200.0,
    "Rate of the channel's stamps.",
    "The fastest sensors of their kind in use stay below; a tub converted to images in three seconds shows 300 Hz.",
    by_modality={Modality.CAMERA: 200.0, Modality.DEPTH: 200.0, Modality.LIDAR: 100.0, Modality.RADAR: 100.0},
)  # fmt: skip

CHECKS = (NO_KEYFRAMES, MISSING_SENSOR, COMPLETENESS, COVERAGE, GAPS, IMPLAUSIBLE_RATE)

MIN_MESSAGES = 3
"""A channel with fewer in the drive has no rate to fall short of."""

_IN_BURSTS = frozenset({Modality.CAN, Modality.RADAR_TRACK})
_OFF_BEAT = 1 / 3
"""Of a period: lost messages make steps of whole periods. Poses that were sampled at the stamps of seven cameras and a
LiDAR (Argoverse 2) step by 1 and 1.5 of their median."""


def measure_keyframes(facts: DriveFacts) -> Iterator[Measurement]:
    """Keyframes per scene."""
    for scene in facts.scenes:
        count = scene.nbr_samples
        said = f"the scene has {count or 'no'} keyframe{'' if count == 1 else 's'}"
        yield Measurement(scene, None, NO_KEYFRAMES, float(count), said)


def measure_missing_sensors(facts: DriveFacts) -> Iterator[Measurement]:
    """Messages in each scene of the sensors that the drive has."""
    for scene in facts.scenes:
        for clock in _periodic(facts):
            present = scene.channels.get(clock.channel)
            count = present.nbr_messages if present else 0
            said = f"{clock.channel} has {clock.nbr_messages} messages in the drive and {count or 'none'} in the scene"
            evidence = {"nbr_messages_in_drive": clock.nbr_messages}
            yield _of(scene, clock, MISSING_SENSOR, float(count), said, evidence)


def measure_completeness(facts: DriveFacts) -> Iterator[Measurement]:
    """Messages against what the channel's median period over the drive promises between its own first and
    last message in the scene. Channels that send in bursts or off the beat are left out: their median period promises
    nothing."""
    for scene, clock, present, period_ns in _rated(facts):
        periods = present.longer_step_ns / period_ns
        if clock.modality in _IN_BURSTS or abs(periods - round(periods)) > _OFF_BEAT:
            continue
        expected = (present.last_ns - present.first_ns) // period_ns + 1
        share = min(present.nbr_distinct / expected, 1.0)
        said = f"{clock.channel}: {present.nbr_distinct} of {expected} messages"
        evidence = {"nbr_distinct": present.nbr_distinct, "nbr_expected": expected, "median_period_ns": period_ns}
        yield _of(scene, clock, COMPLETENESS, share, said, evidence)


def measure_coverage(facts: DriveFacts) -> Iterator[Measurement]:
    """Share of the scene between the channel's first message and one period after its last."""
    for scene, clock, present, period_ns in _rated(facts):
        covered_ns = min(present.last_ns - present.first_ns + period_ns, scene.duration_ns)
        # Half a period at each edge is the sensor's phase, not an absence.
        share = min((covered_ns + period_ns) / scene.duration_ns, 1.0)
        evidence = {
            "first_ns": present.first_ns,
            "last_ns": present.last_ns,
            "scene_start_ns": scene.start_ns,
            "scene_exclusive_end_ns": scene.exclusive_end_ns,
        }
        yield _of(scene, clock, COVERAGE, share, f"{clock.channel} covers {share:.0%} of the scene", evidence)


def measure_gaps(facts: DriveFacts) -> Iterator[Measurement]:
    """The longest silence between two messages of a scene."""
    for scene, clock, present, period_ns in _rated(facts):
        said = f"{clock.channel} is silent for {present.largest_step_ns / _SECOND_NS:.3f} s"
        evidence = {
            "start_ns": present.largest_step_start_ns,
            "exclusive_end_ns": present.largest_step_start_ns + present.largest_step_ns,
            "median_period_ns": period_ns,
        }
        yield _of(scene, clock, GAPS, float(present.largest_step_ns), said, evidence, scale=float(period_ns))


def measure_rates(facts: DriveFacts) -> Iterator[Measurement]:
    """Rates that no sensor of the kind has: then the stamps are of something else, such as a conversion."""
    for scene, clock, _, period_ns in _rated(facts):
        if Modality(clock.modality) in IMPLAUSIBLE_RATE.by_modality:
            rate_hz = _SECOND_NS / period_ns
            said = f"{clock.channel} is stamped at {rate_hz:.0f} Hz"
            evidence = {"median_period_ns": period_ns, "nbr_messages": clock.nbr_messages}
            yield _of(scene, clock, IMPLAUSIBLE_RATE, rate_hz, said, evidence)


def _of(
    scene: SceneFacts,
    clock: ChannelClock,
    check: Check,
    measured: float,
    said: str,
    evidence: dict[str, int],
    scale: float | None = None,
) -> Measurement:
    return Measurement(scene, clock.channel, check, measured, said, evidence, scale, clock.modality)


def _periodic(facts: DriveFacts) -> Iterator[ChannelClock]:
    for clock in facts.clocks.values():
        if Modality(clock.modality) in PERIODIC and clock.nbr_messages >= MIN_MESSAGES:
            yield clock


def _rated(facts: DriveFacts) -> Iterator[tuple[SceneFacts, ChannelClock, ChannelInScene, int]]:
    """Scenes and the channels in them that have a period."""
    for scene in facts.scenes:
        for clock in _periodic(facts):
            present = scene.channels.get(clock.channel)
            if present is not None and clock.median_period_ns:
                yield scene, clock, present, clock.median_period_ns


MEASURES = (
    measure_keyframes, measure_missing_sensors, measure_completeness, measure_coverage, measure_gaps, measure_rates,
)  # fmt: skip
