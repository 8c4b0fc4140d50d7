"""The policy: what is measured against what, and what a failed check costs a scene."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from scenelake.contracts.modalities import Modality

_MS = 1_000_000


class Verdict(StrEnum):
    """Of a check or a scene, from the best to the worst."""

    PASS = "pass"
    WARN = "warn"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def rank(self) -> int:
        return list(Verdict).index(self)


LOST_SAMPLES = "time.clock_fault.lost"
"""Name in the consequences of a clock fault that nobody repaired and that cost keyframes their match."""


def _default_consequences() -> dict[str, Verdict]:
    return {name: Verdict.QUARANTINE for name in ("no_keyframes", "camera_undecodable", LOST_SAMPLES)}


def _default_rates() -> dict[Modality, float]:
    return {Modality.CAMERA: 200.0, Modality.DEPTH: 200.0, Modality.LIDAR: 100.0, Modality.RADAR: 100.0}


def _default_sync_errors() -> dict[Modality, int]:
    return {Modality.CAMERA: 25 * _MS, Modality.DEPTH: 25 * _MS, Modality.LIDAR: 50 * _MS}


class QualityPolicy(BaseModel):
    """Thresholds of every check, and the verdict that a failed check means.

    Attributes:
        consequences: verdict of a failed check by its name; for checks that are not named the default's, else
            ``warn``.
        min_messages: a channel with fewer in the drive has no rate to fall short of.
        min_completeness: share of the messages that the channel's median period promises over its own span.
        min_coverage: share of the scene that lies between the channel's first and last message.
        gap_periods, min_gap_ns: a step longer than both is a gap.
        max_rate_hz: above it, the stamps are not of the moment of measurement (a tub converted to images in
            three seconds shows 300 Hz); the fastest sensors of their kind in use stay below.
        min_match_share: share of keyframes with a match.
        max_median_sync_error_ns: by modality; half of the channel's median period counts where it is more,
            because no free-running sensor can be nearer than that for certain.
        default_max_median_sync_error_ns: for other modalities.
        max_undecodable_share: of a camera's messages; above it what is left is no view of the drive.
        max_lost_sample_share: of a scene's keyframes that may lack their match with a channel because of a clock
            fault that nobody repaired, before ``time.clock_fault.lost`` rules.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = "quality-2"
    consequences: dict[str, Verdict] = Field(default_factory=_default_consequences)
    min_messages: int = Field(default=3, ge=1)
    min_completeness: float = Field(default=0.9, ge=0.0, le=1.0)
    min_coverage: float = Field(default=0.9, ge=0.0, le=1.0)
    gap_periods: int = Field(default=3, ge=2)
    min_gap_ns: int = Field(default=100 * _MS, gt=0)
    max_rate_hz: dict[Modality, float] = Field(default_factory=_default_rates)
    min_match_share: float = Field(default=0.9, ge=0.0, le=1.0)
    max_median_sync_error_ns: dict[Modality, int] = Field(default_factory=_default_sync_errors)
    default_max_median_sync_error_ns: int = Field(default=60 * _MS, gt=0)
    max_undecodable_share: float = Field(default=0.5, ge=0.0, le=1.0)
    max_lost_sample_share: float = Field(default=0.1, ge=0.0, le=1.0)

    @field_validator("consequences")
    @classmethod
    def _over_the_defaults(cls, given: dict[str, Verdict]) -> dict[str, Verdict]:
        return _default_consequences() | given

    def consequence(self, check_name: str) -> Verdict:
        """What failing this check means for the scene."""
        return self.consequences.get(check_name, Verdict.WARN)
