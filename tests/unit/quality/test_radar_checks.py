"""Checks of radars, with faults of graded strength planted in what decode measures."""

import numpy as np
import pytest
from tests.unit.quality.measured import Sensor, baselines_from, drive, lidar, radar
from tests.unit.quality.recorded import Motion, judged

from scenelake.quality import lidar_checks, radar_checks
from scenelake.quality.baseline import Baselines
from scenelake.quality.checks import Verdict
from scenelake.quality.radar_checks import CHECKS, MEASURES, MIN_SWEEPS

STANDING = Motion(is_standing=True)


def found(*sensors: Sensor, has_poses: bool = True, motion: Motion | None = None, baselines: Baselines | None = None):
    """Names of the failing checks, and the furthest measurement of each."""
    return judged(drive(*sensors, has_poses=has_poses, motion=motion, baselines=baselines), MEASURES)


def least_returns(*sensors: Sensor, baselines: Baselines | None = None) -> dict[str, float | None]:
    """By scene, what ``radar.returns`` measured."""
    facts = drive(*sensors, baselines=baselines)
    told = [m for measure in MEASURES for m in measure(facts)]
    return {m.scene.scene_id: m.measured for m in told if m.check is radar_checks.RETURNS}


def history(*sensors: Sensor) -> Baselines:
    facts = drive(*sensors)
    return baselines_from([m for of in (MEASURES, lidar_checks.MEASURES) for measure in of for m in measure(facts)])


def in_field(*scenes: int, nbr_scenes: int = 4) -> tuple[Sensor, Sensor]:
    """A radar and a LiDAR that meet nothing but the ground in some scenes."""
    of_radar, of_lidar = radar(nbr_scenes), lidar(nbr_scenes)
    for k in range(nbr_scenes):
        of_lidar.scenes[k]["nbr_rings"] = np.full(200, 8 if k in scenes else 12)
        if k in scenes:
            of_radar.scenes[k]["nbr_points"][:] = 0
    return of_radar, of_lidar


def test_a_clean_radar_passes_every_check() -> None:
    bad, worst = found(radar())
    assert bad == set()
    assert set(worst) == {check.name for check in CHECKS}
    assert {name for name, m in worst.items() if m.measured is None} == set()
    assert {m.modality for m in worst.values()} == {"radar"}


@pytest.mark.parametrize(("nbr_points", "caught"), [(25, False), (5, False), (1, True), (0, True)])
def test_lost_returns_are_held_against_the_rest_of_the_drive(nbr_points: int, caught: bool) -> None:
    sensor = radar()
    sensor.scenes[2]["nbr_points"][:] = nbr_points
    bad, worst = found(sensor)
    assert bad == ({"radar.returns"} if caught else set())
    assert worst["radar.returns"].evidence["usual_of"] == "drive"
    assert len(worst["radar.returns"].evidence["messages"]) == 8
    assert least_returns(sensor)["scene-2"] == pytest.approx((nbr_points + 1) / 6.0, rel=0.05)


def test_one_scene_alone_tells_nothing_of_lost_returns() -> None:
    sensor = radar(1)
    sensor.scenes[0]["nbr_points"][:] = 0
    assert least_returns(sensor) == {"scene-0": None}


def test_a_radar_that_lost_its_returns_in_the_whole_drive_is_held_against_earlier_ones() -> None:
    known, sensor = history(radar()), radar()
    for columns in sensor.scenes.values():
        columns["nbr_points"][:] = 0
    assert found(sensor)[0] == set()
    bad, worst = found(sensor, baselines=known)
    assert bad == {"radar.returns"}
    assert worst["radar.returns"].evidence["usual_of"] == "baseline"
    assert found(radar(), baselines=known)[0] == set()


def test_an_empty_field_is_no_fault_where_such_scenes_are_known() -> None:
    known = history(*in_field(0))
    assert found(*in_field(0, 1), baselines=known)[0] == set()


def test_a_radar_that_sees_nothing_where_a_lidar_sees_things_is_found() -> None:
    known = history(*in_field(0))
    blind, sighted = in_field(0)
    blind.scenes[2]["nbr_points"][:] = 0
    assert found(blind, sighted, baselines=known)[0] == {"radar.returns"}
    returns = least_returns(blind, sighted, baselines=known)
    assert {scene for scene, ratio in returns.items() if ratio < radar_checks.RETURNS.limit} == {"scene-2"}
    assert found(blind, baselines=known)[0] == set(), "without a LiDAR nothing tells it from a field"


@pytest.mark.parametrize("nbr_repeats", [1, 15, 30, 199])
def test_a_stuck_radar(nbr_repeats: int) -> None:
    sensor = radar()
    prints = sensor.scenes[1]["fingerprint"]
    prints[: nbr_repeats + 1] = prints[0]
    bad, worst = found(sensor)
    assert ("radar.stuck" in bad) is (nbr_repeats > 19)
    assert worst["radar.stuck"].measured == pytest.approx(nbr_repeats / 199)
    assert worst["radar.stuck"].scene.scene_id == "scene-1"
    assert radar_checks.STUCK.consequence is Verdict.WARN


def test_empty_sweeps_are_not_stuck() -> None:
    sensor = radar()
    sensor.scenes[0] |= {"nbr_points": np.zeros(200, np.int64), "fingerprint": np.zeros(200, np.int64)}
    assert found(sensor)[0] == {"radar.returns"}


@pytest.mark.parametrize("is_repeating", [True, False])
def test_radar_images_that_repeat(is_repeating: bool) -> None:
    sensor = Sensor("image_statistic", "/polar", "radar", 10.0)
    prints = np.arange(200)
    if is_repeating:
        prints[50:100] = 50
    sensor.scenes[0] = {"fingerprint": prints}
    bad, worst = found(sensor)
    assert bad == ({"radar.stuck"} if is_repeating else set())
    assert worst["radar.stuck"].measured == pytest.approx(49 / 199 if is_repeating else 0.0)


@pytest.mark.parametrize(
    ("scale", "bias", "caught"),
    [(1.0, 0.0, False), (1.02, 0.0, False), (1.2, 0.0, True), (0.8, 0.0, True), (1.0, 0.3, False), (1.0, -1.0, True)],
)
def test_doppler_is_held_against_the_poses(scale: float, bias: float, caught: bool) -> None:
    sensor = radar()
    sensor.scenes[1]["doppler_speed_m_s"] = sensor.scenes[1]["doppler_speed_m_s"] * scale + bias
    bad, worst = found(sensor)
    assert bad == ({"radar.doppler_speed"} if caught else set())
    told = worst["radar.doppler_speed"]
    assert told.evidence["nbr_compared"] > 150
    assert told.scale == pytest.approx(10.0, abs=1.5)
    if caught:
        assert told.scene.scene_id == "scene-1"
        assert np.sign(told.evidence["median_difference_m_s"]) == np.sign(scale - 1.0 + bias)


def test_a_share_of_the_speed_is_allowed_on_a_motorway() -> None:
    """A twentieth of 30 m/s is more than the 0.5 m/s that noise is allowed."""

    class Fast(Motion):
        def speed_m_s(self, t: np.ndarray) -> np.ndarray:
            return 30.0 + 0.0 * t

    sensor = radar(motion=Fast())
    sensor.scenes[1]["doppler_speed_m_s"] += 1.0
    assert found(sensor, motion=Fast())[0] == set()
    sensor.scenes[1]["doppler_speed_m_s"] += 1.0
    assert found(sensor, motion=Fast())[0] == {"radar.doppler_speed"}


def test_the_doppler_of_a_standing_car_is_none() -> None:
    assert found(radar(motion=STANDING), motion=STANDING)[0] == set()
    assert found(radar(), motion=STANDING)[0] == {"radar.doppler_speed"}


def test_doppler_without_a_speed_is_not_observable() -> None:
    assert found(radar(), has_poses=False)[1]["radar.doppler_speed"].measured is None


@pytest.mark.parametrize("nbr_known", [MIN_SWEEPS - 1, MIN_SWEEPS])
def test_few_sweeps_with_an_estimate_tell_no_doppler(nbr_known: int) -> None:
    sensor = radar(1)
    sensor.scenes[0]["doppler_speed_m_s"] = [25.0 if 50 <= k < 50 + nbr_known else None for k in range(200)]
    bad, worst = found(sensor)
    assert bad == (set() if nbr_known < MIN_SWEEPS else {"radar.doppler_speed"})
    assert (worst["radar.doppler_speed"].measured is None) is (nbr_known < MIN_SWEEPS)


def test_single_sweeps_that_are_wrong_do_not_condemn_a_scene() -> None:
    sensor = radar()
    sensor.scenes[1]["doppler_speed_m_s"][::5] = 40.0
    assert found(sensor)[0] == set()


@pytest.mark.parametrize("nbr_scenes", [1, 4])
def test_columns_that_tell_nothing_break_nothing(nbr_scenes: int) -> None:
    sensor = radar(nbr_scenes)
    for columns in sensor.scenes.values():
        columns.clear()
    bad, worst = found(sensor)
    assert bad == set()
    assert len(worst) == len(CHECKS)
    assert worst["radar.returns"].measured is None
    for columns in sensor.scenes.values():
        columns |= {"nbr_points": np.zeros(200, np.int64), "doppler_speed_m_s": [float("nan")] * 200}
    assert found(sensor)[0] == set()


def test_a_drive_without_radars_says_nothing() -> None:
    assert found(lidar())[1] == {}
