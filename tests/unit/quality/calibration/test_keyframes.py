"""Windows roll over a camera's frames without a gap, and say why they show nothing."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from scenelake.geometry.poses import IDENTITY, pose_of
from scenelake.geometry.trajectory import Trajectory
from scenelake.quality.calibration.image_edges import CameraView
from scenelake.quality.calibration.keyframes import (
    ALIGNMENT_SCHEMA,
    NO_RING,
    Keyframe,
    Sweep,
    TakenImage,
    alignment_table,
)

SECOND = 1_000_000_000
MATRIX = np.array([[300.0, 0, 160.0], [0, 300.0, 100.0], [0, 0, 1]])
CAMERA = pose_of(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.zeros(3))
VIEW = CameraView(CAMERA, MATRIX, None, None, (320, 200))
STILL = Trajectory.of(np.arange(0, 200 * SECOND, SECOND // 10, dtype=np.int64), np.tile(IDENTITY, (2000, 1)))
AZIMUTH, RINGS = np.meshgrid(np.radians(np.arange(-60, 60, 0.4)), np.radians(np.arange(-14, 15, 1.0)))


def screens(seed: int) -> tuple[Sweep, np.ndarray]:
    """A sweep of screens before a wall, and the image of them that a camera takes from nearly the same place."""
    random = np.random.default_rng(seed)
    range_m = np.full(AZIMUTH.shape, 30.0)
    image = np.full((200, 320), 90, np.uint8)
    v, u = np.mgrid[0:200, 0:320]
    x, y, z = 1.0, -(u - 160) / 300, -(v - 100) / 300
    azimuth, elevation = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
    for _ in range(6):
        left, width, top = random.uniform(-0.5, 0.4), random.uniform(0.05, 0.15), random.uniform(0.0, 0.2)
        for where, (a, e), value in (
            (range_m, (AZIMUTH, RINGS), 12.0), (image, (azimuth, elevation), random.integers(140, 250))
        ):  # fmt: skip
            where[(a > left) & (a < left + width) & (e < top)] = value
    a, e = AZIMUTH.ravel(), RINGS.ravel()
    points = range_m.ravel()[:, None] * np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)
    ring = np.repeat(np.arange(len(RINGS)), AZIMUTH.shape[1])
    return Sweep("/lidar", 0, points, ring, np.zeros(len(points), np.int64), IDENTITY), image


KNOWN = [screens(seed) for seed in range(8)]


def keyframes(count: int, **changes) -> Iterator[Keyframe]:
    for k in range(count):
        sweep, image = KNOWN[k % len(KNOWN)]
        taken = TakenImage("/camera", k * SECOND, image, VIEW)
        yield Keyframe(replace(sweep, stamp_ns=k * SECOND, **changes), (taken,))


@pytest.mark.parametrize(
    ("count", "ends"), [(40, [40]), (41, [40, 41]), (60, [40, 60]), (75, [40, 60, 75]), (80, [40, 60, 80])]
)
def test_rows_follow_each_other_without_a_gap(count: int, ends: list[int]) -> None:
    table = alignment_table(keyframes(count), STILL, window_frames=40)
    assert table.schema == ALIGNMENT_SCHEMA
    rows = table.to_pylist()
    assert [row["exclusive_end_ns"] for row in rows] == [(end - 1) * SECOND + 1 for end in ends]
    assert [row["start_ns"] for row in rows[1:]] == [row["exclusive_end_ns"] for row in rows[:-1]]
    assert rows[0]["start_ns"] == 0
    assert {row["nbr_frames"] for row in rows} == {40}


def test_a_true_calibration_is_confirmed() -> None:
    (row,) = alignment_table(keyframes(40), STILL).to_pylist()
    assert row["reason"] is None
    assert row["contrast"] > 6
    assert np.linalg.norm(row["rotation_deg"]) < 0.25


def test_sweeps_without_rings_and_without_poses_show_nothing() -> None:
    (row,) = alignment_table(keyframes(40, ring=None), STILL).to_pylist()
    assert NO_RING in row["reason"]
    assert row["rotation_deg"] is None
    nowhere = Trajectory.of(np.empty(0, np.int64), np.empty((0, 7)))
    (row,) = alignment_table(keyframes(40), nowhere).to_pylist()
    assert "pose_gap" in row["reason"]


def test_nothing_in_gives_nothing_out() -> None:
    assert alignment_table(iter(()), STILL).num_rows == 0


def test_sweeps_that_are_compensated_need_no_point_times() -> None:
    (row,) = alignment_table(keyframes(40, offset_ns=None, is_compensated=True), STILL).to_pylist()
    assert row["reason"] is None
