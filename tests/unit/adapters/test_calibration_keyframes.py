"""Keyframes come with their own payload, spread over the drive, and what cannot be used is left out."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenelake.adapters.calibration_keyframes import (
    MIN_STEP_NS,
    STRETCH_NS,
    calibration_keyframes,
    camera_lidar_alignment,
    stretches,
)
from scenelake.adapters.objects import LocalObjects, write_table
from scenelake.contracts.tables import GOLD
from scenelake.decode.payload_files import payload_writer
from scenelake.geometry.poses import IDENTITY, struct_from_pose

SECOND = 1_000_000_000
COUNT = 12
CAMERA_FILE, LIDAR_FILE = "s3://lake/gold/camera_frame/a.parquet", "s3://lake/gold/lidar_sweep/a.parquet"
FOLDER = "s3://lake/work/drive"
WIDTH, HEIGHT = 1280, 720
MATRIX = [900.0, 0, 640.5, 0, 900.0, 359.5, 0, 0, 1]


def image(k: int, kind: str) -> bytes:
    picture = np.full((HEIGHT, WIDTH, 3), 10 * k, np.uint8)
    return cv2.imencode(f".{'jpg' if kind == 'jpeg' else kind}", picture)[1].tobytes()


def write_payload(objects: LocalObjects, uri: str, table: str, rows: list[dict[str, Any]]) -> None:
    sink = pa.BufferOutputStream()
    with payload_writer(sink, table) as writer:
        writer.write_table(pa.Table.from_pylist(rows, GOLD[table].schema))
    objects.write(uri, sink.getvalue().to_pybytes())


@pytest.fixture
def drive(tmp_path: Path) -> dict[str, Any]:
    """A LiDAR with every keyframe, one with few, and a camera: the tables, which a test may change."""
    objects = LocalObjects(tmp_path)
    kinds = ["png" if k == 3 else "h264" if k == 5 else "jpeg" for k in range(COUNT)]
    images = [
        {"sample_data_id": f"c{k}", "image": image(k, "jpeg" if kind == "h264" else kind), "image_format": kind,
         "width_px": WIDTH, "height_px": HEIGHT}
        for k, kind in enumerate(kinds)
    ]  # fmt: skip
    points = [
        {"sample_data_id": f"l{k}", "x_m": [1.0 + k, 2.0], "y_m": [0.0, 1.0], "z_m": [0.0, 1.0], "ring": [0, 1],
         "offset_ns": [0, 50]}
        for k in range(COUNT)
    ]  # fmt: skip
    write_payload(objects, CAMERA_FILE, "camera_frame", images)
    write_payload(objects, LIDAR_FILE, "lidar_sweep", points)
    samples: list[dict[str, Any]] = []
    matches: list[dict[str, Any]] = []
    for k in range(COUNT):
        for prefix, channel, modality, file in (
            ("c", "/cam", "camera", CAMERA_FILE), ("l", "/lidar", "lidar", LIDAR_FILE), ("r", "/rear", "lidar", None),
        ):  # fmt: skip
            if prefix == "r" and k % 3:
                continue
            samples.append(
                {"sample_data_id": f"{prefix}{k}", "channel": channel, "modality": modality, "status": "decoded",
                 "timestamp_ns": k * SECOND + (7 if prefix == "c" else 0), "calibrated_sensor_id": channel,
                 "payload_file": file, "row_index": k}
            )  # fmt: skip
            matches.append(
                {"sample_id": f"s{k}", "modality": modality, "channel": channel, "sample_data_id": f"{prefix}{k}",
                 "is_match": True}
            )  # fmt: skip
    sensors = [
        {"calibrated_sensor_id": name, "channel": name, "ego_from_sensor": struct_from_pose(IDENTITY)}
        for name in ("/cam", "/lidar", "/rear")
    ]
    sensors[0] |= {"intrinsics": MATRIX, "width_px": WIDTH, "height_px": HEIGHT, "camera_model": "plumb_bob"}
    return {"objects": objects, "sample_data": samples, "sync_index": matches, "calibrated_sensor": sensors}


def tables(drive: dict[str, Any]) -> dict[str, pa.Table]:
    names = ("sample_data", "sync_index", "calibrated_sensor")
    return {name: pa.Table.from_pylist(drive[name], schema=GOLD[name].schema) for name in names}


def read(drive: dict[str, Any], most: int = 100) -> list[Any]:
    return list(calibration_keyframes(drive["objects"], *tables(drive).values(), most))


def test_sweeps_and_images_are_those_of_the_keyframe(drive: dict[str, Any]) -> None:
    found = read(drive)
    assert [k.sweep.stamp_ns for k in found] == [k * SECOND for k in range(COUNT)]
    for k, keyframe in enumerate(found):
        sweep = keyframe.sweep
        np.testing.assert_array_equal(sweep.points_m, [[1.0 + k, 0, 0], [2, 1, 1]])
        np.testing.assert_array_equal(sweep.ring, [0, 1])
        np.testing.assert_array_equal(sweep.offset_ns, [0, 50])
        assert sweep.channel == "/lidar"
        if k != 5:
            (taken,) = keyframe.images
            assert taken.stamp_ns == k * SECOND + 7
            assert abs(int(taken.grey.mean()) - 10 * k) <= 1
    assert found[5].images == (), "video is not decoded"


def test_intrinsics_are_those_of_the_reduced_image(drive: dict[str, Any]) -> None:
    (taken,) = read(drive)[0].images
    assert taken.grey.shape == (HEIGHT // 2, WIDTH // 2)
    assert taken.view.size_px == (WIDTH // 2, HEIGHT // 2)
    # The middle of the first four pixels is the middle of the first reduced one.
    np.testing.assert_allclose(taken.view.intrinsics, [[450, 0, 320.0], [0, 450, 179.5], [0, 0, 1]])


def test_as_many_as_are_asked_for(drive: dict[str, Any]) -> None:
    assert [k.sweep.stamp_ns // SECOND for k in read(drive, 4)] == [0, 1, 2, 3]
    assert read(drive, 0) == []


def test_keyframes_lie_in_stretches_over_the_whole_drive() -> None:
    hour = np.arange(7200) * (SECOND // 2)
    found = stretches(hour, 300, 0.2)
    assert len(found) == 300
    at = np.flatnonzero(np.diff(found) > 1) + 1
    parts = np.split(hour[found], at)
    assert len(parts) == 10
    assert all(part[-1] - part[0] <= STRETCH_NS for part in parts)
    gaps = np.diff([part[0] for part in parts])
    assert gaps.max() - gaps.min() <= SECOND // 2
    assert parts[-1][-1] > hour[-1] - gaps[0]
    assert len(stretches(hour[:500], 300, 0.2)) == 100, "a drive of 250 s has a window"


@given(
    st.lists(st.integers(0, 400 * SECOND), min_size=1, max_size=300, unique=True),
    st.integers(1, 400),
    st.floats(0.001, 1.0),
)
def test_stretches_keep_their_limits(times: list[int], most: int, share: float) -> None:
    stamps = np.sort(np.array(times, np.int64))
    found = stretches(stamps, most, share)
    usable = min(len(stamps), (stamps[-1] - stamps[0]) // MIN_STEP_NS + 1)
    assert 1 <= len(found) <= min(most, np.ceil(share * usable))
    assert (np.diff(found) > 0).all()
    assert found[0] >= 0
    assert found[-1] < len(stamps)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d["calibrated_sensor"][0].update(intrinsics=None),
        lambda d: d["calibrated_sensor"][0].update(intrinsics=[-900.0, *MATRIX[1:]]),
        lambda d: d["calibrated_sensor"][0].update(intrinsics=[*MATRIX[:8], None]),
        lambda d: d["calibrated_sensor"][0].update(camera_model="mei"),
        lambda d: d["calibrated_sensor"][0].update(ego_from_sensor=None),
        lambda d: d["calibrated_sensor"][1].update(ego_from_sensor=None),
        lambda d: d["sync_index"].clear(),
        lambda d: [row.update(status="undecodable") for row in d["sample_data"]],
        lambda d: [row.update(payload_file="s3://lake/gold/gone.parquet") for row in d["sample_data"]],
        lambda d: [row.update(row_index=row["row_index"] + 1) for row in d["sample_data"]],
    ],
    ids=[
        "no intrinsics",
        "mirrored",
        "a hole",
        "lens unknown",
        "camera pose",
        "LiDAR pose",
        "no match",
        "undecodable",
        "gone",
        "moved",
    ],
)
def test_what_cannot_be_used_is_left_out(drive: dict[str, Any], spoil: Any) -> None:
    spoil(drive)
    assert not [image for keyframe in read(drive) for image in keyframe.images]


def test_a_sensor_that_moves_has_the_pose_of_its_message(drive: dict[str, Any]) -> None:
    drive["calibrated_sensor"][0]["ego_from_sensor"] = None
    for row in drive["sample_data"]:
        row["ego_from_sensor"] = struct_from_pose(np.array([0.0, 0, 1.5, 1, 0, 0, 0]))
    assert read(drive)[0].images[0].view.ego_from_camera[2] == 1.5


@pytest.mark.parametrize("is_recorded", [True, False])
def test_the_drives_ruling_poses_are_used(drive: dict[str, Any], is_recorded: bool) -> None:
    channel = "/pose"
    poses = [
        {"channel": channel, "timestamp_ns": k * SECOND // 10, "world_from_ego": struct_from_pose(IDENTITY)}
        for k in range(10 * COUNT + 10)
    ]
    table = pa.Table.from_pylist(poses, schema=GOLD["ego_pose"].schema)
    empty = table.slice(0, 0)
    objects = drive["objects"]
    ruling = pa.Table.from_pylist([{"drive_id": "d", "ego_pose_channel": channel}], schema=GOLD["drive"].schema)
    write_table(objects, f"{FOLDER}/drive.parquet", ruling)
    write_table(objects, f"{FOLDER}/ego_pose.parquet", empty if is_recorded else table)
    given_tables = tables(drive) | ({"ego_pose": table} if is_recorded else {})
    (row,) = camera_lidar_alignment(objects, FOLDER, given_tables, share=1.0, min_keyframes=0).to_pylist()
    assert row["channel"] == "/cam"
    assert row["reason"] == "0 outlines in 11 frames are too few"
