"""What belongs to an opened scene."""

import numpy as np
import pyarrow as pa
from tests.unit.view.tiny import ABSENT, MISSED, NBR_FRAMES, OTHER, SCENE, START_NS, TASK, keyframe_ns, tiny_reader

from scenelake.view.choose import choose_scene, open_source
from scenelake.view.opened import NO_FRAME, OpenedScene
from scenelake.view.signals import read_signals, read_texts


def opened() -> OpenedScene:
    source = open_source(tiny_reader())
    return OpenedScene(source, choose_scene(source, SCENE))


def test_messages_know_the_keyframe_that_matches_them() -> None:
    (head,) = opened().channels("camera", "camera_frame")
    assert head.channel == "/head"
    assert head.frames.tolist() == [0, 1, NO_FRAME, 3]
    assert head.stamps_ns.tolist() == [
        keyframe_ns(f) + (80_000_000 if f == MISSED else 3_000_000) for f in range(NBR_FRAMES) if f != ABSENT
    ]


def test_a_keyframe_keeps_the_match_that_lies_in_the_next_scene() -> None:
    reader = tiny_reader()
    messages = reader.tables["sample_data"]
    rows = messages.to_pylist()
    for row in rows:
        if row["channel"] == "/head" and row["timestamp_ns"] > keyframe_ns(3):
            row["scene_id"] = OTHER
    reader.tables["sample_data"] = pa.Table.from_pylist(rows, messages.schema)
    source = open_source(reader)
    (head,) = OpenedScene(source, choose_scene(source, SCENE)).channels("camera", "camera_frame")
    assert head.frames.tolist() == [0, 1, NO_FRAME, 3]


def test_how_each_channel_fits_the_keyframes_with_its_misses() -> None:
    by_channel = {s.channel: s for s in opened().sync}
    assert list(by_channel) == ["/head", "/depth", "/gps", "/scan", "/tracks", "/joints"]
    head = by_channel["/head"]
    assert head.is_match.tolist() == [True, True, False, True, False]
    assert head.has_delta.tolist() == [True, True, True, True, False]
    assert head.delta_ns.tolist() == [3_000_000, 3_000_000, 80_000_000, 3_000_000, 0]
    assert set(head.tolerance_ns.tolist()) == {25_000_000}


def test_signals_have_names_units_and_every_value() -> None:
    found = {(s.modality, s.quantity): s for s in read_signals(opened())}
    joints = found["robot_state", "position"]
    assert (joints.names, joints.unit) == (("shoulder", "elbow"), "rad")
    assert joints.values.shape == (20 * NBR_FRAMES, 2)
    assert np.array_equal(joints.values[7], [0.07, -0.07])
    assert joints.stamps_ns[7] == START_NS + 7 * 50_000_000
    assert found["action", "position"].names == ("position_0", "position_1")
    assert found["gnss", "altitude_m"].values.tolist() == [[500.0]] * NBR_FRAMES
    assert ("gnss", "ground_speed_m_s") not in found
    assert ("ego_pose", "linear_velocity_m_s") not in found


def test_an_instruction_that_is_repeated_is_said_once() -> None:
    (text,) = read_texts(opened())
    assert (text.modality, text.text, text.stamp_ns) == ("language", TASK, START_NS)


def test_without_poses_the_ego_stays_where_it_is() -> None:
    scene = opened()
    assert scene.path()[0].tolist() == []
    assert scene.ego_from_ego(keyframe_ns(3), keyframe_ns(0)).tolist() == [0, 0, 0, 1, 0, 0, 0]
