"""RADIATE, from its own time files, against figures computed here without Scenelake's functions."""

import re
from statistics import median

import numpy as np
import pytest

from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.sync_error import measure_sync_error

LINE = re.compile(r"Frame:\s*(\d+)\s*Time:\s*(\d+)\.(\d{9})")
MS = 1_000_000
CHANNELS = {
    "velo_lidar": ("/velo_lidar", "lidar"),
    "zed_left": ("/zed_left/image", "camera"),
    "zed_right": ("/zed_right/image", "camera"),
    "Navtech_Polar": ("/navtech/polar", "radar"),
    "GPS_IMU_Twist": ("/gps_imu/imu", "imu"),
}


@pytest.fixture
def stamps(real_data):
    folder = real_data("radiate_tiny_foggy") / "data" / "radiate" / "tiny_foggy"
    found = {}
    for name in CHANNELS:
        lines = LINE.findall((folder / f"{name}.txt").read_text())
        found[name] = [int(s) * 10**9 + int(ns) for _, s, ns in lines]
    # Its time file goes on after the last image.
    found["zed_left"] = found["zed_left"][: len(list((folder / "zed_left").glob("*.png")))]
    return found


@pytest.fixture
def synchronised(stamps, recording):
    for name, (channel, modality) in CHANNELS.items():
        payload = ("imu", lambda _: {}) if modality == "imu" else None
        recording.add(channel, modality, stamps[name], payload=payload)
    return synchronise_drive(recording.drive(), SynchroniseConfig())


def nearest_ms(lidar, camera):
    return [min(abs(c - t) for c in camera) / MS for t in lidar]


def test_lidar_to_left_camera_agrees_with_an_independent_computation(stamps, synchronised):
    lidar, camera, radar = (stamps[n] for n in ("velo_lidar", "zed_left", "Navtech_Polar"))
    start, end = max(s[0] for s in (lidar, camera, radar)), min(s[-1] for s in (lidar, camera, radar))
    assert (start / 10**9, end / 10**9) == pytest.approx((1574859772.428, 1574859775.767), abs=0.001)
    overlapping = [t for t in lidar if start <= t <= end]
    expected = nearest_ms(overlapping, camera)
    row = next(r for r in synchronised.tables["sync_error"].to_pylist() if r["channel"] == "/zed_left/image")
    assert (row["reference_channel"], row["nbr_reference"]) == ("/velo_lidar", len(expected))
    assert row["nbr_reference"] == 33
    assert row["median_abs_delta_ns"] / MS == pytest.approx(median(expected), abs=1e-6)
    assert row["max_abs_delta_ns"] / MS == pytest.approx(max(expected), abs=1e-6)
    assert (round(median(expected)), round(max(expected))) == (26, 60)


def test_sweeps_before_the_camera_starts_are_no_sync_error(stamps):
    everywhere = nearest_ms(stamps["velo_lidar"], stamps["zed_left"])
    assert max(everywhere) > 700
    error = measure_sync_error(np.array(stamps["velo_lidar"]), np.array(stamps["zed_left"]))
    assert error.max_abs_delta_ns < 60 * MS


def test_the_clock_of_gps_and_imu_is_reported_not_smoothed(stamps, synchronised):
    clock = next(c for c in synchronised.clocks if c.channel == "/gps_imu/imu")
    steps = np.diff(stamps["GPS_IMU_Twist"])
    assert clock.nbr_duplicate_stamps == int((steps == 0).sum()) == 125
    assert clock.nbr_backward_jumps == int((steps < 0).sum()) == 1
    assert clock.largest_backward_ns == -int(steps.min())
    assert clock.largest_backward_ns / 10**9 == pytest.approx(0.36, abs=0.001)
    assert clock.offset_from_reference_ns == stamps["GPS_IMU_Twist"][0] - stamps["velo_lidar"][0]
    assert clock.offset_from_reference_ns / 10**9 == pytest.approx(64.05, abs=0.005)
    reasons = synchronised.tables["unassigned"]["reason"].to_pylist()
    assert reasons == ["clock_offset_from_reference: +64.05 s"] * 250


def test_the_scene_is_one_slot_with_keyframes_on_the_lidar(stamps, synchronised):
    scene = synchronised.tables["scene"].to_pylist()
    keyframes = synchronised.tables["sample"]["timestamp_ns"].to_pylist()
    expected = {}
    for stamp in stamps["velo_lidar"]:
        expected.setdefault(stamp // (500 * MS), stamp)
    assert len(scene) == 1
    assert keyframes == list(expected.values())
    nearest = {
        r["delta_ns"] for r in synchronised.tables["sync_index"].to_pylist() if r["channel"] == "/zed_left/image"
    }
    assert nearest == {min((c - t for c in stamps["zed_left"]), key=lambda d: (abs(d), d)) for t in keyframes}
