"""Shares with their bounds, and the strength at which a fault starts being caught."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution: two-sided 95 %."""


@dataclass(frozen=True)
class Share:
    """``hits`` of ``trials``, with the bounds of Wilson's interval at 95 %."""

    hits: int
    trials: int

    @property
    def value(self) -> float:
        """NaN of nothing."""
        return self.hits / self.trials if self.trials else float("nan")

    @property
    def bounds(self) -> tuple[float, float]:
        """Wilson's score interval: where the true share may lie, given what was seen.

        E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927), 209-212;
        in the form of Brown, Cai and DasGupta, Interval Estimation for a Binomial Proportion (2001), eq. 4.
        """
        if not self.trials:
            return 0.0, 1.0
        share, n, z2 = self.value, self.trials, Z_95**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return max(middle - half, 0.0), min(middle + half, 1.0)

    def __add__(self, other: "Share") -> "Share":
        return Share(self.hits + other.hits, self.trials + other.trials)

    def to_json(self) -> dict[str, float | int | None]:
        low, high = self.bounds
        value = self.value if self.trials else None
        return {"hits": self.hits, "trials": self.trials, "share": value, "low": low, "high": high}


def strength_at(strengths: Sequence[float], shares: Sequence[Share], level: float) -> float | None:
    """The least strength from which on the share caught stays at a level or above.

    Between two graded strengths it is drawn on the straight line of the logarithms, as long as both are positive; the
    first one itself where even that is caught. None where not even the strongest is.
    """
    at = len(shares)
    while at and shares[at - 1].value >= level:
        at -= 1
    if at == len(shares):
        return None
    if at == 0:
        return strengths[0]
    below, above = shares[at - 1].value, shares[at].value
    part = (level - below) / (above - below)
    low, high = strengths[at - 1], strengths[at]
    return float(low * (high / low) ** part) if low > 0 else float(low + part * (high - low))
