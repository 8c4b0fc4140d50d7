"""The known traps of real recordings are reported, and agree with a reading of the raw files made here."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.feather as feather
import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.convert.converters import CONVERTERS
from scenelake.decode.config import DecodeConfig
from scenelake.decode.task import DecodeTask
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.clock_rules import ClockRule
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveObject
from scenelake.synchronise.job import read_drive

SECOND = 1_000_000_000
BRIDGE = "bridge_dataset-train.tfrecord-00000-of-00001"


@pytest.fixture
def synchronised(real_data, tmp_path):
    """A real recording, converted where that is needed, decoded and synchronised; its fault rows come apart."""

    def run(folder, converter=None, file=None, *rules):
        source = folder if isinstance(folder, Path) else real_data(folder)
        if converter is not None:
            path = tmp_path / "recording.mcap"
            CONVERTERS[converter](source, path)
        else:
            path = source / file
        objects = LocalObjects(tmp_path / "s3")
        key = f"fleet/car/drive/{path.name}"
        objects.write_file(f"s3://landing/{key}", path)
        drop = Drop(
            ids.drop_id("landing", key, "1"), "landing", key, "1", path.stat().st_size, "e", 1,
            "fleet", "car", "drive", ids.drive_id("fleet", "car", "drive"),
        )  # fmt: skip
        paths = LakePaths("s3://lake")
        outcome = DecodeTask(lambda: objects, paths, DecodeConfig(), "r")(drop)
        drive = read_drive(objects, [DriveObject(drop, paths.decoded("r", drop.drop_id), outcome)])
        done = synchronise_drive(drive, SynchroniseConfig(clock_rules=rules))
        faults = [f | {"evidence": json.loads(f["evidence"])} for f in done.tables["clock_fault"].to_pylist()]
        return done, faults

    return run


def radiate_stamps(folder: Path, name: str) -> list[int]:
    lines = re.findall(r"Time:\s*(\d+)\.(\d{9})", (folder / f"{name}.txt").read_text())
    return [int(s) * SECOND + int(ns) for s, ns in lines]


def test_radiate(real_data, synchronised):
    raw = real_data("radiate_tiny_foggy") / "data" / "radiate" / "tiny_foggy"
    gps, lidar = radiate_stamps(raw, "GPS_IMU_Twist"), radiate_stamps(raw, "velo_lidar")
    _, faults = synchronised("radiate_tiny_foggy", "radiate")
    for channel in ("/imu", "/gps/fix", "/gps/twist"):
        of = {f["fault_kind"]: f for f in faults if f["channel"] == channel}
        assert of["clock_off"]["size_ns"] == gps[0] - lidar[0]
        assert of["clock_off"]["size_ns"] / SECOND == pytest.approx(64.05, abs=0.01)
        assert of["duplicate_stamps"]["nbr_affected"] == sum(a == b for a, b in pairwise(gps)) == 125
        back = min(b - a for a, b in pairwise(gps))
        assert of["backward_stamp"]["size_ns"] == back
        assert back / SECOND == pytest.approx(-0.36, abs=0.001)
        assert of["backward_stamp"]["evidence"]["nbr_steps"] == 1
        assert (of["clock_off"]["start_ns"], of["clock_off"]["exclusive_end_ns"]) == (min(gps), max(gps) + 1)
    steady = {f["channel"] for f in faults if f["fault_kind"] in ("clock_off", "duplicate_stamps", "backward_stamp")}
    assert steady == {"/imu", "/gps/fix", "/gps/twist"}


def test_radiate_repaired_by_a_person_who_knows(synchronised):
    rules = [
        ClockRule(channel=c, repairs=("shift", "drop_duplicates", "drop_backward"), shift_ns=-64 * SECOND)
        for c in ("/imu", "/gps/*")
    ]
    done, faults = synchronised("radiate_tiny_foggy", "radiate", None, *rules)
    rows = done.tables["sample_data"].to_pylist()
    named = {row["clock_policy"] for row in rows if row["channel"] == "/imu"}
    assert named == {"shift+drop_duplicates+drop_backward"}
    assert {f["clock_policy"] for f in faults if f["channel"] == "/imu"} == named
    left_out = [row["reason"] for row in done.tables["unassigned"].to_pylist() if row["channel"] == "/imu"]
    assert left_out.count("duplicate_stamp") == 125


def test_the_tub_has_stamps_of_its_conversion(real_data, synchronised):
    lines = (real_data("donkeycar_tub") / "tub" / "catalog_0.catalog").read_text().splitlines()
    stamps = [json.loads(line)["_timestamp_ms"] * 1_000_000 for line in lines]
    _, faults = synchronised("donkeycar_tub", "donkeycar")
    assert {f["fault_kind"] for f in faults} == {"conversion_stamps"}
    camera = next(f for f in faults if f["channel"] == "/camera/front/image")
    assert camera["nbr_affected"] == len(stamps) == 1000
    assert camera["evidence"]["span_ns"] == stamps[-1] - stamps[0] == 3_330_000_000
    shared = {f["channel"]: f["evidence"].get("same_stamps_as") for f in faults if f is not camera}
    assert shared == {"/action/drive": "/camera/front/image", "/drive/mode": "/camera/front/image"}


def test_the_tub_retimed_has_none(synchronised):
    done, _ = synchronised("donkeycar_tub", "donkeycar", None, ClockRule(repairs=("retime",), rate_hz=20.0))
    rows = [r for r in done.tables["sample_data"].to_pylist() if r["channel"] == "/camera/front/image"]
    assert {b["timestamp_ns"] - a["timestamp_ns"] for a, b in pairwise(rows)} == {50_000_000}
    assert {r["clock_policy"] for r in rows} == {None, "retime"}


def test_av2_counts_from_the_gps_epoch(real_data, synchronised):
    (log,) = [p for p in real_data("av2_log_7fab2350").iterdir() if p.is_dir()]
    poses = feather.read_table(log / "city_SE3_egovehicle.feather")["timestamp_ns"].to_numpy()
    _, faults = synchronised("av2_log_7fab2350", "av2")
    assert {(f["fault_kind"], f["evidence"]["epoch"]) for f in faults} == {("epoch", "gps_epoch_start")}
    pose = next(f for f in faults if f["channel"] == "/pose")
    assert (pose["start_ns"], pose["exclusive_end_ns"]) == (int(poses.min()), int(poses.max()) + 1)
    assert pose["nbr_affected"] == len(poses)


def first_seconds(source: Path, target: Path, seconds: float) -> None:
    """Copies a comma2k19 segment with the rows of its first seconds alone, every array of it and no other file."""
    times = {t.parent: np.load(t) for name in ("t", "frame_times") for t in source.rglob(name)}
    end = min(t.min() for t in times.values() if len(t)) + seconds
    for folder, stamps in times.items():
        made = target / folder.relative_to(source)
        made.mkdir(parents=True)
        for path in (p for p in folder.iterdir() if p.is_file() and p.suffix not in (".hevc", ".png", ".bz2")):
            array = np.load(path)
            with (made / path.name).open("wb") as file:
                np.save(file, array[stamps < end] if len(array) == len(stamps) else array)


def test_comma2k19_counts_from_boot_and_says_so_of_every_channel(real_data, synchronised, tmp_path):
    """Of a tenth of the minute, all channels: to convert every CAN frame of it takes longer than all that is tested."""
    first_seconds(real_data("comma2k19_example1"), tmp_path / "segment", 6.0)
    (speed,) = (tmp_path / "segment").glob("Example_1/*/*/processed_log/CAN/speed/t")
    recorded = np.load(speed)
    done, faults = synchronised(tmp_path / "segment", "comma2k19")
    epochs = {f["channel"]: f["evidence"]["epoch"] for f in faults if f["fault_kind"] == "epoch"}
    assert len(epochs) > 20
    assert set(epochs) == {clock.channel for clock in done.clocks}
    assert set(epochs.values()) == {"boot_time"}
    clock = next(c for c in done.clocks if c.channel == "/vehicle/speed")
    assert clock.nbr_messages == len(recorded) > 100
    assert clock.start_ns == pytest.approx(recorded.min() * SECOND, abs=1000)
    assert clock.drift_ppm is None
    assert "stamps themselves" in clock.unobservable


def test_bridge_has_no_stamps_of_its_own(synchronised):
    done, faults = synchronised("octo_bridge_rlds", None, BRIDGE)
    (made_up,) = [f for f in faults if f["fault_kind"] == "made_up_stamps"]
    assert made_up["channel"] is None
    assert "time_from_step_index" in made_up["evidence"]["clock"]
    assert len(done.tables["scene"]) == 25
    assert {f["fault_kind"] for f in faults} == {"made_up_stamps", "epoch"}
