"""What the sensors of one robot usually look like: fitted from earlier drives, versioned, named in the recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Baseline:
    """The usual values of one statistic of one channel over the drives that it was fitted to.

    Attributes:
        nbr_scenes: that the figures rest on.
        mad: median absolute deviation from the median, not scaled.
    """

    nbr_scenes: int
    median: float
    mad: float
    p01: float
    p99: float


@dataclass(frozen=True, slots=True)
class Baselines:
    """Of one robot, by channel and statistic; empty for a robot that nothing is known of.

    Attributes:
        version: of the artefact; None for none.
    """

    version: str | None = None
    known: Mapping[tuple[str, str], Baseline] = field(default_factory=dict)

    def of(self, channel: str, statistic: str) -> Baseline | None:
        return self.known.get((channel, statistic))
