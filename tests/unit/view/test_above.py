"""What is seen from above, and frames that are good to look at."""

import numpy as np
import pytest
from tests.unit.view.tiny import SCENE, tiny_reader

from scenelake.export.drives import Drive
from scenelake.export.summary import Summary
from scenelake.geometry.poses import invert, pose_of, rotation_matrix, transform
from scenelake.geometry.trajectory import Trajectory
from scenelake.geometry.wgs84 import ecef_from_geodetic
from scenelake.timebase.arrays import FloatArray
from scenelake.view.above import busiest_frame, seen_from_above
from scenelake.view.choose import choose_scene, open_source
from scenelake.view.opened import OpenedScene

MUNICH = np.array([48.14, 11.58, 520.0])


def opened() -> OpenedScene:
    source = open_source(tiny_reader())
    return OpenedScene(source, choose_scene(source, SCENE))


def test_tracks_of_a_radar_are_seen_where_it_says() -> None:
    scene = opened()
    assert busiest_frame(scene) == 0
    summary = Summary("", scene.source.reader.release, {})
    view = seen_from_above(scene, 0, summary)
    assert view.returns[:, :3].tolist() == [[9.0, 2.0, 0.0], [5.0, 1.0, 0.0]]
    assert summary.left_out["radar tracks", "track_without_place"] == 1
    assert any("place of frame '' is unknown" in remark for remark in summary.remarks)


def with_poses(places_m: FloatArray, world_frame: str) -> OpenedScene:
    scene = opened()
    stamps_ns = scene.scene.start_ns + np.arange(len(places_m)) * 10**8
    turns = np.tile(np.eye(3), (len(places_m), 1, 1))
    scene.trajectory = Trajectory.of(stamps_ns, pose_of(turns, places_m))
    scene.drive = Drive(scene.scene.drive_id, "/pose", world_frame, {})
    return scene


def test_a_path_starts_at_its_first_place() -> None:
    places = np.array([[100.0, 50.0, 3.0], [101.0, 50.0, 3.0], [102.0, 51.0, 3.5]])
    scene = with_poses(places, "/map")
    stamps_ns, poses = scene.path()
    assert len(stamps_ns) == 3
    assert np.allclose(poses[:, :3], places - places[0])
    assert np.allclose(transform(scene.local_from_world, places[2]), [2.0, 1.0, 0.5])


def test_an_earth_centred_path_is_east_north_and_up() -> None:
    step_deg = 1e-4
    geodetic = MUNICH + np.array([[0, 0, 0], [step_deg, 0, 0], [0, step_deg, 0], [0, 0, 7.0]])
    _, poses = with_poses(ecef_from_geodetic(geodetic), "ecef").path()
    east, north = 7.4, 11.1
    assert np.allclose(poses[:, :3], [[0, 0, 0], [0, north, 0], [east, 0, 0], [0, 0, 7.0]], atol=0.05)
    up = rotation_matrix(invert(poses[0])[3:]) @ np.array([0.0, 0.0, 1.0])
    assert np.allclose(up, ecef_from_geodetic(MUNICH) / 6_366_600.0, atol=0.01)


@pytest.mark.parametrize("inside", [0, 1])
def test_a_scene_with_hardly_any_pose_has_a_path_of_its_own_length(inside: int) -> None:
    scene = with_poses(np.zeros((inside, 3)), "map")
    assert len(scene.path()[0]) == inside
    assert scene.local_from_world.tolist() == [0, 0, 0, 1, 0, 0, 0]
