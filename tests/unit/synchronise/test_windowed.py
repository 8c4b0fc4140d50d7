"""A drive that is looked at some rows at a time, in files, is the drive that is looked at as a whole in memory."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenelake.adapters.objects import LocalObjects, read_table
from scenelake.adapters.table_files import TableFiles
from scenelake.synchronise import build, row_sources
from scenelake.synchronise.build import made_schemas, synchronise_drive, synchronise_into
from scenelake.synchronise.clock_rules import ClockRule
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import READ_TABLES
from scenelake.timebase import blocks, scratch
from scenelake.timebase.scratch import Scratch

MS = 1_000_000
SECOND = 1_000 * MS
START = 85_000_000 * 20 * SECOND
RULES = (
    {"repairs": ["remove_jumps"]},
    {"repairs": ["drop_duplicates", "remove_offset"], "latency_ns": 5 * MS},
    {"repairs": ["correct_epoch", "drop_backward"]},
    {"repairs": ["follow_log_time"]},
    {"repairs": ["retime"], "rate_hz": 37.5},
    {"repairs": ["shift", "drop_duplicates"], "shift_ns": -7 * MS},
)
CHANNELS = {
    "/lidar": ("lidar", 10), "/cam": ("camera", 30), "/radar": ("radar", 13), "/imu": ("imu", 100), "/can": ("can", 50),
    "/pose": ("ego_pose", 20), "/joint": ("robot_state", 50), "/act": ("action", 20),
}  # fmt: skip


def imu(i):
    return {
        "linear_acceleration_m_s2": [float(i), None if i % 97 == 3 else 1.0, 0.0],
        "angular_velocity_rad_s": [0.0, 0.0, float(i)] if i % 50 else None,
    }


def pose(i):
    values = dict.fromkeys(("y_m", "z_m", "qx", "qy", "qz"), 0.0) | {"x_m": float(i), "qw": 1.0}
    return {"world_from_ego": values if i % 11 else None, "frame_id": "map"}


def joint(i):
    return {"position": [float(i), 1.0, *([2.0] if i % 13 == 0 else [])]}


PAYLOADS = {"/imu": ("imu", imu), "/pose": ("ego_pose", pose), "/joint": ("robot_state", joint)}


def spoilt(stamps, random):
    """Stamps with a fault: a jump, repeats, drift, scatter, another epoch, a clock that is off; or with none."""
    first, last = sorted(random.integers(0, len(stamps), 2).tolist())
    part = slice(first, last)
    kind = int(random.integers(0, 7))
    if kind == 0:
        stamps[part] += int(random.integers(-400, 400)) * MS
    elif kind == 1:
        stamps[part] = np.repeat(stamps[part][::2], 2)[: last - first]
    elif kind == 2:
        stamps[part] += (stamps[part] - stamps[first]) * int(random.integers(-200, 200)) // 1_000_000
    elif kind == 3:
        stamps[part] += random.normal(0, 20 * MS, last - first).astype(np.int64)
    elif kind == 4:
        stamps -= 315_964_800 * SECOND
    elif kind == 5:
        stamps += int(random.integers(-70, 70)) * SECOND
    return stamps


def record(recording, seed):
    """A drive of one or two objects with what a recorder may do to it; stamps lie on edges of scenes as well."""
    random = np.random.default_rng(seed)
    for number in range(int(random.integers(1, 3))):
        begins = START + number * int(random.integers(3, 60)) * SECOND - int(random.integers(0, 3)) * SECOND
        for channel, (modality, rate_hz) in CHANNELS.items():
            if random.random() < 0.3:
                continue
            true = begins + np.arange(int(rate_hz * random.integers(2, 14))) * (SECOND // rate_hz)
            if random.random() < 0.7:
                true = true + random.normal(0, SECOND / rate_hz / 20, len(true)).astype(np.int64)
            log = np.maximum.accumulate(true + 5 * MS + random.exponential(200_000, len(true)).astype(np.int64))
            stamps = true.astype(np.int64)
            for _ in range(int(random.integers(0, 3))):
                stamps = np.abs(spoilt(stamps, random))
            if random.random() < 0.15:
                log = random.permutation(log)
            is_bad = random.random() < 0.2
            recording.add(
                channel, modality, stamps, logged_ns=log.tolist(), object_sha256=f"{number:064x}", frame_id="f",
                payload=None if is_bad else PAYLOADS.get(channel), status="undecodable" if is_bad else "decoded",
            )  # fmt: skip
    if random.random() < 0.2:
        mark = ("episode", lambda i: {"event": ("start", "end", "start")[i], "episode_index": i, "task": None})
        at = [START + seconds * SECOND for seconds in (2, 5, 8)]
        recording.add("/episode", "episode", at, payload=mark, object_sha256=f"{0:064x}")
    rules = tuple(
        ClockRule(channel=channel, **RULES[int(random.integers(0, len(RULES)))])
        for channel in CHANNELS
        if random.random() < 0.3
    )
    return SynchroniseConfig(
        clock_rules=rules if random.random() < 0.7 else (),
        is_native_rate=bool(random.random() < 0.2),
        is_match_across_segments=bool(random.random() < 0.8),
    )


def some_at_a_time(patch, size):
    """Blocks, batches and groups of scenes of about so many rows, and files for the shortest array."""
    for module, name, value in (
        (blocks, "BLOCK", 32 * size),
        (blocks, "_SORTED_AT_ONCE", 20 * size),
        (row_sources, "BATCH_ROWS", 7 * size),
        (build, "SAMPLES_AT_ONCE", size),
        (scratch, "_LEAST_FILE_BYTES", 1),
    ):
        patch.setattr(module, name, value)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12))
def test_windowed_is_whole(make_recording, tmp_path, seed, size):
    recording = make_recording()
    config = record(recording, seed)
    if not recording.rows:
        return
    whole = synchronise_drive(recording.drive(), config)
    with pytest.MonkeyPatch.context() as patch:
        some_at_a_time(patch, size)
        windowed = synchronise_drive(recording.drive(), config, Scratch(tmp_path))
    assert windowed.clocks == whole.clocks
    for name, table in whole.tables.items():
        assert windowed.tables[name].to_pylist() == table.to_pylist(), name


def test_a_fault_on_the_edge_of_every_block_is_told_once(make_recording, tmp_path):
    """Jumps, repeats and holes at each position about a block's edge."""
    for at in range(60, 70):
        recording = make_recording()
        true = START + np.arange(400) * 100 * MS
        stamps = true + 80 * MS * (np.arange(400) >= at)
        stamps[at + 100] = stamps[at + 99]
        kept = (np.arange(400) < at + 200) | (np.arange(400) >= at + 205)
        log = true + 5 * MS + np.arange(400) * 7919 % 200_000
        recording.add("/lidar", "lidar", stamps[kept], logged_ns=log[kept].tolist())
        whole = synchronise_drive(recording.drive(), SynchroniseConfig()).tables["clock_fault"].to_pylist()
        with pytest.MonkeyPatch.context() as patch:
            some_at_a_time(patch, 1)
            patch.setattr(blocks, "BLOCK", 64)
            found = synchronise_drive(recording.drive(), SynchroniseConfig(), Scratch(tmp_path)).tables["clock_fault"]
        assert found.to_pylist() == whole
        kinds = {row["fault_kind"] for row in whole}
        assert kinds == {"clock_jump", "duplicate_stamps", "missing_messages"}


def test_files_hold_what_memory_does(make_recording, tmp_path):
    recording = make_recording()
    config = record(recording, 5)
    tables = synchronise_drive(recording.drive(), config).tables
    objects = LocalObjects(tmp_path / "s3")
    (tmp_path / "work").mkdir()
    with TableFiles(objects, "s3://lake/drive", tmp_path / "work", made_schemas()) as files:
        synchronise_into(recording.drive(), config, files.write, Scratch(tmp_path / "work"))
    assert files.nbr_rows["sample_data"] == len(tables["sample_data"]) > 100
    for name, table in tables.items():
        found = read_table(objects, f"s3://lake/drive/{name}.parquet")
        assert found.schema.equals(table.schema), name
        assert found.equals(table), name


def test_nothing_is_left_where_a_table_could_not_be_made(tmp_path):
    objects = LocalObjects(tmp_path / "s3")

    def make():
        with TableFiles(objects, "s3://lake/drive", tmp_path, made_schemas()) as files:
            files.write("sample", made_schemas()["sample"].empty_table())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make()
    assert list(objects.list("s3://lake/drive")) == []


def test_every_table_that_is_read_is_in_memory_or_of_a_fast_sensor():
    assert set(READ_TABLES) == {*build.SLOW_TABLES, "imu", "robot_state", "ego_pose"}
