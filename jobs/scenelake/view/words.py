"""Text from outside on a picture."""

from functools import cache

from matplotlib.font_manager import findfont, get_font

FONT = "DejaVu Sans"
_UNKNOWN = "\u25a1"


@cache
def _drawable() -> frozenset[int]:
    """Characters of the font that comes with matplotlib."""
    return frozenset(get_font(findfont(FONT)).get_charmap())


def words(text: str, limit: int = 160) -> str:
    """The text as matplotlib can draw it: one line, no formulas, a box for what the font does not have."""
    line = " ".join(text.split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    known = _drawable()
    return "".join(c if ord(c) in known and c.isprintable() else _UNKNOWN for c in line).replace("$", r"\$")
