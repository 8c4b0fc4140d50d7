"""A fault of a clock is told of the scenes that it touches, and costs what the policy says."""

import pytest

from scenelake.contracts.stages import ClockFaultKind
from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.checks import Verdict
from scenelake.quality.config import QualityPolicy

START = 85_000_000 * 20_000_000_000
MS = 1_000_000
SECOND = 1_000 * MS
CHECK = "time.clock_fault"
LOST = "time.clock_fault.lost"


def add(
    drive, kind, start_s, end_s, *, channel="/cam", modality="camera", basis="sensor", policy=None, nbr_affected=10
):  # fmt: skip
    drive.faults.append(
        {"drive_id": "drive", "channel": channel, "modality": modality, "fault_kind": kind,
         "start_ns": START + int(start_s * SECOND), "exclusive_end_ns": START + int(end_s * SECOND),
         "timestamp_basis": basis, "size_ns": 1, "nbr_affected": nbr_affected, "clock_policy": policy, "evidence": "{}"}
    )  # fmt: skip


def told(drive, policy=None):
    """(scene, worst verdict) of both checks of faults, where one failed."""
    verdicts: dict[str, set[str]] = {}
    for check in (CHECK, LOST):
        for _, scene, verdict in drive.failures(policy).get(check, ()):
            verdicts.setdefault(scene, set()).add(verdict)
    return {(scene, max(found, key=lambda v: Verdict(v).rank)) for scene, found in verdicts.items()}


@pytest.mark.parametrize(
    ("kind", "modality", "is_told"),
    [
        (ClockFaultKind.LATENCY_CHANGE, "calibration", False),
        (ClockFaultKind.LATENCY_CHANGE, "camera", True),
        (ClockFaultKind.CLOCK_JUMP, "calibration", True),
    ],
)
def test_a_change_of_latency_matters_to_sensors_alone(clean, kind, modality, is_told):
    add(clean, kind, 25, 26, modality=modality)
    assert told(clean) == ({("scene-1", "warn")} if is_told else set())


@pytest.mark.parametrize("kind", ClockFaultKind)
def test_every_kind_warns_where_it_is_and_only_there(clean, kind):
    add(clean, kind, 25, 26)
    assert told(clean) == {("scene-1", "warn")}
    assert clean.result(CHECK)["reason"] == f"/cam: {kind}"
    assert clean.result(CHECK)["found"]["kinds"][kind]["nbr_faults"] == 1
    assert clean.result(CHECK, "scene-0")["verdict"] == "pass"
    assert clean.result(CHECK, channel="/lidar")["verdict"] == "pass"


def test_an_interval_is_half_open_and_a_scene_is_too(clean):
    add(clean, ClockFaultKind.JITTER, 10, 20)
    assert told(clean) == {("scene-0", "warn")}
    clean.faults.clear()
    add(clean, ClockFaultKind.JITTER, 19.999, 20.001)
    assert told(clean) == {("scene-0", "warn"), ("scene-1", "warn")}


def test_the_recorders_own_faults_have_no_channel(clean):
    add(clean, ClockFaultKind.LOG_CLOCK_JUMP, 5, 6, channel=None, basis="log")
    assert clean.failures() == {CHECK: {(None, "scene-0", "warn")}}
    assert clean.result(CHECK, "scene-0", None)["reason"] == "the recorder: log_clock_jump"


def test_an_interval_of_log_time_is_laid_on_scenes_of_another_clock(clean):
    """The stamps are 100 s behind the log; one channel's are off besides, and the others outvote it."""
    clean.log_lead_ns = {c: 100 * SECOND for c in clean.clocks} | {"/cam": 160 * SECOND}
    add(clean, ClockFaultKind.CLOCK_JUMP, 125, 126, basis="log")
    assert told(clean) == {("scene-1", "warn")}


def test_a_repaired_channel_is_looked_for_where_its_stamps_were(clean):
    clean.sensor_lead_ns = {"/cam": 64 * SECOND}
    add(clean, ClockFaultKind.DUPLICATE_STAMPS, 70, 71, policy="shift")
    assert told(clean) == {("scene-0", "warn")}


def lose_the_second_half(drive, **kwargs):
    """A fault covers the second half of the second scene, where no keyframe has a match with the camera."""
    drive.missed["/cam"] = {("scene-1", k) for k in range(20, 40)}
    add(drive, kwargs.pop("kind", ClockFaultKind.MISSING_MESSAGES), 30, 40, **kwargs)


@pytest.mark.parametrize(
    ("kind", "policy", "verdict"),
    [
        (ClockFaultKind.MISSING_MESSAGES, None, "quarantine"),
        (ClockFaultKind.MISSING_MESSAGES, "remove_jumps", "quarantine"),
        (ClockFaultKind.CLOCK_JUMP, None, "quarantine"),
        (ClockFaultKind.CLOCK_JUMP, "drop_duplicates", "quarantine"),
        (ClockFaultKind.CLOCK_JUMP, "drop_duplicates+remove_jumps", "warn"),
        (ClockFaultKind.DUPLICATE_STAMPS, None, "quarantine"),
        (ClockFaultKind.DUPLICATE_STAMPS, "drop_duplicates", "warn"),
        (ClockFaultKind.BACKWARD_STAMP, "shift", "warn"),
        (ClockFaultKind.EPOCH, None, "quarantine"),
        (ClockFaultKind.JITTER, None, "warn"),
        (ClockFaultKind.CLOCK_DRIFT, None, "warn"),
    ],
)
def test_samples_lost_to_a_fault_that_nobody_repaired_cost_the_scene(clean, kind, policy, verdict):
    lose_the_second_half(clean, kind=kind, policy=policy)
    assert told(clean) == {("scene-1", verdict)}
    lost = 0 if verdict == "warn" else 20
    assert clean.result(LOST)["found"]["nbr_lost_samples"] == lost
    assert ("20 of 40 keyframes" in (clean.result(LOST)["reason"] or "")) == bool(lost)


def test_matches_that_are_missing_elsewhere_are_not_laid_to_the_fault(clean):
    clean.missed["/cam"] = {("scene-1", k) for k in range(20, 40)}
    add(clean, ClockFaultKind.MISSING_MESSAGES, 20, 30)
    assert told(clean) == {("scene-1", "warn")}


@pytest.mark.parametrize(("more", "lost", "verdict"), [(0, 0, "warn"), (4, 4, "warn"), (5, 5, "quarantine")])
def test_what_a_slow_sensor_always_misses_is_not_laid_to_the_fault(clean, more, lost, verdict):
    """Every second keyframe has no match in the whole drive; some more have none within the fault."""
    slow = {(scene, k) for scene in ("scene-0", "scene-1") for k in range(0, 40, 2)}
    clean.missed["/cam"] = slow | {("scene-1", 21 + 2 * k) for k in range(more)}
    add(clean, ClockFaultKind.BACKWARD_STAMP, 30, 40)
    assert told(clean) == {("scene-1", verdict)}
    assert clean.result(LOST)["found"]["nbr_lost_samples"] == lost


def test_a_fault_of_the_whole_drive_leaves_nothing_to_tell_by(clean):
    clean.is_match["/cam"] = 0.5
    add(clean, ClockFaultKind.BACKWARD_STAMP, 0, 40)
    assert {verdict for _, verdict in told(clean)} == {"warn"}


def test_an_epoch_of_the_whole_channel_is_the_scenes_own(clean):
    clean.is_match["/cam"] = 0.5
    add(clean, ClockFaultKind.EPOCH, 0, 40, nbr_affected=clean.clocks["/cam"].nbr_messages)
    assert {verdict for _, verdict in told(clean)} == {"warn"}


def test_an_absent_sensor_warns_as_ever(clean):
    stamps = clean.stamps_ns["/cam"]
    clean.stamps_ns["/cam"] = stamps[stamps < START + 20 * SECOND]
    clean.is_match["/cam"] = 0.0
    add(clean, ClockFaultKind.MISSING_MESSAGES, 20, 41)
    assert told(clean) == {("scene-1", "warn")}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"limits": {"time.clock_fault.lost": 0.5}}, "warn"),
        ({"limits": {"time.clock_fault.lost": 0.49}}, "quarantine"),
        ({"consequences": {"time.clock_fault.lost": "reject"}}, "reject"),
        ({"consequences": {"time.clock_fault": "pass"}}, "quarantine"),
    ],
)
def test_the_policy_decides(clean, values, verdict):
    lose_the_second_half(clean)
    assert told(clean, QualityPolicy.model_validate(values)) == {("scene-1", verdict)}


def test_consequences_that_are_given_leave_the_others_as_they_were():
    given = QualityPolicy(consequences={"gaps": Verdict.REJECT})
    said = {name: given.ruling(CATALOGUE[name], None, None).consequence for name in ("gaps", "no_keyframes", "epoch")}
    assert said == {"gaps": Verdict.REJECT, "no_keyframes": Verdict.QUARANTINE, "epoch": Verdict.WARN}
