"""A teleoperated session: marks, instructions, joints that follow commands, cameras that see the block move."""

import json

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.faults import parse_fault
from scenelake.simulate.robot import simulate_robot_session
from scenelake.simulate.robot_body import JOINT_NAMES, REST, RIGHT_ARM, arm_pose, reach
from scenelake.simulate.robot_config import RobotConfig
from scenelake.simulate.robot_session import plan_session

CONFIG = RobotConfig(seed=3, episodes=2, episode_ns=5 * SECOND_NS, failed_episodes=(1,), joint_noise_rad=0.0)


@pytest.fixture(scope="module")
def session(tools, tmp_path_factory):
    path = tmp_path_factory.mktemp("robot") / "session.mcap"
    truth = simulate_robot_session(CONFIG, path)
    return tools.read(path), json.loads(truth.read_text()), path


def _joints(messages):
    stamps = np.array([m.stamp_ns for m in messages])
    return stamps, np.array([m.message.position for m in messages])


def test_every_episode_starts_and_ends_and_has_its_instruction(session):
    found, truth, _ = session
    marks = [json.loads(m.data) for m in found["/episode"]]
    assert [(m["event"], m["episode_index"]) for m in marks] == [("start", 0), ("end", 0), ("start", 1), ("end", 1)]
    assert [m["is_success"] for m in marks] == [None, True, None, False]
    assert [m["timestamp_ns"] for m in marks] == [t for e in truth["episodes"] for t in (e["start_ns"], e["end_ns"])]
    said = [(m.log_ns, m.message.data) for m in found["/language_instruction"]]
    assert [text for _, text in said] == [e["task"] for e in truth["episodes"]]
    for (log_ns, _), episode in zip(said, truth["episodes"], strict=True):
        assert episode["start_ns"] < log_ns < episode["end_ns"]


def test_joints_follow_the_commands_by_the_lag(session):
    found, truth, _ = session
    times, state = _joints(found["/joint_states"])
    command_times, command = _joints(found["/action/joint_command"])
    assert found["/joint_states"][0].message.name == list(JOINT_NAMES)

    def misfit(lag_ns):
        late = [np.interp(times, command_times + lag_ns, command[:, j]) for j in range(7, 14)]
        return float(np.abs(np.array(late).T - state[:, 7:14])[20:-20].max())

    assert truth["action_lag_ns"] == 40_000_000
    assert misfit(40_000_000) < 5e-3
    assert misfit(0) > 5 * misfit(40_000_000)


def test_velocities_are_derivatives_of_positions(session):
    times, state = _joints(session[0]["/joint_states"])
    stated = np.array([m.message.velocity for m in session[0]["/joint_states"]])
    derived = np.gradient(state, (times - times[0]) / 1e9, axis=0)
    assert np.abs(stated).max() > 0.5
    assert np.abs(derived - stated)[1:-1].max() < 0.05


def test_the_block_ends_on_the_tray_only_where_the_episode_succeeds():
    session = plan_session(CONFIG)
    before, after = (session.block_centres_m(t) for t in (0.0, CONFIG.duration_ns / SECOND_NS))
    np.testing.assert_allclose(after[0], session.episodes[0].to_m)
    np.testing.assert_allclose(after[1], before[1])
    assert np.linalg.norm(after[0] - before[0]) > 0.1


def test_the_block_does_not_jump_when_it_is_taken_or_put_down():
    session = plan_session(CONFIG)
    episode = session.episodes[0]
    for moment in (episode.grasp_s, episode.release_s):
        here, there = (session.block_centres_m(moment + d)[0] for d in (-1e-4, 1e-4))
        assert np.linalg.norm(there - here) < 1e-3


def test_the_head_camera_sees_the_block_leave_its_place(session):
    found, truth, _ = session
    images = found["/camera/head/image"]
    first, last = (cv2.imdecode(images[i].message.data, cv2.IMREAD_COLOR).astype(int) for i in (0, -1))
    assert (np.abs(last - first).max(axis=2) > 60).sum() > 60
    assert truth["channels"]["/camera/wrist_right/image"] == len(found["/camera/wrist_right/image"]) == 180


def test_equal_seeds_give_equal_bytes(session, tmp_path):
    simulate_robot_session(CONFIG, tmp_path / "again.mcap")
    assert (tmp_path / "again.mcap").read_bytes() == session[2].read_bytes()


def test_the_arm_reaches_where_it_is_sent():
    for target in ([0.40, -0.35, 0.88], [0.42, -0.1, 0.9]):
        angles = reach(np.array(target), REST[RIGHT_ARM], np.array([0.62, 0.0, -0.785]))
        np.testing.assert_allclose(arm_pose(angles, -1.0).grip_m, target, atol=1e-3)
    with pytest.raises(ValueError, match="out of reach"):
        reach(np.array([3.0, 0.0, 0.9]), REST[RIGHT_ARM], np.array([1.0, 0.0, 0.0]))


def test_faults_apply_to_robots_too(tools, tmp_path):
    fault = parse_fault("frozen_camera:sensor=/camera/head/image,start=1,end=2")
    config = RobotConfig(seed=3, episodes=1, episode_ns=4 * SECOND_NS, faults=(fault,))
    truth = json.loads(simulate_robot_session(config, tmp_path / "a.mcap").read_text())
    images = [m.message.data.tobytes() for m in tools.read(tmp_path / "a.mcap")["/camera/head/image"]]
    assert truth["faults"][0]["affected_messages"] == 15
    assert len(images) - len(set(images)) == 15


@pytest.mark.parametrize("change", [{"instructions": ()}, {"episodes": 0}, {"episode_ns": SECOND_NS}, {"legs": 2}])
def test_impossible_sessions_are_refused(change):
    with pytest.raises(ValidationError):
        RobotConfig(**change)
