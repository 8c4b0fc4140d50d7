"""A robot that does what it is told passes; joints and commands that do not fit are found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.quality.recorded import SCENE_S, facts, judged, rows, stamps, times

from scenelake.quality.baseline import Baseline, Baselines
from scenelake.quality.robot_checks import CHECKS, MEASURES

NAMES = ["shoulder", "elbow", "wrist", "gripper"]
RATE_HZ = 50.0
T = times(RATE_HZ)
MS = 1_000_000


def path(t):
    """Three joints that sweep and a gripper that opens and closes."""
    joints = [np.sin(0.5 * t), 0.8 * np.sin(0.83 * t + 1.0), 0.3 * np.cos(1.3 * t)]
    return np.stack([*joints, (np.sin(0.4 * t) > 0.3).astype(float)], axis=1)


def recorded(
    scene=0, *, late_s=0.1, change=None, command=None, names=NAMES, is_delta=False, baselines=None, scenes=1,
    noise_rad=0.001,
):  # fmt: skip
    made = []
    for number in range(scenes):
        at = number * SCENE_S + T
        random = np.random.default_rng(number)
        state = path(at - late_s) + random.normal(0, noise_rad, (len(T), 4)) * [1, 1, 1, 0]
        action = (path(at + 0.02) - path(at)) * 10.0 if is_delta else path(at)
        if number == scene:
            state = state if change is None else change(state)
            action = action if command is None else command(action)
        name, t = f"scene-{number}", at
        made.append(("robot_state", rows("robot_state", "/joints", stamps(t), name, position=state,
                                         names=[names] * len(t))))  # fmt: skip
        made.append(("action", rows("action", "/command", stamps(t), name, position=action, names=[names] * len(t))))
        made.append(("episode", rows("episode", "/episode", stamps(t[[0, -1]]), name, event=["start", "end"])))
    return facts(made, baselines, scenes)


def planted(row, column, value, last=None):
    def plant(state):
        state[row : row + 1 if last is None else last, column] = value
        return state

    return plant


@pytest.mark.parametrize("scenes", [1, 6])
def test_a_robot_that_does_what_it_is_told_passes(scenes):
    bad, worst = judged(recorded(scenes=scenes), MEASURES)
    assert bad == set()
    assert set(worst) == {check.name for check in CHECKS}
    unknown = {name for name, m in worst.items() if m.measured is None}
    assert unknown == (set() if scenes == 6 else {"robot.episode_length"})


@pytest.mark.parametrize("late_s", [-0.1, 0.0, 0.06, 0.15, 0.4, 0.7])
def test_the_lag_of_the_state_is_measured(late_s):
    bad, worst = judged(recorded(late_s=late_s), MEASURES)
    lag = worst["robot.action_lag"]
    assert lag.evidence["lag_ns"] == pytest.approx(late_s * 1e9, abs=15 * MS)
    assert lag.evidence["lag_messages"] == pytest.approx(late_s * RATE_HZ, abs=1.0)
    expected = {"robot.action_lag"} if late_s > 0.5 else {"robot.action_after_effect"} if late_s < 0 else set()
    # A gripper that moves before its command does not move after it.
    assert bad - {"robot.stuck_joint"} == expected
    assert late_s < 0 or bad == expected


def test_actions_that_are_changes_are_known_as_such():
    _, worst = judged(recorded(is_delta=True, late_s=0.0), MEASURES)
    assert worst["robot.action_lag"].evidence["forms"][:3] == ["change"] * 3
    assert worst["robot.action_lag"].measured < 25 * MS


def test_short_scenes_share_the_lag_of_their_drive():
    made = []
    for number in range(8):
        t = number * SCENE_S + np.arange(10) * 0.2
        for name, values in (("robot_state", path(t - 0.2)), ("action", path(t))):
            table = rows(name, f"/{name}", stamps(t), f"scene-{number}", position=values, names=[NAMES] * 10)
            made.append((name, table))
    _, worst = judged(facts(made, nbr_scenes=8), MEASURES)
    assert worst["robot.action_lag"].measured == pytest.approx(200 * MS, abs=40 * MS)
    assert "of the drive" in worst["robot.action_lag"].description


def test_actions_of_another_robot_explain_nothing():
    random = np.random.default_rng(5)
    bad, worst = judged(recorded(command=lambda a: random.normal(0, 1, a.shape)), MEASURES)
    assert "robot.action_unexplained" in bad
    assert worst["robot.action_lag"].measured is None


@pytest.mark.parametrize(
    ("fault", "name", "joint"),
    [
        (planted(400, 1, np.nan), "robot.not_finite", None),
        (planted(400, 0, 0.7), "robot.discontinuity", "shoulder"),
        (planted(400, 0, 3.0), "robot.discontinuity", "shoulder"),
        (planted(400, 2, 6.0), "robot.joint_range", "wrist"),
        (planted(200, 1, 0.5, 400), "robot.stuck_joint", "elbow"),
        (planted(200, 1, 0.5, 900), "robot.stuck_joint", "elbow"),
    ],
)
def test_a_fault_of_a_joint_is_found(fault, name, joint):
    bad, worst = judged(recorded(change=fault), MEASURES)
    assert name in bad
    assert bad <= {name, "robot.discontinuity", "robot.joint_range"}
    if joint:
        assert worst[name].evidence["joint"] == joint


@pytest.mark.parametrize("size", [0.02, 0.1])
def test_a_quick_move_is_no_discontinuity(size):
    def hurry(state):
        state[400:420, 0] += np.linspace(0, 20 * size, 20)
        state[420:, 0] += 20 * size
        return state

    bad, _ = judged(recorded(change=hurry), MEASURES)
    assert "robot.discontinuity" not in bad


def test_a_robot_that_rests_is_idle():
    def rest(values):
        values[200:800] = values[200]
        return values

    bad, worst = judged(recorded(change=rest, command=rest, late_s=0.0), MEASURES)
    # It wakes with a start.
    assert bad == {"robot.idle_share", "robot.discontinuity"}
    assert worst["robot.idle_share"].measured == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("noise_rad", [0.0, 0.001, 0.005])
@pytest.mark.parametrize("is_resting", [True, False])
def test_noise_of_encoders_is_no_motion(noise_rad, is_resting):
    """Of 5 mrad it is larger than a hundredth of the range of two joints, of which one hardly moves."""

    def change(state):
        state[:, 2] -= 0.9 * path(T - 0.1)[:, 2]
        if is_resting:
            random = np.random.default_rng(3)
            state[200:800] = state[200] + random.normal(0, noise_rad, (600, 4)) * [1, 1, 1, 0]
        return state

    _, worst = judged(recorded(change=change, noise_rad=noise_rad), MEASURES)
    expected = pytest.approx(0.6, abs=0.05) if is_resting else pytest.approx(0.0, abs=0.05)
    assert worst["robot.idle_share"].measured == expected


def test_a_robot_all_of_whose_motion_is_noise_is_not_said_to_rest_or_move():
    still = recorded(change=lambda state: np.random.default_rng(3).normal(0.0, 0.05, state.shape))
    assert judged(still, MEASURES)[1]["robot.idle_share"].measured is None


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 50.0])
def test_quick_moves_at_few_messages_a_second_are_no_noise(rate_hz):
    t = times(rate_hz)
    state = np.stack([np.sin(2.0 * t), 0.3 * np.sin(3.0 * t + 1.0)], axis=1)
    names = [["a", "b"]] * len(t)
    made = [
        (name, rows(name, f"/{name}", stamps(t), position=state, names=names)) for name in ("robot_state", "action")
    ]
    assert judged(facts(made), MEASURES)[1]["robot.idle_share"].measured < 0.1


def test_widths_and_names_are_counted():
    t = T[:100]
    state = [[0.1, 0.2, float(i)] for i in range(100)]
    state[7], state[9] = [1.0], None
    made = [
        ("robot_state", rows("robot_state", "/joints", stamps(t), position=state, names=[["a", "b"]] * 100)),
        ("action", rows("action", "/command", stamps(t), position=[[0.5 * i] * 7 for i in range(100)])),
    ]
    bad, worst = judged(facts(made), MEASURES)
    assert {"robot.ragged", "robot.unnamed", "robot.action_width"} <= bad
    assert worst["robot.ragged"].measured == pytest.approx(0.02)
    assert worst["robot.unnamed"].measured == 7.0
    assert worst["robot.action_width"].measured == 4.0
    assert worst["robot.stuck_joint"].measured is None


def test_a_joint_is_held_to_what_its_robot_does_on_other_days():
    names = {f"{joint} {side}": value for joint, low, high in (("shoulder", -0.5, 0.5), ("elbow", -1.0, 1.0))
             for side, value in (("low", low), ("high", high))}  # fmt: skip
    known = {("/joints", f"robot.joint_range:{n}"): Baseline(50, v, 0.0, v, v) for n, v in names.items()}
    bad, worst = judged(recorded(change=planted(400, 0, 1.6), baselines=Baselines("v", known)), MEASURES)
    assert "robot.joint_range" in bad
    assert worst["robot.joint_range"].evidence["statistics"]["shoulder high"] == pytest.approx(1.6)
    assert worst["robot.joint_range"].measured == pytest.approx(1.1, abs=0.01)


def test_the_length_of_an_episode_is_held_to_the_robot_s_usual_one():
    usual = Baselines("v", {("", "robot.episode_length:length_s"): Baseline(50, 2.0, 0.5, 1.0, 3.0)})
    bad, worst = judged(recorded(baselines=usual), MEASURES)
    assert bad == {"robot.episode_length"}
    assert worst["robot.episode_length"].measured == pytest.approx(10.0)


def test_a_car_s_bus_is_no_robot():
    bus = rows("robot_state", "/speed", stamps(T), position=np.zeros((len(T), 1)), names=[["speed"]] * len(T))
    bad, worst = judged(facts([("robot_state", bus)]), MEASURES)
    assert bad == set()
    assert set(worst) == {"robot.not_finite", "robot.ragged", "robot.unnamed"}


def test_a_channel_of_velocities_alone_is_left_out():
    velocity = rows("robot_state", "/base", stamps(T), velocity=np.zeros((len(T), 2)), names=[["x", "y"]] * len(T))
    assert judged(facts([("robot_state", velocity)]), MEASURES) == (set(), {})


NUMBERS = st.one_of(st.none(), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e300, -1e15]), st.floats(-5, 5))
LISTS = st.one_of(st.none(), st.lists(NUMBERS, max_size=3), st.lists(NUMBERS, min_size=2, max_size=2))
WORDS = st.one_of(st.none(), st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", ""])), max_size=3))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(LISTS, max_size=30),
    st.lists(LISTS, max_size=30),
    st.tuples(WORDS, WORDS),
    st.sampled_from([0.0, 1e-9, 0.02, 0.2, 700.0]),
    st.integers(1, 3),
)
def test_nothing_that_was_recorded_makes_a_check_raise(state, action, words, period_s, times_over):
    made = []
    for name, values, said in (
        ("robot_state", state * times_over, words[0]),
        ("action", action * times_over, words[1]),
    ):
        t = np.arange(len(values)) * period_s
        made.append((name, rows(name, f"/{name}", stamps(t), position=values, names=[said] * len(t))))
    judged(facts(made), MEASURES)
