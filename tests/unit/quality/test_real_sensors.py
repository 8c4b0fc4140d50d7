"""What the checks of cameras, LiDARs and radars say of real recordings; a person who looks would say the same."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.unit.quality.recorded import is_bad

from scenelake.adapters.objects import LocalObjects, write_json, write_table
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.convert.converters import CONVERTERS
from scenelake.decode.config import DecodeConfig
from scenelake.decode.task import DecodeTask
from scenelake.quality import camera_checks, lidar_checks, radar_checks
from scenelake.quality.checks import Measurement
from scenelake.quality.config import QualityPolicy
from scenelake.quality.job import read_facts
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveObject
from scenelake.synchronise.job import read_drive

MEASURES = (*camera_checks.MEASURES, *lidar_checks.MEASURES, *radar_checks.MEASURES)
Measured = Callable[..., list[Measurement]]


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    """Every measurement of a recording, decoded and synchronised as the pipeline does it."""

    def run(source: Path, converter: str | None = None) -> list[Measurement]:
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
        done = synchronise_drive(drive, SynchroniseConfig())
        for name, table in done.tables.items():
            write_table(objects, f"s3://lake/drive/{name}.parquet", table)
        write_json(objects, "s3://lake/drive/clocks.json", [asdict(clock) for clock in done.clocks])
        facts = read_facts(objects, "s3://lake/drive", drive.plan, QualityPolicy())
        return [m for measure in MEASURES for m in measure(facts)]

    return run


def failures(found: list[Measurement]) -> set[tuple[str, str | None]]:
    return {(m.check.name, m.channel) for m in found if is_bad(m)}


def observed(found: list[Measurement], check: str) -> list[float]:
    return [m.measured for m in found if m.check.name == check and m.measured is not None]


def test_bridge_has_one_black_camera_in_every_episode(measured, real_data) -> None:
    """Camera 3 was not connected: its frames are all zeros. The other three show the table, the arm and the sink."""
    found = measured(next(real_data("octo_bridge_rlds").rglob("*.tfrecord*")))
    assert failures(found) == {("camera.black", "/observation/image_3"), ("camera.dead", "/observation/image_3")}
    of_black = [m for m in found if m.check.name == "camera.black" and m.channel == "/observation/image_3"]
    assert [m.measured for m in of_black] == [1.0] * 25
    assert min(observed(found, "camera.sharpness")) > 0.4


def test_radiate_has_rain_on_its_lenses(measured, real_data) -> None:
    """Drops blur most of both pictures; only thin strips between them are sharp. LiDAR and radar are as they should."""
    found = measured(real_data("radiate_tiny_foggy"), "radiate")
    assert failures(found) == {
        ("camera.sharpness", "/camera/zed_left/image"),
        ("camera.sharpness", "/camera/zed_right/image"),
    }
    assert max(observed(found, "camera.sharpness")) < 0.08
    assert 0.05 < max(observed(found, "camera.saturated")) < 0.15
    assert observed(found, "radar.stuck") == [0.0, 0.0]
    assert observed(found, "lidar.returns")


def test_nuscenes_six_good_images_raise_nothing(measured, real_data) -> None:
    """A street in daylight, sharp to the horizon; one camera looks at a bright wall in the sun."""
    found = measured(real_data("nuscenes_one_keyframe"), "nuscenes")
    assert failures(found) == set()
    assert len(observed(found, "camera.sharpness")) == 6
    assert min(observed(found, "camera.sharpness")) > 2 * camera_checks.SHARPNESS.limit


def test_argoverse_sweeps_raise_nothing(measured, real_data) -> None:
    found = measured(real_data("av2_log_7fab2350"), "av2")
    assert failures(found) == set()
    assert observed(found, "lidar.empty_sectors") == [0.0]


def test_a_fast_toy_car_is_sharp_enough(measured, real_data) -> None:
    """Motion blurs some of its frames in bends; lines and cones stay clear."""
    found = measured(real_data("donkeycar_tub"), "donkeycar")
    assert failures(found) == set()
    assert min(observed(found, "camera.sharpness")) > 0.5
