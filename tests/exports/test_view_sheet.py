"""The contact sheet of a vehicle's drive and of a robot's episode."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.exports.lake import LakeReader, vehicle_config

from scenelake.export.summary import Summary
from scenelake.geometry.poses import invert
from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.world import build_world
from scenelake.view.above import busiest_frame, seen_from_above
from scenelake.view.choose import choose_scene, open_source
from scenelake.view.config import SheetConfig
from scenelake.view.opened import OpenedScene
from scenelake.view.sheet import write_sheet

NEAR_M = 15.0


def opened(reader: LakeReader, number: int = 0) -> OpenedScene:
    source = open_source(reader)
    return OpenedScene(source, choose_scene(source, source.scenes[number].scene_id))


@pytest.mark.parametrize("number", [0, 1])
def test_a_drive_has_its_cameras_the_view_from_above_and_signals(
    vehicle: LakeReader, tmp_path: Path, number: int
) -> None:
    scene = opened(vehicle, number)
    summary = write_sheet(scene, tmp_path / "sheet.png", SheetConfig(nbr_columns=4))
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 1800
    assert sheet.shape[0] > 1000
    assert summary.written["pictures"] == 2 * min(4, len(scene.stamps_ns))
    assert summary.written["plots of signals"] >= 2
    assert not summary.left_out


def test_a_session_has_cameras_joints_and_what_was_said(robot: LakeReader, tmp_path: Path) -> None:
    scene = opened(robot, 1)
    summary = write_sheet(scene, tmp_path / "sheet.png")
    assert summary.written["pictures"] == 2 * 6
    assert summary.written["plots of signals"] >= 2
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def test_from_above_boxes_stand_around_the_points_of_their_cars(vehicle: LakeReader) -> None:
    scene = opened(vehicle)
    frame = busiest_frame(scene)
    assert frame is not None
    view = seen_from_above(scene, frame, Summary("", vehicle.release, {}))
    assert len(view.points_m) > 300
    assert len(view.returns) > 5
    assert len(view.boxes) > 5
    truth = build_world(vehicle_config()).ego.map_from_ego(
        (int(scene.stamps_ns[frame]) - vehicle_config().start_ns) / SECOND_NS
    )
    assert np.allclose(invert(scene.ego_from_world(int(scene.stamps_ns[frame])))[:3], truth.translation_m, atol=0.02)
    near = [(b, p) for b, p in view.boxes if b.category == "car" and np.hypot(*p[:2]) < NEAR_M]
    assert near
    for box, pose in near:
        reach = np.linalg.norm(box.size_m) / 2
        assert (np.linalg.norm(view.points_m - pose[:3], axis=1) < reach).sum() > 0
