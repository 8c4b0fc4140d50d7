"""The protobuf variant says what the CDR variant says."""

import numpy as np
import pytest
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud

from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.lidar import POINT


@pytest.fixture(scope="module")
def both(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    for encoding in ("ros2", "protobuf"):
        simulate_drive(tools.config(duration_ns=SECOND_NS, encoding=encoding), folder / f"{encoding}.mcap")
    return tools.read(folder / "ros2.mcap"), tools.read(folder / "protobuf.mcap")


def _parsed(kind, message):
    assert message.encoding == "protobuf"
    assert message.schema == kind.DESCRIPTOR.full_name
    return kind.FromString(message.data)


def test_images_are_the_same(both):
    for ros, proto in zip(both[0]["/camera/front/image"], both[1]["/camera/front/image"], strict=True):
        image = _parsed(CompressedImage, proto)
        assert image.data == ros.message.data.tobytes()
        assert image.timestamp.seconds * SECOND_NS + image.timestamp.nanos == ros.stamp_ns
        assert proto.log_ns == ros.log_ns


def test_points_are_the_same(both, tools):
    for ros, proto in zip(both[0]["/lidar/top/points"], both[1]["/lidar/top/points"], strict=True):
        cloud = _parsed(PointCloud, proto)
        points = np.frombuffer(cloud.data, POINT)
        assert cloud.point_stride == POINT.itemsize
        assert [(f.name, f.offset) for f in cloud.fields] == [(n, POINT.fields[n][1]) for n in POINT.names]
        assert (points == tools.cloud(ros.message)).all()


def test_calibration_fixes_and_transforms_are_the_same(both):
    ros, proto = both
    calibration = _parsed(CameraCalibration, proto["/camera/front/camera_info"][0])
    assert list(calibration.K) == ros["/camera/front/camera_info"][0].message.k.tolist()
    fix = _parsed(LocationFix, proto["/gnss/fix"][0])
    assert fix.latitude == ros["/gnss/fix"][0].message.latitude
    static = _parsed(FrameTransforms, proto["/tf_static"][0])
    expected = ros["/tf_static"][0].message.transforms
    assert [t.child_frame_id for t in static.transforms] == [t.child_frame_id for t in expected]
    assert static.transforms[0].translation.x == expected[0].transform.translation.x


def test_the_ego_pose_is_also_a_transform(both):
    ros, proto = both
    poses = [_parsed(FrameTransforms, m).transforms[0] for m in proto["/tf"]]
    assert [p.translation.x for p in poses] == [m.message.pose.pose.position.x for m in ros["/odometry"]]
    assert (poses[0].parent_frame_id, poses[0].child_frame_id) == ("map", "base_link")
