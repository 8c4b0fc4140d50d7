"""Holds measurements to a policy. Measurements stay as they are; only verdicts follow from the policy."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.ids import canonical_json
from scenelake.contracts.stages import SCENE_VERDICT_SCHEMA
from scenelake.contracts.tables import GOLD
from scenelake.quality.catalogue import CATALOGUE, MEASURES
from scenelake.quality.checks import Bound, Measurement, Verdict
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts, codes_of
from scenelake.timebase.arrays import FloatArray, Int64Array

_VERDICTS = list(Verdict)


def measure(facts: DriveFacts) -> list[Measurement]:
    """Every measurement of every scene, by scene, check and channel."""
    order = {scene.scene_id: number for number, scene in enumerate(facts.scenes)}
    found = chain.from_iterable(function(facts) for function in MEASURES)
    return sorted(found, key=lambda m: (order[m.scene.scene_id], m.check.name, m.channel or ""))


def measurement_table(measurements: Sequence[Measurement]) -> pa.Table:
    """Measurements as ``qc_measurement`` rows; ``channel`` is null where one is about the whole scene."""
    rows = [
        {
            "scene_id": m.scene.scene_id,
            "drive_id": m.scene.drive_id,
            "channel": m.channel,
            "modality": m.modality,
            "check_name": m.check.name,
            "check_version": m.check.version,
            "measured": m.measured,
            "scale": m.scale,
            "description": m.description,
            "evidence": canonical_json(dict(m.evidence)),
            "drive_date": m.scene.drive_date,
        }
        for m in measurements
    ]
    return pa.Table.from_pylist(rows, schema=GOLD["qc_measurement"].schema)


def result_table(measurements: pa.Table, policy: QualityPolicy) -> pa.Table:
    """What a policy says of ``qc_measurement`` rows: ``qc_result`` rows, in the same order.

    A value that could not be observed, or that another version of its check measured, is ``unknown``.
    """
    limits, ranks = ranks_of(measurements, policy)
    verdicts = pa.array(np.array(_VERDICTS, object)[ranks], pa.string())
    is_bad = pa.array(ranks > Verdict.PASS.rank)
    rows = {name: measurements[name] for name in GOLD["qc_result"].columns if name in measurements.column_names}
    nothing = pa.scalar(None, pa.string())
    rows |= {
        "threshold": pa.array(limits, mask=np.isnan(limits)),
        "verdict": verdicts,
        "reason": pc.if_else(is_bad, measurements["description"], nothing),
        "evidence": pc.if_else(is_bad, measurements["evidence"], nothing),
    }
    return pa.table(rows).select(GOLD["qc_result"].columns).cast(GOLD["qc_result"].schema)


def findings_of(results: pa.Table) -> pa.Table:
    """Those ``qc_result`` rows that gold keeps: what the policy objects to. What is only measured, passed."""
    return results.filter(pc.invert(pc.is_in(results["verdict"], value_set=pa.array([Verdict.PASS, Verdict.UNKNOWN]))))


def ranks_of(measurements: pa.Table, policy: QualityPolicy) -> tuple[FloatArray, Int64Array]:
    """The limit and the rank of the verdict of each row, both (n,); NaN where no limit applies.

    Args:
        measurements: the columns of ``qc_measurement`` that a verdict follows from; strings may be dictionaries.
    """
    group, names = groups_of(measurements, ("check_name", "check_version", "channel", "modality"))
    at, per_scale, least, worst = (np.full(len(names), np.nan) for _ in range(4))
    for number, (name, version, channel, modality) in enumerate(names):
        check = CATALOGUE.get(name or "")
        if check is None or check.version != version:
            continue
        ruling = policy.ruling(check, channel, modality)
        at[number], per_scale[number] = ruling.limit, ruling.per_scale
        least[number], worst[number] = check.bound is Bound.MIN, ruling.consequence.rank
    scale = np.nan_to_num(np.asarray(measurements["scale"].combine_chunks().to_numpy(zero_copy_only=False), np.float64))
    measured = np.asarray(measurements["measured"].combine_chunks().to_numpy(zero_copy_only=False), np.float64)
    is_min = least[group] == 1.0
    limits = np.where(is_min, at[group], np.maximum(at[group], per_scale[group] * scale))
    is_known = ~np.isnan(measured) & ~np.isnan(limits)
    is_bad = is_known & np.where(is_min, measured < limits, measured > limits)
    ranks = np.where(is_known, Verdict.PASS.rank, Verdict.UNKNOWN.rank)
    ranks[is_bad] = worst[group][is_bad].astype(np.int64)
    return limits, ranks


def groups_of(rows: pa.Table, columns: Sequence[str]) -> tuple[Int64Array, list[tuple[str | None, ...]]]:
    """Which combination of values each row has (n,), and the combinations."""
    group = np.zeros(len(rows), np.int64)
    parts: list[list[str | None]] = []
    for column in columns:
        codes, values = codes_of(rows[column])
        group = group * max(len(values), 1) + codes
        parts.append(values)
    found, inverse = np.unique(group, return_inverse=True)
    names: list[tuple[str | None, ...]] = []
    for number in found.tolist():
        name: list[str | None] = []
        for part in reversed(parts):
            number, at = divmod(number, max(len(part), 1))
            name.append(part[at])
        names.append(tuple(reversed(name)))
    return np.asarray(inverse, np.int64), names


def verdict_table(scene_ids: Sequence[str], results: pa.Table) -> pa.Table:
    """One row per scene: the worst of its ``qc_result`` rows, the checks behind it and what they say."""
    codes, names = codes_of(results["scene_id"])
    verdict_codes, verdicts = codes_of(results["verdict"])
    ranks = np.array([Verdict(v).rank for v in verdicts], np.int64)[verdict_codes] if len(results) else verdict_codes
    worst_of = np.full(len(names), Verdict.PASS.rank, np.int64)
    np.maximum.at(worst_of, codes, ranks)
    behind = np.flatnonzero((ranks == worst_of[codes]) & (ranks > Verdict.PASS.rank))
    said: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    told = results.select(["scene_id", "check_name", "channel", "reason"]).take(pa.array(behind)).to_pylist()
    for row in told:
        said[row.pop("scene_id")].append(row)
    by_scene = dict(zip(names, worst_of.tolist(), strict=True))
    rows = [
        {
            "scene_id": scene_id,
            "verdict": str(_VERDICTS[by_scene.get(scene_id, Verdict.PASS.rank)]),
            "reason": ", ".join(sorted({f["check_name"] for f in said[scene_id]})) or None,
            "evidence": canonical_json({"findings": said[scene_id]}),
        }
        for scene_id in scene_ids
    ]
    return pa.Table.from_pylist(rows, schema=SCENE_VERDICT_SCHEMA)
