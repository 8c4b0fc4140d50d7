"""The policy: what each check's value is held to, and what a value beyond it costs the scene."""

from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from scenelake.contracts.modalities import Modality
from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.checks import Check, Verdict


def _known(name: str) -> str:
    if name in CATALOGUE:
        return name
    near = get_close_matches(name, CATALOGUE, n=3)
    raise ValueError(f"no check has the name {name!r}; " + (f"did you mean {' or '.join(near)}?" if near else _REMEDY))


def _known_pattern(pattern: str) -> str:
    if any(fnmatchcase(name, pattern) for name in CATALOGUE):
        return pattern
    return _known(pattern)


def _decidable(verdict: Verdict) -> Verdict:
    if verdict is Verdict.UNKNOWN:
        raise ValueError(
            "unknown is what a check says that could measure nothing; choose pass, warn, quarantine, reject"
        )
    return verdict


_REMEDY = "docs/quality.md lists them"

CheckName = Annotated[str, AfterValidator(_known)]
CheckPattern = Annotated[str, AfterValidator(_known_pattern)]
Consequence = Annotated[Verdict, AfterValidator(_decidable)]
Limit = Annotated[float, Field(allow_inf_nan=False, strict=True)]


class QualityRule(BaseModel):
    """What holds for some checks on some channels.

    Attributes:
        check, channel: names, or patterns with ``*``, ``?`` and ``[...]``; a check of a whole scene has the channel
            ``""``.
        modality: of the channel; None for any.
        limit, per_scale, consequence: in place of what holds otherwise; None leaves it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: CheckPattern
    channel: str = "*"
    modality: Modality | None = None
    limit: Limit | None = None
    per_scale: Limit | None = None
    consequence: Consequence | None = None

    def fits(self, check_name: str, channel: str, modality: str | None) -> bool:
        return (
            fnmatchcase(check_name, self.check)
            and fnmatchcase(channel, self.channel)
            and (self.modality is None or self.modality == modality)
        )


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one check's values on one channel are held to."""

    limit: float
    per_scale: float
    consequence: Verdict


class QualityPolicy(BaseModel):
    """Limits of every check, and the verdict of a value beyond them. Names that no check has are refused.

    Attributes:
        limits: by check; in place of the check's own, for every modality.
        per_scale: by check; in place of the check's own number of periods that the limit is at least; 0 for none.
        consequences: by check.
        rules: for some channels; the first that fits a check and a channel decides.
        max_calibration_keyframes: of a drive that the camera-LiDAR check reads payload of; 0 turns it off. A drive with
            fewer than 100 of them is not looked at.
        calibration_share: of a drive's keyframes that it reads payload of. Half a second apart, a fifth has 100 of them
            in a drive of 250 s, and costs a tenth of decode; 1 looks at drives of 50 s, and costs five times that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = "quality-3"
    limits: dict[CheckName, Limit] = Field(default_factory=dict)
    per_scale: dict[CheckName, Limit] = Field(default_factory=dict)
    consequences: dict[CheckName, Consequence] = Field(default_factory=dict)
    rules: tuple[QualityRule, ...] = ()
    max_calibration_keyframes: int = Field(default=300, ge=0)
    calibration_share: float = Field(default=0.2, gt=0, le=1, strict=True)

    def ruling(self, check: Check, channel: str | None, modality: str | None) -> Ruling:
        """What a check's value on a channel is held to."""
        rule = next((r for r in self.rules if r.fits(check.name, channel or "", modality)), None)
        usual = Ruling(
            self.limits.get(check.name, _own_limit(check, modality)),
            self.per_scale.get(check.name, check.per_scale),
            self.consequences.get(check.name, check.consequence),
        )
        if rule is None:
            return usual
        return Ruling(
            usual.limit if rule.limit is None else rule.limit,
            usual.per_scale if rule.per_scale is None else rule.per_scale,
            rule.consequence or usual.consequence,
        )


def _own_limit(check: Check, modality: str | None) -> float:
    return next((limit for of, limit in check.by_modality.items() if of == modality), check.limit)
