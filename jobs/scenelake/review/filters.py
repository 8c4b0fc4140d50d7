"""Which held scenes a person wants to see."""

from collections.abc import Mapping
from dataclasses import dataclass

STATES = ("waiting", "released", "rejected", "all")
PAGE_SCENES = 25
_MAX_PAGE, _MAX_DAYS, _MAX_CHARACTERS = 10_000, 36_500, 300
_STATE_OF = {"waiting": "QUARANTINED", "released": "RELEASED", "rejected": "REJECTED"}


@dataclass(frozen=True, slots=True)
class Facets:
    """What can be chosen."""

    fleets: tuple[str, ...] = ()
    vehicles: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """Empty text, and None, are for all.

    Attributes:
        days: only drives that were recorded in the last so many.
        page: from 1.
    """

    state: str = "waiting"
    fleet: str = ""
    vehicle: str = ""
    check: str = ""
    days: int | None = None
    page: int = 1

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Filters":
        """From what a browser sends; what cannot be meant is left out."""
        words = {name: query.get(name, "")[:_MAX_CHARACTERS] for name in ("fleet", "vehicle", "check")}
        state = query.get("state", "")
        days = _number(query.get("days", ""), _MAX_DAYS)
        return cls(
            state if state in STATES else "waiting",
            **words,
            days=days,
            page=_number(query.get("page", ""), _MAX_PAGE) or 1,
        )

    def query(self) -> dict[str, str]:
        """As a browser sends it, without the page."""
        words = {"state": self.state, "fleet": self.fleet, "vehicle": self.vehicle, "check": self.check}
        return {name: word for name, word in {**words, "days": str(self.days or "")}.items() if word}

    @property
    def table_state(self) -> str | None:
        """What the column ``state`` must be."""
        return _STATE_OF.get(self.state)


def _number(text: str, most: int) -> int | None:
    return min(int(text), most) or None if text.isascii() and text.isdigit() and len(text) < 10 else None
