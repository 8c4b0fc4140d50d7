"""What the checks say of real recordings, decoded and synchronised as the pipeline does it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from scenelake.adapters.objects import LocalObjects, write_json, write_table
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.convert.converters import CONVERTERS
from scenelake.decode.config import DecodeConfig
from scenelake.decode.task import DecodeTask
from scenelake.quality.config import QualityPolicy
from scenelake.quality.job import read_facts
from scenelake.quality.judge import measure, measurement_table, result_table, verdict_table
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveObject
from scenelake.synchronise.job import read_drive

Judged = tuple[set[str], dict[str, dict[str, str]]]


@pytest.fixture
def judged(real_data: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str], Judged]:
    """Verdicts of a recording's scenes, and per failed check the reason by channel."""

    def run(converter: str, folder: str) -> Judged:
        recording = tmp_path / "recording.mcap"
        CONVERTERS[converter](real_data(folder), recording)
        objects = LocalObjects(tmp_path / "s3")
        key = f"fleet/car/drive/{recording.name}"
        objects.write_file(f"s3://landing/{key}", recording)
        drop = Drop(
            ids.drop_id("landing", key, "1"), "landing", key, "1", recording.stat().st_size, "e", 1,
            "fleet", "car", "drive", ids.drive_id("fleet", "car", "drive"),
        )  # fmt: skip
        paths = LakePaths("s3://lake")
        outcome = DecodeTask(lambda: objects, paths, DecodeConfig(), "r")(drop)
        drive = read_drive(objects, [DriveObject(drop, paths.decoded("r", drop.drop_id), outcome)])
        done = synchronise_drive(drive, SynchroniseConfig())
        for name, table in done.tables.items():
            write_table(objects, f"s3://lake/drive/{name}.parquet", table)
        write_json(objects, "s3://lake/drive/clocks.json", [asdict(clock) for clock in done.clocks])
        inside, outside = len(done.tables["sample_data"]), len(done.tables["unassigned"])
        assert inside + outside + sum(c.undecodable for c in outcome.channels) == sum(c.read for c in outcome.channels)
        facts = read_facts(objects, "s3://lake/drive", drive.plan, QualityPolicy())
        results = result_table(measurement_table(measure(facts)), QualityPolicy())
        reasons: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for row in results.to_pylist():
            if row["reason"]:
                reasons[row["check_name"]][row["channel"] or ""] = row["reason"]
        verdicts = verdict_table([scene.scene_id for scene in facts.scenes], results)
        return set(verdicts["verdict"].to_pylist()), dict(reasons)

    return run


def test_radiate_is_kept_with_its_clock_faults_named(judged):
    verdicts, reasons = judged("radiate", "radiate_tiny_foggy")
    assert verdicts == {"warn"}
    assert reasons["clock_offset"]["/imu"] == "/imu: clock lies +64.05 s from the reference's"
    assert reasons["duplicate_stamps"]["/imu"] == "/imu: 125 of 250 stamps repeat the one before"
    assert reasons["backward_jumps"]["/imu"] == "/imu: 1 stamp(s) go back, by up to 0.360 s"
    assert "/imu" in reasons["missing_sensor"]
    assert not {"sync_error", "completeness", "gaps", "epoch", "undecodable", "implausible_rate"} & set(reasons)


def test_a_tub_with_conversion_times_is_found_out(judged):
    verdicts, reasons = judged("donkeycar", "donkeycar_tub")
    assert verdicts == {"warn"}
    assert set(reasons) == {"implausible_rate", "time.clock_fault"}
    assert "333 Hz" in next(iter(reasons["implausible_rate"].values()))
    assert all("conversion_stamps" in reason for reason in reasons["time.clock_fault"].values())


@pytest.mark.slow
def test_comma2k19_is_kept_without_camera_and_lidar(judged):
    verdicts, reasons = judged("comma2k19", "comma2k19_example1")
    assert verdicts == {"warn"}
    assert set(reasons) == {"epoch", "sync_match", "time.clock_fault", "motion.speed_disagreement"}
    # The second receiver fixes every two seconds and tells the speed of two seconds ago.
    assert set(reasons["motion.speed_disagreement"]) == {"/gnss/qcom/motion"}
    assert all("epoch" in reason for reason in reasons["time.clock_fault"].values())
    assert set(reasons["sync_match"]) == {"/gnss/qcom/motion"}


def test_argoverse_is_warned_of_for_its_time_base_alone(judged):
    """Its poses are sampled at the stamps of cameras and LiDARs: uneven, and none is missing."""
    verdicts, reasons = judged("av2", "av2_log_7fab2350")
    assert verdicts == {"warn"}
    assert set(reasons) == {"epoch", "time.clock_fault"}
