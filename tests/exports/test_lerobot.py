"""LeRobot exports, as lerobot itself reads them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.exports.lake import LakeReader, robot_config
from tests.unit.pieces.pipeline import QUIET_NS, SECOND_NS, Lake

from scenelake.export.config import Images, LeRobotConfig, LeRobotVersion, Selection
from scenelake.export.run import run_export
from scenelake.simulate.robot_body import JOINT_NAMES
from scenelake.simulate.robot_session import plan_session

CAMERAS = ["observation.images.head", "observation.images.wrist_right"]
CONFIGS = {
    "v30": LeRobotConfig(),
    "recorded": LeRobotConfig(images=Images.RECORDED),
    "groot": LeRobotConfig(version=LeRobotVersion.V21, has_modality=True),
}
BRIDGE = ("bridge_dataset-train.tfrecord-00000-of-00001", "dataset_info.json", "features.json")


@pytest.fixture(scope="module")
def folders(robot: LakeReader, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lerobot")
    for name, config in CONFIGS.items():
        run_export(robot, folder / name, Selection(), config)
    return {name: folder / name for name in CONFIGS}


@pytest.fixture(scope="module")
def opened(
    folders: dict[str, Path], lerobot: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What lerobot finds; the v2.1 dataset as its own converter makes v3.0 of it."""
    copy = tmp_path_factory.mktemp("converted") / "groot"
    shutil.copytree(folders["groot"], copy)
    found = lerobot("with_lerobot.py", folders["v30"], folders["recorded"], f"v21:{copy}")
    return dict(zip(CONFIGS, found, strict=True))


@pytest.mark.parametrize("name", CONFIGS)
def test_lerobot_finds_the_episodes_and_their_features(opened: dict[str, Any], name: str) -> None:
    found = opened[name]
    assert (found["fps"], found["nbr_episodes"], found["nbr_frames"]) == (10, 2, 80)
    assert found["robot_type"] == "humanoid"
    assert found["camera_keys"] == CAMERAS
    assert found["names"]["observation.state"] == found["names"]["action"] == list(JOINT_NAMES)
    shape, is_pad = found["last_chunk"]
    assert shape == [4, len(JOINT_NAMES)]
    assert is_pad == [False, True, True, True]
    assert {f["task"] for f in found["frames"]} == {e.task for e in plan_session(robot_config()).episodes}


@pytest.mark.parametrize("name", CONFIGS)
def test_states_and_actions_are_those_of_the_simulated_robot(opened: dict[str, Any], name: str) -> None:
    config = robot_config()
    session = plan_session(config)
    frames = opened[name]["frames"]
    times_s = (np.array([f["timestamp_ns"] for f in frames]) - config.start_ns) / SECOND_NS
    states = np.array([f["observation.state"] for f in frames])
    assert np.abs(states - np.array([session.joints(t) for t in times_s])).max() < 6 * config.joint_noise_rad
    held_s = 1 / config.actions.rate_hz + 0.001
    now, before = session.path.at(times_s)[0], session.path.at(times_s - held_s)[0]
    actions = np.array([f["action"] for f in frames])
    assert (actions >= np.minimum(now, before) - 0.02).all()
    assert (actions <= np.maximum(now, before) + 0.02).all()
    grid_s = np.array([f["frame_index"] for f in frames]) / opened[name]["fps"]
    assert np.allclose([f["timestamp"] for f in frames], grid_s, atol=1e-5)


def test_video_shows_what_was_recorded(opened: dict[str, Any]) -> None:
    for camera in CAMERAS:
        shown, recorded = (np.array([f[camera] for f in opened[name]["frames"]]) for name in ("v30", "recorded"))
        assert np.abs(shown - recorded).max() < 0.02
        assert np.std(recorded[:, 0]) > 0.001, "the picture never changes: this would prove nothing"


def test_statistics_are_those_of_the_values(opened: dict[str, Any]) -> None:
    for name in CONFIGS:
        frames, stats = opened[name]["frames"], opened[name]["stats"]
        for key in ("observation.state", "action"):
            values = np.array([f[key] for f in frames])
            assert np.allclose(stats[key]["mean"], values.mean(axis=0), atol=1e-5)
            assert np.allclose(stats[key]["std"], values.std(axis=0), atol=1e-5)
            assert np.allclose(stats[key]["min"], values.min(axis=0), atol=1e-6)
            if name != "groot":  # the converter averages quantiles over episodes
                near = np.quantile(values, [0.01, 0.99], axis=0, method="inverted_cdf")
                assert np.allclose([stats[key]["q01"], stats[key]["q99"]], near, atol=1e-3)
            assert stats[key]["count"] == [80]
        mean = np.array([f[CAMERAS[0]] for f in frames]).mean(axis=0)
        assert np.allclose(np.ravel(stats[CAMERAS[0]]["mean"]), mean, atol=0.02)


def test_groot_s_description_is_like_a_real_one(folders: dict[str, Path], real_data: Callable[[str], Path]) -> None:
    real = real_data("gr00t_lerobot_meta_only") / "demo_data" / "cube_to_bowl_5" / "meta"
    ours = folders["groot"] / "meta"

    def load(folder: Path, name: str) -> dict[str, Any]:
        return json.loads((folder / name).read_text())

    modality, example = load(ours, "modality.json"), load(real, "modality.json")
    assert set(modality) == set(example)
    assert modality["annotation"] == example["annotation"]
    for group in ("state", "action"):
        (part,) = modality[group].values()
        assert part == {"start": 0, "end": len(JOINT_NAMES)}
    assert {v["original_key"] for v in modality["video"].values()} == set(CAMERAS)
    assert set(load(real, "info.json")) <= set(load(ours, "info.json"))
    stats, example_stats = load(ours, "stats.json"), load(real, "stats.json")
    assert set(example_stats["observation.state"]) <= set(stats["observation.state"])
    for name in ("episodes.jsonl", "tasks.jsonl"):
        own, other = (json.loads((folder / name).read_text().splitlines()[0]) for folder in (ours, real))
        assert set(other) <= set(own)


def test_an_episode_leads_back_to_its_scene_and_outcome(robot: LakeReader, folders: dict[str, Path]) -> None:
    episodes = pq.read_table(folders["v30"] / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    scenes = robot.scenes().to_pylist()
    assert {e["scene_id"] for e in episodes} == {s["scene_id"] for s in scenes}
    assert [e["is_success"] for e in sorted(episodes, key=lambda e: e["start_ns"])] == [True, False]
    starts = {s["scene_id"]: s["start_ns"] for s in scenes}
    assert all(0 <= e["start_ns"] - starts[e["scene_id"]] < SECOND_NS for e in episodes)


def test_an_export_can_be_dropped_again(folders: dict[str, Path], robot: LakeReader, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for path in sorted(p for p in folders["v30"].rglob("*") if p.is_file()):
        lake.put(f"fleet/robot/again/set/{path.relative_to(folders['v30'])}", path.read_bytes())
    lake.wait(QUIET_NS // SECOND_NS + 1)
    lake.build_all()
    again = LakeReader(lake)
    assert again.scenes()["kind"].to_pylist() == ["episode", "episode"]
    states = pq.read_table(folders["v30"] / "data/chunk-000/file-000.parquet")["observation.state"]
    found = [p for p in again.rows("robot_state")["position"].to_pylist() if len(p) == len(JOINT_NAMES)]
    assert np.allclose(sorted(map(tuple, found)), sorted(map(tuple, states.to_pylist())))


def test_a_real_dataset_opens(real_data: Callable[[str], Path], tmp_path: Path, lerobot: Callable[..., Any]) -> None:
    source = real_data("octo_bridge_rlds")
    lake = Lake(tmp_path / "lake")
    for name in BRIDGE:
        lake.put(f"fleet/robot/session/bridge/{name}", (source / name).read_bytes())
    lake.wait(QUIET_NS // SECOND_NS + 1)
    lake.build_all()
    reader = LakeReader(lake)
    summary = run_export(reader, tmp_path / "out", Selection(), LeRobotConfig(images=Images.RECORDED))
    (found,) = lerobot("with_lerobot.py", tmp_path / "out")
    assert found["fps"] == 5
    assert found["nbr_episodes"] == summary.written["episodes"] == 25
    assert found["nbr_frames"] == 250
    actions = np.array([f["action"] for f in found["frames"]])
    gold = np.array(reader.rows("action")["position"].to_pylist())
    assert np.allclose(sorted(map(tuple, actions)), sorted(map(tuple, gold.astype(np.float32))))
    assert {f["task"] for f in found["frames"]} == set(reader.scenes()["task"].to_pylist())
