"""Rigs, their noise, and the seeds of two sets that share none of them: one to fit limits on, one to try them on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scenelake.simulate.config import (
    SECOND_NS,
    Camera,
    DriveConfig,
    Gnss,
    Imu,
    Lidar,
    Mount,
    Odometry,
    Radar,
    Sensor,
)
from scenelake.simulate.robot_config import RobotConfig

CAMERA, LIDAR, RADAR = "/camera/front/image", "/lidar/top/points", "/radar/front/points"
IMU, ODOMETRY, GNSS = "/imu/data", "/odometry", "/gnss/fix"
HEAD, WRIST, EPISODES = "/camera/head/image", "/camera/wrist_right/image", "/episode"
DEPTH = "/camera/wrist_right/depth"
JOINTS, ACTIONS = "/joint_states", "/action/joint_command"

SCENE_NS = 20 * SECOND_NS
NBR_SCENES = 6
"""Of a drive. A fault is in some of them, as it is when a sensor fails on the road."""
NBR_EPISODES = 8
EPISODE_NS, PAUSE_NS = 5 * SECOND_NS, SECOND_NS // 2
START_NS = 88_000_000 * SCENE_NS
"""A multiple of the slots that scenes are cut by."""


@dataclass(frozen=True)
class Rig:
    """A car's sensors: what sets one model apart from another, and its noise.

    Rates are lower than a car's, because none of the checks depends on them and every message costs; LiDAR and camera
    are triggered together, as on the road.
    """

    name: str
    camera_px: tuple[int, int]
    camera_hz: float
    camera_noise: float
    jpeg_quality: int
    field_deg: float
    rings: int
    azimuths: int
    elevation_deg: tuple[float, float]
    range_noise_m: float
    dropout: float
    radar_rays: int
    doppler_noise_m_s: float
    imu_hz: float
    imu_mount: Mount
    gyro: tuple[float, float]
    accelerometer: tuple[float, float]
    odometry_hz: float
    pose_noise_m: float
    speed_error: float
    jitter_ns: int

    def drive(self, seed: int, nbr_scenes: int, speed_m_s: float, vehicles: int, pedestrians: int) -> DriveConfig:
        """A drive of so many scenes."""
        camera = Camera(
            topic=CAMERA, frame_id="camera_front", mount=Mount(x_m=1.7, z_m=1.5, pitch_deg=2.0),
            rate_hz=self.camera_hz, phase_ns=7_000_000, jitter_ns=self.jitter_ns, width_px=self.camera_px[0],
            height_px=self.camera_px[1], noise=self.camera_noise, jpeg_quality=self.jpeg_quality,
            horizontal_fov_deg=self.field_deg,
        )  # fmt: skip
        lidar = Lidar(
            topic=LIDAR, frame_id="lidar_top", mount=Mount(x_m=0.9, z_m=1.9, yaw_deg=0.4), rate_hz=2.5,
            phase_ns=3_000_000, jitter_ns=self.jitter_ns // 3, rings=self.rings, azimuths=self.azimuths,
            elevation_min_deg=self.elevation_deg[0], elevation_max_deg=self.elevation_deg[1], range_max_m=60.0,
            range_noise_m=self.range_noise_m, dropout=self.dropout,
        )  # fmt: skip
        radar = Radar(
            topic=RADAR, frame_id="radar_front", mount=Mount(x_m=3.6, y_m=0.1, z_m=0.5), rate_hz=2.5,
            phase_ns=19_000_000, jitter_ns=self.jitter_ns, rays=self.radar_rays, range_max_m=60.0,
            velocity_noise_m_s=self.doppler_noise_m_s,
        )  # fmt: skip
        imu = Imu(
            topic=IMU, frame_id="imu", mount=self.imu_mount, rate_hz=self.imu_hz, jitter_ns=self.jitter_ns // 10,
            gyro_noise_rad_s=self.gyro[0], gyro_bias_rad_s=self.gyro[1],
            accelerometer_noise_m_s2=self.accelerometer[0], accelerometer_bias_m_s2=self.accelerometer[1],
        )  # fmt: skip
        odometry = Odometry(
            topic=ODOMETRY, frame_id="base_link", rate_hz=self.odometry_hz, phase_ns=2_000_000, jitter_ns=50_000
        )
        gnss = Gnss(
            topic=GNSS, frame_id="gnss", mount=Mount(x_m=0.2, z_m=1.7), rate_hz=2.0, phase_ns=40_000_000,
            jitter_ns=1_000_000, latency_ns=60_000_000,
        )  # fmt: skip
        return DriveConfig(
            seed=seed, start_ns=START_NS, duration_ns=nbr_scenes * SCENE_NS, ego_speed_m_s=speed_m_s,
            vehicles=vehicles, pedestrians=pedestrians, calibration_rate_hz=0.1, rig_id=self.name, cameras=(camera,),
            lidars=(lidar,), radars=(radar,), imu=imu, odometry=odometry, gnss=gnss,
        )  # fmt: skip


@dataclass(frozen=True)
class Humanoid:
    """A robot's rates, noise and the lag of its joints. Encoders of joints scatter by up to 3 milliradians."""

    name: str
    joint_hz: float
    action_hz: float
    noise_rad: float
    lag_ns: int

    def session(self, seed: int) -> RobotConfig:
        """A session of ``NBR_EPISODES`` episodes."""
        usual = RobotConfig()
        small = {"width_px": 96, "height_px": 64, "rate_hz": 5.0}
        return RobotConfig(
            seed=seed, start_ns=START_NS, episodes=NBR_EPISODES, episode_ns=EPISODE_NS, pause_ns=PAUSE_NS,
            failed_episodes=(1, 6), action_lag_ns=self.lag_ns, joint_noise_rad=self.noise_rad, rig_id=self.name,
            joints=_changed(usual.joints, {"rate_hz": self.joint_hz}),
            actions=_changed(usual.actions, {"rate_hz": self.action_hz}),
            head_camera=Camera(**usual.head_camera.model_dump() | small),
            wrist_camera=Camera(**usual.wrist_camera.model_dump() | small),
        )  # fmt: skip


def _changed(sensor: Sensor, values: Mapping[str, Any]) -> Sensor:
    return Sensor(**sensor.model_dump() | dict(values))


@dataclass(frozen=True)
class TrialSet:
    """Rigs and the seeds that drives of them are drawn from: ``first_seed`` and on."""

    name: str
    rigs: tuple[Rig, ...]
    humanoids: tuple[Humanoid, ...]
    first_seed: int


FIT = TrialSet(
    "fit",
    (
        Rig(
            "fit-a", (192, 128), 2.5, 1.5, 80, 80.0, 16, 90, (-24.0, 10.0), 0.01, 0.01, 64, 0.06, 50.0,
            Mount(x_m=0.4, y_m=0.1, z_m=0.6), (0.001, 0.0005), (0.02, 0.02), 20.0, 0.001, 0.005, 400_000,
        ),
        Rig(
            "fit-b", (208, 112), 5.0, 3.0, 70, 95.0, 12, 120, (-20.0, 6.0), 0.03, 0.04, 48, 0.15, 40.0,
            Mount(x_m=0.2, z_m=0.4, yaw_deg=2.0), (0.004, 0.002), (0.08, 0.05), 10.0, 0.0018, 0.007, 1_000_000,
        ),
        Rig(
            "fit-c", (160, 128), 2.5, 0.8, 90, 70.0, 20, 72, (-26.0, 14.0), 0.02, 0.02, 80, 0.1, 60.0,
            Mount(x_m=-0.1, y_m=-0.2, z_m=0.5, roll_deg=1.0), (0.002, 0.001), (0.04, 0.03), 25.0, 0.0005, 0.01, 200_000,
        ),
    ),
    (
        Humanoid("fit-robot-a", 50.0, 30.0, 0.0005, 40_000_000),
        Humanoid("fit-robot-b", 40.0, 20.0, 0.002, 80_000_000),
    ),
    100_000,
)  # fmt: skip
HELD_OUT = TrialSet(
    "held-out",
    (
        Rig(
            "held-a", (176, 144), 2.5, 2.2, 75, 75.0, 18, 84, (-25.0, 8.0), 0.015, 0.015, 56, 0.08, 45.0,
            Mount(x_m=0.5, z_m=0.7, yaw_deg=-1.5), (0.0015, 0.001), (0.03, 0.04), 16.0, 0.002, 0.003, 600_000,
        ),
        Rig(
            "held-b", (224, 128), 2.5, 3.6, 85, 100.0, 14, 108, (-22.0, 9.0), 0.025, 0.05, 72, 0.12, 55.0,
            Mount(x_m=0.1, y_m=0.3, z_m=0.5), (0.003, 0.0015), (0.06, 0.02), 20.0, 0.0015, 0.004, 900_000,
        ),
        Rig(
            "held-c", (192, 112), 5.0, 1.1, 65, 85.0, 12, 100, (-18.0, 12.0), 0.008, 0.025, 60, 0.05, 50.0,
            Mount(x_m=0.3, z_m=0.3, pitch_deg=1.0), (0.0008, 0.0007), (0.015, 0.03), 25.0, 0.001, 0.008, 300_000,
        ),
        Rig(
            "held-d", (208, 144), 2.5, 2.8, 90, 65.0, 22, 68, (-27.0, 11.0), 0.035, 0.03, 84, 0.14, 40.0,
            Mount(x_m=-0.3, y_m=0.1, z_m=0.8, roll_deg=-0.8), (0.0035, 0.0018), (0.07, 0.06), 12.5, 0.002, 0.006,
            800_000,
        ),
    ),
    (
        Humanoid("held-robot-a", 45.0, 25.0, 0.0007, 60_000_000),
        Humanoid("held-robot-b", 55.0, 30.0, 0.0003, 30_000_000),
        Humanoid("held-robot-c", 40.0, 20.0, 0.0025, 90_000_000),
    ),
    900_000,
)  # fmt: skip
