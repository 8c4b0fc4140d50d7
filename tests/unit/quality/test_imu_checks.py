"""A clean IMU passes; each fault is found from its declared strength on, and no other check cries."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.quality.recorded import GRAVITY, Motion, facts, imu_rows, imu_values, judged, pose_rows, times

from scenelake.quality.baseline import Baseline, Baselines
from scenelake.quality.imu_checks import CHECKS, MEASURES

T = times(100.0)
POSE_T = times(20.0)
Fault = Callable[[np.ndarray, np.ndarray], None]


def usual() -> Baselines:
    steps = {f"imu.resolution_loss:{kind} {axis}": 0.0006 for kind in ("acceleration", "turn rate") for axis in "xyz"}
    known = {"imu.noise_acceleration": 0.06, "imu.noise_turn_rate": 0.0035} | steps
    return Baselines("v", {("/imu", name): Baseline(100, v, 0.0, v, v) for name, v in known.items()})


def drive(fault: Fault | None = None, motion: Motion | None = None, baselines: Baselines | None = None):
    motion = motion or Motion()
    force, turn = imu_values(motion, T)
    force, turn = np.round(force / 0.0006) * 0.0006, np.round(turn / 0.0006) * 0.0006
    if fault is not None:
        fault(force, turn)
    return facts([imu_rows(T, force, turn), pose_rows(POSE_T, motion.poses(POSE_T))], baselines)


@pytest.mark.parametrize("motion", [Motion(), Motion(is_standing=True)])
@pytest.mark.parametrize("baselines", [None, usual()])
def test_a_clean_imu_passes_every_check(motion, baselines):
    bad, worst = judged(drive(motion=motion, baselines=baselines), MEASURES)
    assert bad == set()
    assert set(worst) == {check.name for check in CHECKS}
    unknown = {name for name, m in worst.items() if m.measured is None}
    expected = set() if baselines else {"imu.noise_rise", "imu.resolution_loss"}
    assert unknown == (expected if motion.is_standing else expected | {"imu.bias_at_rest"})


def clip(at):
    def plant(force, turn):
        np.clip(force, -at, at, out=force)

    return plant


def freeze(count):
    def plant(force, turn):
        force[500 : 500 + count], turn[500 : 500 + count] = force[500], turn[500]

    return plant


def freeze_axis(count):
    def plant(force, turn):
        turn[500 : 500 + count, 1] = 0.001

    return plant


def low_bits(step):
    def plant(force, turn):
        turn[:] = np.floor(turn / step) * step

    return plant


def noisy(size):
    def plant(force, turn):
        turn += np.random.default_rng(3).normal(0, size, turn.shape)

    return plant


def shaking(size):
    def plant(force, turn):
        force += np.random.default_rng(3).normal(0, size, force.shape)

    return plant


def scaled(what, factor):
    def plant(force, turn):
        (force if what == "force" else turn)[:] *= factor

    return plant


def holes(count):
    def plant(force, turn):
        force[300 : 300 + count, 2] = np.nan

    return plant


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        (clip(1.6), {"imu.saturation"}),
        (clip(2.0), {"imu.saturation"}),
        (freeze(15), {"imu.stuck"}),
        (freeze(300), {"imu.stuck"}),
        (freeze_axis(250), {"imu.stuck_axis"}),
        (freeze_axis(1500), {"imu.stuck_axis"}),
        (low_bits(0.0024), {"imu.resolution_loss"}),
        (low_bits(0.0096), {"imu.resolution_loss"}),
        (noisy(0.008), {"imu.noise_rise"}),
        (noisy(0.4), {"imu.noise_rise", "imu.noise_turn_rate"}),
        (shaking(8.0), {"imu.noise_rise", "imu.noise_acceleration"}),
        (scaled("force", 1.1), {"imu.gravity_norm"}),
        (scaled("force", 1 / GRAVITY), {"imu.gravity_norm", "imu.units"}),
        (scaled("turn", 57.3), {"imu.units"}),
        (holes(1), {"imu.not_finite"}),
        (holes(100), {"imu.not_finite"}),
    ],
)
def test_a_planted_fault_is_found(fault, names):
    bad, worst = judged(drive(fault, baselines=usual()), MEASURES)
    assert names <= bad
    if names == {"imu.saturation"}:
        # A range of 0.2 g cuts gravity off as well.
        bad -= {"imu.gravity_norm", "imu.units", "imu.stuck_axis", "imu.resolution_loss"}
    if "imu.units" in names or "imu.noise_turn_rate" in names:
        bad -= {"imu.resolution_loss", "imu.noise_rise", "imu.noise_turn_rate"}
    assert bad - names == set()
    assert "/imu" in worst[next(iter(names))].description


@pytest.mark.parametrize(
    ("step", "middle", "measured"), [(1.0, GRAVITY, None), (1.0, 9.5, 8.3), (0.0006, GRAVITY, 1.0)]
)
def test_steps_so_coarse_that_nothing_moves_are_not_called_fine(step, middle, measured):
    """A standing IMU whose specific force is always 0, 0, 10 may be as coarse as ever; one that swaps 9 for 10 is."""

    def coarse(force, turn):
        force[:, 2] += middle - GRAVITY
        force[:] = np.round(force / step) * step

    standing = drive(coarse, motion=Motion(is_standing=True), baselines=usual())
    worst = judged(standing, MEASURES)[1]["imu.resolution_loss"]
    assert worst.measured == (None if measured is None else pytest.approx(measured, rel=0.05))
    assert worst.measured is not None or "shows one value" in worst.description


@pytest.mark.parametrize(("bias", "is_found"), [(0.01, False), (0.05, True), (0.3, True)])
def test_a_bias_is_found_where_the_robot_stands(bias, is_found):
    def plant(force, turn):
        turn[:, 1] += bias

    bad, worst = judged(drive(plant, Motion(is_standing=True)), MEASURES)
    assert ("imu.bias_at_rest" in bad) is is_found
    assert worst["imu.bias_at_rest"].measured == pytest.approx(bias, rel=0.3)


def test_without_poses_rest_is_told_by_calm():
    force, turn = imu_values(Motion(is_standing=True), T)
    turn[:, 0] += 0.1
    bad, _ = judged(facts([imu_rows(T, force, turn)]), MEASURES)
    assert bad == {"imu.bias_at_rest"}
    _, worst = judged(facts([imu_rows(T, *imu_values(Motion(), T))]), MEASURES)
    assert worst["imu.bias_at_rest"].measured is None


def test_a_driver_that_takes_gravity_out_is_no_matter_of_units():
    def plant(force, turn):
        force[:, 2] -= GRAVITY

    bad, worst = judged(drive(plant), MEASURES)
    assert bad == {"imu.gravity_norm"}
    assert set(worst["imu.units"].evidence["factors"]) == {"turn rate"}


def test_a_gyroscope_alone_is_judged_by_what_it_has():
    _, turn = imu_values(Motion(), T)
    bad, worst = judged(facts([imu_rows(T, [None] * len(T), turn)]), MEASURES)
    assert bad == set()
    assert worst["imu.not_finite"].measured == 0.0
    assert worst["imu.noise_acceleration"].measured is None
    assert worst["imu.noise_turn_rate"].measured == pytest.approx(0.003, rel=0.1)


def test_messages_that_lack_a_number_are_named():
    _, worst = judged(drive(holes(20)), MEASURES)
    named = worst["imu.not_finite"].evidence["messages"]
    assert [m["sample_data_id"] for m in named] == [f"scene-0 /imu {i}" for i in range(300, 308)]


NUMBERS = st.one_of(
    st.none(), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e15, 1e-300]), st.floats(-50, 50)
)
LISTS = st.one_of(st.none(), st.lists(NUMBERS, max_size=4), st.lists(NUMBERS, min_size=3, max_size=3))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(LISTS, LISTS), max_size=60),
    st.sampled_from([0.0, 1e-9, 0.01, 3.0]),
    st.booleans(),
)
@example([(None, None)] * 6 + [([0.0, 0.0, 1.0], None)], 0.0, True)
def test_nothing_that_was_recorded_makes_a_check_raise(values, period_s, is_repeated):
    values = values * 3 if is_repeated else values
    t = np.arange(len(values)) * period_s
    made = imu_rows(t, [force for force, _ in values], [turn for _, turn in values])
    judged(facts([made, pose_rows(POSE_T, Motion().poses(POSE_T))], usual()), MEASURES)


def test_a_scene_is_judged_by_itself():
    mine = imu_rows(T, *imu_values(Motion(), T))
    other = imu_rows(T + 20.0, *(10.0 * v for v in imu_values(Motion(), T, seed=9)), scene="scene-1")
    alone = [m for m in MEASURES[0](facts([mine]))]
    beside = [m for m in MEASURES[0](facts([other, mine], nbr_scenes=2)) if m.scene.scene_id == "scene-0"]
    assert [(m.check.name, m.measured, m.evidence) for m in alone] == [
        (m.check.name, m.measured, m.evidence) for m in beside
    ]
