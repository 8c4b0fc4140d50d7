"""A Rerun recording of a scene, as Rerun's own reader finds it."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.exports.lake import LakeReader
from tests.unit.view.tiny import SCENE, tiny_reader

MS = 1e6
Recording = dict[str, Any]


def write(reader: Any, scene_id: str, folder: Path, rerun: Callable[..., Any]) -> Recording:
    (folder / "lake.pickle").write_bytes(pickle.dumps(reader))
    found = rerun("with_rerun.py", folder / "lake.pickle", scene_id, folder / "out" / "scene.rrd")
    assert [p.name for p in (folder / "out").iterdir()] == ["scene.rrd"]
    return found


@pytest.fixture(scope="module")
def scene_id(vehicle: LakeReader) -> str:
    return vehicle.scenes().sort_by("start_ns")["scene_id"][0].as_py()


@pytest.fixture(scope="module")
def drive(
    vehicle: LakeReader, scene_id: str, tmp_path_factory: pytest.TempPathFactory, rerun: Callable[..., Any]
) -> Recording:
    return write(vehicle, scene_id, tmp_path_factory.mktemp("drive"), rerun)


@pytest.fixture(scope="module")
def session(robot: LakeReader, tmp_path_factory: pytest.TempPathFactory, rerun: Callable[..., Any]) -> Recording:
    first = robot.scenes().sort_by("start_ns")["scene_id"][0].as_py()
    return write(robot, first, tmp_path_factory.mktemp("session"), rerun)


def rows_of(recording: Recording, entity: str) -> list[dict[str, Any]]:
    return sorted(recording["entities"][entity]["rows"], key=lambda r: r["time"])


def matches_of(reader: LakeReader, scene_id: str, channel: str) -> list[dict[str, Any]]:
    """Rows of ``sync_index`` that are matches, with their sample's number and time."""
    samples = {s["sample_id"]: s for s in reader.rows("sample", [scene_id]).to_pylist()}
    rows = reader.rows("sync_index", [scene_id]).to_pylist()
    found = [samples[r["sample_id"]] | r for r in rows if r["channel"] == channel and r["is_match"]]
    return sorted(found, key=lambda r: r["frame_index"])


def messages_of(reader: LakeReader, scene_id: str, channel: str) -> pa.Table:
    """Messages of a scene, and those of its neighbours that its samples match."""
    every = reader.rows("sample_data").sort_by("timestamp_ns")
    matched = [r["sample_data_id"] for r in matches_of(reader, scene_id, channel)]
    is_own = pc.or_(
        pc.equal(every["scene_id"], scene_id), pc.is_in(every["sample_data_id"], value_set=pa.array(matched))
    )
    return every.filter(pc.and_(is_own, pc.equal(every["channel"], channel)))


@pytest.mark.parametrize("name", ["front", "rear"])
def test_every_picture_is_there_as_recorded_at_its_own_nanosecond(
    vehicle: LakeReader, scene_id: str, drive: Recording, name: str
) -> None:
    channel = f"/camera/{name}/image"
    messages = messages_of(vehicle, scene_id, channel)
    images = vehicle.payloads(messages, ["image"])["image"].to_pylist()
    rows = rows_of(drive, f"/world/ego/camera/{name}/image")
    assert [r["time"] for r in rows] == messages["timestamp_ns"].to_pylist()
    assert [r["EncodedImage:blob"] for r in rows] == [[hashlib.sha256(i).hexdigest()] for i in images]
    first: dict[str, int] = {}
    for match in matches_of(vehicle, scene_id, channel):
        first.setdefault(match["sample_data_id"], match["frame_index"])
    assert [r.get("keyframe") for r in rows] == [first.get(m) for m in messages["sample_data_id"].to_pylist()]
    assert len(first) > 15


def test_the_ego_is_where_it_was_whenever_a_sensor_looked(vehicle: LakeReader, scene_id: str, drive: Recording) -> None:
    rows = {r["time"]: r for r in rows_of(drive, "/world/ego")}
    poses = vehicle.rows("ego_pose", [scene_id]).sort_by("timestamp_ns").to_pylist()
    fields = [("tx_m", "ty_m", "tz_m"), ("qx", "qy", "qz", "qw")]
    origin = np.array([poses[0]["world_from_ego"][f] for f in fields[0]])
    for pose in poses:
        row = rows[pose["timestamp_ns"]]
        place, turn = (np.array([pose["world_from_ego"][f] for f in names]) for names in fields)
        assert np.allclose(row["Transform3D:translation"][0], place - origin, atol=1e-4)
        assert abs(np.dot(row["Transform3D:quaternion"][0], turn)) > 1 - 1e-6
    looked = messages_of(vehicle, scene_id, "/lidar/top/points")["timestamp_ns"].to_pylist()
    assert set(looked) <= set(rows)
    keyframes = vehicle.rows("sample", [scene_id]).to_pylist()
    assert {(s["timestamp_ns"], s["frame_index"]) for s in keyframes} <= {
        (r["time"], r.get("keyframe")) for r in rows.values()
    }
    assert drive["entities"]["/world/ego_path"]["static"]


@pytest.mark.parametrize(
    ("entity", "channel"), [("lidar/top", "/lidar/top/points"), ("radar/front", "/radar/front/points")]
)
def test_sweeps_have_all_their_points_under_the_ego(
    vehicle: LakeReader, scene_id: str, drive: Recording, entity: str, channel: str
) -> None:
    messages = messages_of(vehicle, scene_id, channel)
    x = vehicle.payloads(messages, ["x_m"])["x_m"].to_pylist()
    rows = rows_of(drive, f"/world/ego/{entity}/points")
    assert [r["time"] for r in rows] == messages["timestamp_ns"].to_pylist()
    assert [r["Points3D:positions"] for r in rows] == [int(np.isfinite(p).sum()) for p in map(np.array, x)]
    assert [r["Points3D:colors"] for r in rows] == [r["Points3D:positions"] for r in rows]
    calibration = {r["channel"]: r["ego_from_sensor"] for r in vehicle.rows("calibrated_sensor").to_pylist()}[channel]
    placed = drive["entities"][f"/world/ego/{entity}"]["static"]["Transform3D:translation"]
    assert np.allclose(placed[0], [calibration[f] for f in ("tx_m", "ty_m", "tz_m")], atol=1e-6)


def test_boxes_stand_in_the_world(vehicle: LakeReader, scene_id: str, drive: Recording) -> None:
    rows = rows_of(drive, "/world/annotation/annotations_boxes")
    told: dict[int, int] = {}
    for box in vehicle.rows("annotation", [scene_id]).to_pylist():
        told[box["timestamp_ns"]] = told.get(box["timestamp_ns"], 0) + 1
    assert sum(told.values()) > 500
    found = {r["time"]: len(r["Boxes3D:half_sizes"] or []) for r in rows}
    assert {t: n for t, n in found.items() if t in told} == told


def test_the_distance_of_every_match_is_plotted(vehicle: LakeReader, scene_id: str, drive: Recording) -> None:
    for entity, channel in (("camera/front", "/camera/front/image"), ("lidar/top", "/lidar/top/points")):
        rows = rows_of(drive, f"/sync_delta_ms/{entity}")
        expected = matches_of(vehicle, scene_id, channel)
        assert [(r["time"], r["keyframe"]) for r in rows] == [(m["timestamp_ns"], m["frame_index"]) for m in expected]
        assert np.allclose([r["Scalars:scalars"][0] for r in rows], [m["delta_ns"] / MS for m in expected])


def test_a_session_has_its_joints_actions_and_words(robot: LakeReader, session: Recording) -> None:
    first = robot.scenes().sort_by("start_ns")["scene_id"][0].as_py()
    for table, entity in (("robot_state", "joint_states"), ("action", "action_joint_command")):
        recorded = robot.rows(table, [first]).sort_by("timestamp_ns").to_pylist()
        (name,) = [n for n in session["entities"] if n.startswith(f"/signals/{table}/") and n.endswith("/position")]
        rows = rows_of(session, name)
        assert [r["time"] for r in rows] == [r["timestamp_ns"] for r in recorded], entity
        assert np.array_equal([r["Scalars:scalars"] for r in rows], [r["position"] for r in recorded])
        assert session["entities"][name]["static"]["SeriesLines:names"] == recorded[0]["names"]
    texts = [
        r["TextLog:text"][0]
        for n, e in session["entities"].items()
        if n.startswith("/texts/language")
        for r in e["rows"]
    ]
    assert texts == [robot.scenes().sort_by("start_ns")["task"][0].as_py()]
    nbr_pictures = sum(len(e["rows"]) for n, e in session["entities"].items() if n.endswith("/image"))
    assert nbr_pictures == session["summary"]["written"]["camera messages"] > 70
    assert any("no ego poses" in remark for remark in session["summary"]["remarks"])


def test_there_are_two_timelines_and_no_others(drive: Recording, session: Recording) -> None:
    assert drive["timelines"] == session["timelines"] == ["keyframe", "time"]


def test_depth_scans_fixes_and_what_is_not_drawn(tmp_path: Path, rerun: Callable[..., Any]) -> None:
    found = write(tiny_reader(), SCENE, tmp_path, rerun)
    depth = rows_of(found, "/world/ego/depth/depth/depth")
    assert len(depth) == 4
    assert all("EncodedDepthImage:meter" not in r for r in depth), "then integers are millimetres"
    assert len(rows_of(found, "/scans/radar/main")) == 5
    assert len(rows_of(found, "/fixes/gps")) == 5
    (tracks,) = rows_of(found, "/world/ego/radar_track/tracks")
    assert (tracks["keyframe"], tracks["Points3D:positions"]) == (0, 2)
    left = {(row["what"], row["reason"]): row["count"] for row in found["summary"]["left_out"]}
    assert left["depth messages", "image_undecodable"] == 1
    assert left["can messages", "not_drawn"] == 1
    assert left["radar tracks", "track_without_place"] == 1
    assert left["matches", "no_match_of /head"] == 2
