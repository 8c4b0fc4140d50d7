"""The arithmetic of the decode benchmark."""

import pytest
from benchmarks.decode import switched_off
from benchmarks.decode_ratios import (
    LIMIT_NAMES,
    Goal,
    combined,
    cores_for_target,
    goals,
    ratio,
    serial_sum,
    speed_ups,
)
from benchmarks.decode_report import chart, document

from scenelake.decode.config import DecodeConfig


def run(cpu_s: float, wall_s: float = 1.0, peak: int = 100):
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_rss_mb": peak}


def step(cpu_s: float, payload_mb: float = 100.0, messages: int = 1_000, wall_s: float = 1.0):
    return combined([run(cpu_s, wall_s)], payload_bytes=int(payload_mb * 1e6), nbr_messages=messages)


def test_the_best_run_is_kept_with_the_spread():
    found = combined([run(2.0, 5.0, 90), run(1.0, 6.0, 120), run(1.5, 7.0)], payload_bytes=300_000_000, nbr_messages=50)
    assert (found["cpu_s"], found["cpu_spread"]) == (1.0, 1.0)
    assert (found["wall_s"], found["wall_spread"]) == (5.0, 0.4)
    assert (found["mb_per_cpu_s"], found["messages_per_cpu_s"], found["peak_rss_mb"]) == (300.0, 50, 120)


def test_a_failed_run_is_told_and_counts_where_none_succeeded():
    found = combined([{"error": "no"}, run(1.0)], payload_bytes=1, nbr_messages=1)
    assert (found["runs"], found["failed_run"], found["cpu_s"]) == (1, "no", 1.0)
    assert combined([{"error": "no"}], payload_bytes=1, nbr_messages=1) == {"error": "no"}
    assert combined([], payload_bytes=1, nbr_messages=1) == {"error": "not run"}


def test_the_serial_sum_is_of_seconds():
    steps = {name: step(0.1 * (n + 1)) for n, name in enumerate(LIMIT_NAMES)}
    total = serial_sum(steps)
    assert total is not None
    assert total["cpu_s"] == pytest.approx(1.5)
    assert total["mb_per_cpu_s"] == pytest.approx(66.7, abs=0.1)
    assert total["messages_per_cpu_s"] == pytest.approx(667, abs=1)


def test_without_a_limit_there_is_no_serial_sum():
    steps = {name: step(0.1) for name in LIMIT_NAMES}
    assert serial_sum({**steps, "crc": {"error": "no"}}) is None
    assert serial_sum({}) is None


def test_a_ratio_needs_both():
    steps = {"one": step(1.0), "two": step(2.0), "bad": {"error": "no"}}
    assert ratio(steps, "one", "two") == 2.0
    assert ratio(steps, "two", "one", "cpu_s") == 2.0
    assert ratio(steps, "one", "bad") is None
    assert ratio(steps, "none", "one") is None


def test_speed_ups_are_of_one_task():
    assert speed_ups({1: 8.0, 2: 4.0, 4: 2.5}) == {1: 1.0, 2: 2.0, 4: 3.2}
    assert speed_ups({1: None, 2: 4.0}) == {1: None, 2: None}


def test_fifteen_terabytes_a_day():
    assert cores_for_target(173.611) == 1.0
    assert cores_for_target(86.8) == 2.0


@pytest.mark.parametrize(
    ("measured", "is_at_most", "is_met"),
    [(1.0, False, True), (0.99, False, False), (1.0, True, True), (1.01, True, False), (None, False, None)],
)
def test_a_goal_is_met_at_its_bound(measured, is_at_most, is_met):
    assert Goal("g", 1.0, measured, is_at_most=is_at_most).is_met is is_met


def result():
    mixed = {name: step(0.1) for name in LIMIT_NAMES}
    mixed |= {"plain": step(0.8), "bare": step(0.6), "local": step(0.5), "spark_2": step(1.0), "stock": step(0.9)}
    mixed |= {"serial_sum": serial_sum(mixed), "daft_mcap": {"error": "a | b"}, "ray_data": step(2.0)}
    kind = {"messages": 1_000, "payload_mb": 100.0, "file_mb": 90.0, "steps": mixed}
    imu = {**kind, "steps": {"plain": step(0.5, messages=1_000_000)}}
    camera = {**kind, "steps": {"plain": step(1.5), "bare": step(1.0)}}
    return {
        "scale": 0.5,
        "repeats": 1,
        "machine": {"cpus": 2, "memory_gb": 8, "python": "3.11"},
        "kinds": {"mixed": {**kind, "cores_for_15_tb_a_day": {"plain": 1.5}}, "imu": imu, "camera": camera},
        "growth": {"mixed": {"x1": step(0.1), "x4": {"error": "no"}}},
        "scaling": {"processes": {"1": step(1.0, wall_s=8.0), "2": step(1.0, wall_s=4.0)}},
        "profiles": {},
        "peers_unavailable": {"hflow_transform": "no network"},
    }


def test_goals_come_from_the_steps():
    found = {goal.text: goal for goal in goals(result())}
    met = {text: (goal.measured, goal.is_met) for text, goal in found.items() if goal.measured is not None}
    assert met == {
        "mixed: of the serial sum of the limits, without image statistics": (0.833, True),
        "camera: processor time with image statistics on keyframes, of that without": (1.5, False),
        "mixed: Spark `local[2]`, of the plain function per CPU second": (0.8, True),
        "mixed: of the stock path, at equal checks": (1.8, True),
        "imu: millions of messages per CPU second": (2.0, True),
        "mixed: Spark's run, of Ray Data's run of the same function": (2.0, True),
        "one file, 2 tasks (processes): speed-up, of linear": (1.0, True),
        "peak memory of a task": (100, True),
    }
    assert found["mixed: of Daft's `read_mcap`"].is_met is None


def test_the_document_says_what_was_measured_and_what_not(tmp_path):
    found = result()
    found["goals"] = [{**vars(goal), "is_met": goal.is_met} for goal in goals(found)]
    text = document(found, "decode")
    assert "A trial run" in text
    assert "| mixed: of the stock path, at equal checks | ≥ 1.2× | 1.8× | yes |" in text
    assert "keeps 1.5 cores busy" in text
    assert "failed: a \\| b" in text
    assert "| processes | 2 | 4.00 | 2.00× |" in text
    assert "Not run: HFlow's transform: no network" in text
    widths = [len(line.replace("\\|", "").split("|")) for line in text.splitlines() if line.startswith("|")]
    assert min(widths) > 3
    chart(found, tmp_path / "decode.png")
    assert (tmp_path / "decode.png").read_bytes().startswith(b"\x89PNG")


def test_switches_are_what_may_be_none_or_true():
    off = switched_off()
    assert off["image_statistics_ns"] is None
    assert DecodeConfig(**off) != DecodeConfig()
    assert all(getattr(DecodeConfig(), name) not in (None, False) for name in off)
