"""What a simulated drive consists of. Frozen; unknown keys are rejected."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenelake.simulate.faults import CAMERA_FAULTS, Fault
from scenelake.simulate.geometry import BODY_FROM_OPTICAL, Transform, rotation_from_rpy

SECOND_NS = 1_000_000_000
DEFAULT_START_NS = 1_760_011_200 * SECOND_NS
"""2025-10-09 12:00:00 UTC: never the present, and a multiple of 20 s since the epoch."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Nanoseconds = Annotated[int, Field(ge=0)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mount(Frozen):
    """Where a sensor sits on the ego (base_link: on the ground under the rear axle, x forward, y left, z up)."""

    x_m: float = 0.0
    y_m: float = 0.0
    z_m: float = 0.0
    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0

    def ego_from_body(self) -> Transform:
        angles = np.radians([self.roll_deg, self.pitch_deg, self.yaw_deg])
        return Transform(rotation_from_rpy(*angles), np.array([self.x_m, self.y_m, self.z_m]))


class Sensor(Frozen):
    """One sensor's channel and its timing.

    Attributes:
        rate_hz: messages a second, to a thousandth.
        phase_ns: true time of the first message since the recording's start, before jitter.
        jitter_ns: standard deviation of the trigger, clipped at 3 of it and at a quarter period.
        latency_ns, latency_jitter_ns: true time to publication, least and spread (exponential).
        clock_offset_ns, clock_drift_ppm: what the sensor's own clock, hence its stamp, is off by from the start.
    """

    topic: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_/]+$")]
    frame_id: str
    mount: Mount = Mount()
    rate_hz: Annotated[float, Field(ge=0.001, le=10_000)]
    phase_ns: Nanoseconds = 0
    jitter_ns: Nanoseconds = 0
    latency_ns: Nanoseconds = 1_000_000
    latency_jitter_ns: Nanoseconds = 200_000
    clock_offset_ns: int = 0
    clock_drift_ppm: float = 0.0

    def ego_from_sensor(self) -> Transform:
        return self.mount.ego_from_body()


class Camera(Sensor):
    """A global-shutter camera; the stamp is the middle of the exposure. Frame: z forward, x right, y down.

    Attributes:
        distortion: plumb_bob k1, k2, p1, p2, k3.
        noise: standard deviation of the image noise in grey levels.
    """

    width_px: Annotated[int, Field(ge=16, le=4096)] = 640
    height_px: Annotated[int, Field(ge=16, le=4096)] = 384
    horizontal_fov_deg: Annotated[float, Field(gt=10, lt=140)] = 80.0
    distortion: tuple[float, float, float, float, float] = (-0.06, 0.008, 0.0004, -0.0003, 0.0)
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 80
    noise: NotNegative = 1.5
    latency_ns: Nanoseconds = 12_000_000
    latency_jitter_ns: Nanoseconds = 2_000_000

    @property
    def info_topic(self) -> str:
        return f"{self.topic.rsplit('/', 1)[0]}/camera_info"

    def ego_from_sensor(self) -> Transform:
        return self.mount.ego_from_body() @ Transform(BODY_FROM_OPTICAL, np.zeros(3))


class Lidar(Sensor):
    """A spinning LiDAR: one sweep a message, stamped at its first column, counter-clockwise from the rear."""

    rings: Annotated[int, Field(ge=1, le=256)] = 32
    azimuths: Annotated[int, Field(ge=8, le=8192)] = 450
    elevation_min_deg: float = -24.0
    elevation_max_deg: float = 10.0
    range_max_m: Positive = 80.0
    range_noise_m: NotNegative = 0.01
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.01
    latency_ns: Nanoseconds = 104_000_000
    latency_jitter_ns: Nanoseconds = 1_000_000


class Radar(Sensor):
    """A radar with Doppler (positive receding)."""

    horizontal_fov_deg: Annotated[float, Field(gt=1, le=360)] = 110.0
    rays: Annotated[int, Field(ge=4, le=4096)] = 160
    range_max_m: Positive = 110.0
    range_noise_m: NotNegative = 0.08
    azimuth_noise_deg: NotNegative = 0.25
    velocity_noise_m_s: NotNegative = 0.06
    latency_ns: Nanoseconds = 25_000_000
    latency_jitter_ns: Nanoseconds = 3_000_000


class Imu(Sensor):
    """Gyroscope and accelerometer with white noise and a constant bias drawn from the seed (in the truth file)."""

    gyro_noise_rad_s: NotNegative = 0.001
    gyro_bias_rad_s: NotNegative = 0.0005
    accelerometer_noise_m_s2: NotNegative = 0.02
    accelerometer_bias_m_s2: NotNegative = 0.02
    latency_ns: Nanoseconds = 500_000
    latency_jitter_ns: Nanoseconds = 100_000


class Odometry(Sensor):
    """Poses of base_link in the map frame, as a perfect localiser would give them, and twists in base_link."""


class Gnss(Sensor):
    """WGS 84 fixes of the antenna; the map frame is the east-north-up tangent plane at the origin."""

    origin_latitude_deg: float = 48.1372
    origin_longitude_deg: float = 11.5755
    origin_altitude_m: float = 519.0
    noise_m: NotNegative = 0.4


class Annotator(Sensor):
    """Ground-truth boxes in the map frame of labelled objects that are in range and at least partly visible."""

    range_max_m: Positive = 60.0


class DriveConfig(Frozen):
    """One drive. Everything follows from it: equal configurations give equal bytes.

    Attributes:
        pass_index: which pass over the same road and traffic this is: each has its own noise and jitter, and
            starts ``pass_gap_ns`` after the one before. Passes are near-duplicates of each other.
        encoding: ros2 (all CDR) or protobuf (Foxglove schemas for images, calibration, points, transforms
            and fixes; CDR for what those schemas or their readers lack: IMU, odometry, annotations).
        calibration_rate_hz: how often each camera's calibration is repeated.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    start_ns: Nanoseconds = DEFAULT_START_NS
    duration_ns: Annotated[int, Field(gt=0)] = 40 * SECOND_NS
    pass_index: Annotated[int, Field(ge=0)] = 0
    pass_gap_ns: Annotated[int, Field(gt=0)] = 3600 * SECOND_NS
    encoding: Literal["ros2", "protobuf"] = "ros2"
    ego_speed_m_s: Annotated[float, Field(ge=0, le=60)] = 11.0
    vehicles: Annotated[int, Field(ge=0, le=200)] = 14
    pedestrians: Annotated[int, Field(ge=0, le=200)] = 16
    calibration_rate_hz: Positive = 1.0
    rig_id: str = "sim-rig-1"
    cameras: tuple[Camera, ...] = ()
    lidars: tuple[Lidar, ...] = ()
    radars: tuple[Radar, ...] = ()
    imu: Imu | None = None
    odometry: Odometry | None = None
    gnss: Gnss | None = None
    annotations: Annotator | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def pass_start_ns(self) -> int:
        return self.start_ns + self.pass_index * self.pass_gap_ns

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        single = (self.imu, self.odometry, self.gnss, self.annotations)
        return (*self.cameras, *self.lidars, *self.radars, *(s for s in single if s is not None))

    @model_validator(mode="after")
    def _topics_and_faults_fit(self) -> Self:
        check_topics_and_faults(self.sensors, self.faults)
        return self


def check_topics_and_faults(sensors: tuple[Sensor, ...], faults: tuple[Fault, ...]) -> None:
    """Raises ValueError for a topic used twice or a fault that names no sensor or one that cannot have it."""
    topics = [s.topic for s in sensors] + [s.info_topic for s in sensors if isinstance(s, Camera)]
    twice = sorted({t for t in topics if topics.count(t) > 1})
    if twice:
        raise ValueError(f"topics used twice: {', '.join(twice)}")
    by_topic = {s.topic: s for s in sensors}
    for fault in faults:
        if fault.sensor not in by_topic:
            raise ValueError(f"{fault.kind}: no sensor {fault.sensor!r}, there are {', '.join(sorted(by_topic))}")
        if fault.kind in CAMERA_FAULTS and not isinstance(by_topic[fault.sensor], Camera):
            raise ValueError(f"{fault.kind}: {fault.sensor!r} is not a camera")
        if fault.kind == "miscalibration" and not isinstance(by_topic[fault.sensor], Camera | Lidar | Radar):
            raise ValueError(f"{fault.kind}: {fault.sensor!r} is not a camera, LiDAR or radar")


def _camera(name: str, mount: Mount, rate_hz: float, phase_ns: int) -> Camera:
    return Camera(
        topic=f"/camera/{name}/image",
        frame_id=f"camera_{name}",
        mount=mount,
        rate_hz=rate_hz,
        phase_ns=phase_ns,
        jitter_ns=400_000,
    )


def plan_default_drive(seed: int = 0) -> DriveConfig:
    """A drive fit for a demo: 40 s, three cameras, LiDAR, radar, IMU, odometry, GNSS and annotations."""
    return DriveConfig(
        seed=seed,
        cameras=(
            _camera("front", Mount(x_m=1.7, z_m=1.5, pitch_deg=2.0), 12.0, 7_000_000),
            _camera("front_left", Mount(x_m=1.5, y_m=0.6, z_m=1.5, yaw_deg=55.0, pitch_deg=2.0), 10.0, 15_000_000),
            _camera("front_right", Mount(x_m=1.5, y_m=-0.6, z_m=1.5, yaw_deg=-55.0, pitch_deg=2.0), 10.0, 94_000_000),
        ),
        lidars=(
            Lidar(
                topic="/lidar/top/points",
                frame_id="lidar_top",
                mount=Mount(x_m=0.9, z_m=1.9, yaw_deg=0.4, pitch_deg=0.3),
                rate_hz=10.0,
                phase_ns=3_000_000,
                jitter_ns=150_000,
            ),
        ),
        radars=(
            Radar(
                topic="/radar/front/points",
                frame_id="radar_front",
                mount=Mount(x_m=3.6, y_m=0.1, z_m=0.5),
                rate_hz=13.0,
                phase_ns=19_000_000,
                jitter_ns=600_000,
            ),
        ),
        imu=Imu(
            topic="/imu/data", frame_id="imu", mount=Mount(x_m=0.4, y_m=0.1, z_m=0.6), rate_hz=100.0, jitter_ns=40_000
        ),
        odometry=Odometry(topic="/odometry", frame_id="base_link", rate_hz=50.0, phase_ns=2_000_000, jitter_ns=50_000),
        gnss=Gnss(
            topic="/gnss/fix", frame_id="gnss", mount=Mount(x_m=0.2, z_m=1.7), rate_hz=5.0, phase_ns=40_000_000,
            jitter_ns=1_000_000, latency_ns=60_000_000,
        ),
        annotations=Annotator(topic="/annotations/boxes", frame_id="map", rate_hz=5.0, phase_ns=3_000_000),
    )  # fmt: skip
