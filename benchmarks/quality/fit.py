"""Where limits may lie: above what good scenes measure, below what faults that must be caught measure."""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.quality.fault_kinds import KINDS
from benchmarks.quality.worker import Trial
from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.checks import Bound, Check

GOOD, FAULTY = 0.999, 0.02
"""Of good scenes all but one in a thousand must pass, of faulty ones all but two in a hundred must not."""


def fitted(trials: Iterable[Trial], measurements: Sequence[pa.Table]) -> dict[str, dict[str, Any]]:
    """By check: quantiles of good scenes, of faulty ones from the declared strength on, and a limit between them.

    Where a limit grows with a scale (``per_scale``), values are of the scenes whose scale does not rule.
    """
    rows = pa.concat_tables(measurements)
    good: dict[str, list[float]] = {}
    for name, value, scale in zip(
        *(rows[column].to_pylist() for column in ("check_name", "measured", "scale")), strict=True
    ):
        check = CATALOGUE.get(name)
        if value is not None and check is not None and check.per_scale * (scale or 0.0) <= check.limit:
            good.setdefault(name, []).append(value)
    faulty: dict[str, list[float]] = {}
    for trial in trials:
        kind = KINDS[trial.kind]
        if trial.measured is not None and kind.strengths[trial.grade] >= kind.declared:
            faulty.setdefault(kind.check, []).append(trial.measured)
    return {
        name: _between(check, np.array(good.get(name, [])), np.array(faulty.get(name, [])))
        for name, check in sorted(CATALOGUE.items())
    }


def _between(check: Check, good: np.ndarray, faulty: np.ndarray) -> dict[str, Any]:
    """``is_between``: the check's own limit parts the two; None where one of them was not observed."""
    sign = 1.0 if check.bound is Bound.MAX else -1.0
    found: dict[str, Any] = {"limit": check.limit, "nbr_good": len(good), "nbr_faulty": len(faulty)}
    if not len(good) or not len(faulty):
        return found | {"good": None, "faulty": None, "suggested": None, "is_between": None}
    worst = sign * float(np.quantile(sign * good, GOOD))
    least = sign * float(np.quantile(sign * faulty, FAULTY))
    is_apart = sign * worst < sign * least
    middle = sqrt(worst * least) if worst > 0 and least > 0 else (worst + least) / 2
    return found | {
        "good": worst,
        "faulty": least,
        "suggested": middle if is_apart else None,
        "is_between": sign * worst <= sign * check.limit < sign * least,
    }
