"""The faults of clocks that synchronise reported, told of the scenes that their intervals touch."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import TimestampBasis
from scenelake.contracts.stages import ClockFaultKind
from scenelake.quality.checks import Bound, Check, Measurement, Verdict
from scenelake.quality.evidence import PERIODIC, DriveFacts, SceneFacts, codes_of
from scenelake.timebase.arrays import BoolArray, Int64Array

CLOCK_FAULT = Check(
    "time.clock_fault", "3", "1", Bound.MAX, 0.0,
    "Faults of the channel's clock, or of the recorder's, that touch the scene; a change of latency counts of sensors"
    " alone.",
    "A working clock has none.",
)  # fmt: skip
LOST_SAMPLES = Check(
    "time.clock_fault.lost", "1", "share", Bound.MAX, 0.1,
    "Share of the scene's keyframes that lost their match to a clock fault that nobody repaired.",
    "As for completeness.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip

CHECKS = (CLOCK_FAULT, LOST_SAMPLES)

_LOSING = frozenset(
    {
        ClockFaultKind.MISSING_MESSAGES, ClockFaultKind.BACKWARD_STAMP, ClockFaultKind.DUPLICATE_STAMPS,
        ClockFaultKind.CLOCK_JUMP, ClockFaultKind.LEAP_SECOND, ClockFaultKind.EPOCH,
    }
)  # fmt: skip
"""By these a stretch of messages is missing, or stands where it was not measured."""

_LEFT_OUT_BY = {
    "drop_duplicates": ClockFaultKind.DUPLICATE_STAMPS,
    "drop_backward": ClockFaultKind.BACKWARD_STAMP,
}
"""Repairs that are for one kind of fault; the others set times right, whatever was wrong with them."""

_Fault = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Touch:
    """What a channel's faults do to one scene.

    Attributes:
        faults: that touch the scene.
        nbr_inside, nbr_missed: keyframes within faults that lose matches and were not repaired, and those of them
            that have no match.
        nbr_outside, nbr_missed_outside: the same of the other keyframes.
    """

    faults: list[_Fault]
    nbr_inside: int
    nbr_missed: int
    nbr_outside: int
    nbr_missed_outside: int


def measure_clock_faults(facts: DriveFacts) -> Iterator[Measurement]:
    """Faults per scene and channel, and the keyframes that they cost; those of the recorder's clock have no channel.

    Keyframes are lost where a fault that nobody repaired took from them the match of its channel. What the channel
    misses in the drive outside such faults, it is taken to miss within them as well: a slow sensor never matches every
    keyframe. A channel without any message in the scene is absent there, which is for ``missing_sensor`` to tell.
    """
    by_channel: defaultdict[str | None, list[_Fault]] = defaultdict(list)
    for fault in facts.clock_faults.to_pylist():
        # When a calibration or a mark arrives, nothing depends on; a dozen of them tell little of a latency.
        if fault["fault_kind"] != ClockFaultKind.LATENCY_CHANGE or fault["modality"] in (None, *PERIODIC):
            by_channel[fault["channel"]].append(fault)
    keyframes = _keyframes(facts.sync_index, facts.samples)
    none = np.empty(0, np.int64), np.empty(0, np.bool_)
    for channel in (None, *facts.clocks):
        touches = [
            _touch(facts, scene, channel, by_channel[channel], *keyframes.get((scene.scene_id, channel), none))
            for scene in facts.scenes
        ]
        outside = sum(t.nbr_outside for t in touches)
        usual = sum(t.nbr_missed_outside for t in touches) / outside if outside else 1.0
        for scene, touch in zip(facts.scenes, touches, strict=True):
            nbr_lost = max(round(touch.nbr_missed - usual * touch.nbr_inside), 0)
            yield from _told(facts, scene, channel, touch.faults, nbr_lost)


def _touch(
    facts: DriveFacts,
    scene: SceneFacts,
    channel: str | None,
    faults: Sequence[_Fault],
    times_ns: Int64Array,
    is_match: BoolArray,
) -> _Touch:
    is_inside = np.zeros(len(times_ns), np.bool_)
    touching = []
    leads_ns = {basis: _lead_ns(scene, channel, basis) for basis in {f["timestamp_basis"] for f in faults}}
    for fault in faults:
        lead_ns = leads_ns[fault["timestamp_basis"]]
        start_ns, end_ns = fault["start_ns"] - lead_ns, fault["exclusive_end_ns"] - lead_ns
        if start_ns < scene.exclusive_end_ns and scene.start_ns < end_ns:
            touching.append(fault)
            if _loses(fault, facts) and not _is_repaired(fault):
                is_inside |= (times_ns >= start_ns) & (times_ns < end_ns)
    if channel not in scene.channels:
        return _Touch(touching, 0, 0, 0, 0)
    counts = (is_inside, is_inside & ~is_match, ~is_inside, ~is_inside & ~is_match)
    return _Touch(touching, *(int(np.count_nonzero(c)) for c in counts))


def _told(
    facts: DriveFacts, scene: SceneFacts, channel: str | None, faults: Sequence[_Fault], nbr_lost: int
) -> Iterator[Measurement]:
    clock = facts.clocks.get(channel or "")
    modality = clock.modality if clock is not None else None
    kinds = _by_kind(faults)
    name = channel or "the recorder"
    said = f"{name}: {', '.join(kinds) or 'no clock fault'}"
    evidence = {"kinds": kinds, "nbr_lost_samples": nbr_lost}
    yield Measurement(scene, channel, CLOCK_FAULT, float(len(faults)), said, evidence, modality=modality)
    share = nbr_lost / scene.nbr_samples if scene.nbr_samples else 0.0
    said = f"{said}, not repaired: {nbr_lost} of {scene.nbr_samples} keyframes have lost their match"
    yield Measurement(scene, channel, LOST_SAMPLES, share, said, {"nbr_lost_samples": nbr_lost}, modality=modality)


def _lead_ns(scene: SceneFacts, channel: str | None, basis: str) -> int:
    """What a clock shows in a scene, less the ruling time.

    The log clock is the same for all: where one channel's stamps are off, the others still tell. A stamp as recorded
    differs from the ruling time where it was repaired.
    """
    if basis == TimestampBasis.LOG:
        leads = sorted(c.leads_ns[basis] for c in scene.channels.values() if basis in c.leads_ns)
        return leads[len(leads) // 2] if leads else 0
    present = scene.channels.get(channel or "")
    return present.leads_ns.get(basis, 0) if present is not None else 0


def _loses(fault: _Fault, facts: DriveFacts) -> bool:
    """Whether matches that are missing within the fault can be laid to it."""
    if fault["fault_kind"] == ClockFaultKind.EPOCH:
        # An epoch from the first message to the last is that of the scenes as well.
        clock = facts.clocks.get(fault["channel"] or "")
        return clock is not None and fault["nbr_affected"] < clock.nbr_messages
    return fault["fault_kind"] in _LOSING


def _is_repaired(fault: _Fault) -> bool:
    """Whether the channel's rule names a repair for this kind; nothing brings missing messages back."""
    kind = fault["fault_kind"]
    repairs = (fault["clock_policy"] or "").split("+")
    return kind != ClockFaultKind.MISSING_MESSAGES and any(_LEFT_OUT_BY.get(r, kind) == kind for r in repairs if r)


def _by_kind(faults: Sequence[_Fault]) -> dict[str, dict[str, Any]]:
    """Faults of one kind told together: intervals can be many."""
    found: dict[str, dict[str, Any]] = {}
    for fault in sorted(faults, key=lambda f: (f["fault_kind"], f["start_ns"])):
        kind = found.setdefault(
            fault["fault_kind"],
            {"nbr_faults": 0, "nbr_affected": 0, "start_ns": fault["start_ns"], "exclusive_end_ns": 0,
             "timestamp_basis": fault["timestamp_basis"], "clock_policy": fault["clock_policy"]},
        )  # fmt: skip
        kind["nbr_faults"] += 1
        kind["nbr_affected"] += fault["nbr_affected"]
        kind["exclusive_end_ns"] = max(kind["exclusive_end_ns"], fault["exclusive_end_ns"])
    return found


def _keyframes(sync_index: pa.Table, samples: pa.Table) -> dict[tuple[str, str | None], tuple[Int64Array, BoolArray]]:
    """Times of a scene's keyframes and whether a channel matches them, by scene and channel."""
    at = pc.index_in(sync_index["sample_id"], value_set=samples["sample_id"].combine_chunks())
    rows = sync_index.filter(pc.is_valid(at))
    if not len(rows):
        return {}
    times_ns = np.asarray(samples["timestamp_ns"].take(pc.drop_null(at)), np.int64)
    is_match = np.asarray(pc.fill_null(rows["is_match"], False), np.bool_)
    scene_codes, scenes = codes_of(rows["scene_id"])
    channel_codes, channels = codes_of(rows["channel"])
    group = scene_codes * len(channels) + channel_codes
    order = np.argsort(group, kind="stable")
    found: dict[tuple[str, str | None], tuple[Int64Array, BoolArray]] = {}
    for part in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        scene, channel = divmod(int(group[part[0]]), len(channels))
        found[scenes[scene], channels[channel]] = times_ns[part], is_match[part]
    return found


MEASURES = (measure_clock_faults,)
