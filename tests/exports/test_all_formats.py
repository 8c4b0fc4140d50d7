"""What every export keeps to: equal bytes, whole or not at all, and an account of what is not in it."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.exports.lake import LakeReader

from scenelake.contracts.errors import BadInputError
from scenelake.export.config import Images, LeRobotConfig, LeRobotVersion, NuScenesConfig, Selection, WebDatasetConfig
from scenelake.export.folder import SUMMARY_FILE
from scenelake.export.run import Config, run_export

CONFIGS: dict[str, Config] = {
    "nuscenes": NuScenesConfig(),
    "lerobot": LeRobotConfig(),
    "recorded": LeRobotConfig(images=Images.RECORDED),
    "groot": LeRobotConfig(version=LeRobotVersion.V21, has_modality=True),
    "webdataset": WebDatasetConfig(),
}


def contents(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    assert files
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_release_gives_the_same_bytes(robot: LakeReader, tmp_path: Path, name: str) -> None:
    for target in ("one", "two"):
        run_export(robot, tmp_path / target, Selection(), CONFIGS[name])
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]
    told = json.loads((tmp_path / "one" / SUMMARY_FILE).read_text())
    assert told["release_id"] == robot.release.release_id
    assert told["written"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_failed_export_leaves_the_earlier_one(
    robot: LakeReader, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_export(robot, tmp_path / "out", Selection(), WebDatasetConfig())
    before = contents(tmp_path / "out")

    payloads = robot.payloads
    nbr_left = 7

    def fail_halfway(*words: object) -> object:
        nonlocal nbr_left
        nbr_left -= 1
        if nbr_left < 0:
            raise BadInputError("the payload is gone", reason="payload_missing")
        return payloads(*words)

    monkeypatch.setattr(robot, "payloads", fail_halfway)
    with pytest.raises(BadInputError, match="gone"):
        run_export(robot, tmp_path / "out", Selection(), CONFIGS[name], is_overwrite=True)
    assert contents(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_something_in_it_is_left_alone(robot: LakeReader, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("keep me")
    for is_overwrite, reason in ((False, "folder_not_empty"), (True, "not_an_export")):
        with pytest.raises(BadInputError) as caught:
            run_export(robot, tmp_path / "mine", Selection(), WebDatasetConfig(), is_overwrite=is_overwrite)
        assert caught.value.reason == reason
    assert (tmp_path / "mine" / "note.txt").read_text() == "keep me"


def test_what_is_asked_for_is_what_comes(robot: LakeReader, tmp_path: Path) -> None:
    scene = sorted(robot.scenes()["scene_id"].to_pylist())[0]
    cameras = ("/camera/head/image", "/joint_states")
    chosen = Selection(drives=("fleet/humanoid/table",), scenes=(scene[:8],), channels=cameras)
    summary = run_export(robot, tmp_path / "out", chosen, LeRobotConfig())
    assert summary.written["episodes"] == 1
    features = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]
    assert "action" not in features
    assert [k for k in features if k.startswith("observation.images")] == ["observation.images.head"]
    for selection in (Selection(drives=("elsewhere",)), Selection(scenes=("ffff",))):
        with pytest.raises(BadInputError, match="has none such"):
            run_export(robot, tmp_path / "none", selection, WebDatasetConfig())
    assert not (tmp_path / "none").exists()


def test_vehicles_have_no_episodes_unless_segments_are(vehicle: LakeReader, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--with-segments"):
        run_export(vehicle, tmp_path / "out", Selection(), LeRobotConfig())
    summary = run_export(vehicle, tmp_path / "out", Selection(), LeRobotConfig(is_with_segments=True))
    assert summary.written["episodes"] == 2
    assert summary.measured["fps"] == 2


def test_a_slower_rate_takes_the_nearest_samples(robot: LakeReader, tmp_path: Path) -> None:
    summary = run_export(robot, tmp_path / "out", Selection(), LeRobotConfig(fps=5))
    assert summary.written["frames"] == 40
    assert summary.left_out["frames", "another_is_nearer_to_the_tick"] == 40
    faster = run_export(robot, tmp_path / "faster", Selection(), LeRobotConfig(fps=20))
    assert faster.written["frames"] == 80
    assert faster.left_out["ticks", "no_whole_sample_so_frames_close_up"] == 78
