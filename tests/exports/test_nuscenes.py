"""A nuScenes export, as nuscenes-devkit itself reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.exports.lake import LakeReader, vehicle_config
from tests.unit.pieces.pipeline import Lake

from scenelake.convert import nuscenes as nuscenes_converter
from scenelake.export.config import NuScenesConfig, Selection
from scenelake.export.run import run_export
from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.world import build_world

VERSION = "v1.0-scenelake"
NEAR_M = 20.0
SENSORS = pa.array(["camera", "lidar", "radar"])


@pytest.fixture(scope="module")
def exported(vehicle: LakeReader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nuscenes") / "export"
    run_export(vehicle, folder, Selection(), NuScenesConfig())
    return folder


@pytest.fixture(scope="module")
def opened(exported: Path, nuscenes: Callable[..., Any]) -> dict[str, Any]:
    return nuscenes("with_nuscenes.py", exported, VERSION)


def test_the_devkit_finds_every_scene_sample_and_message(vehicle: LakeReader, opened: dict[str, Any]) -> None:
    assert opened["counts"]["scene"] == len(vehicle.scenes()) == 2
    assert opened["counts"]["sample"] == len(vehicle.rows("sample"))
    messages = vehicle.rows("sample_data")
    sensors = messages.filter(pc.is_in(messages["modality"], value_set=SENSORS))
    assert opened["counts"]["sample_data"] == len(sensors) == opened["counts"]["ego_pose"]
    assert len(opened["logs"]) == 1
    assert opened["logs"][0]["map_token"]


def test_links_run_through_each_scene_in_the_order_of_time(vehicle: LakeReader, opened: dict[str, Any]) -> None:
    matches = vehicle.rows("sync_index")
    nbr_matches = pc.sum(pc.and_(matches["is_match"], pc.is_in(matches["modality"], value_set=SENSORS))).as_py()
    nbr_key_frames = 0
    for scene in opened["scenes"]:
        stamps = [stamp for _, stamp, _ in scene["samples"]]
        assert stamps == sorted(stamps)
        assert scene["samples"][3][2] == ["CAM_FRONT", "CAM_REAR", "LIDAR_TOP", "RADAR_FRONT"]
        stamp_of = {token: stamp for token, stamp, _ in scene["samples"]}
        for chain in scene["channels"].values():
            times = [time for time, _, _ in chain]
            assert times == sorted(times)
            nbr_key_frames += sum(is_key for _, is_key, _ in chain)
            for time, is_key, sample in chain:
                assert abs(time - stamp_of[sample]) <= 110_000 if is_key else time <= max(stamps) + 600_000
    assert opened["counts"]["sample_data"] == sum(len(c) for s in opened["scenes"] for c in s["channels"].values())
    assert nbr_key_frames == nbr_matches


def test_boxes_lie_around_the_points_that_the_lidar_saw(opened: dict[str, Any]) -> None:
    boxes = opened["boxes"]
    assert len(boxes) > 500
    differ = [b for b in boxes if abs(b["said"] - b["counted"]) > max(2, 0.05 * b["counted"])]
    assert len(differ) < 0.01 * len(boxes), differ[:3]
    near_cars = [b for b in boxes if b["category"] == "car" and np.hypot(*b["center_m"][:2]) < NEAR_M]
    assert len(near_cars) > 20
    assert np.mean([b["counted"] > 0 for b in near_cars]) > 0.8


def test_poses_and_boxes_are_those_of_the_simulated_world(opened: dict[str, Any]) -> None:
    config = vehicle_config()
    world = build_world(config)
    stamp_us = opened["scenes"][0]["samples"][0][1]
    assert stamp_us * 1000 >= config.start_ns
    middle = [s for scene in opened["scenes"] for s in scene["samples"]][opened["counts"]["sample"] // 2]
    truth = world.ego.map_from_ego((middle[1] * 1000 - config.start_ns) / SECOND_NS)
    assert np.allclose(opened["pose"][:3], truth.translation_m, atol=0.02)


def test_clouds_gather_and_radar_velocities_lie_along_the_line_of_sight(opened: dict[str, Any]) -> None:
    points = opened["points"]
    assert points["LIDAR_TOP"] > 1000
    gathered, span_s = points["LIDAR_TOP gathered"]
    assert gathered > 4 * points["LIDAR_TOP"]
    assert 0.7 < span_s < 1.0
    returns = np.array(points["RADAR_FRONT"])
    assert len(returns) > 10
    across = returns[:, 0] * returns[:, 3] - returns[:, 1] * returns[:, 2]
    assert np.abs(across).max() < 1e-2
    assert np.median(np.hypot(returns[:, 2], returns[:, 3])) < 0.3, "most of the world stands still"


def test_pictures_and_intrinsics_are_as_recorded(vehicle: LakeReader, exported: Path, opened: dict[str, Any]) -> None:
    path, nbr_boxes, intrinsics = opened["camera"]
    assert nbr_boxes > 0
    assert np.array(intrinsics).shape == (3, 3)
    messages = vehicle.rows("sample_data")
    recorded = {
        row["image"] for row in vehicle.payloads(messages.filter(pc.equal(messages["modality"], "camera"))).to_pylist()
    }
    files = [*exported.glob("samples/CAM_*/*.jpg"), *exported.glob("sweeps/CAM_*/*.jpg")]
    assert Path(path) in files
    assert {file.read_bytes() for file in files} == recorded


def test_a_real_keyframe_comes_back_as_it_was(
    real_data: Callable[[str], Path], tmp_path: Path, nuscenes: Callable[..., Any]
) -> None:
    source = real_data("nuscenes_one_keyframe")
    nuscenes_converter.convert(source, tmp_path / "keyframe.mcap")
    lake = Lake(tmp_path / "lake")
    lake.put("fleet/car/keyframe/keyframe.mcap", (tmp_path / "keyframe.mcap").read_bytes())
    lake.build_all()
    summary = run_export(LakeReader(lake), tmp_path / "out", Selection(), NuScenesConfig())
    pictures = {path.read_bytes() for path in source.rglob("*.jpg")}
    assert {path.read_bytes() for path in (tmp_path / "out").glob("s*/CAM_*/*.jpg")} == pictures
    assert len(pictures) == 6
    (cloud,) = (tmp_path / "out").glob("samples/LIDAR_TOP/*.pcd.bin")
    (original,) = source.rglob("*.pcd.bin")
    assert cloud.read_bytes() == original.read_bytes()
    assert ("lidar motion compensation", "no_point_time") in summary.left_out
    opened = nuscenes("with_nuscenes.py", tmp_path / "out", VERSION)
    assert opened["counts"]["sample"] == 1
    assert opened["counts"]["sample_annotation"] == summary.written["boxes"] > 10
    seen = [box for box in opened["boxes"] if box["counted"] > 0]
    assert len(seen) > 10
