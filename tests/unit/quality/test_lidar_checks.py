"""Checks of LiDARs, with faults of graded strength planted in what decode measures."""

import numpy as np
import pytest
from tests.unit.quality.measured import Sensor, baselines_from, drive, lidar
from tests.unit.quality.recorded import Motion, judged

from scenelake.quality import lidar_checks
from scenelake.quality.baseline import Baselines
from scenelake.quality.checks import Verdict
from scenelake.quality.lidar_checks import CHECKS, MEASURES, empty_sectors


def found(*sensors: Sensor, has_poses: bool = True, motion: Motion | None = None, baselines: Baselines | None = None):
    """Names of the failing checks, and the furthest measurement of each."""
    return judged(drive(*sensors, has_poses=has_poses, motion=motion, baselines=baselines), MEASURES)


def history(*sensors: Sensor) -> Baselines:
    facts = drive(*sensors)
    return baselines_from([m for measure in MEASURES for m in measure(facts)])


@pytest.mark.parametrize("rate_hz", [2.5, 10.0])
def test_a_clean_lidar_passes_every_check(rate_hz: float) -> None:
    bad, worst = found(lidar(rate_hz=rate_hz))
    assert bad == set()
    assert set(worst) == {check.name for check in CHECKS}
    assert {name for name, m in worst.items() if m.measured is None} == set()


@pytest.mark.parametrize(("share", "caught"), [(0.95, False), (0.75, False), (0.5, True), (0.1, True)])
def test_lost_returns(share: float, caught: bool) -> None:
    sensor = lidar()
    sensor.scenes[1]["nbr_points"] = (sensor.scenes[1]["nbr_points"] * share).astype(np.int64)
    bad, worst = found(sensor)
    assert ("lidar.returns" in bad) is caught
    assert len(worst["lidar.returns"].evidence["messages"]) == 8


def test_returns_lost_for_a_part_of_a_single_scene() -> None:
    sensor = lidar(1)
    sensor.scenes[0]["nbr_invalid"][150:] = 15_000
    assert {"lidar.returns", "lidar.invalid_points"} <= found(sensor)[0]


def test_a_whole_drive_is_held_against_earlier_ones() -> None:
    known = history(lidar(seed=9))
    sensor = lidar()
    for columns in sensor.scenes.values():
        columns["nbr_points"] = (columns["nbr_points"] * 0.6).astype(np.int64)
        columns["range_counts"] = np.roll(columns["range_counts"], 4, axis=1).tolist()
        columns["intensity_counts"] = np.roll(columns["intensity_counts"], -2, axis=1).tolist()
    assert found(sensor)[0] == set()
    assert found(sensor, baselines=known)[0] == {"lidar.returns", "lidar.range_shift", "lidar.intensity_shift"}
    assert found(lidar(), baselines=known)[0] == set()


def _hide(sensor: Sensor, scene: int, groups: slice, sectors: slice) -> None:
    cells = np.array(sensor.scenes[scene]["sector_counts"]).reshape(-1, 4, 72)
    cells[:, groups, sectors] = 0
    sensor.scenes[scene]["sector_counts"] = cells.reshape(-1, 288).tolist()


@pytest.mark.parametrize(
    ("groups", "sectors", "caught"),
    [
        (slice(0, 4), slice(10, 11), False),
        (slice(0, 4), slice(10, 14), True),
        (slice(0, 4), slice(10, 30), True),
        (slice(0, 1), slice(10, 11), False),
        (slice(0, 1), slice(10, 28), True),
        (slice(3, 4), slice(10, 16), False),
    ],
)
def test_hidden_sectors(groups: slice, sectors: slice, caught: bool) -> None:
    """Without earlier drives a car's own mast is allowed for; the uppermost rings may see sky."""
    sensor = lidar()
    _hide(sensor, 1, groups, sectors)
    assert ("lidar.empty_sectors" in found(sensor)[0]) is caught


def test_what_the_car_always_hides_is_usual() -> None:
    before, sensor = lidar(seed=9), lidar()
    for k in range(3):
        _hide(before, k, slice(0, 4), slice(30, 36))
        _hide(sensor, k, slice(0, 4), slice(30, 36))
    known = history(before)
    assert "lidar.empty_sectors" in found(sensor)[0]
    assert found(sensor, baselines=known)[0] == set()
    _hide(sensor, 1, slice(0, 4), slice(50, 52))
    bad, worst = found(sensor, baselines=known)
    assert bad == {"lidar.empty_sectors"}
    assert worst["lidar.empty_sectors"].scene.scene_id == "scene-1"


@pytest.mark.parametrize("motion", [Motion(), Motion(is_standing=True)])
@pytest.mark.parametrize(
    ("groups", "caught"), [(slice(1, 3), False), (slice(3, 4), False), (slice(1, 4), False), (slice(0, 2), True)]
)
def test_sky_between_houses_is_no_fault(motion: Motion, groups: slice, caught: bool) -> None:
    """A car that stands sees the same gap in all sweeps, one in a straight street as well; below is the ground."""
    sensor = lidar()
    _hide(sensor, 1, groups, slice(10, 30))
    bad, worst = found(sensor, motion=motion)
    assert bad == ({"lidar.empty_sectors"} if caught else set())
    assert worst["lidar.empty_sectors"].measured == pytest.approx(40 / 288 - 0.03 if caught else 0.0, abs=0.001)


def test_sectors_need_points_enough_to_tell() -> None:
    few = np.random.default_rng(0).poisson(0.05, (50, 288)).astype(float)
    assert empty_sectors(few) is None
    assert empty_sectors(np.zeros((50, 288))) is None
    assert empty_sectors(np.full((50, 288), np.nan)) is None
    assert empty_sectors(np.ones((1, 288))) is None


def test_a_forward_lidar_is_not_judged_by_what_is_behind_it() -> None:
    sensor = lidar()
    for k in range(3):
        _hide(sensor, k, slice(0, 4), slice(0, 24))
        _hide(sensor, k, slice(0, 4), slice(48, 72))
    bad, worst = found(sensor)
    assert bad == set()
    assert worst["lidar.empty_sectors"].measured is None


@pytest.mark.parametrize(("nbr_rings", "caught"), [(0, False), (1, True), (5, True)])
def test_silent_rings(nbr_rings: int, caught: bool) -> None:
    sensor = lidar()
    sensor.scenes[0]["nbr_silent_rings"][:] = nbr_rings
    assert ("lidar.silent_rings" in found(sensor)[0]) is caught


@pytest.mark.parametrize(("bins", "caught"), [(0, False), (1, False), (4, True)])
def test_ranges_that_shift(bins: int, caught: bool) -> None:
    sensor = lidar()
    sensor.scenes[1]["range_counts"] = np.roll(sensor.scenes[1]["range_counts"], bins, axis=1).tolist()
    bad, worst = found(sensor)
    assert ("lidar.range_shift" in bad) is caught
    assert worst["lidar.range_shift"].measured == pytest.approx(bins * 10 / 32, abs=0.02)


@pytest.mark.parametrize(("share", "caught"), [(0.01, False), (0.05, True), (1.0, True)])
def test_points_that_are_none(share: float, caught: bool) -> None:
    sensor = lidar()
    columns = sensor.scenes[1]
    columns["nbr_invalid"] = (columns["nbr_points"] * share).astype(np.int64)
    columns["nbr_not_finite"] = columns["nbr_invalid"]
    bad, worst = found(sensor)
    assert ("lidar.invalid_points" in bad) is caught
    assert worst["lidar.invalid_points"].evidence["nbr_not_finite"] == columns["nbr_not_finite"].sum()


def test_a_driver_that_always_sends_missing_returns_is_not_blamed() -> None:
    sensor = lidar()
    for columns in sensor.scenes.values():
        columns["nbr_invalid"] = (columns["nbr_points"] * 0.4).astype(np.int64)
    assert found(sensor)[0] == set()


@pytest.mark.parametrize(("nbr_repeats", "caught"), [(1, False), (30, True), (199, True)])
def test_a_stuck_lidar(nbr_repeats: int, caught: bool) -> None:
    sensor = lidar()
    prints = sensor.scenes[1]["fingerprint"]
    prints[: nbr_repeats + 1] = prints[0]
    bad, worst = found(sensor)
    assert ("lidar.stuck" in bad) is caught
    assert worst["lidar.stuck"].measured == pytest.approx(nbr_repeats / 199)
    assert lidar_checks.STUCK.consequence is Verdict.QUARANTINE


@pytest.mark.parametrize("nbr_scenes", [1, 4])
def test_columns_that_tell_nothing_break_nothing(nbr_scenes: int) -> None:
    sensor = lidar(nbr_scenes)
    for columns in sensor.scenes.values():
        columns.clear()
    bad, worst = found(sensor)
    assert bad == set()
    assert len(worst) == len(CHECKS)
    for columns in sensor.scenes.values():
        columns |= {"nbr_points": np.zeros(200, np.int64)}
        columns |= {"sector_counts": [[1, 2]] * 200, "range_counts": [[0] * 32] * 200}
    assert found(sensor)[0] == set()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_sweeps_are_judged_as_far_as_they_go(count: int) -> None:
    facts = drive(lidar(1))
    facts.tables["point_statistic"] = facts.tables["point_statistic"].slice(0, count)  # type: ignore[index]
    bad, worst = judged(facts, MEASURES)
    assert bad == set()
    assert len(worst) == (len(CHECKS) if count else 0)
