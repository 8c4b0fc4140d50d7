"""The checks as a document for people, generated from the catalogue: ``make docs`` writes it."""

import sys
from pathlib import Path

from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.checks import Bound, Check

_INTRODUCTION = """# Checks

Generated from `jobs/scenelake/quality` by `make docs`. What each check measures of every scene is a row of
`qc_measurement`; where the [policy](policy.md) objects to it, it has a row of `qc_result` as well. A value that could
not be observed is `unknown`, which is no pass and holds no scene back. A limit may be changed by `[quality.limits]`,
what a value beyond it costs by `[quality.consequences]`, both for some channels by `[[quality.rules]]`. "Or 3 periods"
is the sensor's own: where that is more than the limit it rules, unless `[quality.per_scale]` says another number (0: no
such floor).
"""


def document() -> str:
    """All checks as Markdown: one section a family, one row a check."""
    families: dict[str, list[Check]] = {}
    for check in CATALOGUE.values():
        family = check.name.partition(".")[0] if "." in check.name else "presence and sync"
        families.setdefault(family, []).append(check)
    return "\n".join([_INTRODUCTION, *(_section(name, checks) for name, checks in families.items())])


def _section(family: str, checks: list[Check]) -> str:
    rows = [
        f"| `{c.name}` {c.version} | {c.meaning} | {_limit(c)} | {c.consequence} | {c.source} |"
        for c in sorted(checks, key=lambda c: c.name)
    ]
    head = ["| check, version | measures | good is | else | where the limit is from |", "|---|---|---|---|---|"]
    return "\n".join([f"## {family}", "", *head, *rows, ""])


def _limit(check: Check) -> str:
    sign = "≥" if check.bound is Bound.MIN else "≤"
    said = f"{sign} {_number(check.limit, check.unit)}"
    if check.per_scale:
        said += f", or {check.per_scale:g} periods where that is more"
    said += "".join(f"; {modality} {sign} {_number(at, check.unit)}" for modality, at in check.by_modality.items())
    return said


def _number(value: float, unit: str) -> str:
    if unit == "ns" and value:
        return f"{value / 1e6:g} ms"
    return f"{value:g}" if unit == "1" else f"{value:g} {unit}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document())
