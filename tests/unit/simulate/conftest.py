"""A short, noiseless drive and a reader that shares nothing with the simulator."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader

from scenelake.adapters.recording_writer import ros_typestore
from scenelake.simulate.config import (
    SECOND_NS,
    Annotator,
    Camera,
    DriveConfig,
    Gnss,
    Imu,
    Lidar,
    Mount,
    Odometry,
    Radar,
)
from scenelake.simulate.drive import simulate_drive

DTYPES = {2: "u1", 4: "<u2", 6: "<u4", 7: "<f4", 8: "<f8"}


@dataclass
class Message:
    log_ns: int
    publish_ns: int
    data: bytes
    encoding: str
    schema: str
    message: Any

    @property
    def stamp_ns(self) -> int:
        header = self.message.header if hasattr(self.message, "header") else self.message.transforms[0].header
        return header.stamp.sec * SECOND_NS + header.stamp.nanosec


def read_recording(path: Path) -> dict[str, list[Message]]:
    """All messages by topic, in file order, with CDR ones decoded."""
    store = ros_typestore()
    found: dict[str, list[Message]] = defaultdict(list)
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages(log_time_order=False):
            decoded = None
            if channel.message_encoding == "cdr":
                decoded = store.deserialize_cdr(message.data, schema.name)
            found[channel.topic].append(
                Message(
                    message.log_time, message.publish_time, message.data, channel.message_encoding, schema.name, decoded
                )
            )
    return dict(found)


def cloud(message: Any) -> np.ndarray:
    """A PointCloud2 as a structured array."""
    dtype = np.dtype(
        {
            "names": [f.name for f in message.fields],
            "formats": [DTYPES[f.datatype] for f in message.fields],
            "offsets": [f.offset for f in message.fields],
            "itemsize": message.point_step,
        }
    )
    return np.frombuffer(message.data.tobytes(), dtype)


def rotation(q: Any) -> np.ndarray:
    """Rotation matrix of a quaternion message."""
    w, x, y, z = q.w, q.x, q.y, q.z
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def vector(v: Any) -> np.ndarray:
    return np.array([v.x, v.y, v.z])


class Poses:
    """Poses of a recording's odometry, interpolated."""

    def __init__(self, messages: list[Message]) -> None:
        self.stamp_ns = np.array([m.stamp_ns for m in messages])
        poses = [m.message.pose.pose for m in messages]
        self.position = np.array([vector(p.position) for p in poses])
        self.rotation = np.array([rotation(p.orientation) for p in poses])
        self.twist = [m.message.twist.twist for m in messages]

    def at(self, times_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n, 3) and rotations (n, 3, 3); matrices are blended, which errs by the angle's square."""
        right = np.clip(np.searchsorted(self.stamp_ns, times_ns), 1, len(self.stamp_ns) - 1)
        left = right - 1
        share = (times_ns - self.stamp_ns[left]) / (self.stamp_ns[right] - self.stamp_ns[left])
        position = self.position[left] + share[:, None] * (self.position[right] - self.position[left])
        turned = self.rotation[left] + share[:, None, None] * (self.rotation[right] - self.rotation[left])
        return position, turned


def mounts(messages: dict[str, list[Message]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rotation and translation of each frame of /tf_static."""
    transforms = messages["/tf_static"][0].message.transforms
    return {t.child_frame_id: (rotation(t.transform.rotation), vector(t.transform.translation)) for t in transforms}


def small_config(**changes: Any) -> DriveConfig:
    """Three seconds, two small cameras and one of everything else, without noise."""
    values: dict[str, Any] = {
        "seed": 5,
        "duration_ns": 3 * SECOND_NS,
        "cameras": (
            Camera(topic="/camera/front/image", frame_id="camera_front", rate_hz=5.0, phase_ns=5_000_000,
                   width_px=320, height_px=192, mount=Mount(x_m=1.7, z_m=1.5, pitch_deg=2.0), noise=0.5),
            Camera(topic="/camera/left/image", frame_id="camera_left", rate_hz=4.0, width_px=160, height_px=96,
                   mount=Mount(x_m=1.5, y_m=0.6, z_m=1.5, yaw_deg=55.0)),
        ),
        "lidars": (
            Lidar(topic="/lidar/top/points", frame_id="lidar_top", rate_hz=10.0, azimuths=360, range_noise_m=0.0,
                  mount=Mount(x_m=0.9, z_m=1.9, yaw_deg=3.0, roll_deg=0.5), jitter_ns=100_000),
        ),
        "radars": (
            Radar(topic="/radar/front/points", frame_id="radar_front", rate_hz=13.0, range_noise_m=0.0,
                  azimuth_noise_deg=0.0, velocity_noise_m_s=0.0, mount=Mount(x_m=3.6, y_m=0.3, z_m=0.5, yaw_deg=5.0)),
        ),
        "imu": Imu(topic="/imu/data", frame_id="imu", rate_hz=100.0, mount=Mount(x_m=0.4, y_m=0.3, z_m=0.6, yaw_deg=90),
                   gyro_noise_rad_s=0.0, gyro_bias_rad_s=0.0, accelerometer_noise_m_s2=0.0,
                   accelerometer_bias_m_s2=0.0),
        "odometry": Odometry(topic="/odometry", frame_id="base_link", rate_hz=100.0),
        "gnss": Gnss(topic="/gnss/fix", frame_id="gnss", rate_hz=5.0, noise_m=0.0),
        "annotations": Annotator(topic="/annotations/boxes", frame_id="map", rate_hz=20.0, latency_jitter_ns=0),
    }  # fmt: skip
    return DriveConfig(**(values | changes))


@pytest.fixture(scope="session")
def small_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drive") / "small.mcap"
    simulate_drive(small_config(), path)
    return path


@pytest.fixture(scope="session")
def messages(small_drive: Path) -> dict[str, list[Message]]:
    return read_recording(small_drive)


@pytest.fixture(scope="session")
def tools() -> Any:
    """This module's helpers, which tests under importlib mode cannot import."""

    class Tools:
        read: Callable[[Path], dict[str, list[Message]]] = staticmethod(read_recording)
        config: Callable[..., DriveConfig] = staticmethod(small_config)
        cloud = staticmethod(cloud)
        mounts = staticmethod(mounts)
        rotation = staticmethod(rotation)
        vector = staticmethod(vector)
        poses = Poses

    return Tools
