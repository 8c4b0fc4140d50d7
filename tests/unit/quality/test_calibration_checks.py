"""Calibration faults become measurements of every scene that has the sensor."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scenelake.contracts.tables import GOLD
from scenelake.geometry.arrow_poses import pose_array
from scenelake.geometry.poses import IDENTITY, compose, pose_of, struct_from_pose
from scenelake.quality import calibration_checks as checks
from scenelake.quality.baseline import Baseline, Baselines
from scenelake.quality.calibration.keyframes import ALIGNMENT, ALIGNMENT_SCHEMA
from scenelake.quality.checks import Measurement, Verdict
from scenelake.quality.evidence import DriveFacts

FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
CAMERA = pose_of(FORWARD, np.array([1.5, 0.0, 1.4]))
SECOND = 1_000_000_000
LARGE = pytest.approx(0.54 - checks.CONFIDENCE * float(np.hypot(0.02, checks.SHARED_DEG[0])))


def sensor(channel: str, pose: np.ndarray | None = IDENTITY, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "channel": channel, "calibrated_sensor_id": channel, "valid_from_ns": 0, "source": "static transforms",
        "ego_from_sensor": None if pose is None else struct_from_pose(pose),
    }  # fmt: skip
    if channel == "/cam":
        row |= {"intrinsics": [500.0, 0, 320, 0, 500, 200, 0, 0, 1], "width_px": 640, "height_px": 400}
    return row | changes


def facts(clean: Any, sensors: list[dict[str, Any]], **tables: pa.Table) -> DriveFacts:
    calibrated = pa.Table.from_pylist(sensors, schema=GOLD["calibrated_sensor"].schema)
    return replace(clean.facts(), tables={"calibrated_sensor": calibrated, **tables})


def values(found: list[Measurement]) -> dict[tuple[str, str | None], float | None]:
    """By check and channel; every scene must say the same."""
    by: dict[tuple[str, str | None], float | None] = {}
    for m in found:
        assert by.setdefault((m.check.name, m.channel), m.measured) == m.measured
    return by


def test_a_sound_rig_has_no_fault(clean: Any) -> None:
    given = facts(clean, [sensor("/cam", CAMERA), sensor("/lidar"), sensor("/imu")])
    found = [*checks.measure_transforms(given), *checks.measure_intrinsics(given)]
    assert {m.scene.scene_id for m in found} == {"scene-0", "scene-1"}
    assert set(values(found).values()) == {0.0}
    names = {m.check.name for m in found}
    assert names == {
        c.name
        for c in (
            checks.EXTRINSICS_MISSING,
            checks.TRANSFORM_INVALID,
            checks.SAME_PLACE,
            checks.INTRINSICS_INVALID,
            checks.CHANGES,
        )
    }


@pytest.mark.parametrize(
    ("sensors", "check", "channel", "words"),
    [
        ([sensor("/cam", None), sensor("/lidar")], checks.EXTRINSICS_MISSING, "/cam", "not known"),
        ([sensor("/cam", IDENTITY)], checks.TRANSFORM_INVALID, "/cam", "sky"),
        ([sensor("/cam", CAMERA, width_px=1400)], checks.INTRINSICS_INVALID, "/cam", "principal point"),
        ([sensor("/lidar"), sensor("/lidar", valid_from_ns=5)], checks.CHANGES, "/lidar", "1 times"),
    ],
    ids=["missing", "body frame", "size", "changes"],
)
def test_faults_are_measured(clean: Any, sensors, check, channel: str, words: str) -> None:
    given = facts(clean, sensors)
    found = [*checks.measure_transforms(given), *checks.measure_intrinsics(given)]
    mine = [m for m in found if (m.check, m.channel) == (check, channel)]
    assert len(mine) == 2
    assert all(m.measured == 1.0 and words in m.description for m in mine)


def test_a_copied_transform_is_found_and_topics_of_one_sensor_are_not(clean: Any) -> None:
    clock = clean.clocks["/cam"]
    clean.clocks |= {"/lidar": replace(clock, channel="/lidar"), "/radar": replace(clock, channel="/radar")}
    frames = (("/cam", "front"), ("/lidar", "front"), ("/radar", "rear"))
    found = values(
        list(checks.measure_transforms(facts(clean, [sensor(name, CAMERA, frame_id=frame) for name, frame in frames])))
    )
    assert [found[(checks.SAME_PLACE.name, name)] for name, _ in frames] == [1.0, 1.0, 1.0]
    two = facts(clean, [sensor(name, CAMERA, frame_id=frame) for name, frame in frames[:2]])
    assert values(list(checks.measure_transforms(two)))[(checks.SAME_PLACE.name, "/cam")] == 0.0


def test_a_sensor_that_moves_has_its_transform_at_each_message(clean: Any) -> None:
    moving = sensor("/cam", None, source="extrinsics: moving (neck), at each message")
    given = facts(clean, [moving, sensor("/lidar")])
    assert values(list(checks.measure_transforms(given)))[(checks.EXTRINSICS_MISSING.name, "/cam")] == 0.0


def test_a_drive_that_knows_the_place_of_no_sensor_is_not_calibrated_and_no_sensor_is_to_blame(clean: Any) -> None:
    given = facts(clean, [sensor("/cam", None), sensor("/lidar", None)])
    assert values(list(checks.measure_transforms(given)))[(checks.EXTRINSICS_MISSING.name, "/cam")] is None


def test_a_size_that_the_images_do_not_have_is_a_fault(clean: Any) -> None:
    images = pa.table({"channel": ["/cam"] * 3, "width_px": [800, 800, 640], "height_px": [500, 500, 400]})
    given = facts(clean, [sensor("/cam", CAMERA)], image_statistic=images)
    assert values(list(checks.measure_intrinsics(given))) == {(checks.INTRINSICS_INVALID.name, "/cam"): 1.0}


def test_drift_is_the_distance_from_the_rigs_history_and_unknown_without(clean: Any) -> None:
    half = np.radians(0.7) / 2
    moved = compose(CAMERA, np.array([0.03, 0, 0.04, np.cos(half), 0, np.sin(half), 0]))
    given = facts(clean, [sensor("/cam", moved)])
    assert set(values(list(checks.measure_rig_drift(given))).values()) == {None}
    told = next(checks.measure_rig_drift(facts(clean, [sensor("/cam", CAMERA)]))).evidence["statistics"]
    names = [f"{checks.DRIFT_ROTATION.name}:{name}" for name in told]
    known = {("/cam", n): Baseline(9, v, 0.0, v, v) for n, v in zip(names, told.values(), strict=True)}
    found = values(list(checks.measure_rig_drift(replace(given, baselines=Baselines("b-1", known)))))
    assert found[(checks.DRIFT_ROTATION.name, "/cam")] == pytest.approx(0.7)
    assert found[(checks.DRIFT_TRANSLATION.name, "/cam")] == pytest.approx(0.05)


def window(start_s: int, end_s: int, **changes: Any) -> dict[str, Any]:
    start_ns = clean_start()
    return {
        "channel": "/cam", "lidar_channel": "/lidar", "start_ns": start_ns + start_s * SECOND,
        "exclusive_end_ns": start_ns + end_s * SECOND, "nbr_frames": 100, "nbr_outlines": 9000,
        "rotation_deg": [0.0, 0.0, 0.0], "rotation_sigma_deg": [0.02, 0.02, 0.04],
        "joint_rotation_deg": [0.0, 0.0, 0.0], "translation_m": [0.0, 0.0, 0.0],
        "translation_sigma_m": [0.01, 0.01, 0.01], "contrast": 20.0, "width_deg": 0.55, "reason": None,
    } | changes  # fmt: skip


def clean_start() -> int:
    return 85_000_000 * 20_000_000_000


def camera_lidar(clean: Any, *windows: dict[str, Any]) -> dict[tuple[str, str], float | None]:
    table = pa.Table.from_pylist(list(windows), schema=ALIGNMENT_SCHEMA)
    given = facts(clean, [sensor("/cam", CAMERA)], **{ALIGNMENT: table})
    found = list(checks.measure_camera_lidar(given))
    assert len(found) == 6
    return {(m.scene.scene_id, m.check.name.rpartition("_")[2]): m.measured for m in found}


def test_each_scene_takes_the_window_that_covers_it(clean: Any) -> None:
    found = camera_lidar(clean, window(0, 15), window(15, 40, rotation_deg=[0.3, 0.4, 0.0]))
    assert found[("scene-0", "rotation")] == 0.0
    assert found[("scene-1", "rotation")] == pytest.approx(0.4075, abs=0.001)
    assert found[("scene-1", "turned")] == found[("scene-1", "rotation")]
    assert found[("scene-1", "translation")] == 0.0


@pytest.mark.parametrize(
    ("changes", "rotation", "translation"),
    [
        ({"reason": "12 outlines in 3 frames are too few", "rotation_deg": None, "contrast": None}, None, None),
        ({"contrast": 2.0}, None, None),
        ({"width_deg": 1.6}, None, None),
        ({"rotation_sigma_deg": [0.02, 0.5, 0.02]}, None, 0.0),
        ({"rotation_sigma_deg": [0.02, 0.5, 0.02], "rotation_deg": [0.54, 0.0, 0.0]}, LARGE, 0.0),
        ({"translation_sigma_m": [0.02, 0.01, float("inf")]}, 0.0, None),
    ],
    ids=["too few", "flat", "blurred", "turns unseen", "large all the same", "shifts unseen"],
)
def test_what_does_not_show_is_unknown_never_good(clean: Any, changes, rotation, translation) -> None:
    found = camera_lidar(clean, window(0, 40, **changes))
    assert found[("scene-0", "rotation")] == rotation
    assert found[("scene-0", "translation")] == translation


def test_a_short_window_must_show_more(clean: Any) -> None:
    turned = {"rotation_deg": [0.0, 0.0, 0.5]}
    long, short = (camera_lidar(clean, window(0, 40, nbr_frames=n, **turned)) for n in (100, 25))
    reach = checks.CONFIDENCE * np.hypot(0.04, checks.SHARED_DEG[2])
    assert long[("scene-0", "rotation")] == pytest.approx(0.5 - reach)
    assert short[("scene-0", "rotation")] == pytest.approx(0.5 - 2 * reach)


@pytest.mark.parametrize(
    ("changes", "beyond", "worst"),
    [
        ({"rotation_deg": [0.05, 0.02, 0.1]}, set(), Verdict.PASS),
        ({"rotation_deg": [0.0, 0.2, 0.0]}, {"rotation"}, Verdict.WARN),
        ({"rotation_deg": [0.0, 0.4, 0.0]}, {"rotation", "turned"}, Verdict.QUARANTINE),
        ({"translation_m": [0.0, 0.1, 0.0]}, {"translation"}, Verdict.WARN),
    ],
    ids=["true", "a little turned", "turned", "moved"],
)
def test_small_turns_warn_and_large_ones_hold_a_scene_back(clean: Any, changes, beyond, worst: Verdict) -> None:
    table = pa.Table.from_pylist([window(0, 40, **changes)], schema=ALIGNMENT_SCHEMA)
    found = list(checks.measure_camera_lidar(facts(clean, [sensor("/cam", CAMERA)], **{ALIGNMENT: table})))
    caught = [m.check for m in found if m.measured is not None and m.measured > m.check.limit]
    assert {check.name.rpartition("_")[2] for check in caught} == beyond
    assert max((c.consequence for c in caught), key=lambda v: v.rank, default=Verdict.PASS) is worst


@pytest.mark.parametrize(("speed_m_s", "is_observed"), [(0.0, False), (0.1, False), (5.0, True)])
def test_views_from_one_place_show_nothing_for_certain(clean: Any, speed_m_s: float, is_observed: bool) -> None:
    """They agree on an error that all of them share; poses that scatter by a centimetre are no other place."""
    stamps = clean_start() + np.arange(400) * SECOND // 10
    poses = np.tile(IDENTITY, (400, 1))
    poses[:, 0] = speed_m_s * np.arange(400) / 10 + np.random.default_rng(0).normal(0.0, 0.01, 400)
    table = pa.Table.from_pylist([window(0, 40, rotation_deg=[0.0, 2.0, 0.0])], schema=ALIGNMENT_SCHEMA)
    placed = pa.table({"channel": ["/pose"] * 400, "timestamp_ns": stamps, "world_from_ego": pose_array(poses)})
    given = facts(clean, [sensor("/cam", CAMERA)], **{ALIGNMENT: table, "ego_pose": placed})
    found = list(checks.measure_camera_lidar(given))
    assert {m.measured is not None for m in found} == {is_observed}
    assert is_observed or all("not observable" in m.description for m in found)


def test_without_payload_nothing_is_said_of_cameras(clean: Any) -> None:
    assert not list(checks.measure_camera_lidar(facts(clean, [sensor("/cam", CAMERA)])))


def imu_tables(clean: Any, lag_ns: int = 0, turning: float = 1.0) -> dict[str, pa.Table]:
    """A robot that yaws, with its IMU's readings."""
    stamps = clean.stamps_ns["/imu"]
    t = (stamps - stamps[0]) / 1e9
    axes, rates_hz, sizes = np.eye(3), (0.31, 0.17, 0.07), (0.02, 0.03, 0.3)
    angles = [turning * size * np.sin(2 * np.pi * hz * t) for hz, size in zip(rates_hz, sizes, strict=True)]
    poses = np.tile(IDENTITY, (len(t), 1))
    for axis, angle in zip(axes, angles, strict=True):
        turn = np.concatenate([np.zeros((len(t), 3)), np.cos(angle / 2)[:, None], np.sin(angle / 2)[:, None] * axis], 1)
        poses = compose(poses, turn)
    steps = compose(poses[:-1] * [1, 1, 1, 1, -1, -1, -1], poses[1:])[:, 4:]
    rates = 2 * np.vstack([steps, steps[-1:]]) / 0.01
    placed = pose_array(poses)
    return {
        "ego_pose": pa.table({"channel": ["/pose"] * len(t), "timestamp_ns": stamps, "world_from_ego": placed}),
        "imu": pa.table(
            {"channel": ["/imu"] * len(t), "timestamp_ns": stamps + lag_ns, "angular_velocity_rad_s": rates.tolist()}
        ),
    }


def test_an_imu_that_turns_as_the_poses_do_is_true(clean: Any) -> None:
    found = values(list(checks.measure_imu_motion(facts(clean, [sensor("/imu")], **imu_tables(clean)))))
    rotation, lag = found[(checks.IMU_ROTATION.name, "/imu")], found[(checks.IMU_LAG.name, "/imu")]
    assert rotation is not None
    assert rotation < 0.5
    assert lag is not None
    assert lag < 8_000_000


def test_an_imu_with_another_pose_and_clock_is_found_out(clean: Any) -> None:
    turned = np.array([0.0, 0, 0, np.cos(np.radians(5)), 0, np.sin(np.radians(5)), 0])
    tables = imu_tables(clean, lag_ns=60_000_000)
    found = values(list(checks.measure_imu_motion(facts(clean, [sensor("/imu", turned)], **tables))))
    assert found[(checks.IMU_ROTATION.name, "/imu")] == pytest.approx(10, abs=0.7)
    assert found[(checks.IMU_LAG.name, "/imu")] == pytest.approx(55_000_000, abs=8_000_000)


def test_an_imu_that_hardly_turns_shows_nothing(clean: Any) -> None:
    tables = imu_tables(clean, turning=0.01)
    found = values(list(checks.measure_imu_motion(facts(clean, [sensor("/imu")], **tables))))
    assert set(found.values()) == {None}


def test_names_are_one_family_and_every_limit_has_a_source() -> None:
    assert len({check.name for check in checks.CHECKS}) == len(checks.CHECKS) == 12
    assert all(check.name.startswith("calibration.") and check.source for check in checks.CHECKS)
