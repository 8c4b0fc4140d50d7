"""What a trial found, by kind of fault, by check and by condition, and which promises it broke."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.quality.fault_kinds import ELSEWHERE
from benchmarks.quality.kinds import Kind
from benchmarks.quality.statistics import Share, strength_at
from benchmarks.quality.worker import CleanScene, Trial
from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.checks import Check, Verdict

RECALL = 0.98
FALSE_ALARMS = 0.01
MIN_SCENES = 50
"""Of a kind, at all its strengths."""
MIN_CLEAN = 1_000

_HELD_BACK = frozenset({Verdict.QUARANTINE, Verdict.REJECT})
_NBR_OTHERS = 4

Limits = Mapping[str, Mapping[str, Any]]


def limits_of(catalogue: Mapping[str, Check]) -> dict[str, dict[str, Any]]:
    """What every check holds its values to, as JSON."""
    return {
        name: {
            "version": check.version,
            "limit": check.limit,
            "per_scale": check.per_scale,
            "by_modality": {str(modality): limit for modality, limit in sorted(check.by_modality.items())},
        }
        for name, check in sorted(catalogue.items())
    }


def of_kind(kind: Kind, trials: Sequence[Trial]) -> dict[str, Any]:
    """Shares caught by strength, from where on that is so, and the recall from the declared strength on."""
    by_grade = [[t for t in trials if t.grade == grade] for grade in range(len(kind.strengths))]
    shares = [Share(sum(t.is_caught for t in of), len(of)) for of in by_grade]
    first = kind.strengths.index(kind.declared)
    others = Counter(name for of in by_grade[first:] for t in of for name in t.others)
    values = [[t.measured for t in of if t.measured is not None] for of in by_grade]
    held_back = Share(
        sum(t.verdict in _HELD_BACK for of in by_grade[first:] for t in of), sum(map(len, by_grade[first:]))
    )
    return {
        "kind": kind.name,
        "meaning": kind.meaning,
        "check": kind.check,
        "topic": kind.topic,
        "unit": kind.unit,
        "strengths": list(kind.strengths),
        "declared": kind.declared,
        "caught": [share.to_json() for share in shares],
        "median_measured": [float(np.median(v)) if v else None for v in values],
        "nbr_observed": [len(v) for v in values],
        "recall": sum(shares[first:], Share(0, 0)).to_json(),
        "quarantined": held_back.to_json(),
        "caught_half_from": strength_at(kind.strengths, shares, 0.5),
        "caught_98_from": strength_at(kind.strengths, shares, RECALL),
        "nbr_drives": len({t.drive for t in trials}),
        "conditions": dict(sorted(Counter(t.condition for t in trials).items())),
        "missed_in": dict(Counter(t.condition for of in by_grade[first:] for t in of if not t.is_caught)),
        "also_said": [name for name, _ in others.most_common(_NBR_OTHERS)],
    }


def of_clean(scenes: Sequence[CleanScene]) -> dict[str, Any]:
    """Scenes without a fault that were held back, and those that anything was said of; by condition and by check."""
    by_condition: defaultdict[str, list[CleanScene]] = defaultdict(list)
    for scene in scenes:
        by_condition[scene.condition].append(scene)
    alarms = Counter(name for scene in scenes for name in {name for name, _, _ in scene.alarms})
    return {
        "held_back": _share(scenes, lambda s: s.verdict in _HELD_BACK).to_json(),
        "warned": _share(scenes, lambda s: bool(s.alarms)).to_json(),
        "nbr_drives": len({(s.rig, s.seed) for s in scenes}),
        "by_condition": {
            name: {
                "held_back": _share(of, lambda s: s.verdict in _HELD_BACK).to_json(),
                "warned": _share(of, lambda s: bool(s.alarms)).to_json(),
            }
            for name, of in sorted(by_condition.items())
        },
        "by_check": {name: Share(count, len(scenes)).to_json() for name, count in alarms.most_common()},
        "examples": [
            {"rig": s.rig, "condition": s.condition, "seed": s.seed, "scene": s.scene, "alarms": s.alarms}
            for s in scenes
            if s.alarms
        ][:40],
    }


def _share(scenes: Sequence[CleanScene], is_hit: Any) -> Share:
    return Share(sum(map(is_hit, scenes)), len(scenes))


def summary(
    kinds: Iterable[Kind], trials: Sequence[Trial], clean: Sequence[CleanScene], frozen: Limits | None
) -> dict[str, Any]:
    """Everything that a result holds.

    Args:
        frozen: what the checks were held to when limits were fitted; None does not compare.
    """
    by_kind: defaultdict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_kind[trial.kind].append(trial)
    found = [of_kind(kind, by_kind[kind.name]) for kind in kinds]
    limits = limits_of(CATALOGUE)
    said = of_clean(clean)
    return {
        "kinds": found,
        "clean": said,
        "limits": limits,
        "elsewhere": {name: ELSEWHERE[start] for name in limits for start in ELSEWHERE if name.startswith(start)},
        "failures": failures(found, said, limits, frozen),
    }


def failures(
    kinds: Sequence[Mapping[str, Any]], clean: Mapping[str, Any], limits: Limits, frozen: Limits | None
) -> list[str]:
    """What a run promises and does not keep; empty for a good one."""
    broken = []
    for found in kinds:
        recall = found["recall"]
        if recall["share"] is None or recall["share"] < RECALL:
            caught = "never tried" if recall["share"] is None else f"caught in {recall['hits']} of {recall['trials']}"
            broken.append(
                f"{found['kind']}: {caught} scenes from {found['declared']:g} {found['unit']} on by {found['check']},"
                f" expected {RECALL:.0%}"
            )
    tried = {found["check"] for found in kinds}
    for name in sorted(set(limits) - tried):
        if not any(name.startswith(start) for start in ELSEWHERE):
            broken.append(f"{name}: no kind of fault exercises this check; add one, or take the check out")
    for name in sorted(tried - set(limits)):
        broken.append(f"{name}: the catalogue has no such check, which faults are planted for")
    for words, share in (("held back", clean["held_back"]), ("warned of", clean["warned"])):
        if share["share"] is None or share["share"] > FALSE_ALARMS:
            broken.append(f"{share['hits']} of {share['trials']} good scenes are {words}, expected {FALSE_ALARMS:.0%}")
    if frozen is not None:
        # What another trial is for, another one fits.
        ours = {n for n in set(limits) | set(frozen) if not n.startswith(tuple(ELSEWHERE))}
        changed = sorted(n for n in ours if limits.get(n) != frozen.get(n))
        if changed:
            broken.append(f"limits have changed since they were fitted, fit them anew: {', '.join(changed)}")
    return broken


def too_few(kinds: Sequence[Mapping[str, Any]], clean: Mapping[str, Any]) -> list[str]:
    """What a full-size result lacks in scenes."""
    counts = {k["kind"]: sum(share["trials"] for share in k["caught"]) for k in kinds}
    found = [f"{kind}: {n} scenes, expected {MIN_SCENES}" for kind, n in counts.items() if n < MIN_SCENES]
    if clean["warned"]["trials"] < MIN_CLEAN:
        found.append(f"{clean['warned']['trials']} good scenes, expected {MIN_CLEAN}")
    return found
