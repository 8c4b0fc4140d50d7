import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.keyframes import keyframes_of
from scenelake.synchronise.scenes import EpisodeMark, SceneWindow, choose_reference, cut_episodes, cut_segments
from scenelake.synchronise.streams import read_streams
from scenelake.timebase.slots import SLOT_NS, slot_window
from scenelake.timebase.windows import Window

SLOT = 85_000_000
START = SLOT * SLOT_NS
MS = 1_000_000
SECOND = 1_000 * MS


def test_the_lidar_with_most_rows_rules_else_the_camera_with_most(recording):
    recording.add("/cam/b", "camera", range(START, START + 9))
    recording.add("/cam/a", "camera", range(START, START + 9))
    assert choose_reference(read_streams(recording.drive().index).by_channel).channel == "/cam/a"
    recording.add("/lidar/few", "lidar", range(START, START + 2))
    recording.add("/lidar/many", "lidar", range(START, START + 3))
    recording.add("/lidar/broken", "lidar", range(START, START + 50), status="undecodable")
    streams = read_streams(recording.drive().index).by_channel
    assert choose_reference(streams).channel == "/lidar/many"
    assert choose_reference(streams, is_episodic=True).channel == "/cam/a"


def test_segments_are_the_slots_in_which_the_reference_has_a_row(recording):
    recording.add("/lidar", "lidar", [START + SLOT_NS - 1, START + SLOT_NS, START + 5 * SLOT_NS])
    recording.add("/imu", "imu", [START + 3 * SLOT_NS])
    streams = read_streams(recording.drive().index).by_channel
    scenes = cut_segments(streams, choose_reference(streams))
    assert [s.position for s in scenes] == [str(SLOT), str(SLOT + 1), str(SLOT + 5)]
    assert [s.window for s in scenes] == [slot_window(SLOT), slot_window(SLOT + 1), slot_window(SLOT + 5)]


def test_without_a_reference_every_measuring_channel_makes_scenes(recording):
    recording.add("/imu", "imu", [START])
    recording.add("/can", "can", [START + SLOT_NS])
    recording.add("/vendor", "raw", [START + 2 * SLOT_NS], status="raw")
    streams = read_streams(recording.drive().index).by_channel
    assert [s.position for s in cut_segments(streams, None)] == [str(SLOT), str(SLOT + 1)]


def mark(at, event, index=None, task=None):
    return EpisodeMark(at, event, index, task)


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([mark(10, "start", 0), mark(20, "end", 0)], [("0", 10, 21)]),
        ([mark(20, "end", 0), mark(10, "start", 0)], [("0", 10, 21)]),
        ([mark(10, "start", 3), mark(20, "end", 3), mark(30, "start", 4)], [("3", 10, 21), ("4", 30, 101)]),
        ([mark(10, "start", 0), mark(30, "start", 1), mark(40, "end", 1)], [("0", 10, 30), ("1", 30, 41)]),
        ([mark(10, "start", 0), mark(30, "end", 0), mark(30, "start", 1)], [("0", 10, 30), ("1", 30, 101)]),
        ([mark(5, "end", 0), mark(10, "start", 1), mark(20, "end", 1)], [("1", 10, 21)]),
        ([mark(10, "start", 0), mark(20, "end", 0), mark(30, "start", 0)], [("0", 10, 21), ("0.1", 30, 101)]),
        ([mark(10, "start"), mark(20, "end"), mark(30, "start"), mark(40, "end")], [("0", 10, 21), ("1", 30, 41)]),
        ([mark(10, "start", 0), mark(10, "start", 1), mark(12, "end", 1)], [("1", 10, 13)]),
        ([mark(20, "end", 0)], []),
    ],
    ids=[
        "pair", "any-order", "open-at-the-end", "open-before-next", "touching", "end-without-start", "number-reused",
        "no-numbers", "empty", "only-an-end",
    ],
)  # fmt: skip
def test_episodes_from_marks(marks, expected):
    scenes = cut_episodes(marks, last_ns=100)
    assert [(s.position, s.window.start_ns, s.window.exclusive_end_ns) for s in scenes] == expected


def test_the_task_comes_from_either_mark():
    scenes = cut_episodes([mark(1, "start", 0), mark(2, "end", 0, "pick"), mark(3, "start", 1, "place")], 9)
    assert [s.task for s in scenes] == ["pick", "place"]


def segment():
    return SceneWindow(str(SLOT), "drive_segment", slot_window(SLOT))


@settings(deadline=None)
@given(offsets=st.lists(st.integers(-SLOT_NS, 2 * SLOT_NS), max_size=60).map(sorted), hz=st.sampled_from([1, 2, 3, 10]))
def test_keyframes_are_the_first_reference_rows_of_their_ticks(offsets, hz):
    stamps = [START + o for o in offsets]
    config = SynchroniseConfig(keyframe_ticks_per_second=hz)
    expected: dict[int, int] = {}
    for stamp in stamps:
        if START <= stamp < START + SLOT_NS:
            expected.setdefault(stamp * hz // SECOND, stamp)
    chosen = keyframes_of(segment(), (), np.array(stamps, np.int64), config)
    assert chosen.timestamps_ns.tolist() == list(expected.values())
    assert chosen.is_key_frame.all()


def test_native_rate_takes_every_stamp_once_and_says_which_are_on_the_grid():
    stamps = START + np.array([0, 0, 100, 500, 600]) * MS
    chosen = keyframes_of(segment(), (), stamps, SynchroniseConfig(is_native_rate=True))
    assert (chosen.timestamps_ns - START).tolist() == [0, 100 * MS, 500 * MS, 600 * MS]
    assert chosen.is_key_frame.tolist() == [True, False, True, False]


def test_a_fixed_grid_ticks_within_the_data():
    extent = Window(START + 100 * MS, START + 1500 * MS + 1)
    chosen = keyframes_of(segment(), [extent], None, SynchroniseConfig())
    assert (chosen.timestamps_ns - START).tolist() == [500 * MS, 1000 * MS, 1500 * MS]


def test_episodes_take_every_camera_frame_or_ten_hertz():
    window = Window(START + 50 * MS, START + 350 * MS)
    episode = SceneWindow("0", "episode", window)
    frames = START + np.array([0, 50, 83, 349, 350]) * MS
    with_camera = keyframes_of(episode, (), frames, SynchroniseConfig())
    assert (with_camera.timestamps_ns - START).tolist() == [50 * MS, 83 * MS, 349 * MS]
    without = keyframes_of(episode, [window], None, SynchroniseConfig())
    assert (without.timestamps_ns - START).tolist() == [100 * MS, 200 * MS, 300 * MS]


@pytest.mark.parametrize(
    "values", [{"keyframe_hz": 2}, {"keyframe_ticks_per_second": 0}, {"rules": {"camera": {"x": 1}}}]
)
def test_the_configuration_rejects_what_it_does_not_know(values):
    with pytest.raises(ValueError):
        SynchroniseConfig(**values)
