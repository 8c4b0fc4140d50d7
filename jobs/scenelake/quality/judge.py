"""Runs every check over a drive and gives each scene its verdict."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from scenelake.contracts.ids import canonical_json
from scenelake.contracts.stages import SCENE_VERDICT_SCHEMA
from scenelake.contracts.tables import GOLD
from scenelake.quality.clock_checks import check_clocks
from scenelake.quality.clock_fault_checks import check_clock_faults
from scenelake.quality.config import QualityPolicy, Verdict
from scenelake.quality.decode_checks import check_bad_bytes, check_channels_read
from scenelake.quality.evidence import DriveFacts, Finding
from scenelake.quality.presence_checks import (
    check_completeness,
    check_coverage,
    check_gaps,
    check_keyframes,
    check_missing_sensors,
    check_rates,
)
from scenelake.quality.sync_checks import check_match_share, check_sync_error

Check = Callable[[DriveFacts, QualityPolicy], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    check_keyframes,
    check_missing_sensors,
    check_completeness,
    check_coverage,
    check_gaps,
    check_rates,
    check_clocks,
    check_clock_faults,
    check_match_share,
    check_sync_error,
    check_channels_read,
    check_bad_bytes,
)


def find(facts: DriveFacts, policy: QualityPolicy) -> list[Finding]:
    """Every finding about every scene, by scene, check and channel."""
    order = {scene.scene_id: number for number, scene in enumerate(facts.scenes)}
    findings = chain.from_iterable(check(facts, policy) for check in CHECKS)
    return sorted(findings, key=lambda f: (order[f.scene.scene_id], f.check_name, f.channel or ""))


def result_table(findings: Sequence[Finding]) -> pa.Table:
    """Findings as ``qc_result`` rows; ``channel`` is null where a finding is about the whole scene."""
    rows = [
        {
            "scene_id": f.scene.scene_id,
            "drive_id": f.scene.drive_id,
            "channel": f.channel,
            "check_name": f.check_name,
            "check_version": f.check_version,
            "measured": f.measured,
            "threshold": f.threshold,
            "verdict": str(f.verdict),
            "reason": f.reason,
            "evidence": canonical_json(dict(f.evidence)),
            "drive_date": f.scene.drive_date,
        }
        for f in findings
    ]
    return pa.Table.from_pylist(rows, schema=GOLD["qc_result"].schema)


def verdict_table(facts: DriveFacts, findings: Sequence[Finding]) -> pa.Table:
    """One row per scene: the worst of its findings, the checks behind it and what they say."""
    by_scene: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_scene[finding.scene.scene_id].append(finding)
    rows = [_verdict_row(scene.scene_id, by_scene[scene.scene_id]) for scene in facts.scenes]
    return pa.Table.from_pylist(rows, schema=SCENE_VERDICT_SCHEMA)


def _verdict_row(scene_id: str, findings: Sequence[Finding]) -> dict[str, Any]:
    worst = max((f.verdict for f in findings), key=lambda v: v.rank, default=Verdict.PASS)
    behind = [f for f in findings if f.verdict is worst and worst is not Verdict.PASS]
    names = sorted({f.check_name for f in behind})
    said = [{"check_name": f.check_name, "channel": f.channel, "reason": f.reason} for f in behind]
    return {
        "scene_id": scene_id,
        "verdict": str(worst),
        "reason": ", ".join(names) or None,
        "evidence": canonical_json({"findings": said}),
    }
