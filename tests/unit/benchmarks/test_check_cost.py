"""What the checks cost is told against a decode that measures nothing, and every part of it counts."""

import json
from pathlib import Path

import pytest
from benchmarks.check_cost import LIMIT_SHARE, measured, write
from benchmarks.recordings import write_recording

from scenelake.quality.catalogue import MEASURES


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    path = tmp_path_factory.mktemp("cost") / "recording.mcap"
    written = write_recording("lidar", path, 1.0)
    return {"name": "lidar", "about": "two of them", **measured(path, 1)}, written


def test_every_family_of_checks_is_timed_and_counts(row):
    found, written = row
    assert found["nbr_messages"] == written.nbr_messages
    assert found["nbr_scenes"] == 1
    assert found["nbr_measurements"] > 10
    parts = found["checks_by_part_s"]
    families = {function.__module__.rpartition(".")[2] for function in MEASURES}
    assert set(parts) == families | {"judging", "camera-LiDAR keyframes"}
    assert list(parts.values()) == sorted(parts.values(), reverse=True)
    assert found["checks_cpu_s"] == pytest.approx(sum(parts.values()), abs=0.002)
    spent = found["measuring_cpu_s"] + found["checks_cpu_s"]
    assert found["share"] == pytest.approx(spent / found["decode_cpu_s"], rel=0.05)
    assert found["share_with_reading"] > found["share"]
    assert found["is_met"] is (found["share"] <= LIMIT_SHARE)


def test_decode_s_measurements_are_told_by_table(row):
    assert set(row[0]["measuring_by_table_s"]) == {"lidar_sweep"}
    assert row[0]["measuring_by_table_s"]["lidar_sweep"] < row[0]["decode_cpu_s"]


def test_the_page_says_what_is_met_and_what_is_not(row, tmp_path: Path):
    rows = [row[0] | {"name": "good", "is_met": True}, row[0] | {"name": "bad", "is_met": False}]
    result = {"recordings": rows, "limit_share": LIMIT_SHARE, "repeats": 1, "commit": None, "dirty": False}
    write(json.loads(json.dumps(result)), tmp_path / "check_cost.json")
    lines = (tmp_path / "check_cost.md").read_text().splitlines()
    (good,) = (line for line in lines if line.startswith("| good |") and "| yes |" in line)
    (bad,) = (line for line in lines if line.startswith("| bad |") and "| **no** |" in line)
    assert good.count("|") == bad.count("|") == 12
    assert any("lidar_sweep" in line for line in lines)
