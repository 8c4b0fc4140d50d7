"""The kinds of faults: what is planted where, how strong, which check must say so, and from which strength on.

The strength from which on a kind must be caught is declared here, before anything is tried, and a run that misses it
fails.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.conditions import Condition
from benchmarks.quality.recording import Rows, Track

Inject = Callable[[Track, Rows, float, np.random.Generator], Track]
Damage = Callable[[bytes, float, np.random.Generator], bytes]
ANY = "*"


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        check: that must warn or worse.
        topic: whose messages are changed; "" for the file as a whole.
        strengths: from the weakest; in ``unit``.
        declared: the strength from which on at least 98 of 100 must be caught.
        inject: changes messages of a scene, or of the drive where ``is_whole``.
        damage: changes the file instead.
        is_whole: the fault lasts for the whole drive, which every scene of it then tells of.
        fits: conditions in which the fault can be seen at all.
        channel: that the check speaks of; None for the topic, "" for the scene as a whole, ``ANY`` for any.
    """

    name: str
    check: str
    topic: str
    unit: str
    strengths: tuple[float, ...]
    declared: float
    inject: Inject | None = None
    damage: Damage | None = None
    is_whole: bool = False
    fits: Callable[[Condition], bool] = lambda condition: True
    channel: str | None = None

    def __post_init__(self) -> None:
        if self.declared not in self.strengths:
            raise ValueError(f"{self.name}: declared strength {self.declared} is none of {self.strengths}")
        if (self.inject is None) == (self.damage is None):
            raise ValueError(f"{self.name}: expected either inject or damage")

    @property
    def meaning(self) -> str:
        """What is planted, in a sentence."""
        return " ".join(((self.inject or self.damage).__doc__ or "").split())

    def is_told_of(self, channel: str | None) -> bool:
        """Whether a finding on a channel counts."""
        wanted = self.topic if self.channel is None else self.channel
        return wanted == ANY or (channel or "") == wanted


def moving(condition: Condition) -> bool:
    """The car moves all the time."""
    return condition.is_moving


def turning(condition: Condition) -> bool:
    """The road bends enough for turn rates to tell."""
    return condition.name in ("highway", "winding")


def well_lit(condition: Condition) -> bool:
    """There is something to see, and light to see it by, all the time."""
    return condition.has_structure and condition.name not in ("night", "tunnel")


def moving_in_light(condition: Condition) -> bool:
    """Both."""
    return moving(condition) and well_lit(condition)


def moving_among_things(condition: Condition) -> bool:
    """Both."""
    return moving(condition) and structured(condition)


def structured(condition: Condition) -> bool:
    """There are things to see, and to be met by rays."""
    return condition.has_structure


def beside_things(condition: Condition) -> bool:
    """There are things beside the road too: on a motorway with nobody near, a radar that sees nothing may be right."""
    return structured(condition) and condition.name != "highway"


def standing(condition: Condition) -> bool:
    """The car stands all the time."""
    return condition.speed_m_s[1] == 0.0
