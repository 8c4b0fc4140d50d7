"""ROS 2 messages from NumPy values. Quaternions here are (qw, qx, qy, qz); transforms are target_from_source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.adapters.recording_writer import ros_typestore
from scenelake.contracts.errors import BadInputError
from scenelake.geometry.poses import quaternion_of

NS_PER_S = 1_000_000_000
Floats = npt.NDArray[np.float64]

IMAGE = "sensor_msgs/msg/CompressedImage"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TF = "tf2_msgs/msg/TFMessage"
IMU = "sensor_msgs/msg/Imu"
NAV_SAT_FIX = "sensor_msgs/msg/NavSatFix"
MAGNETIC_FIELD = "sensor_msgs/msg/MagneticField"
TWIST = "geometry_msgs/msg/TwistStamped"
POSE = "geometry_msgs/msg/PoseStamped"
ODOMETRY = "nav_msgs/msg/Odometry"
DETECTIONS = "vision_msgs/msg/Detection3DArray"
CAN_FRAME = "can_msgs/msg/Frame"
RADAR_TRACKS = "radar_msgs/msg/RadarTracks"

SIGNALS = "scenelake.Signals"
SIGNALS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "timestamp_ns": {"type": "integer"},
        "names": {"type": "array", "items": {"type": "string"}},
        "units": {"type": "array", "items": {"type": "string"}},
        "values": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["timestamp_ns", "names", "units", "values"],
}

_POINT_FIELD_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


@dataclass(frozen=True)
class Transform:
    """A rigid transform ``target_from_source``: translation in metres ``[3]``, rotation matrix ``[3, 3]``."""

    translation_m: Floats
    rotation: Floats

    def __matmul__(self, other: "Transform") -> "Transform":
        return Transform(self.rotation @ other.translation_m + self.translation_m, self.rotation @ other.rotation)

    def inverse(self) -> "Transform":
        """``source_from_target``."""
        return Transform(-self.rotation.T @ self.translation_m, self.rotation.T)


@dataclass(frozen=True)
class Box:
    """A cuboid: pose of its centre in the message's frame, size along its own x, y, z in metres."""

    track_id: str
    category: str
    center_m: Sequence[float]
    quaternion: Sequence[float]
    size_m: Sequence[float]


@cache
def ros() -> SimpleNamespace:
    """Message classes by their bare name (``Header``, ``Imu``, …)."""
    types = ros_typestore().types
    wanted = [name for name in types if name.split("/")[0] in _PACKAGES]
    return SimpleNamespace(**{name.rsplit("/", 1)[1]: types[name] for name in wanted})


_PACKAGES = {
    "builtin_interfaces", "std_msgs", "sensor_msgs", "geometry_msgs", "nav_msgs", "tf2_msgs", "vision_msgs",
    "can_msgs", "radar_msgs",
}  # fmt: skip


def header(stamp_ns: int, frame_id: str) -> Any:
    """``std_msgs/Header``."""
    seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
    return ros().Header(stamp=ros().Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def vector(values: Sequence[float] | Floats) -> Any:
    """``geometry_msgs/Vector3``."""
    x, y, z = (float(value) for value in values)
    return ros().Vector3(x=x, y=y, z=z)


def point(values: Sequence[float] | Floats) -> Any:
    """``geometry_msgs/Point``."""
    x, y, z = (float(value) for value in values)
    return ros().Point(x=x, y=y, z=z)


def quaternion(values: Sequence[float] | Floats) -> Any:
    """``geometry_msgs/Quaternion`` from (qw, qx, qy, qz)."""
    qw, qx, qy, qz = (float(value) for value in values)
    return ros().Quaternion(x=qx, y=qy, z=qz, w=qw)


def image(stamp_ns: int, frame_id: str, image_format: str, data: bytes) -> Any:
    """A compressed image with the file's own bytes."""
    return ros().CompressedImage(
        header=header(stamp_ns, frame_id), format=image_format, data=np.frombuffer(data, np.uint8)
    )


def point_cloud(stamp_ns: int, frame_id: str, points: npt.NDArray[np.void]) -> Any:
    """An unorganised cloud from a structured array ``[n]``; its field names and types become the PointFields."""
    dtype = points.dtype
    fields = [
        ros().PointField(
            name=name, offset=dtype.fields[name][1], datatype=_POINT_FIELD_TYPES[dtype[name].str[1:]], count=1
        )
        for name in dtype.names or ()
        if dtype.fields is not None
    ]
    return ros().PointCloud2(
        header=header(stamp_ns, frame_id),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * len(points),
        data=np.frombuffer(points.tobytes(), np.uint8),
        is_dense=bool(all(np.isfinite(points[name]).all() for name in ("x", "y", "z"))),
    )


def camera_info(
    stamp_ns: int, frame_id: str, size_px: tuple[int, int], k: Floats, distortion_model: str, d: Sequence[float]
) -> Any:
    """Calibration of an unrectified camera: ``k`` is ``[3, 3]`` in pixels, ``size_px`` (width, height)."""
    projection = np.zeros((3, 4))
    projection[:, :3] = k
    return ros().CameraInfo(
        header=header(stamp_ns, frame_id),
        height=size_px[1],
        width=size_px[0],
        distortion_model=distortion_model,
        d=np.asarray(d, np.float64),
        k=np.asarray(k, np.float64).reshape(9),
        r=np.eye(3).reshape(9),
        p=projection.reshape(12),
        binning_x=0,
        binning_y=0,
        roi=ros().RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def static_transforms(stamp_ns: int, parents: Mapping[tuple[str, str], Transform]) -> Any:
    """One ``TFMessage`` from ``{(parent frame, child frame): parent_from_child}``."""
    return ros().TFMessage(
        transforms=[
            ros().TransformStamped(
                header=header(stamp_ns, parent),
                child_frame_id=child,
                transform=ros().Transform(
                    translation=vector(transform.translation_m), rotation=quaternion(quaternion_of(transform.rotation))
                ),
            )
            for (parent, child), transform in parents.items()
        ]
    )


def pose(center_m: Sequence[float] | Floats, quaternion_wxyz: Sequence[float] | Floats) -> Any:
    """``geometry_msgs/Pose``."""
    return ros().Pose(position=point(center_m), orientation=quaternion(quaternion_wxyz))


def pose_stamped(
    stamp_ns: int, frame_id: str, center_m: Sequence[float] | Floats, quaternion_wxyz: Sequence[float] | Floats
) -> Any:
    """Pose of ``base_link`` in ``frame_id``, for sources that have no velocity to put into an Odometry."""
    return ros().PoseStamped(header=header(stamp_ns, frame_id), pose=pose(center_m, quaternion_wxyz))


def detections(stamp_ns: int, frame_id: str, boxes: Sequence[Box]) -> Any:
    """Annotated cuboids. The score is 1: a person drew them."""
    return ros().Detection3DArray(
        header=header(stamp_ns, frame_id), detections=[_detection(stamp_ns, frame_id, box) for box in boxes]
    )


def _detection(stamp_ns: int, frame_id: str, box: Box) -> Any:
    center = pose(box.center_m, box.quaternion)
    return ros().Detection3D(
        header=header(stamp_ns, frame_id),
        results=[
            ros().ObjectHypothesisWithPose(
                hypothesis=ros().ObjectHypothesis(class_id=box.category, score=1.0),
                pose=ros().PoseWithCovariance(pose=center, covariance=np.zeros(36)),
            )
        ],
        bbox=ros().BoundingBox3D(center=center, size=vector(box.size_m)),
        id=box.track_id,
    )


def nav_sat_fix(stamp_ns: int, frame_id: str, position: Sequence[float], covariance_m2: Floats | None = None) -> Any:
    """A fix at (latitude_deg, longitude_deg, altitude_m); covariance ``[3, 3]`` east, north, up or unknown."""
    latitude_deg, longitude_deg, altitude_m = (float(value) for value in position)
    fix = ros().NavSatFix
    is_known = covariance_m2 is not None
    return fix(
        header=header(stamp_ns, frame_id),
        status=ros().NavSatStatus(status=ros().NavSatStatus.STATUS_FIX, service=ros().NavSatStatus.SERVICE_GPS),
        latitude=latitude_deg,
        longitude=longitude_deg,
        altitude=altitude_m,
        position_covariance=np.zeros(9) if covariance_m2 is None else np.asarray(covariance_m2).reshape(9),
        position_covariance_type=fix.COVARIANCE_TYPE_KNOWN if is_known else fix.COVARIANCE_TYPE_UNKNOWN,
    )


def signals(stamp_ns: int, names: Sequence[str], units: Sequence[str], values: Sequence[float] | Floats) -> Any:
    """``scenelake.Signals``.

    Raises:
        BadInputError: a value is not finite, which JSON cannot carry.
    """
    numbers = [float(value) for value in values]
    if not np.isfinite(numbers).all():
        raise BadInputError(f"signals {list(names)} at {stamp_ns} ns: not finite: {numbers}", reason="not_finite")
    return {"timestamp_ns": stamp_ns, "names": list(names), "units": list(units), "values": numbers}
