"""Every check passes on a clean drive, and fires for the fault it is there for, and for no other scene."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest

from scenelake.contracts.stages import Problem
from scenelake.contracts.tables import GOLD
from scenelake.quality import sync_checks
from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.checks import Verdict
from scenelake.quality.config import QualityPolicy
from scenelake.quality.judge import measure, measurement_table, result_table, verdict_table

START = 85_000_000 * 20_000_000_000
MS = 1_000_000
SECOND = 1_000 * MS
ALL_CHECKS = {
    "no_keyframes", "missing_sensor", "completeness", "coverage", "gaps", "implausible_rate", "duplicate_stamps",
    "backward_jumps", "clock_offset", "epoch", "sync_match", "sync_error", "undecodable", "camera_undecodable",
    "lost_messages", "bad_bytes", "time.clock_fault", "time.clock_fault.lost",
}  # fmt: skip


def drop(drive, channel, keep):
    stamps = drive.stamps_ns[channel]
    drive.stamps_ns[channel] = stamps[keep((stamps - START) // MS)]


def in_second_scene(channel, verdict="warn"):
    return {(channel, "scene-1", verdict)}


def in_both(channel, verdict="warn"):
    return {(channel, "scene-0", verdict), (channel, "scene-1", verdict)}


def test_a_clean_drive_passes_every_check_and_every_check_ran(clean):
    results = clean.results()
    assert {r["check_name"] for r in results} == ALL_CHECKS
    assert {r["verdict"] for r in results} == {"pass"}
    assert {(r["reason"], r["evidence"]) for r in results} == {(None, None)}
    assert [(v["verdict"], v["reason"]) for v in clean.verdicts()] == [("pass", None)] * 2


def test_results_are_rows_of_the_contract(clean):
    measurements = measurement_table(measure(clean.facts()))
    table = result_table(measurements, QualityPolicy())
    assert measurements.schema.equals(GOLD["qc_measurement"].schema)
    assert table.schema.equals(GOLD["qc_result"].schema)
    keys = [(r["scene_id"], r["channel"], r["check_name"]) for r in table.to_pylist()]
    assert len(keys) == len(set(keys)) > 50
    assert all(isinstance(json.loads(text), dict) for text in measurements["evidence"].to_pylist())
    whole = {r["check_name"] for r in table.to_pylist() if r["channel"] is None}
    assert whole == {"no_keyframes", "bad_bytes", "time.clock_fault", "time.clock_fault.lost"}


def test_a_missing_sensor_warns_where_it_is_missing(clean):
    drop(clean, "/cam", lambda ms: ms < 20_000)
    assert clean.failures() == {"missing_sensor": in_second_scene("/cam")}


@pytest.mark.parametrize(("lost_of_ten", "is_caught"), [(0, False), (1, False), (2, True), (5, True)])
def test_dropped_frames_lower_completeness(clean, lost_of_ten, is_caught):
    drop(clean, "/cam", lambda ms: (ms < 20_000) | ((ms // 50) % 10 < 10 - lost_of_ten) | (ms == 39_950))
    failures = clean.failures()
    failures.pop("gaps", None)
    assert failures == ({"completeness": in_second_scene("/cam")} if is_caught else {})


def test_a_channel_off_the_beat_promises_no_count(clean):
    """Sampled at the stamps of two others: three steps of 50 ms, then two of 75 ms."""
    ms = (np.arange(0, 39_600, 300)[:, None] + np.array([0, 50, 100, 150, 225])).ravel()
    clean.stamps_ns["/cam"] = START + ms * 1_000_000
    assert "completeness" not in clean.failures()


def test_duplicate_stamps_do_not_make_up_for_lost_frames(clean):
    drop(clean, "/cam", lambda ms: (ms < 20_000) | (ms % 100 == 0))
    clean.stamps_ns["/cam"] = np.sort(np.concatenate([clean.stamps_ns["/cam"]] * 2))
    assert "completeness" in clean.failures()


@pytest.mark.parametrize(("silent_ms", "is_caught"), [(100, False), (150, False), (151, True), (3000, True)])
def test_a_silence_longer_than_three_periods_is_a_gap(clean, silent_ms, is_caught):
    stamps = clean.stamps_ns["/cam"]
    later = stamps > START + 25_000 * MS
    clean.stamps_ns["/cam"] = np.concatenate([stamps[~later], stamps[later] + (silent_ms - 50) * MS])
    clean.stamps_ns["/cam"] = clean.stamps_ns["/cam"][clean.stamps_ns["/cam"] < START + 40 * SECOND]
    failures = clean.failures()
    assert ("gaps" in failures) == is_caught
    if is_caught:
        assert failures["gaps"] == in_second_scene("/cam")
        result = clean.result("gaps")
        assert (result["measured"], result["threshold"]) == (silent_ms * MS, 150 * MS)
        assert result["found"]["start_ns"] == START + 25_000 * MS


def test_a_sensor_that_stops_early_lowers_coverage(clean):
    drop(clean, "/radar", lambda ms: ms < 37_000)
    assert clean.failures() == {"coverage": in_second_scene("/radar")}
    drop(clean, "/radar", lambda ms: ms < 35_000)
    assert clean.failures() == {"coverage": in_second_scene("/radar")}


def test_the_phase_of_a_slow_sensor_is_no_lack_of_coverage(clean):
    clean.stamps_ns["/radar"] = START + np.array([6_900, 13_900, 26_900, 33_900]) * MS
    clean.change_clock("/radar", nbr_messages=4, median_period_ns=7 * SECOND)
    assert "coverage" not in clean.failures()


@pytest.mark.parametrize(("period_ms", "is_caught"), [(3, True), (6, False)])
def test_stamps_of_a_conversion_are_too_fast_for_a_camera(clean, period_ms, is_caught):
    clean.change_clock("/cam", median_period_ns=period_ms * MS + 333_333)
    failures = clean.failures()
    assert failures.get("implausible_rate", set()) == (in_both("/cam") if is_caught else set())


@pytest.mark.parametrize(
    ("check", "channel", "changes"),
    [
        ("duplicate_stamps", "/imu", {"nbr_duplicate_stamps": 125}),
        ("backward_jumps", "/imu", {"nbr_backward_jumps": 1, "largest_backward_ns": 360 * MS}),
        ("clock_offset", "/imu", {"offset_from_reference_ns": 63_960 * MS}),
        ("epoch", "/cam", {"epoch": "boot_time"}),
    ],
)
def test_what_a_clock_did_is_told_of_every_scene(clean, check, channel, changes):
    clean.change_clock(channel, **changes)
    assert clean.failures() == {check: in_both(channel)}


def test_the_clock_offset_is_named(clean):
    clean.change_clock("/imu", offset_from_reference_ns=63_960 * MS)
    assert "+63.96 s" in json.loads(clean.verdicts()[0]["evidence"])["findings"][0]["reason"]


@pytest.mark.parametrize("modality", ["can", "radar_track"])
def test_bursts_are_neither_duplicate_stamps_nor_a_rate_to_fall_short_of(clean, modality):
    clean.change_clock("/imu", modality=modality, nbr_duplicate_stamps=125, median_period_ns=1000)
    clean.is_match.pop("/imu")
    clean.sync_error_ns.pop("/imu")
    assert clean.failures() == {}


@pytest.mark.parametrize(("share", "is_caught"), [(0.9, False), (0.875, True), (0.0, True)])
def test_keyframes_without_a_match(clean, share, is_caught):
    clean.is_match["/cam"] = share
    assert clean.failures() == ({"sync_match": in_both("/cam")} if is_caught else {})


@pytest.mark.parametrize(
    ("channel", "median_ms", "is_caught"),
    [("/cam", 25, False), ("/cam", 26, True), ("/radar", 125, False), ("/radar", 126, True), ("/imu", 61, True)],
)
def test_a_large_sync_error_warns(clean, channel, median_ms, is_caught):
    clean.sync_error_ns[channel] = median_ms * MS
    assert clean.failures() == ({"sync_error": in_both(channel)} if is_caught else {})


def test_a_constant_latency_is_said_to_be_beyond_a_sync_error(clean):
    clean.change_clock("/cam", unobservable="a constant offset and a constant latency look the same")
    assert "look the same" in clean.result("sync_error")["found"]["unobservable"]
    assert "unobservable" not in clean.result("sync_error", channel="/radar")["found"]
    facts = clean.facts()
    said = {m.channel: m.description for m in sync_checks.measure_sync_error(facts)}
    assert "latency" in said["/cam"]
    assert "latency" not in said["/radar"]
    assert "not observable" in sync_checks.SYNC_ERROR.meaning


def test_a_sync_error_that_could_not_be_measured_is_no_finding(clean):
    clean.sync_error_ns["/imu"] = None
    assert clean.failures() == {}


@pytest.mark.parametrize(
    ("channel", "bad", "checks"),
    [
        ("/cam", 1, {"undecodable": "warn"}),
        ("/cam", 400, {"undecodable": "warn"}),
        ("/cam", 401, {"undecodable": "warn", "camera_undecodable": "quarantine"}),
        ("/radar", 160, {"undecodable": "warn"}),
    ],
)
def test_undecodable_messages(clean, channel, bad, checks):
    count = clean.channels[channel]
    clean.channels[channel] = replace(count, undecodable=bad, decoded=count.read - bad)
    assert clean.failures() == {name: in_both(channel, verdict) for name, verdict in checks.items()}
    worst = "quarantine" if "camera_undecodable" in checks else "warn"
    assert {v["verdict"] for v in clean.verdicts()} == {worst}


def test_messages_that_could_not_be_read_at_all(clean):
    clean.channels["/cam"] = replace(clean.channels["/cam"], recorded=810)
    assert clean.failures() == {"lost_messages": in_both("/cam")}


def test_bad_byte_ranges_are_named(clean):
    clean.problems = (Problem("bad_chunk", "CRC", 100, 250),)
    assert clean.failures() == {"bad_bytes": in_both(None)}
    result = clean.result("bad_bytes", channel=None)
    assert result["measured"] == 150.0
    assert result["found"]["ranges"][0]["start_byte"] == 100


def test_a_scene_without_keyframes_is_quarantined(clean):
    clean.nbr_samples = 0
    assert clean.failures() == {"no_keyframes": in_both(None, "quarantine")}
    assert [(v["verdict"], v["reason"]) for v in clean.verdicts()] == [("quarantine", "no_keyframes")] * 2


def test_the_policy_decides_what_a_failure_costs(clean):
    drop(clean, "/cam", lambda ms: ms < 20_000)
    policy = QualityPolicy(consequences={"missing_sensor": Verdict.QUARANTINE})
    assert [v["verdict"] for v in clean.verdicts(policy)] == ["pass", "quarantine"]
    clean.nbr_samples = 0
    lenient = QualityPolicy(consequences={"no_keyframes": Verdict.PASS})
    assert [v["verdict"] for v in clean.verdicts(lenient)] == ["pass", "warn"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min_coverage": 0.9}, "min_coverage"),
        ({"limits": {"coverag": 0.9}}, "did you mean coverage"),
        ({"limits": {"coverage": float("nan")}}, "finite"),
        ({"consequences": {"missing_sensors": "warn"}}, "did you mean missing_sensor"),
        ({"consequences": {"coverage": "fatal"}}, "reject"),
        ({"consequences": {"coverage": "unknown"}}, "choose pass"),
        ({"rules": [{"check": "sinc_match", "limit": 1}]}, "did you mean sync_match"),
        ({"rules": [{"check": "sync_*", "modality": "laser"}]}, "lidar"),
        ({"rules": [{"check": "zzz"}]}, "docs/quality.md"),
    ],
)
def test_the_policy_rejects_what_it_does_not_know(values, said):
    with pytest.raises(ValueError, match=said):
        QualityPolicy.model_validate(values)


def test_limits_and_the_first_rule_that_fits_decide(clean):
    clean.is_match["/cam"] = clean.is_match["/imu"] = 0.875
    assert clean.failures(QualityPolicy(limits={"sync_match": 0.875})) == {}
    rules = [
        {"check": "sync_*", "channel": "/cam", "consequence": "quarantine"},
        {"check": "*", "modality": "imu", "limit": 0.5},
        {"check": "sync_match", "limit": 0.0},
    ]
    policy = QualityPolicy.model_validate({"rules": rules, "limits": {"sync_match": 0.95}})
    found = [(r["channel"], r["threshold"]) for r in clean.results(policy) if r["check_name"] == "sync_match"]
    assert set(found) == {("/cam", 0.95), ("/imu", 0.5), ("/lidar", 0.0), ("/radar", 0.0)}
    assert clean.failures(policy)["sync_match"] == in_both("/cam", "quarantine")


def test_the_floor_of_a_limit_can_be_changed(clean):
    clean.sync_error_ns["/radar"] = 100 * MS
    assert "sync_error" not in clean.failures(QualityPolicy(limits={"sync_error": 90 * MS}))
    assert clean.failures(QualityPolicy(limits={"sync_error": 90 * MS}, per_scale={"sync_error": 0.0}))["sync_error"]
    rules = [{"check": "sync_error", "channel": "/radar", "per_scale": 0.1}]
    assert clean.failures(QualityPolicy.model_validate({"rules": rules}))["sync_error"] == in_both("/radar")


def test_a_bad_sensor_need_not_cost_the_scene(clean):
    count = clean.channels["/cam"]
    clean.channels["/cam"] = replace(count, undecodable=800, decoded=0)
    assert {v["verdict"] for v in clean.verdicts()} == {"quarantine"}
    spared = QualityPolicy.model_validate({"rules": [{"check": "*", "channel": "/cam", "consequence": "warn"}]})
    assert {v["verdict"] for v in clean.verdicts(spared)} == {"warn"}


def test_a_changed_policy_needs_no_other_measurement(clean):
    drop(clean, "/cam", lambda ms: ms < 20_000)
    measurements = measurement_table(measure(clean.facts()))
    stored = measurements.slice(0)
    strict = result_table(measurements, QualityPolicy(consequences={"missing_sensor": Verdict.REJECT}))
    assert "reject" in strict["verdict"].to_pylist()
    assert "reject" not in result_table(measurements, QualityPolicy())["verdict"].to_pylist()
    assert measurements.equals(stored)


def test_what_was_not_observed_or_measured_otherwise_is_unknown_and_holds_nothing_back(clean):
    measurements = measurement_table(measure(clean.facts()))
    names = measurements["check_name"].to_pylist()
    values = [None if n == "coverage" else 0.0 for n in names]
    versions = ["0" if n == "completeness" else "1" for n in names]
    for column, changed in (("measured", values), ("check_version", versions)):
        at = measurements.schema.get_field_index(column)
        measurements = measurements.set_column(at, measurements.schema.field(at), [changed])
    results = result_table(measurements, QualityPolicy()).to_pylist()
    by_check = {r["check_name"]: r["verdict"] for r in results}
    assert (by_check["coverage"], by_check["completeness"]) == ("unknown", "unknown")
    assert by_check["sync_match"] == "warn"
    only = result_table(measurements.filter(pc.equal(measurements["check_name"], "coverage")), QualityPolicy())
    assert verdict_table(["scene-0", "scene-1", "scene-2"], only)["verdict"].to_pylist() == ["pass"] * 3


def test_every_check_says_what_it_measures_and_where_its_limit_is_from():
    assert set(CATALOGUE) >= ALL_CHECKS
    for name, check in CATALOGUE.items():
        assert check.name == name
        assert check.meaning.endswith(".")
        assert check.source.endswith(".")
        assert check.unit


def test_a_drive_without_scenes_has_no_findings(clean):
    facts = clean.facts()
    empty = replace(facts, scenes=(), sync_index=facts.sync_index.slice(0, 0), sync_error=facts.sync_error.slice(0, 0))
    assert measure(empty) == []
    assert len(result_table(measurement_table([]), QualityPolicy())) == 0
    assert len(verdict_table([], result_table(measurement_table([]), QualityPolicy()))) == 0
