"""How scenes are cut, which keyframes they get and what counts as a match."""

from pydantic import BaseModel, ConfigDict, Field

from scenelake.contracts.modalities import Modality, SyncMethod
from scenelake.synchronise.clock_rules import ClockRule

_MS = 1_000_000
_SECOND = 1_000 * _MS


class MatchRule(BaseModel):
    """How one modality is matched to keyframes.

    Attributes:
        tolerance_ns: largest \\|delta\\| (nearest), widest bridged gap (linear, slerp) or oldest row (hold).
        is_at_least_half_period: a nearest match also counts within half the channel's median period in the scene,
            because a sensor slower than the tolerance can never do better (a 4 Hz radar is up to 125 ms away).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: SyncMethod
    tolerance_ns: int = Field(gt=0)
    is_at_least_half_period: bool = False


_BURSTY = frozenset(
    {
        Modality.CAN, Modality.RADAR_TRACK, Modality.TRANSFORM, Modality.RAW, Modality.LANGUAGE,
        Modality.CALIBRATION, Modality.ANNOTATION, Modality.TEXT_LOG, Modality.GNSS_RAW, Modality.AUDIO,
        Modality.EPISODE,
    }
)  # fmt: skip


def _default_max_rates() -> dict[Modality, float]:
    return {Modality.CAMERA: 200.0, Modality.DEPTH: 200.0, Modality.LIDAR: 100.0, Modality.RADAR: 100.0}


def _default_rules() -> dict[Modality, MatchRule]:
    nearest = SyncMethod.NEAREST
    return {
        Modality.CAMERA: MatchRule(method=nearest, tolerance_ns=25 * _MS),
        Modality.DEPTH: MatchRule(method=nearest, tolerance_ns=25 * _MS),
        Modality.LIDAR: MatchRule(method=nearest, tolerance_ns=50 * _MS),
        Modality.RADAR: MatchRule(method=nearest, tolerance_ns=60 * _MS, is_at_least_half_period=True),
        Modality.RADAR_TRACK: MatchRule(method=nearest, tolerance_ns=60 * _MS, is_at_least_half_period=True),
        Modality.GNSS: MatchRule(method=nearest, tolerance_ns=100 * _MS, is_at_least_half_period=True),
        Modality.ANNOTATION: MatchRule(method=nearest, tolerance_ns=50 * _MS),
        Modality.IMU: MatchRule(method=SyncMethod.LINEAR, tolerance_ns=100 * _MS),
        Modality.ROBOT_STATE: MatchRule(method=SyncMethod.LINEAR, tolerance_ns=250 * _MS),
        Modality.EGO_POSE: MatchRule(method=SyncMethod.SLERP, tolerance_ns=250 * _MS),
        Modality.ACTION: MatchRule(method=SyncMethod.HOLD, tolerance_ns=250 * _MS),
        Modality.LANGUAGE: MatchRule(method=SyncMethod.HOLD, tolerance_ns=3600 * _SECOND),
    }


class SynchroniseConfig(BaseModel):
    """The stage's configuration; part of the recipe.

    The camera's 25 ms is Argoverse 2's camera-to-LiDAR bound. Modalities without a rule (CAN, transforms,
    calibration, raw) have no one value at a keyframe and get no sync rows.

    Attributes:
        policy_version: goes into every row that the rules produce; change it when the rules change.
        segmentation_policy: goes into scene identities; change it when scenes are cut differently.
        keyframe_ticks_per_second: keyframes of drive segments: the first reference row in each tick.
        is_native_rate: every reference row of a drive segment is a keyframe instead.
        fixed_grid_episode_hz: keyframes of an episode that has neither camera nor LiDAR. With one, every row
            of the reference is a keyframe: those are the frames that a robot's policy is trained on.
        is_match_across_segments: a keyframe near the edge of a drive segment may match a row of the next or
            the previous segment, which is the true match. Episodes never look outside themselves.
        min_clock_messages: channels with fewer messages have no clock to speak of and no clock offset.
        min_clock_offset_ns: a channel that does not overlap the reference by ``min_overlap_share`` of the
            shorter span, and starts at least this far from it, has its clock off.
        min_clock_jump_ns: least step of a clock that is told from noise, before the noise is added to it.
        min_drift_ppm: drift below it is no fault: crystals are off by 20 ppm and stay so, and are reported anyway.
        max_latency_ns: a log time further from its stamp is not explained by latency.
        max_jitter_share: standard deviation of a channel's steps, as a share of its period.
        max_rates_hz: above it, the stamps are not of the moment of measurement (a tub converted to images in three
            seconds shows 300 Hz); the fastest sensors of their kind in use stay below.
        bursty_modalities: several messages of one instant are normal there.
        clock_rules: which clock rules a channel and how its times are repaired; the first that fits decides, and
            where none does, decode's choice stands and nothing is repaired.
        ego_frame: the ego's frame.
        world_frames: frames whose transform to the ego frame is an ego pose, the best first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy_version: str = "sync-2"
    segmentation_policy: str = "slot20s-episode-1"
    keyframe_ticks_per_second: int = Field(default=2, ge=1, le=1000)
    is_native_rate: bool = False
    fixed_grid_episode_hz: int = Field(default=10, ge=1, le=1000)
    is_match_across_segments: bool = True
    rules: dict[Modality, MatchRule] = Field(default_factory=_default_rules)
    gap_periods: int = Field(default=3, ge=2)
    min_gap_ns: int = Field(default=100 * _MS, gt=0)
    min_clock_messages: int = Field(default=3, ge=2)
    min_clock_offset_ns: int = Field(default=_SECOND, gt=0)
    min_overlap_share: float = Field(default=0.1, ge=0.0, le=1.0)
    min_clock_jump_ns: int = Field(default=1_500_000, gt=0)
    min_drift_ppm: float = Field(default=10.0, gt=0.0)
    max_latency_ns: int = Field(default=_SECOND, gt=0)
    max_jitter_share: float = Field(default=0.15, gt=0.0)
    max_rates_hz: dict[Modality, float] = Field(default_factory=_default_max_rates)
    bursty_modalities: frozenset[Modality] = _BURSTY
    clock_rules: tuple[ClockRule, ...] = ()
    ego_frame: str = "base_link"
    world_frames: tuple[str, ...] = ("map", "world", "odom")
