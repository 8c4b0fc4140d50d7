"""A short drive over three scenes, in parts: a file per sensor and stretch of time."""

from pathlib import Path

from scenelake.simulate.config import SECOND_NS, Camera, DriveConfig, Gnss, Imu, Lidar, Mount, Odometry, Radar
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.split import split_recording

SLOT_NS = 20 * SECOND_NS
START_NS = 88_000_000 * SLOT_NS


def _config() -> DriveConfig:
    """Three slots of 20 s; a radar and a GNSS receiver so slow that their periods rule their tolerance."""
    return DriveConfig(
        seed=3, start_ns=START_NS, duration_ns=3 * SLOT_NS, vehicles=1, pedestrians=0, calibration_rate_hz=0.1,
        cameras=(
            Camera(
                topic="/camera/front/image", frame_id="camera_front", mount=Mount(x_m=1.7, z_m=1.5), rate_hz=1.0,
                phase_ns=7_000_000, jitter_ns=300_000, width_px=32, height_px=24,
            ),
        ),
        lidars=(
            Lidar(
                topic="/lidar/points", frame_id="lidar", mount=Mount(z_m=1.9), rate_hz=2.0, rings=2, azimuths=8,
                jitter_ns=200_000,
            ),
        ),
        radars=(
            Radar(
                topic="/radar/points", frame_id="radar", mount=Mount(x_m=3.6), rate_hz=4.0, rays=4, jitter_ns=900_000,
            ),
        ),
        imu=Imu(topic="/imu/data", frame_id="imu", rate_hz=5.0),
        gnss=Gnss(topic="/gnss/fix", frame_id="gnss", rate_hz=2.0, jitter_ns=900_000),
        odometry=Odometry(topic="/odometry", frame_id="base_link", rate_hz=5.0),
    )  # fmt: skip


def simulate_parts(folder: Path) -> dict[str, bytes]:
    """``<sensor>/part_<n>.mcap`` by path, in three pieces of about 20 s."""
    simulate_drive(_config(), folder / "whole.mcap")
    found = {}
    for sensor in split_recording(folder / "whole.mcap", folder / "sensors", "sensor"):
        name = sensor.parent.name
        for piece in split_recording(sensor, folder / "parts" / name, "3"):
            found[f"{name}/{piece.name}"] = piece.read_bytes()
    return found
