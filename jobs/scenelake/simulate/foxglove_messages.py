"""Foxglove protobuf messages for what those schemas cover; the rest stays CDR in the same file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from google.protobuf.timestamp_pb2 import Timestamp

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.geometry.poses import quaternion_of
from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.geometry import Floats, Transform
from scenelake.simulate.rasteriser import Lens
from scenelake.simulate.ros_messages import MessageKind, RosMessages

PROTOBUF_TYPES: dict[MessageKind, Any] = {
    MessageKind.IMAGE: CompressedImage,
    MessageKind.CALIBRATION: CameraCalibration,
    MessageKind.POINTS: PointCloud,
    MessageKind.FIX: LocationFix,
    MessageKind.TRANSFORMS: FrameTransforms,
}
_FIELD_TYPES = {"u1": 1, "i1": 2, "u2": 3, "i2": 4, "u4": 5, "i4": 6, "f4": 7, "f8": 8}


class FoxgloveMessages(RosMessages):
    """The same interface with Foxglove's schemas where there is one that readers know."""

    def __init__(self, writer: RecordingWriter) -> None:
        super().__init__(writer)
        self._recording = writer

    def add_channel(self, topic: str, kind: MessageKind, metadata: Mapping[str, str]) -> None:
        if kind in PROTOBUF_TYPES:
            self._recording.add_protobuf_channel(topic, PROTOBUF_TYPES[kind], metadata)
        else:
            super().add_channel(topic, kind, metadata)

    def image(self, stamp_ns: int, frame_id: str, jpeg: bytes) -> Any:
        return CompressedImage(timestamp=_timestamp(stamp_ns), frame_id=frame_id, data=jpeg, format="jpeg")

    def calibration(self, stamp_ns: int, frame_id: str, lens: Lens) -> Any:
        return CameraCalibration(
            timestamp=_timestamp(stamp_ns),
            frame_id=frame_id,
            width=lens.config.width_px,
            height=lens.config.height_px,
            distortion_model="plumb_bob",
            D=lens.distortion.tolist(),
            K=lens.matrix.ravel().tolist(),
            R=np.eye(3).ravel().tolist(),
            P=np.column_stack([lens.matrix, np.zeros(3)]).ravel().tolist(),
        )

    def points(self, stamp_ns: int, frame_id: str, points: npt.NDArray[np.void]) -> Any:
        layout: Mapping[str, Any] = points.dtype.fields or {}
        fields = [
            PackedElementField(name=name, offset=at, type=_FIELD_TYPES[kind.str[1:]])  # type: ignore[arg-type]
            for name, (kind, at, *_) in layout.items()
        ]
        cloud = PointCloud(
            timestamp=_timestamp(stamp_ns),
            frame_id=frame_id,
            point_stride=points.dtype.itemsize,
            fields=fields,
            data=points.tobytes(),
        )
        cloud.pose.orientation.w = 1.0
        return cloud

    def fix(self, stamp_ns: int, frame_id: str, fix: Floats, variance_m2: float) -> Any:
        return LocationFix(
            timestamp=_timestamp(stamp_ns),
            frame_id=frame_id,
            latitude=float(fix[0]),
            longitude=float(fix[1]),
            altitude=float(fix[2]),
            position_covariance=(np.eye(3) * variance_m2).ravel().tolist(),
            position_covariance_type=LocationFix.PositionCovarianceType.DIAGONAL_KNOWN,
        )

    def transforms(self, stamp_ns: int, transforms: Mapping[tuple[str, str], Transform]) -> Any:
        message = FrameTransforms()
        for (parent, child), transform in transforms.items():
            one = message.transforms.add(parent_frame_id=parent, child_frame_id=child)
            one.timestamp.CopyFrom(_timestamp(stamp_ns))
            one.translation.x, one.translation.y, one.translation.z = transform.translation_m
            quaternion = quaternion_of(transform.rotation).tolist()
            one.rotation.w, one.rotation.x, one.rotation.y, one.rotation.z = quaternion
        return message


def _timestamp(stamp_ns: int) -> Timestamp:
    seconds, nanoseconds = divmod(int(stamp_ns), SECOND_NS)
    return Timestamp(seconds=seconds, nanos=nanoseconds)
