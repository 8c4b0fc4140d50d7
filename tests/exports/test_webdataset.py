"""WebDataset shards, read by ``webdataset`` itself and as plain tar files."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from tests.exports.lake import LakeReader

from scenelake.export.config import Selection, WebDatasetConfig
from scenelake.export.run import run_export
from scenelake.simulate.robot_body import JOINT_NAMES

CHANNELS = {
    "annotation_annotations_boxes", "camera_front", "camera_rear", "ego_pose_odometry", "lidar_top", "radar_front",
}  # fmt: skip


@pytest.fixture(scope="module")
def shards(vehicle: LakeReader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("webdataset") / "export"
    run_export(vehicle, folder, Selection(), WebDatasetConfig(shard_bytes=1_000_000))
    return folder


def test_webdataset_reads_every_sample_once(vehicle: LakeReader, shards: Path, lerobot: Callable[..., Any]) -> None:
    found = lerobot("with_webdataset.py", *sorted(shards.glob("*.tar")))
    assert sorted(s["json"]["sample_id"] for s in found) == sorted(vehicle.rows("sample")["sample_id"].to_pylist())
    first = found[0]
    assert set(first["json"]["channels"]) == CHANNELS
    assert first["arrays"]["camera_front.jpg"] == [[64, 96, 3], "uint8"]
    assert first["arrays"]["lidar_top.npy"][0][1] == 5
    assert first["arrays"]["ego_pose_odometry.npy"] == [[7], "float64"]


def test_the_manifest_is_true(shards: Path) -> None:
    manifest = json.loads((shards / "manifest.json").read_text())
    assert len(manifest["shards"]) > 2
    total = 0
    for shard in manifest["shards"]:
        data = (shards / shard["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["size_bytes"], shard["sha256"])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            keys = [name.partition(".")[0] for name in tar.getnames()]
        assert len(set(keys)) == shard["nbr_samples"]
        total += shard["nbr_samples"]
    assert total == manifest["nbr_samples"] == 52
    assert set(manifest["channels"]) == CHANNELS
    assert manifest["channels"]["lidar_top"]["topic"] == "/lidar/top/points"


def test_members_hold_what_gold_holds(robot: LakeReader, tmp_path: Path) -> None:
    run_export(robot, tmp_path / "out", Selection(), WebDatasetConfig())
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}
        assert {(m.mtime, m.uid, m.mode) for m in tar.getmembers()} == {(0, 0, 0o644)}
    sync = robot.rows("sync_index").to_pylist()
    values = {(r["sample_id"], r["channel"]): r for r in sync}
    actions = {r["sample_data_id"]: r["position"] for r in robot.rows("action").to_pylist()}
    documents = {name: json.loads(data) for name, data in members.items() if name.endswith("0.json")}
    assert len(documents) == 8
    for name, told in documents.items():
        key = name.removesuffix(".json")
        state = values[told["sample_id"], "/joint_states"]
        assert np.load(io.BytesIO(members[f"{key}.robot_state_joint_states.npy"])).tolist() == state["value"]
        action = actions[values[told["sample_id"], "/action/joint_command"]["sample_data_id"]]
        assert np.load(io.BytesIO(members[f"{key}.action_action_joint_command.npy"])).tolist() == action
        assert told["channels"]["robot_state_joint_states"]["names"] == list(JOINT_NAMES)
        assert (
            told["channels"]["camera_head"]["delta_ns"] == values[told["sample_id"], "/camera/head/image"]["delta_ns"]
        )
    recorded = robot.rows("sample_data")
    images = robot.payloads(recorded.filter(pc.equal(recorded["modality"], "camera")), ["image"])["image"].to_pylist()
    assert {data for name, data in members.items() if name.endswith(".jpg")} <= set(images)
