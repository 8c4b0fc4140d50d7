"""ROS 2 messages of simulated readings, for CDR channels."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.geometry.poses import quaternion_of
from scenelake.simulate.annotations import LabelledBox
from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.geometry import Floats, Transform
from scenelake.simulate.rasteriser import Lens

_POINT_FIELD_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


class MessageKind(StrEnum):
    IMAGE = "image"
    CALIBRATION = "calibration"
    POINTS = "points"
    IMU = "imu"
    ODOMETRY = "odometry"
    FIX = "fix"
    TRANSFORMS = "transforms"
    BOXES = "boxes"
    JOINTS = "joints"
    TEXT = "text"


ROS_TYPES: dict[MessageKind, str] = {
    MessageKind.IMAGE: "sensor_msgs/msg/CompressedImage",
    MessageKind.CALIBRATION: "sensor_msgs/msg/CameraInfo",
    MessageKind.POINTS: "sensor_msgs/msg/PointCloud2",
    MessageKind.IMU: "sensor_msgs/msg/Imu",
    MessageKind.ODOMETRY: "nav_msgs/msg/Odometry",
    MessageKind.FIX: "sensor_msgs/msg/NavSatFix",
    MessageKind.TRANSFORMS: "tf2_msgs/msg/TFMessage",
    MessageKind.BOXES: "vision_msgs/msg/Detection3DArray",
    MessageKind.JOINTS: "sensor_msgs/msg/JointState",
    MessageKind.TEXT: "std_msgs/msg/String",
}


class RosMessages:
    """Registers channels and makes the messages that go into them."""

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        self._types = writer.ros.types

    def add_channel(self, topic: str, kind: MessageKind, metadata: Mapping[str, str]) -> None:
        self._writer.add_ros_channel(topic, ROS_TYPES[kind], metadata)

    def image(self, stamp_ns: int, frame_id: str, jpeg: bytes) -> Any:
        return self._make("sensor_msgs/msg/CompressedImage")(
            self._header(stamp_ns, frame_id), "jpeg", np.frombuffer(jpeg, np.uint8)
        )

    def calibration(self, stamp_ns: int, frame_id: str, lens: Lens) -> Any:
        region = self._make("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False)
        projection = np.column_stack([lens.matrix, np.zeros(3)])
        return self._make("sensor_msgs/msg/CameraInfo")(
            header=self._header(stamp_ns, frame_id),
            height=lens.config.height_px,
            width=lens.config.width_px,
            distortion_model="plumb_bob",
            d=lens.distortion,
            k=lens.matrix.ravel(),
            r=np.eye(3).ravel(),
            p=projection.ravel(),
            binning_x=0,
            binning_y=0,
            roi=region,
        )

    def points(self, stamp_ns: int, frame_id: str, points: npt.NDArray[np.void]) -> Any:
        """A cloud whose fields are those of the structured dtype."""
        field = self._make("sensor_msgs/msg/PointField")
        layout: Mapping[str, Any] = points.dtype.fields or {}
        fields = [field(name, at, _POINT_FIELD_TYPES[kind.str[1:]], 1) for name, (kind, at, *_) in layout.items()]
        return self._make("sensor_msgs/msg/PointCloud2")(
            header=self._header(stamp_ns, frame_id),
            height=1,
            width=len(points),
            fields=fields,
            is_bigendian=False,
            point_step=points.dtype.itemsize,
            row_step=points.nbytes,
            data=points.view(np.uint8) if len(points) else np.empty(0, np.uint8),
            is_dense=True,
        )

    def imu(
        self, stamp_ns: int, frame_id: str, force_m_s2: Floats, rate_rad_s: Floats, variances: tuple[float, float]
    ) -> Any:
        """``variances`` are of rate and force. The orientation is marked as not measured (REP 145)."""
        unknown = np.zeros(9)
        unknown[0] = -1.0
        return self._make("sensor_msgs/msg/Imu")(
            header=self._header(stamp_ns, frame_id),
            orientation=self._make("geometry_msgs/msg/Quaternion")(0.0, 0.0, 0.0, 1.0),
            orientation_covariance=unknown,
            angular_velocity=self._vector(rate_rad_s),
            angular_velocity_covariance=(np.eye(3) * variances[0]).ravel(),
            linear_acceleration=self._vector(force_m_s2),
            linear_acceleration_covariance=(np.eye(3) * variances[1]).ravel(),
        )

    def odometry(
        self, stamp_ns: int, map_from_ego: Transform, velocity_m_s: Floats, rate_rad_s: Floats
    ) -> Any:  # fmt: skip
        """Pose in map, twist in base_link; covariances are zero because the pose is the truth."""
        twist = self._make("geometry_msgs/msg/Twist")(self._vector(velocity_m_s), self._vector(rate_rad_s))
        return self._make("nav_msgs/msg/Odometry")(
            header=self._header(stamp_ns, "map"),
            child_frame_id="base_link",
            pose=self._make("geometry_msgs/msg/PoseWithCovariance")(self._pose(map_from_ego), np.zeros(36)),
            twist=self._make("geometry_msgs/msg/TwistWithCovariance")(twist, np.zeros(36)),
        )

    def fix(self, stamp_ns: int, frame_id: str, fix: Floats, variance_m2: float) -> Any:
        status = self._make("sensor_msgs/msg/NavSatStatus")(status=0, service=1)
        return self._make("sensor_msgs/msg/NavSatFix")(
            header=self._header(stamp_ns, frame_id),
            status=status,
            latitude=float(fix[0]),
            longitude=float(fix[1]),
            altitude=float(fix[2]),
            position_covariance=(np.eye(3) * variance_m2).ravel(),
            position_covariance_type=2,
        )

    def transforms(self, stamp_ns: int, transforms: Mapping[tuple[str, str], Transform]) -> Any:
        """Transforms by (parent, child) frame: ``parent_from_child``."""
        stamped = self._make("geometry_msgs/msg/TransformStamped")
        transform = self._make("geometry_msgs/msg/Transform")
        return self._make("tf2_msgs/msg/TFMessage")(
            [
                stamped(
                    self._header(stamp_ns, parent),
                    child,
                    transform(self._vector(t.translation_m), self._quaternion(t)),
                )
                for (parent, child), t in transforms.items()
            ]
        )

    def boxes(self, stamp_ns: int, frame_id: str, boxes: Sequence[LabelledBox]) -> Any:
        """The score of a box is its visibility, as the channel's metadata says."""
        header = self._header(stamp_ns, frame_id)
        hypothesis = self._make("vision_msgs/msg/ObjectHypothesis")
        with_pose = self._make("vision_msgs/msg/ObjectHypothesisWithPose")
        covariance = self._make("geometry_msgs/msg/PoseWithCovariance")
        detections = []
        for box in boxes:
            pose = self._pose(box.map_from_box)
            result = with_pose(hypothesis(box.category, box.visibility), covariance(pose, np.zeros(36)))
            bounds = self._make("vision_msgs/msg/BoundingBox3D")(pose, self._vector(box.size_m))
            detections.append(self._make("vision_msgs/msg/Detection3D")(header, [result], bounds, box.track_id))
        return self._make("vision_msgs/msg/Detection3DArray")(header, detections)

    def joints(
        self, stamp_ns: int, names: Sequence[str], position: Floats, velocity: Floats | None = None
    ) -> Any:  # fmt: skip
        empty = np.empty(0)
        return self._make("sensor_msgs/msg/JointState")(
            self._header(stamp_ns, ""), list(names), position, empty if velocity is None else velocity, empty
        )

    def text(self, text: str) -> Any:
        return self._make("std_msgs/msg/String")(text)

    def _make(self, name: str) -> Any:
        return self._types[name]

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(int(stamp_ns), SECOND_NS)
        time = self._make("builtin_interfaces/msg/Time")(seconds, nanoseconds)
        return self._make("std_msgs/msg/Header")(time, frame_id)

    def _vector(self, values: Floats) -> Any:
        return self._make("geometry_msgs/msg/Vector3")(*(float(v) for v in values))

    def _quaternion(self, transform: Transform) -> Any:
        qw, qx, qy, qz = quaternion_of(transform.rotation).tolist()
        return self._make("geometry_msgs/msg/Quaternion")(x=qx, y=qy, z=qz, w=qw)

    def _pose(self, transform: Transform) -> Any:
        point = self._make("geometry_msgs/msg/Point")(*(float(v) for v in transform.translation_m))
        return self._make("geometry_msgs/msg/Pose")(point, self._quaternion(transform))
