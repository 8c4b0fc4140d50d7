import time

import numpy as np
import pyarrow.compute as pc
import pytest

from scenelake.contracts import ids
from scenelake.contracts.stages import CLOCK_SEGMENT_SCHEMA, SYNC_ERROR_SCHEMA, UNASSIGNED_SCHEMA, Problem
from scenelake.contracts.tables import GOLD
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig

SLOT_NS = 20_000_000_000
START = 85_000_000 * SLOT_NS
MS = 1_000_000
SECOND = 1_000 * MS
HANDED_OVER = {
    "clock_segment": CLOCK_SEGMENT_SCHEMA,
    "sync_error": SYNC_ERROR_SCHEMA,
    "unassigned": UNASSIGNED_SCHEMA,
}


def build(recording, config=None, **kwargs):
    done = synchronise_drive(recording.drive(**kwargs), config or SynchroniseConfig())
    for name, table in done.tables.items():
        assert table.schema.equals(HANDED_OVER.get(name) or GOLD[name].schema), name
    assert_account(recording, done.tables)
    return done.tables


def assert_account(recording, tables):
    """Every usable message is in exactly one scene or unassigned; the others are in neither."""
    usable = sorted(r["sample_data_id"] for r in recording.rows if r["status"] != "undecodable")
    inside = tables["sample_data"]["sample_data_id"].to_pylist()
    outside = tables["unassigned"]["sample_data_id"].to_pylist()
    assert sorted(inside + outside) == usable
    assert set(tables["sample_data"]["scene_id"].to_pylist()) == set(tables["scene"]["scene_id"].to_pylist())
    assert None not in tables["unassigned"]["reason"].to_pylist()


def every(start_ms, period_ms, count):
    return START + (start_ms + np.arange(count, dtype=np.int64) * period_ms) * MS


def test_a_drive_of_two_slots(recording):
    recording.add("/lidar", "lidar", every(5, 100, 300))
    recording.add("/cam", "camera", every(0, 66, 470))
    recording.add("/cam", "camera", every(7, 66, 3), status="undecodable")
    recording.add("/vendor", "raw", every(0, 1000, 25), status="raw")
    tables = build(recording, metadata={"robot_type": "car", "task": "drive home", "location": "Ulm"})
    drive = tables["drive"].to_pylist()[0]
    assert (drive["robot_id"], drive["rig_id"], drive["reference_channel"]) == ("car", "car", "/lidar")
    assert (drive["robot_type"], drive["location"], drive["software_version"]) == ("car", "Ulm", "recorder 1")
    scenes = tables["scene"].to_pylist()
    assert [(s["start_ns"], s["exclusive_end_ns"]) for s in scenes] == [
        (START, START + 303 * 66 * MS + 1),
        (START + 20_000 * MS, START + 469 * 66 * MS + 1),
    ]
    assert [s["nbr_samples"] for s in scenes] == [40, 20]
    assert {(s["kind"], s["task"], s["content_hash"]) for s in scenes} == {("drive_segment", "drive home", None)}
    policy = SynchroniseConfig().segmentation_policy
    assert [s["scene_id"] for s in scenes] == [
        ids.scene_id(drive["drive_id"], str(slot), policy) for slot in (85_000_000, 85_000_001)
    ]
    samples = tables["sample"].to_pylist()
    assert [s["frame_index"] for s in samples] == [*range(40), *range(20)]
    assert samples[0]["prev_sample_id"] is samples[39]["next_sample_id"] is samples[40]["prev_sample_id"] is None
    assert samples[0]["next_sample_id"] == samples[1]["sample_id"]
    assert samples[1]["prev_sample_id"] == samples[0]["sample_id"]
    assert {(s["timestamp_ns"] - START - 5 * MS) % (500 * MS) for s in samples} == {0}
    assert all(s["is_key_frame"] for s in samples)


def test_the_sync_index_has_a_row_for_every_sample_and_ruled_channel(recording):
    lidar = recording.add("/lidar", "lidar", every(0, 100, 200))
    recording.add("/cam/good", "camera", every(20, 100, 200))
    recording.add("/cam/late", "camera", every(40, 100, 200))
    recording.add("/cam/dead", "camera", every(0, 100, 5), status="undecodable")
    recording.add("/radar", "radar", every(120, 250, 79))
    recording.add("/can", "can", every(0, 1, 500))
    index = build(recording)["sync_index"].to_pylist()
    assert len(index) == 40 * 5
    by_channel = {}
    for row in index:
        by_channel.setdefault(row["channel"], []).append(row)
    assert [r["sample_data_id"] for r in by_channel["/lidar"]] == lidar[::5]
    assert {(r["delta_ns"], r["is_match"]) for r in by_channel["/lidar"]} == {(0, True)}
    assert {(r["delta_ns"], r["is_match"], r["tolerance_ns"]) for r in by_channel["/cam/good"]} == {
        (20 * MS, True, 25 * MS)
    }
    late = by_channel["/cam/late"]
    assert {(r["delta_ns"], r["is_match"], r["sample_data_id"]) for r in late} == {(40 * MS, False, None)}
    assert {(r["delta_ns"], r["is_match"]) for r in by_channel["/cam/dead"]} == {(None, False)}
    radar = by_channel["/radar"]
    assert {r["tolerance_ns"] for r in radar} == {125 * MS}
    assert all(r["is_match"] == (abs(r["delta_ns"]) <= 125 * MS) for r in radar)
    assert sum(r["is_match"] for r in radar) >= 39
    assert {r["method"] for r in index} == {"nearest"}
    assert {r["value"] for r in index} == {None}


@pytest.mark.parametrize("delta", [25 * MS, 25 * MS + 1, -25 * MS, -25 * MS - 1])
def test_the_camera_tolerance_is_inclusive(recording, delta):
    recording.add("/lidar", "lidar", [START + SECOND])
    recording.add("/cam", "camera", [START + SECOND + delta])
    row = next(r for r in build(recording)["sync_index"].to_pylist() if r["channel"] == "/cam")
    assert (row["delta_ns"], row["is_match"]) == (delta, abs(delta) <= 25 * MS)
    assert (row["sample_data_id"] is None) == (not row["is_match"])


def test_imu_and_joints_are_interpolated_at_the_keyframe(recording):
    recording.add("/lidar", "lidar", every(15, 500, 10))
    imu = {"linear_acceleration_m_s2": [0.0, 0.0, 9.81]}
    recording.add(
        "/imu",
        "imu",
        every(0, 10, 600),
        payload=("imu", lambda i: imu | {"angular_velocity_rad_s": [float(i), None, 1.0]}),
    )
    recording.add(
        "/joints",
        "robot_state",
        every(0, 10, 200),
        payload=("robot_state", lambda i: {"names": ["a"], "position": [2.0 * i] if i != 1 else [1.0, 2.0]}),
    )
    rows = build(recording)["sync_index"].to_pylist()
    imu_rows = [r for r in rows if r["channel"] == "/imu"]
    assert {(r["method"], r["is_match"]) for r in imu_rows} == {("linear", True)}
    np.testing.assert_allclose(imu_rows[1]["value"][:4], [0.0, 0.0, 9.81, 51.5])
    assert imu_rows[1]["value"][4] is None
    assert abs(imu_rows[1]["delta_ns"]) == 5 * MS
    assert imu_rows[1]["sample_data_id"] is not None
    joints = [r for r in rows if r["channel"] == "/joints"]
    np.testing.assert_allclose([r["value"] for r in joints[:4]], [[3.0], [103.0], [203.0], [303.0]])
    assert [r["is_match"] for r in joints] == [True] * 4 + [False] * 6
    assert {r["value"] for r in joints[4:]} == {None}
    assert joints[4]["delta_ns"] == 1990 * MS - 2015 * MS


def test_an_action_is_held_until_it_is_stale(recording):
    recording.add("/lidar", "lidar", every(0, 500, 4))
    recording.add("/action", "action", every(400, 10_000, 1))
    rows = [r for r in build(recording)["sync_index"].to_pylist() if r["channel"] == "/action"]
    assert [(r["delta_ns"] // MS, r["is_match"]) for r in rows] == [
        (400, False),
        (-100, True),
        (-600, False),
        (-1100, False),
    ]
    assert {r["method"] for r in rows} == {"hold"}


@pytest.mark.parametrize("is_across", [True, False])
def test_the_true_match_may_lie_in_the_next_segment(recording, is_across):
    recording.add("/lidar", "lidar", [START + SLOT_NS - 5 * MS, START + SLOT_NS + 300 * MS])
    frames = recording.add("/cam", "camera", [START + SLOT_NS - 25 * MS, START + SLOT_NS + 4 * MS])
    config = SynchroniseConfig(is_match_across_segments=is_across)
    row = next(r for r in build(recording, config)["sync_index"].to_pylist() if r["channel"] == "/cam")
    assert row["sample_data_id"] == (frames[1] if is_across else frames[0])


def test_a_row_outside_every_scene_is_no_match_however_near(recording):
    """It is in no table that a reader could join; how near it was is still told where there is nothing else."""
    recording.add("/lidar", "lidar", [START + SLOT_NS - 5 * MS])
    recording.add("/cam", "camera", [START + SLOT_NS + 1 * MS])
    (row,) = (r for r in build(recording)["sync_index"].to_pylist() if r["channel"] == "/cam")
    assert (row["is_match"], row["sample_data_id"], row["delta_ns"]) == (False, None, 6 * MS)


def test_messages_outside_every_scene_say_why(recording):
    recording.add("/lidar", "lidar", every(0, 100, 100))
    recording.add("/cam", "camera", every(0, 100, 300))
    recording.add("/gnss", "gnss", every(64_000, 100, 50))
    tables = build(recording)
    reasons = tables["unassigned"].group_by(["channel", "reason"]).aggregate([([], "count_all")]).to_pylist()
    assert {(r["channel"], r["reason"], r["count_all"]) for r in reasons} == {
        ("/cam", "no_reference_data_in_slot", 100),
        ("/gnss", "clock_offset_from_reference: +64.00 s", 50),
    }
    gnss = [r for r in tables["sync_index"].to_pylist() if r["channel"] == "/gnss"]
    assert len(gnss) == 20
    assert {(r["is_match"], r["sample_data_id"]) for r in gnss} == {(False, None)}
    assert gnss[0]["delta_ns"] == 64 * SECOND


def test_a_drive_without_lidar_and_camera_gets_a_fixed_grid(recording):
    recording.add("/imu", "imu", every(100, 10, 500), payload=("imu", lambda _: {}))
    tables = build(recording)
    assert tables["drive"]["reference_channel"].to_pylist() == [None]
    assert [ns - START for ns in tables["sample"]["timestamp_ns"].to_pylist()] == [k * 500 * MS for k in range(1, 11)]
    assert len(tables["sync_error"]) == 0
    assert not any(tables["sync_index"]["is_match"].to_pylist())


@pytest.mark.parametrize(
    ("modality", "status"),
    [("raw", "raw"), ("transform", "decoded"), ("camera", "undecodable"), ("language", "decoded")],
)
def test_a_drive_that_makes_no_scene_still_has_its_account(recording, modality, status):
    recording.add("/x", modality, every(0, 100, 5), status=status)
    tables = build(recording)
    assert len(tables["scene"]) == len(tables["sample"]) == len(tables["sync_index"]) == 0
    assert len(tables["drive"]) == len(tables["raw_object"]) == 1
    assert set(tables["unassigned"]["reason"].to_pylist()) <= {"no_channel_that_makes_scenes"}


def test_a_drive_without_a_message(recording):
    tables = build(recording)
    assert len(tables["drive"]) == 1
    assert len(tables["sample_data"]) == len(tables["unassigned"]) == 0


def test_episodes_are_the_scenes_of_a_robot(recording):
    marks = [("start", 0, 1000), ("end", 0, 2000), ("start", 1, 3000), ("end", 1, 4000)]
    for event, number, at_ms in marks:
        values = {"event": event, "episode_index": number, "task": "stack" if number else None}
        recording.add("/episode", "episode", [START + at_ms * MS], payload=("episode", lambda _, v=values: v))
    recording.add("/cam", "camera", every(0, 40, 130))
    recording.add("/lidar", "lidar", every(0, 10, 600))
    recording.add("/say", "language", every(1010, 2000, 2), payload=("language", lambda i: {"text": f"say {i}"}))
    tables = build(recording, metadata={"robot_type": "humanoid", "task": "from metadata"})
    scenes = tables["scene"].to_pylist()
    assert [(s["kind"], s["task"]) for s in scenes] == [("episode", "say 0"), ("episode", "stack")]
    assert [s["nbr_samples"] for s in scenes] == [26, 26]
    assert scenes[0]["start_ns"] == START + 1000 * MS
    assert scenes[0]["exclusive_end_ns"] == START + 2000 * MS + 1
    assert set(tables["unassigned"]["reason"].to_pylist()) == {"outside_every_episode"}
    said = [r for r in tables["sync_index"].to_pylist() if r["channel"] == "/say"]
    first_of_second = next(r for r in said if r["scene_id"] == scenes[1]["scene_id"])
    assert (first_of_second["is_match"], first_of_second["delta_ns"]) == (False, 10 * MS)
    assert sum(r["is_match"] for r in said) == 50


def test_what_was_wrong_with_an_object_is_told(recording):
    recording.add("/lidar", "lidar", every(0, 100, 3))
    problem = Problem("bad_chunk", "CRC differs", 100, 250)
    row = build(recording, problems=(problem,))["raw_object"].to_pylist()[0]
    assert (row["is_salvaged"], row["problem"]) == (True, "bad_chunk: CRC differs [bytes 100, 250)")


def test_a_minute_with_can_takes_well_under_three_seconds(recording):
    recording.add("/lidar", "lidar", every(0, 100, 600))
    recording.add("/cam", "camera", every(3, 50, 1200))
    rng = np.random.default_rng(1)
    recording.add("/can", "can", START + np.sort(rng.integers(0, 60_000, 135_000)) * MS)
    values = {"linear_acceleration_m_s2": [0.0, 0.0, 9.8], "angular_velocity_rad_s": [0.0, 0.0, 0.1]}
    recording.add("/imu", "imu", every(0, 10, 6000), payload=("imu", lambda _: values))
    drive = recording.drive()
    started = time.process_time()
    tables = synchronise_drive(drive, SynchroniseConfig()).tables
    seconds = time.process_time() - started
    assert len(tables["sample_data"]) == 142_800
    assert pc.sum(tables["sync_index"]["is_match"]).as_py() == 120 * 3
    assert seconds < 3.0, f"{seconds:.2f} s"


def test_one_stamp_that_is_decades_off_costs_an_episode_no_memory(recording):
    def mark(_):
        return {"event": "start", "episode_index": 0, "is_success": None, "task": None}

    def joints(_):
        return {"names": ["elbow"], "position": [1.0]}

    recording.add("/episode", "episode", [START], payload=("episode", mark))
    recording.add("/joints", "robot_state", every(0, 20, 60), payload=("robot_state", joints))
    recording.add("/joints", "robot_state", [START + 200 * 365 * 86_400 * SECOND], payload=("robot_state", joints))
    samples = build(recording)["sample"]
    assert (samples["timestamp_ns"].to_numpy() - START)[:13].tolist() == [i * 100 * MS for i in range(13)]
    assert len(samples) < 2 * 20 * 10, "ten a second where there is data, and none in the years between"
