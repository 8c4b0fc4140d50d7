"""What a check is, what it measures, and the words for its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from scenelake.contracts.modalities import Modality
from scenelake.quality.evidence import SceneFacts


class Verdict(StrEnum):
    """Of a check, a sensor or a scene.

    ``UNKNOWN`` says that nothing could be measured: no pass, and no reason to hold a scene back.
    """

    UNKNOWN = "unknown"
    PASS = "pass"
    WARN = "warn"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def rank(self) -> int:
        """From the least to the most telling."""
        return _RANKS[self]


_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}


class Bound(StrEnum):
    """Which side of its limit a good value lies on; the limit itself is good."""

    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: what it measures, and the limit that a team may change.

    Attributes:
        name: stable, dotted by family: ``camera.black``.
        version: of the way in which it measures; a value of another version is not held to the limit.
        unit: of the value and the limit: ``share``, ``ns``, ``m/s``, ``1`` for counts and ratios.
        limit: largest (``MAX``) or smallest (``MIN``) good value.
        meaning: one sentence for a person: what is measured.
        source: where the limit comes from.
        by_modality: limits of modalities that differ.
        per_scale: with ``MAX``, the limit is at least this many times the measurement's scale, which is the sensor's
            own (its period).
        consequence: verdict of a value beyond its limit, unless the policy says otherwise.
    """

    name: str
    version: str
    unit: str
    bound: Bound
    limit: float
    meaning: str
    source: str
    by_modality: Mapping[Modality, float] = field(default_factory=dict)
    per_scale: float = 0.0
    consequence: Verdict = Verdict.WARN


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a check found of one scene, or of one channel of it: a row of ``qc_measurement``.

    Attributes:
        channel: None for a finding about the whole scene.
        measured: in the check's unit; None where it could not be observed.
        description: what was found, for a person, whatever the verdict will be.
        evidence: small and JSON: intervals, counts, the messages to look at.
        scale: what ``Check.per_scale`` multiplies.
        modality: of the channel, where it is known.
    """

    scene: SceneFacts
    channel: str | None
    check: Check
    measured: float | None
    description: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    scale: float | None = None
    modality: str | None = None
