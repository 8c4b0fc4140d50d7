"""The ego's motion is taken out of sweeps where poses allow it, and a moving sensor's own extrinsics rule."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scenelake.contracts.modalities import Modality
from scenelake.contracts.tables import GOLD
from scenelake.loader.batches import SceneBatches
from scenelake.loader.config import StreamConfig
from scenelake.loader.reading import Calibration, sensors_of

from .memory_release import CAMERA, LIDAR, PERIOD_NS, POSE, MemoryReader, config, make_release

SPEED_M_S = 20.0
STILL = {**POSE, "tx_m": 0.0, "ty_m": 0.0, "tz_m": 0.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}
RADAR = StreamConfig(
    channel="/lidar", modality=Modality.RADAR, is_in_ego=False, is_compensated=True,
    point_columns=("x_m", "y_m", "z_m", "radial_velocity_compensated_m_s"),
)  # fmt: skip
SWEEPS = LIDAR.model_copy(update={"is_compensated": True, "is_in_ego": False})


def at(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


def moving_release(nbr_frames: int = 6, pose_hz: int = 100) -> MemoryReader:
    """An ego that drives straight ahead, whose LiDAR sees a wall that stands still: 10 m before frame 0's ego."""
    release = make_release([nbr_frames])
    sweeps = release.tables["lidar_sweep"]
    offsets = [[int(o * 1e6) for o in range(0, -10 * n, -10)] for n in sweeps["nbr_points"].to_pylist()]
    stamps = [frame * PERIOD_NS for frame in range(nbr_frames)]
    seen = [[10.0 - SPEED_M_S * (t + o) / 1e9 for o in own] for t, own in zip(stamps, offsets, strict=True)]
    release.tables["lidar_sweep"] = at(at(sweeps, "offset_ns", offsets), "x_m", seen)
    times = range(-PERIOD_NS, (nbr_frames + 1) * PERIOD_NS, 1_000_000_000 // pose_hz)
    poses = [
        {"scene_id": "scene-0000", "drive_id": "drive-000", "channel": channel, "timestamp_ns": t,
         "world_from_ego": {**STILL, "tx_m": 100.0 + speed * t / 1e9}}
        for t in times
        for channel, speed in (("/pose", SPEED_M_S), ("/odom", 0.0))
    ]  # fmt: skip
    release.tables["ego_pose"] = pa.Table.from_pylist(poses, GOLD["ego_pose"].schema)
    drive = {"drive_id": "drive-000", "ego_pose_channel": "/pose"}
    release.tables["drive"] = pa.Table.from_pylist([drive], GOLD["drive"].schema)
    return release


def batch(release: MemoryReader, **streams: StreamConfig) -> dict[str, Any]:
    given = config(streams=streams, batch_size=8, seed=None)
    (found,) = SceneBatches(release, given, prefetch_blocks=0, decode_threads=0)
    return found


def x_of(found: dict[str, Any], name: str = "lidar") -> list[np.ndarray]:
    """Positions along x of the real points, sweep by sweep."""
    return [p[m, 0] for p, m in zip(found[name], found[f"{name}.is_point"], strict=True)]


def test_a_wall_that_stands_still_is_flat_when_it_is_asked_for() -> None:
    release = moving_release()
    found = batch(release, lidar=SWEEPS)
    assert found["lidar.is_compensated"].tolist() == [True] * 6
    for frame, x in enumerate(x_of(found)):
        assert np.allclose(x, 10.0 - SPEED_M_S * frame * PERIOD_NS / 1e9, atol=1e-4)
    raw = batch(release, lidar=LIDAR.model_copy(update={"is_in_ego": False}))
    assert "lidar.is_compensated" not in raw
    assert max(np.ptp(x) for x in x_of(raw)) == pytest.approx(0.6, abs=1e-4)
    assert "ego_pose" not in {table for table, _ in moved(release)}


def moved(release: MemoryReader) -> list[tuple[str, int]]:
    """What a plain reading reads."""
    release.read.clear()
    batch(release, lidar=LIDAR)
    return release.read


def test_points_are_compensated_before_they_are_brought_to_the_ego() -> None:
    found = batch(moving_release(), lidar=SWEEPS.model_copy(update={"is_in_ego": True}))
    assert np.allclose(x_of(found)[0], 11.0, atol=1e-4), "the sensor sits 1 m before the ego's origin"


@pytest.mark.parametrize("lack", ["poses", "channel", "times", "extrinsics", "gap"])
def test_a_sweep_that_cannot_be_compensated_stays_and_says_so(lack: str) -> None:
    release = moving_release(pose_hz=2 if lack == "gap" else 100)
    tables = release.tables
    if lack == "poses":
        tables["ego_pose"] = tables["ego_pose"].slice(0, 0)
    elif lack == "channel":
        tables["drive"] = at(tables["drive"], "ego_pose_channel", [None])
    elif lack == "times":
        tables["lidar_sweep"] = at(tables["lidar_sweep"], "offset_ns", [None] * 6)
    elif lack == "extrinsics":
        tables["calibrated_sensor"] = tables["calibrated_sensor"].slice(0, 1)
    found = batch(release, lidar=SWEEPS)
    raw = batch(release, lidar=LIDAR.model_copy(update={"is_in_ego": False}))
    assert found["lidar.is_compensated"].tolist() == [False] * 6
    assert found["lidar.is_valid"].all()
    assert np.array_equal(found["lidar"], raw["lidar"])


def test_points_that_were_recorded_compensated_are_left_alone() -> None:
    release = moving_release()
    sensors = release.tables["calibrated_sensor"]
    release.tables["calibrated_sensor"] = at(sensors, "is_motion_compensated", [None, True])
    found = batch(release, lidar=SWEEPS)
    assert found["lidar.is_compensated"].all()
    assert np.array_equal(
        found["lidar"], batch(release, lidar=SWEEPS.model_copy(update={"is_compensated": False}))["lidar"]
    )


def radar_release(recorded: list[list[float] | None]) -> MemoryReader:
    """The same as a radar of points straight ahead, whose Doppler is the ego's own speed and 3 m/s of theirs."""
    release = moving_release(len(recorded))
    sweeps = release.tables.pop("lidar_sweep")
    rows = [
        {"sample_data_id": r["sample_data_id"], "x_m": [10.0, 20.0], "y_m": [0.0, 0.0], "z_m": [0.0, 0.0],
         "radial_velocity_m_s": [-SPEED_M_S, 3.0 - SPEED_M_S], "radial_velocity_compensated_m_s": own}
        for r, own in zip(sweeps.to_pylist(), recorded, strict=True)
    ]  # fmt: skip
    release.tables["radar_sweep"] = pa.Table.from_pylist(rows, GOLD["radar_sweep"].schema)
    for name, column in (("sample_data", "payload_table"), ("sync_index", "modality")):
        table = release.tables[name]
        was, now = ("lidar_sweep", "radar_sweep") if column == "payload_table" else ("lidar", "radar")
        release.tables[name] = at(table, column, [now if v == was else v for v in table[column].to_pylist()])
    return release


@pytest.mark.parametrize("recorded", [None, [1.0, 2.0]])
def test_doppler_is_worked_out_where_it_was_not_recorded(recorded: list[float] | None) -> None:
    found = batch(radar_release([recorded, None, [5.0, 6.0]]), radar=RADAR)
    velocity = [p[m, 3].tolist() for p, m in zip(found["radar"], found["radar.is_point"], strict=True)]
    assert found["radar.is_compensated"].all()
    assert velocity[0] == pytest.approx(recorded or [0.0, 3.0], abs=1e-4)
    assert velocity[1] == pytest.approx([0.0, 3.0], abs=1e-4)
    assert velocity[2] == [5.0, 6.0]


def test_doppler_without_poses_is_not_made_up() -> None:
    release = radar_release([None, [5.0, 6.0]])
    release.tables["ego_pose"] = release.tables["ego_pose"].slice(0, 0)
    found = batch(release, radar=RADAR)
    assert found["radar.is_compensated"].tolist() == [False, True]
    assert found["radar"][0, :2, 3].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channel": "/camera", "modality": "camera"}, "a stream of points"),
        ({"channel": "/radar", "modality": "radar"}, "radial_velocity_compensated_m_s"),
    ],
)
def test_compensation_of_what_has_none_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamConfig.model_validate({**values, "is_compensated": True})


def test_a_moving_sensor_brings_its_own_extrinsics() -> None:
    release = make_release([3])
    data = release.tables["sample_data"]
    own = {**POSE, "tx_m": 7.0}
    poses = [
        own if c == "/camera" and r == 1 else None
        for c, r in zip(*(data[n].to_pylist() for n in ("channel", "row_index")), strict=True)
    ]
    release.tables["sample_data"] = at(data, "ego_from_sensor", poses)
    found = batch(release, camera=CAMERA)
    assert found["camera.ego_from_sensor"][:, 0, 3].tolist() == [1.0, 7.0, 1.0]
    assert (found["camera.intrinsics"][1] == found["camera.intrinsics"][0]).all(), "intrinsics are the calibration's"


def test_own_extrinsics_need_no_calibration_and_must_be_rigid() -> None:
    rows = [
        {"calibrated_sensor_id": None, "ego_from_sensor": POSE},
        {"calibrated_sensor_id": "c", "ego_from_sensor": {**POSE, "qw": 0.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}},
        {"calibrated_sensor_id": "gone", "ego_from_sensor": None},
    ]
    messages = pa.Table.from_pylist(rows, GOLD["sample_data"].schema)
    known = Calibration(np.eye(4), np.eye(3), (1, 2))
    found = sensors_of(messages, {"c": known})
    assert found[0] is not None
    assert found[0].ego_from_sensor is not None
    assert found[0].ego_from_sensor[:3, 3].tolist() == [1.0, 0.5, 1.5]
    assert replace(found[0], ego_from_sensor=None) == Calibration()
    assert found[1:] == [known, None]
