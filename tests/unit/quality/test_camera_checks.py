"""Checks of cameras, with faults of graded strength planted in what decode measures."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.quality.measured import Sensor, baselines_from, camera, drive
from tests.unit.quality.recorded import Motion, judged

from scenelake.contracts.stages import ChannelCount, DropOutcome, DropVerdict
from scenelake.quality import camera_checks
from scenelake.quality.baseline import Baselines
from scenelake.quality.camera_checks import MEASURES
from scenelake.quality.checks import Verdict


def found(*sensors: Sensor, motion: Motion | None = None, has_poses: bool = True, baselines: Baselines | None = None):
    """Names of the failing checks, and the furthest measurement of each."""
    return judged(drive(*sensors, motion=motion, has_poses=has_poses, baselines=baselines), MEASURES)


def history(*sensors: Sensor) -> Baselines:
    facts = drive(*sensors)
    return baselines_from([m for measure in MEASURES for m in measure(facts)])


def test_a_clean_camera_passes_every_check() -> None:
    bad, worst = found(camera())
    assert bad == set()
    assert {name for name, m in worst.items() if m.measured is None} == set()
    assert set(worst) == {c.name for c in camera_checks.CHECKS} - {"depth.invalid"}


def _all_dark(columns: dict, rows: slice) -> None:
    for name, value in (("luma_mean", 1.5), ("luma_std", 1.1), ("dark_fraction", 1.0), ("bright_fraction", 0.0)):
        columns[name][rows] = [None if v is None else value for v in columns[name][rows]]


@pytest.mark.parametrize(("nbr_frames", "caught"), [(0, set()), (10, {"camera.black"}), (60, {"camera.black"})])
def test_black_frames_count_with_those_they_stand_for(nbr_frames: int, caught: set[str]) -> None:
    sensor = camera()
    _all_dark(sensor.scenes[1], slice(0, nbr_frames))
    bad, worst = found(sensor)
    assert bad - {"camera.exposure_jump"} == caught
    assert worst["camera.black"].measured == pytest.approx(nbr_frames / 200)


def test_a_camera_that_is_black_for_most_of_the_scene_is_lost() -> None:
    sensor = camera()
    _all_dark(sensor.scenes[2], slice(0, 120))
    bad, worst = found(sensor)
    assert {"camera.black", "camera.lost"} <= bad
    assert worst["camera.lost"].check.consequence is Verdict.QUARANTINE
    assert worst["camera.lost"].scene.scene_id == "scene-2"
    assert len(worst["camera.lost"].evidence["messages"]) == 8


def test_a_camera_that_never_shows_anything_costs_no_scene_while_another_does() -> None:
    dead, other = camera(), camera(channel="/other")
    for scene in dead.scenes.values():
        _all_dark(scene, slice(None))
    bad, _ = found(dead, other)
    assert {"camera.black", "camera.dead"} <= bad
    assert "camera.lost" not in bad
    assert "camera.lost" in found(dead)[0], "the only camera of the drive"
    known = history(camera(nbr_scenes=40), camera(nbr_scenes=40, channel="/other"))
    assert "camera.lost" in found(dead, other, baselines=known)[0], "it used to show more"


def test_black_of_limited_range_video_is_black_and_night_is_not() -> None:
    sensor = camera()
    columns = sensor.scenes[0]
    columns["luma_mean"] = [None if v is None else 16.0 for v in columns["luma_mean"]]
    columns["luma_std"] = [None if v is None else 2.0 for v in columns["luma_std"]]
    assert "camera.black" in found(sensor)[0]
    columns["luma_std"] = [None if v is None else 12.0 for v in columns["luma_std"]]
    columns["dark_fraction"] = [None if v is None else 0.8 for v in columns["dark_fraction"]]
    assert not {"camera.black", "camera.lost"} & found(sensor)[0]


def test_white_and_over_exposed_frames() -> None:
    sensor = camera()
    sensor.scenes[0]["bright_fraction"] = [None if v is None else 0.95 for v in sensor.scenes[0]["bright_fraction"]]
    assert {"camera.white", "camera.saturated", "camera.lost"} <= found(sensor)[0]
    sensor.scenes[0]["bright_fraction"] = [None if v is None else 0.5 for v in sensor.scenes[0]["bright_fraction"]]
    assert found(sensor)[0] == {"camera.saturated"}


@pytest.mark.parametrize(("factor", "caught"), [(1.0, False), (0.7, False), (0.3, True), (0.05, True)])
def test_blur_is_held_against_the_rest_of_the_drive(factor: float, caught: bool) -> None:
    sensor = camera()
    columns = sensor.scenes[1]
    columns["laplacian_variance"] = [None if v is None else v * factor for v in columns["laplacian_variance"]]
    bad, worst = found(sensor)
    assert ("camera.blur" in bad) is caught
    if caught:
        assert worst["camera.blur"].evidence["usual_of"] == "drive"


def test_a_camera_that_is_blurred_all_along_is_held_against_earlier_drives() -> None:
    known = history(camera(seed=5))
    sensor = camera()
    for columns in sensor.scenes.values():
        columns["laplacian_variance"] = [None if v is None else v * 0.4 for v in columns["laplacian_variance"]]
    assert "camera.blur" not in found(sensor)[0]
    assert "camera.blur" in found(sensor, baselines=known)[0]
    assert found(camera(), baselines=known)[0] == set()


def test_a_lens_that_was_never_clean_is_found_without_a_history() -> None:
    sensor = camera(nbr_scenes=1)
    columns = sensor.scenes[0]
    columns["laplacian_variance"] = [None if v is None else v * 0.1 for v in columns["laplacian_variance"]]
    bad, worst = found(sensor)
    assert bad == {"camera.sharpness"}
    assert worst["camera.blur"].measured is None


def test_night_is_not_blur() -> None:
    """A tenth of the light: a hundredth of both variances."""
    sensor = camera()
    for name, share in (("laplacian_variance", 0.01), ("luma_std", 0.1), ("luma_mean", 0.1)):
        sensor.scenes[1][name] = [None if v is None else v * share for v in sensor.scenes[1][name]]
    assert not {"camera.blur", "camera.sharpness", "camera.black"} & found(sensor)[0]


def test_nothing_can_be_blurred_in_front_of_a_plain_wall() -> None:
    sensor = camera(nbr_scenes=1)
    columns = sensor.scenes[0]
    gradient = np.tile(np.linspace(140, 160, 8), 6).tolist()
    columns["tile_luma"] = [None if v is None else gradient for v in columns["tile_luma"]]
    columns["laplacian_variance"] = [None if v is None else 0.1 for v in columns["laplacian_variance"]]
    bad, worst = found(sensor)
    assert bad == set()
    assert worst["camera.sharpness"].measured is None


def _freeze(sensor: Sensor, scene: int, first: int, last: int) -> None:
    prints = sensor.scenes[scene]["fingerprint"]
    prints[first : last + 1] = [prints[first]] * (last + 1 - first)


@pytest.mark.parametrize(
    ("nbr_repeats", "caught"),
    [(3, set()), (6, {"camera.frozen"}), (50, {"camera.frozen"}), (150, {"camera.frozen", "camera.lost"})],
)
def test_a_frozen_camera_is_found_while_the_car_moves(nbr_repeats: int, caught: set[str]) -> None:
    sensor = camera()
    _freeze(sensor, 1, 20, 20 + nbr_repeats)
    bad, worst = found(sensor)
    assert bad == caught
    assert worst["camera.frozen"].measured == pytest.approx(nbr_repeats * 1e8)


def test_a_picture_may_stay_the_same_while_the_car_stands() -> None:
    sensor = camera()
    _freeze(sensor, 1, 20, 150)
    bad, worst = found(sensor, motion=Motion(is_standing=True))
    assert "camera.frozen" not in bad
    assert worst["camera.frozen"].measured == 0.0


def test_without_motion_other_cameras_tell() -> None:
    frozen, alive = camera(), camera(channel="/other", seed=1)
    _freeze(frozen, 1, 20, 150)
    assert "camera.frozen" in found(frozen, alive, has_poses=False)[0]
    _freeze(alive, 1, 20, 150)
    assert "camera.frozen" not in found(frozen, alive, has_poses=False)[0]
    assert found(frozen, has_poses=False)[1]["camera.frozen"].measured is None


@pytest.mark.parametrize(("nbr_tiles", "caught"), [(1, False), (4, True), (20, True)])
@pytest.mark.parametrize("has_history", [False, True])
def test_tiles_that_lose_their_texture_are_soiled(nbr_tiles: int, caught: bool, has_history: bool) -> None:
    known = history(camera(seed=5)) if has_history else None
    sensor = camera(nbr_scenes=3)
    for row in sensor.scenes[2]["tile_laplacian"]:
        if row is not None:
            row[20 : 20 + nbr_tiles] = [0.3] * nbr_tiles
    bad, worst = found(sensor, baselines=known)
    assert ("camera.soiled" in bad) is caught
    assert worst["camera.soiled"].evidence["tiles"] == list(range(20, 20 + nbr_tiles))


def test_a_standing_car_tells_nothing_of_soil() -> None:
    assert found(camera(), motion=Motion(is_standing=True))[1]["camera.soiled"].measured is None


@pytest.mark.parametrize(
    ("stops", "caught"), [(0.5, False), (1.2, False), (-1.2, False), (2.0, True), (-2.0, True), (-3.0, True)]
)
def test_exposure_jumps(stops: float, caught: bool) -> None:
    sensor = camera()
    luma = sensor.scenes[0]["luma_mean"]
    sensor.scenes[0]["luma_mean"] = [
        None if v is None else min(v * (2.0**stops if k > 90 else 1.0), 1e4) for k, v in enumerate(luma)
    ]
    bad, worst = found(sensor)
    assert ("camera.exposure_jump" in bad) is caught
    assert worst["camera.exposure_jump"].measured == pytest.approx(abs(stops), abs=0.3)


@pytest.mark.parametrize(("start", "caught"), [(90, True), (160, True), (190, False)])
def test_a_jump_needs_three_frames_behind_it(start: int, caught: bool) -> None:
    sensor = camera()
    luma = sensor.scenes[0]["luma_mean"]
    sensor.scenes[0]["luma_mean"] = [None if v is None else v * (0.2 if k > start else 1.0) for k, v in enumerate(luma)]
    assert ("camera.exposure_jump" in found(sensor)[0]) is caught


@pytest.mark.parametrize(("measured_every", "settles_s", "caught"), [(1, 0.7, False), (10, 0.7, False), (1, 9.0, True)])
def test_a_tunnel_is_no_jump_once_exposure_has_followed(measured_every: int, settles_s: float, caught: bool) -> None:
    """Three stops at its mouth; automatic exposure brings back all but one."""
    sensor = camera(measured_every=measured_every)
    seconds = np.maximum(np.arange(200) / 10.0 - 7.0, 0.0)
    light = np.where(np.arange(200) >= 70, 0.5 - 0.38 * np.exp(-seconds / settles_s), 1.0)
    luma = sensor.scenes[0]["luma_mean"]
    sensor.scenes[0]["luma_mean"] = [None if v is None else v * light[k] for k, v in enumerate(luma)]
    assert ("camera.exposure_jump" in found(sensor)[0]) is caught


def test_one_bright_frame_is_no_jump() -> None:
    sensor = camera()
    sensor.scenes[0]["luma_mean"][100] = 255.0
    sensor.scenes[0]["luma_mean"][110] = 20.0
    assert "camera.exposure_jump" not in found(sensor)[0]


@pytest.mark.parametrize("problem", ["truncated", "undecodable", "decoder_warning"])
def test_one_torn_image_is_told(problem: str) -> None:
    sensor = camera()
    sensor.scenes[1]["image_problem"][7] = problem
    bad, worst = found(sensor)
    assert bad == {"camera.undecodable"}
    assert worst["camera.undecodable"].evidence["messages"][0]["sample_data_id"] == "scene-1 /cam 7"


@pytest.mark.parametrize(("nbr_unreadable", "measured"), [(0, 0.0), (2, 2 / 192), (50, 0.05)])
def test_frames_that_are_missing_where_the_drive_has_unreadable_ones_are_torn(nbr_unreadable, measured) -> None:
    facts = drive(camera(1))
    rows = facts.tables["image_statistic"]
    kept = np.delete(np.arange(200), np.arange(5, 105, 10))
    count = ChannelCount("/cam", "camera", "t", 200, 200, 200 - nbr_unreadable, 0, nbr_unreadable, 1)
    outcome = DropOutcome("d", DropVerdict.DECODED, None, None, "mcap", "ab", 1, "r", None, None, channels=(count,))
    facts = replace(facts, tables=facts.tables | {"image_statistic": rows.take(pa.array(kept))}, outcomes=(outcome,))
    assert judged(facts, MEASURES)[1]["camera.undecodable"].measured == pytest.approx(measured)


def test_depth_without_depth() -> None:
    sensor = Sensor("image_statistic", "/depth", "depth", 10.0)
    for scene, share in enumerate((0.2, 0.99)):
        sensor.scenes[scene] = {"invalid_fraction": [share if k % 10 == 0 else None for k in range(200)]}
    bad, worst = found(sensor)
    assert bad == {"depth.invalid"}
    assert worst["depth.invalid"].scene.scene_id == "scene-1"


def _all_null(sensor: Sensor) -> None:
    for columns in sensor.scenes.values():
        columns.clear()


def _all_nan(sensor: Sensor) -> None:
    for columns in sensor.scenes.values():
        for name in ("luma_mean", "luma_std", "dark_fraction", "bright_fraction", "laplacian_variance"):
            columns[name] = [float("nan")] * 200


def _absurd(sensor: Sensor) -> None:
    for columns in sensor.scenes.values():
        columns["luma_mean"] = [1e300, -1e300] * 100
        columns["luma_std"] = [0.0, -5.0] * 100
        columns["tile_laplacian"] = [[1.0], [float("inf")] * 48] * 100


@pytest.mark.parametrize("spoil", [_all_null, _all_nan, _absurd])
@pytest.mark.parametrize("nbr_scenes", [1, 4])
def test_columns_that_tell_nothing_break_nothing(spoil, nbr_scenes: int) -> None:
    sensor = camera(nbr_scenes)
    spoil(sensor)
    assert len(found(sensor)[1]) == len(camera_checks.CHECKS) - 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_frames_are_judged_as_far_as_they_go(count: int) -> None:
    facts = drive(camera(1))
    facts.tables["image_statistic"] = facts.tables["image_statistic"].slice(0, count)  # type: ignore[index]
    bad, worst = judged(facts, MEASURES)
    assert bad == set()
    assert worst["camera.black"].measured == 0.0
    assert worst["camera.sharpness"].measured is not None


def test_a_drive_without_cameras_says_nothing() -> None:
    assert found()[1] == {}
    facts = drive(camera(1))
    facts.tables["image_statistic"] = facts.tables["image_statistic"].slice(0, 0)  # type: ignore[index]
    assert judged(facts, MEASURES)[1] == {}
    assert isinstance(facts.tables["image_statistic"], pa.Table)
