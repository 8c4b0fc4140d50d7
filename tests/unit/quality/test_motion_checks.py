"""Sensors that tell of one motion agree; lags, scales, offsets and jumps are measured as they were planted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.quality.recorded import (
    Motion,
    facts,
    fix_rows,
    imu_rows,
    imu_values,
    judged,
    pose_rows,
    rows,
    stamps,
    times,
)

from scenelake.quality import motion_checks, path_checks
from scenelake.quality.agreement import averaged, compare

MEASURES = (*motion_checks.MEASURES, *path_checks.MEASURES)
CHECKS = (*motion_checks.CHECKS, *path_checks.CHECKS)
IMU_T, POSE_T, FIX_T = times(100.0), times(50.0), times(10.0)
MS = 1_000_000


def noise(shape, size, seed):
    return np.random.default_rng(seed).normal(0, size, shape)


def recorded(
    *, imu_late_s=0.0, gyro_scale=1.0, gyro_offset=0.0, speed_scale=1.0, speed_late_s=0.0, poses=None, enu_m=None,
    force_scale=1.0, motion=None, status=None, twist_scale=1.0, gyro_noise=0.0,
):  # fmt: skip
    motion = motion or Motion()
    force, turn = imu_values(motion, IMU_T - imu_late_s)
    force[:, :2] *= force_scale
    if poses is None:
        poses = motion.poses(POSE_T)
        poses[:, :2] += noise((len(POSE_T), 2), 0.003, 1)
    if enu_m is None:
        enu_m = motion.poses(FIX_T)[:, :3] + noise((len(FIX_T), 3), 0.3, 2)
    speed = speed_scale * motion.speed_m_s(FIX_T - speed_late_s) + noise(len(FIX_T), 0.05, 3)
    wheel = speed_scale * motion.speed_m_s(POSE_T - speed_late_s)[:, None] * 3.6
    forward = twist_scale * motion.speed_m_s(POSE_T)
    twist = np.stack([forward, 0 * forward, 0 * forward], axis=1)
    return facts(
        [
            imu_rows(IMU_T, force, gyro_scale * turn + gyro_offset + noise(turn.shape, gyro_noise, 4)),
            pose_rows(POSE_T, poses, linear_velocity_m_s=twist),
            fix_rows(FIX_T, enu_m, ground_speed_m_s=np.abs(speed), fix_status=status or [0] * len(FIX_T)),
            ("robot_state", rows("robot_state", "/wheels", stamps(POSE_T), names=[["wheel_speed_fl"]] * len(POSE_T),
                                 units=[["km/h"]] * len(POSE_T), position=wheel)),
        ]
    )  # fmt: skip


def test_sensors_of_one_motion_agree():
    bad, worst = judged(recorded(), MEASURES)
    assert bad == set()
    assert set(worst) == {check.name for check in CHECKS}
    assert [name for name, m in worst.items() if m.measured is None] == []
    assert worst["motion.turn_rate_lag"].measured < 5 * MS
    assert worst["motion.turn_rate_scale"].measured < 0.02
    assert worst["motion.speed_lag"].measured < 30 * MS
    assert worst["motion.acceleration_residual"].measured < 0.5


@pytest.mark.parametrize("late_s", [-0.4, -0.06, 0.06, 0.1, 0.4])
def test_a_late_imu_is_found_and_by_how_much(late_s):
    bad, worst = judged(recorded(imu_late_s=late_s), MEASURES)
    lag = worst["motion.turn_rate_lag"]
    assert "motion.turn_rate_lag" in bad
    assert lag.evidence["lag_ns"] == pytest.approx(late_s * 1e9, abs=5 * MS)
    assert bad <= {"motion.turn_rate_lag", "motion.acceleration_residual"}


@pytest.mark.parametrize(
    ("scale", "is_found"), [(0.95, False), (1.05, False), (0.8, True), (1.25, True), (-1.0, True), (57.3, True)]
)
def test_a_wrong_scale_is_found(scale, is_found):
    bad, worst = judged(recorded(gyro_scale=scale), MEASURES)
    assert ("motion.turn_rate_scale" in bad) is is_found
    assert worst["motion.turn_rate_scale"].measured == pytest.approx(abs(scale - 1.0), rel=0.05, abs=0.02)


@pytest.mark.parametrize(("offset", "is_found"), [(0.01, False), (0.05, True), (-0.3, True)])
def test_a_bias_in_motion_is_found(offset, is_found):
    bad, _ = judged(recorded(gyro_offset=offset), MEASURES)
    assert bad == ({"motion.turn_rate_offset"} if is_found else set())


@pytest.mark.parametrize(("size", "is_found"), [(0.02, False), (0.5, True), (5.0, True)])
def test_a_gyroscope_that_shakes_is_found(size, is_found):
    bad, _ = judged(recorded(gyro_noise=size), MEASURES)
    assert ("motion.turn_rate_residual" in bad) is is_found


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ({"speed_scale": 1.15}, "motion.speed_disagreement"),
        ({"speed_scale": 1 / 3.6}, "motion.speed_disagreement"),
        ({"speed_late_s": 0.5}, "motion.speed_lag"),
        ({"twist_scale": 1.2}, "motion.speed_disagreement"),
        ({"force_scale": 2.0}, "motion.acceleration_residual"),
        ({"force_scale": 0.1}, "motion.acceleration_residual"),
    ],
)
def test_a_speed_or_acceleration_that_is_off_is_found(planted, name):
    bad, _ = judged(recorded(**planted), MEASURES)
    expected = {name} | ({"motion.speed_disagreement"} if "speed_late_s" in planted else set())
    assert name in bad
    assert bad <= expected


@pytest.mark.parametrize(("jump_m", "is_there_and_back"), [(0.6, False), (5.0, False), (0.6, True), (5.0, True)])
def test_a_teleport_is_found(jump_m, is_there_and_back):
    poses = Motion().poses(POSE_T)
    poses[500 : 501 if is_there_and_back else None, 1] += jump_m
    bad, worst = judged(recorded(poses=poses), MEASURES)
    assert "motion.pose_jump" in bad
    assert worst["motion.pose_jump"].measured == pytest.approx(jump_m, rel=0.1)
    assert "scene-0 /pose 500" in {m["sample_data_id"] for m in worst["motion.pose_jump"].evidence["messages"]}


def test_a_heading_that_jumps_is_found():
    poses = Motion().poses(POSE_T)
    angle = 2 * np.arctan2(poses[:, 6], poses[:, 3]) + 0.2 * (POSE_T > 8.0)
    poses[:, 3], poses[:, 6] = np.cos(angle / 2), np.sin(angle / 2)
    bad, worst = judged(recorded(poses=poses), MEASURES)
    assert bad == {"motion.heading_jump"}
    assert worst["motion.heading_jump"].measured == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("frozen_s", "is_found"), [(0.2, False), (0.7, True), (5.0, True)])
def test_poses_that_freeze_in_motion_are_found(frozen_s, is_found):
    poses = Motion().poses(POSE_T)
    held = slice(400, 400 + int(frozen_s * 50))
    poses[held] = poses[400]
    bad, worst = judged(recorded(poses=poses), MEASURES)
    assert ("motion.pose_frozen" in bad) is is_found
    assert worst["motion.pose_frozen"].measured == pytest.approx(frozen_s * 1e9, abs=30 * MS)


def test_poses_of_a_robot_that_stands_are_not_frozen():
    still = Motion(is_standing=True)
    bad, worst = judged(recorded(motion=still, poses=still.poses(POSE_T)), MEASURES)
    assert bad == set()
    assert worst["motion.pose_frozen"].measured == 0.0
    nothing_to_see = ("turn_rate_lag", "turn_rate_scale", "turn_rate_residual", "speed_disagreement", "speed_lag",
                      "acceleration_residual")  # fmt: skip
    assert [worst[f"motion.{name}"].measured for name in nothing_to_see] == [None] * 6


def test_fixes_that_jump_drift_or_are_missing_are_found():
    clean = Motion().poses(FIX_T)[:, :3]
    reflected = clean + np.where((FIX_T > 8.0) & (FIX_T < 12.0), 12.0, 0.0)[:, None] * [0.0, 1.0, 0.0]
    bad, worst = judged(recorded(enu_m=reflected), MEASURES)
    assert "gnss.jump" in bad
    assert worst["gnss.jump"].measured == pytest.approx(12.0, abs=1.0)
    creeping = clean * np.array([1.2, 1.2, 1.0])
    bad, _ = judged(recorded(enu_m=creeping), MEASURES)
    assert bad == {"gnss.drift"}
    bad, worst = judged(recorded(status=[-1] * 30 + [0] * 170), MEASURES)
    assert bad == {"gnss.no_fix"}
    assert worst["gnss.no_fix"].measured == pytest.approx(0.15)
    at_null_island = clean.copy()
    drive = recorded(enu_m=at_null_island)
    zeros = drive.tables["gnss"].set_column(
        drive.tables["gnss"].schema.get_field_index("latitude_deg"), "latitude_deg", [[0.0] * 200]
    )
    zeros = zeros.set_column(zeros.schema.get_field_index("longitude_deg"), "longitude_deg", [[0.0] * 200])
    drive.tables["gnss"] = zeros
    assert "gnss.no_fix" in judged(drive, MEASURES)[0]


def test_without_poses_nothing_is_compared():
    force, turn = imu_values(Motion(), IMU_T)
    drive = facts([imu_rows(IMU_T, force, turn), fix_rows(FIX_T, np.zeros((200, 3)), ground_speed_m_s=np.ones(200))])
    bad, worst = judged(drive, MEASURES)
    assert bad == set()
    assert {n for n, m in worst.items() if m.measured is not None} == {"gnss.no_fix", "gnss.jump"}


@given(st.floats(-0.5, 0.5), st.floats(0.2, 5.0), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_compare_recovers_lag_and_scale(late_s, scale, seed):
    t = np.arange(0.0, 20.0, 0.02)
    random = np.random.default_rng(seed)
    waves = random.uniform(0.1, 0.6, 6), random.uniform(0, 6.3, 6)
    signal = lambda at: np.sin(2 * np.pi * np.outer(at, waves[0]) + waves[1]).sum(axis=1)  # noqa: E731
    found = compare(signal(t), scale * signal(t - late_s) + random.normal(0, 0.02 * scale, len(t)))
    assert found.lag_ns == pytest.approx(late_s * 1e9, abs=8 * MS)
    assert found.slope_low * 0.98 <= scale <= found.slope_high * 1.02


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(-5, 5)), min_size=2, max_size=40, unique_by=lambda p: p[0]))
@settings(max_examples=50, deadline=None)
def test_averages_lie_between_the_values_and_of_a_constant_are_it(points):
    points.sort()
    stamps_ns = np.array([p for p, _ in points], np.int64) * 10 * MS
    values = np.array([v for _, v in points])
    grid = np.arange(stamps_ns[0] - 50 * MS, stamps_ns[-1] + 50 * MS, 20 * MS)
    made = averaged(stamps_ns, values, grid, 250 * MS)
    known = made[np.isfinite(made)]
    assert ((known >= values.min() - 1e-9) & (known <= values.max() + 1e-9)).all()
    flat = averaged(stamps_ns, np.full(len(values), 3.25), grid, 250 * MS)
    np.testing.assert_allclose(flat[np.isfinite(flat)], 3.25, rtol=1e-9)
    assert not np.isfinite(made[(grid < stamps_ns[0]) | (grid > stamps_ns[-1])]).any()


NUMBERS = st.one_of(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e300, -1e15]), st.floats(-200, 200))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NUMBERS, min_size=8, max_size=8), max_size=40), st.sampled_from([0.0, 1e-9, 0.05, 0.5, 900.0]))
def test_nothing_that_was_recorded_makes_a_check_raise(values, period_s):
    t = np.arange(len(values)) * period_s
    table = np.array(values, np.float64).reshape(-1, 8)
    fixes = {"latitude_deg": table[:, 0], "longitude_deg": table[:, 1], "altitude_m": table[:, 2]}
    drive = facts(
        [
            pose_rows(t, table[:, :7], linear_velocity_m_s=table[:, 5:]),
            imu_rows(t, table[:, :3], table[:, 3:6]),
            ("gnss", rows("gnss", "/gnss", stamps(t), **fixes, ground_speed_m_s=table[:, 7])),
            ("robot_state", rows("robot_state", "/can", stamps(t), names=[["speed"]] * len(t), units=[["m/s"]] * len(t),
                                 position=table[:, :1])),
        ]
    )  # fmt: skip
    judged(drive, MEASURES)
