"""What the checks of signals say of real recordings, and why a person who looks would say the same."""

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tests.unit.quality.recorded import is_bad

from scenelake.adapters.objects import LocalObjects, write_json, write_table
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.convert.converters import CONVERTERS
from scenelake.decode.config import DecodeConfig
from scenelake.decode.task import DecodeTask
from scenelake.quality import imu_checks, motion_checks, path_checks, robot_checks
from scenelake.quality.checks import Measurement
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts
from scenelake.quality.job import read_facts
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.clock_rules import ClockRule
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveObject
from scenelake.synchronise.job import read_drive

MS = 1_000_000
SECOND = 1_000 * MS
MEASURES = [m for module in (imu_checks, motion_checks, path_checks, robot_checks) for m in module.MEASURES]

Found = dict[tuple[str, str], list[Measurement]]


@pytest.fixture
def drive_of(tmp_path: Path) -> Callable[..., DriveFacts]:
    def run(source: Path, converter: str | None = None, *rules: ClockRule) -> DriveFacts:
        path = source
        if converter is not None:
            path = tmp_path / "recording.mcap"
            CONVERTERS[converter](source, path)
        objects = LocalObjects(tmp_path / "s3")
        key = f"fleet/robot/drive/{path.name}"
        objects.write_file(f"s3://landing/{key}", path)
        drop = Drop(
            ids.drop_id("landing", key, "1"), "landing", key, "1", path.stat().st_size, "e", 1,
            "fleet", "robot", "drive", ids.drive_id("fleet", "robot", "drive"),
        )  # fmt: skip
        paths = LakePaths("s3://lake")
        outcome = DecodeTask(lambda: objects, paths, DecodeConfig(), "r")(drop)
        drive = read_drive(objects, [DriveObject(drop, paths.decoded("r", drop.drop_id), outcome)])
        done = synchronise_drive(drive, SynchroniseConfig(clock_rules=rules))
        for name, table in done.tables.items():
            write_table(objects, f"s3://lake/drive/{name}.parquet", table)
        write_json(objects, "s3://lake/drive/clocks.json", [asdict(clock) for clock in done.clocks])
        return read_facts(objects, "s3://lake/drive", drive.plan, QualityPolicy())

    return run


def measured(drive: DriveFacts) -> tuple[set[tuple[str, str]], Found]:
    """Check and channel of what fails in any scene, and all measurements by check and channel."""
    found: Found = defaultdict(list)
    for measure in MEASURES:
        for m in measure(drive):
            found[m.check.name, m.channel or ""].append(m)
    return {key for key, of in found.items() if any(map(is_bad, of))}, found


def values(found: Found, check: str, channel: str) -> np.ndarray:
    of = [m.measured for m in found[check, channel] if m.measured is not None]
    assert of, f"{check} of {channel} was not observed in any scene"
    return np.array(of)


def test_comma2k19_is_a_phone_in_a_car_on_a_highway(real_data, drive_of, tmp_path):
    """All agree but the second receiver, which fixes every two seconds and tells speeds of two seconds ago."""
    unused = shutil.ignore_patterns("raw_can", "radar", "raw_gnss*")
    shutil.copytree(real_data("comma2k19_example1"), tmp_path / "segment", ignore=unused)
    bad, found = measured(drive_of(tmp_path / "segment", "comma2k19"))
    assert bad == {("motion.speed_disagreement", "/gnss/qcom/motion")}
    assert values(found, "motion.turn_rate_lag", "/imu").max() < 10 * MS
    assert values(found, "motion.turn_rate_scale", "/imu").max() < 0.01
    assert values(found, "motion.turn_rate_residual", "/imu").max() < 0.005
    assert values(found, "imu.gravity_norm", "/imu").max() < 0.2
    assert values(found, "imu.saturation", "/imu").max() == 0.0
    assert values(found, "motion.speed_disagreement", "/vehicle/speed").max() < 0.2
    assert values(found, "motion.speed_disagreement", "/gnss/ublox/motion").max() < 0.2
    assert values(found, "motion.acceleration_residual", "/imu").max() < 0.3
    assert values(found, "gnss.drift", "/gnss/ublox/fix").max() < 1.0
    assert values(found, "motion.pose_jump", "/pose").max() < 0.01
    assert {m.measured for m in found["imu.bias_at_rest", "/imu"]} == {None}
    steps = found["imu.resolution_loss", "/imu"][0].evidence["statistics"]
    assert steps["turn rate z"] == pytest.approx(0.00122, rel=0.02)
    assert steps["acceleration x"] == pytest.approx(0.00239, rel=0.02)


def test_bridge_moves_as_its_actions_say(real_data, drive_of):
    (path,) = sorted(real_data("octo_bridge_rlds").rglob("*.tfrecord*"))[:1]
    bad, found = measured(drive_of(path))
    assert bad == set()
    lag = found["robot.action_lag", "/action"][0]
    assert lag.evidence["forms"] == ["change"] * 6 + ["position"]
    assert 0 <= lag.measured < 200 * MS
    assert values(found, "robot.action_unexplained", "/action").max() == pytest.approx(0.38, abs=0.02)
    assert values(found, "robot.discontinuity", "/observation/state").max() < 1.5
    assert values(found, "robot.stuck_joint", "/action").max() == 0
    assert values(found, "robot.episode_length", "").max() == 1.0


def test_radiate_s_imu_has_no_gravity_and_its_clock_stumbles(real_data, drive_of):
    """Its accelerations average to 0.5 m/s²; one fix is 6 m from the one 40 ms before, at 12 m/s."""
    repairs = ("shift", "drop_duplicates", "drop_backward")
    rules = [ClockRule(channel=c, repairs=repairs, shift_ns=-64 * SECOND) for c in ("/imu", "/gps/*")]
    bad, found = measured(drive_of(real_data("radiate_tiny_foggy"), "radiate", *rules))
    assert bad == {("imu.gravity_norm", "/imu"), ("gnss.jump", "/gps/fix")}
    assert values(found, "imu.gravity_norm", "/imu").max() == pytest.approx(9.33, abs=0.05)
    assert values(found, "gnss.jump", "/gps/fix").max() == pytest.approx(5.63, abs=0.1)


def test_a_jackal_s_wheels_turn_it_less_than_they_say(real_data, drive_of):
    """A skid-steered robot: odometry turns at 1.0 rad/s on average where the IMU turns at 0.15."""
    bad, found = measured(drive_of(real_data("ros1_robot_localization") / "test2.bag"))
    assert {check for check, _ in bad} == {
        "imu.bias_at_rest", "motion.turn_rate_offset", "motion.turn_rate_residual", "motion.turn_rate_scale",
        "motion.acceleration_residual",
    }  # fmt: skip
    assert values(found, "imu.bias_at_rest", "/imu/data").max() == pytest.approx(0.044, abs=0.002)
    assert values(found, "motion.turn_rate_residual", "/imu/data").max() > 1.0
    assert values(found, "imu.gravity_norm", "/imu/data").max() < 0.1


def test_a_car_whose_poses_point_down_and_come_late(real_data, drive_of):
    """Its poses are north, east, down, with a height of -120 m in ``/utm``: yaw has the other sign than the IMU's."""
    bad, found = measured(drive_of(real_data("ros1_robot_localization") / "test1.bag"))
    assert bad == {
        ("motion.turn_rate_scale", "/xsens/imu_data"),
        ("motion.turn_rate_lag", "/xsens/imu_data"),
        ("motion.speed_disagreement", "/wheel_odometry"),
    }
    scales = values(found, "motion.turn_rate_scale", "/xsens/imu_data")
    assert ((scales > 1.99) & (scales < 2.02)).all()
    lags = [m.evidence["lag_ns"] for m in found["motion.turn_rate_lag", "/xsens/imu_data"]]
    assert len(lags) == 7
    assert all(-73 * MS < lag < -66 * MS for lag in lags)
    assert values(found, "motion.turn_rate_residual", "/xsens/imu_data").max() < 0.02
    assert values(found, "imu.bias_at_rest", "/xsens/imu_data").max() < 0.015
