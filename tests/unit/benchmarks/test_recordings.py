"""The recordings that decode is measured with: whole, decodable, the same every time."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from benchmarks.decode_limits import blocks_of, hashed_together
from benchmarks.decode_ours import DRIVE, LANDING, checked, drops_of, task_of
from benchmarks.peers.measuring import Step
from benchmarks.recordings import JOINTS, KINDS, NBR_CAN_IDS, Written, write_recording
from mcap.reader import make_reader

SECONDS = 0.4
TOPICS = {
    "camera": {f"/camera_{n}/image": 15 for n in range(6)},
    "lidar": {f"/lidar_{n}/points": 10 for n in range(2)},
    "imu": {f"/imu_{n}/data": 200 for n in range(4)},
    "can": {"/can0/frames": 2_000, "/can1/frames": 2_000},
    "joints": {"/joint_states": 500},
    "mixed": {
        **{f"/camera_{n}/image": 15 for n in range(6)},
        "/lidar_0/points": 10,
        "/imu_0/data": 200,
        "/can0/frames": 1_000,
        "/odometry": 50,
        "/tf": 50,
    },
}
Made = Callable[[str], tuple[Path, Written]]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("recordings")
    known: dict[str, tuple[Path, Written]] = {}

    def make(kind: str) -> tuple[Path, Written]:
        if kind not in known:
            path = folder / f"{kind}.mcap"
            known[kind] = path, write_recording(kind, path, SECONDS)
        return known[kind]

    return make


def decoded(path: Path, folder: Path):
    step = Step(path, f"s3://{LANDING}/{DRIVE}/{path.name}", folder, options={"is_local": True})
    return task_of(step)(drops_of(step)[0])


def rows(folder: Path, table: str):
    return pq.read_table(next(folder.rglob(f"{table}.parquet")))


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_is_there_and_decodes(kind, made, tmp_path):
    path, written = made(kind)
    outcome = decoded(path, tmp_path)
    assert checked([outcome]) == {"messages": written.nbr_messages, "payload_bytes": written.payload_bytes}
    assert {c.channel: c.read for c in outcome.channels} == {t: int(r * SECONDS) for t, r in TOPICS[kind].items()}
    assert outcome.problems == ()


def test_can_frames_have_their_ids_and_eight_bytes(made, tmp_path):
    decoded(made("can")[0], tmp_path)
    frames = rows(tmp_path, "can_frame")
    ids = set(frames["can_id"].to_pylist())
    assert ids == set(range(0x100, 0x100 + NBR_CAN_IDS))
    assert {len(data) for data in frames["data"].to_pylist()} == {8}


def test_a_sensor_keeps_its_covariance(made, tmp_path):
    decoded(made("imu")[0], tmp_path)
    table = rows(tmp_path, "imu")
    by_sensor = set(zip(table["channel"].to_pylist(), map(tuple, table["covariance"].to_pylist()), strict=True))
    assert len(by_sensor) == 4
    assert len({covariance for _, covariance in by_sensor}) == 4
    accelerations = [tuple(a) for a in table["linear_acceleration_m_s2"].to_pylist()]
    assert len(set(accelerations)) == len(accelerations)


def test_joints_have_their_names(made, tmp_path):
    decoded(made("joints")[0], tmp_path)
    table = rows(tmp_path, "robot_state")
    assert table["names"][0].as_py() == list(JOINTS)
    assert len(JOINTS) == 30
    assert {len(position) for position in table["position"].to_pylist()} == {30}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    contents = []
    for seed in (1, 1, 2):
        write_recording("can", tmp_path / "can.mcap", 0.1, seed)
        contents.append((tmp_path / "can.mcap").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_log_times_ascend_and_stamps_come_before(made, tmp_path):
    with made("mixed")[0].open("rb") as file:
        times = [
            (message.log_time, message.publish_time)
            for _, _, message in make_reader(file).iter_messages(log_time_order=False)
        ]
    assert times == sorted(times)
    assert all(published < logged for logged, published in times)
    decoded(made("mixed")[0], tmp_path)
    index = rows(tmp_path, "message_index")
    assert index["timestamp_ns"].to_pylist() == index["publish_time_ns"].to_pylist()


def test_a_message_that_is_not_decoded_is_told(made, tmp_path):
    path = tmp_path / "damaged.mcap"
    data = bytearray(made("lidar")[0].read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    outcome = decoded(path, tmp_path)
    with pytest.raises(ValueError, match="lidar"):
        checked([outcome])


@pytest.mark.parametrize("kind", ["mixed", "imu"])
def test_hashing_alone_covers_every_payload(kind, made):
    path, written = made(kind)
    hashed = sum(len(payload) for block in blocks_of(path) for payload in hashed_together(block))
    assert written.payload_bytes <= hashed <= 1.25 * written.payload_bytes
