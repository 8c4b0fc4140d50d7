"""The battery's recordings are real ones, each of its own time, and the same for the same seed."""

import io

import pytest
from mcap.reader import make_reader
from rosbags.typesys import Stores, get_typestore
from tests.faults.recordings import PART_NS, drive_parts, part, part_start_ns


def stamps_ns(recording: bytes, topic: str, type_name: str) -> list[int]:
    store = get_typestore(Stores.ROS2_HUMBLE)
    found = []
    for _, _, message in make_reader(io.BytesIO(recording), validate_crcs=True).iter_messages(topics=[topic]):
        stamp = store.deserialize_cdr(message.data, type_name).header.stamp
        found.append(stamp.sec * 1_000_000_000 + stamp.nanosec)
    return found


@pytest.mark.parametrize(
    ("topic", "type_name"),
    [
        ("/imu/data", "sensor_msgs/msg/Imu"),
        ("/odometry", "nav_msgs/msg/Odometry"),
        ("/camera/front/image", "sensor_msgs/msg/CompressedImage"),
        ("/camera/front/camera_info", "sensor_msgs/msg/CameraInfo"),
    ],
)
def test_stamps_move_with_the_recording(topic: str, type_name: str) -> None:
    first, later = (stamps_ns(part(0, part_start_ns(drive, 0)), topic, type_name) for drive in (0, 7))
    assert first
    shift_ns = part_start_ns(7, 0) - part_start_ns(0, 0)
    assert later == [stamp + shift_ns for stamp in first]


def test_parts_of_a_drive_follow_one_another_and_differ() -> None:
    parts = list(drive_parts("f/v/d/", 3, seed=1, nbr_parts=4))
    assert len({p.key for p in parts}) == len({p.body for p in parts}) == 4
    assert part_start_ns(3, 1) - part_start_ns(3, 0) == PART_NS
    assert parts == list(drive_parts("f/v/d/", 3, seed=1, nbr_parts=4))
