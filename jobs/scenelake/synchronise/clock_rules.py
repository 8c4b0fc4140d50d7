"""Which clock rules a channel, and the repairs of its times that a person asked for by name."""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenelake.contracts.modalities import Modality


class Repair(StrEnum):
    """What may be done to the times of a channel. Every row that it changes names it (``clock_policy``).

    A repair looks at one object and channel at a time, never at the drive: objects do not change, so data that comes
    later cannot change how a scene that it does not touch was repaired.
    """

    FOLLOW_LOG_TIME = "follow_log_time"
    """The log time rules."""
    FOLLOW_PUBLISH_TIME = "follow_publish_time"
    """The publish time rules."""
    SHIFT = "shift"
    """``shift_ns`` is added: a clock that a person knows to be off."""
    CORRECT_EPOCH = "correct_epoch"
    """Stamps in another epoch or unit become UTC by the exact rule for it, told from the log times."""
    REMOVE_JUMPS = "remove_jumps"
    """Steps of the clock within an object are taken back to the setting that rules most of it."""
    REMOVE_OFFSET = "remove_offset"
    """Stamps go on to the log's clock: offset, jumps and drift are taken out, and messages with the least delay come
    to lie ``latency_ns`` before their log time. The latency must be known: nothing in the recording tells it."""
    RETIME = "retime"
    """Message k of an object is ``k / rate_hz`` after its first: for stamps that are of the conversion."""
    DROP_DUPLICATES = "drop_duplicates"
    """A message with the stamp of the one before it, in one object, is left out of every scene."""
    DROP_BACKWARD = "drop_backward"
    """A message stamped before an earlier one of its object is left out of every scene."""


_NEEDS = {Repair.SHIFT: "shift_ns", Repair.REMOVE_OFFSET: "latency_ns", Repair.RETIME: "rate_hz"}


class ClockRule(BaseModel):
    """Repairs of the channels that fit.

    Attributes:
        channel: a pattern (``/camera/*``) that the channel's name must match.
        modality: that it must have; None for any.
        repairs: by name, in the order in which they are applied; none leaves the channel as it was recorded.
        shift_ns, latency_ns, rate_hz: what ``shift``, ``remove_offset`` and ``retime`` need.

    Raises:
        ValueError: a repair lacks what it needs, or is named twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str = "*"
    modality: Modality | None = None
    repairs: tuple[Repair, ...] = ()
    shift_ns: int | None = None
    latency_ns: Annotated[int, Field(ge=0)] | None = None
    rate_hz: Annotated[float, Field(gt=0.0, le=1_000_000.0)] | None = None

    @model_validator(mode="after")
    def _repairs_have_what_they_need(self) -> Self:
        if len(set(self.repairs)) < len(self.repairs):
            raise ValueError(f"repairs: expected each once, got {', '.join(self.repairs)}")
        for repair in self.repairs:
            needed = _NEEDS.get(repair)
            if needed is not None and getattr(self, needed) is None:
                raise ValueError(f"{needed}: {repair} needs it")
        return self

    def fits(self, channel: str, modality: Modality) -> bool:
        """Whether the rule is for a channel."""
        return self.modality in (None, modality) and fnmatchcase(channel, self.channel)

    @property
    def name(self) -> str | None:
        """The repairs as ``clock_policy`` names them; None for none."""
        return "+".join(self.repairs) or None


def rule_for(rules: tuple[ClockRule, ...], channel: str, modality: Modality) -> ClockRule | None:
    """The first rule that fits and repairs something."""
    rule = next((r for r in rules if r.fits(channel, modality)), None)
    return rule if rule is not None and rule.repairs else None
