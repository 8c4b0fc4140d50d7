"""The drive that synchronise is measured on is the same in memory and in files, and its report names what it must."""

import numpy as np
import pytest
from benchmarks import synchronise_drive, synchronise_report
from benchmarks.synchronise import MODES, memory_mb
from benchmarks.synchronise_drive import drive_in_memory, drive_object, index_of, schedules, write_files

from scenelake.adapters.objects import LocalObjects, read_table
from scenelake.synchronise.build import synchronise_drive as in_memory
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.job import synchronise_files


@pytest.fixture(scope="module")
def sparse():
    """The same sensors at a twentieth of their rates, so that a minute is made in no time."""
    patch = pytest.MonkeyPatch()
    every = [s.model_copy(update={"rate_hz": max(s.rate_hz / 20, 1.0)}) for s in synchronise_drive.sensors()]
    patch.setattr(synchronise_drive, "sensors", lambda: every)
    patch.setattr(synchronise_drive, "PART_MINUTES", 1)
    yield
    patch.undo()


def test_parts_follow_each_other(sparse):
    first, second = schedules(1), schedules(1, 1)
    for topic, schedule in first.items():
        step_ns = int(second[topic].stamp_ns[0]) - int(schedule.stamp_ns[-1])
        assert 0 < step_ns < 3 * int(np.median(np.diff(schedule.stamp_ns)))
        assert second[topic].log_ns[0] > schedule.log_ns[-1] - 100_000_000


def test_files_hold_the_drive_in_memory(sparse, tmp_path):
    nbr_messages = write_files(tmp_path, 1)
    objects = LocalObjects(tmp_path)
    _, counts = synchronise_files(objects, [drive_object(1)], "s3://lake/drive", SynchroniseConfig())
    expected = in_memory(drive_in_memory(index_of(schedules(1))), SynchroniseConfig()).tables
    assert counts["sample_data"] == nbr_messages == len(expected["sample_data"])
    found = read_table(objects, "s3://lake/drive/sync_index.parquet")
    assert found.equals(expected["sync_index"])
    assert sum(found["is_match"].to_pylist()) > len(found) // 2


@pytest.mark.parametrize("mode", ["stage", "match", "pandas", "clocks"])
def test_a_mode_says_what_it_took(sparse, mode):
    measured = MODES[mode](1)
    assert measured["cpu_s"] >= 0
    assert measured["answer"] > 0 or mode == "clocks"
    assert measured["added_own_mb"] >= 0
    rss_mb, own_mb = memory_mb()
    assert 0 < own_mb <= rss_mb


def test_ours_and_pandas_agree(sparse):
    assert MODES["match"](1)["answer"] == MODES["pandas"](1)["answer"] > 0


def test_the_report_names_ratios_and_lengths(tmp_path):
    turn = {"cpu_s": 1.0, "wall_s": 1.5, "added_mb": 20, "added_own_mb": 10}
    result = {
        "nbr_stamps": 4_644_000, "minutes": 60, "repeats": 3, "commit": "a" * 40, "dirty": False,
        "modes": {mode: turn for mode in ("stage", "clocks", "match", "pandas", "spark")},
        "lengths": [turn | {"minutes": 960, "nbr_stamps": 74_304_000}],
        "ratio_to_pandas": 7.5, "ratio_to_spark": 99.0, "do_all_agree": True,
    }  # fmt: skip
    synchronise_report.write(result, tmp_path / "synchronise.json")
    page = (tmp_path / "synchronise.md").read_text()
    assert "1/7.5" in page
    assert "1/99.0" in page
    assert "| 16 | 74,304,000 | 1.0 | 1.5 | 10 | 20 |" in page
