"""comma2k19 against an independent reading of its own arrays."""

import shutil
from fractions import Fraction

import numpy as np
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.convert import comma2k19

STAMPS_OF = {
    "/imu": "processed_log/IMU/gyro/t",
    "/imu/gyro_bias": "processed_log/IMU/gyro_bias/t",
    "/imu/gyro_uncalibrated": "processed_log/IMU/gyro_uncalibrated/t",
    "/imu/magnetometer": "processed_log/IMU/magnetometer/t",
    "/imu/magnetometer_uncalibrated": "processed_log/IMU/magnetometer_uncalibrated/t",
    "/gnss/ublox/fix": "processed_log/GNSS/live_gnss_ublox/t",
    "/gnss/ublox/motion": "processed_log/GNSS/live_gnss_ublox/t",
    "/gnss/ublox/raw": "processed_log/GNSS/raw_gnss_ublox/t",
    "/gnss/qcom/fix": "processed_log/GNSS/live_gnss_qcom/t",
    "/gnss/qcom/motion": "processed_log/GNSS/live_gnss_qcom/t",
    "/gnss/qcom/raw": "processed_log/GNSS/raw_gnss_qcom/t",
    "/vehicle/speed": "processed_log/CAN/speed/t",
    "/vehicle/steering_angle": "processed_log/CAN/steering_angle/t",
    "/vehicle/wheel_speed": "processed_log/CAN/wheel_speed/t",
    "/pose": "global_pose/frame_times",
    "/clock/gps": "global_pose/frame_times",
}
SIGNALS_OF = {
    "/imu/gyro_bias": ("IMU/gyro_bias", ["rad/s"] * 3),
    "/imu/gyro_uncalibrated": ("IMU/gyro_uncalibrated", ["rad/s"] * 3),
    "/vehicle/speed": ("CAN/speed", ["m/s"]),
    "/vehicle/steering_angle": ("CAN/steering_angle", ["deg"]),
    "/vehicle/wheel_speed": ("CAN/wheel_speed", ["m/s"] * 4),
}


@pytest.fixture(scope="module")
def source(real_data):
    return real_data("comma2k19_example1")


@pytest.fixture(scope="module")
def segment(source):
    return next(source.glob("Example_1/*/40"))


@pytest.fixture(scope="module")
def converted(source, tmp_path_factory):
    return comma2k19.convert(source, tmp_path_factory.mktemp("comma2k19") / "drop.mcap")


@pytest.fixture(scope="module")
def recorded(converted, read_recording):
    return read_recording(converted.out)


def load(segment, name):
    return np.load(segment / "processed_log" / name)


def exact_ns(path):
    """Fractions, not the converter's integers; rounding differs only at exact halves, which floats here never hit."""
    return [round(Fraction(value) * 10**9) for value in np.load(path).tolist()]


@pytest.mark.parametrize(("topic", "name"), STAMPS_OF.items())
def test_every_row_is_a_message_at_its_own_stamp(segment, recorded, topic, name):
    messages = recorded.on(topic)
    expected = exact_ns(segment / name)
    assert [m.log_time_ns for m in messages] == expected
    assert [m.publish_time_ns for m in messages] == expected
    assert [m.header_ns for m in messages] == expected


def test_every_source_row_is_accounted_for(segment, converted, recorded):
    assert {topic.topic: topic.nbr_messages for topic in converted.topics} == recorded.counts()
    rows = {topic.topic: topic.nbr_source_rows for topic in converted.topics}
    assert sum(rows[f"/can/bus{bus}"] for bus in (0, 1, 128, 129)) == 135_468
    assert rows["/radar/tracks"] == 10_100
    assert rows["/imu"] == 2 * 6256
    arrays = [path for path in (segment / "processed_log").rglob("t") if path.is_file()]
    assert len(arrays) == 15
    recorded_rows = sum(len(np.load(path)) for path in arrays) + len(np.load(segment / "global_pose/frame_times"))
    twice = rows["/gnss/ublox/motion"] + rows["/gnss/qcom/motion"] + rows["/clock/gps"]
    static = rows["/tf_static"] + rows["/camera/road/camera_info"]
    assert sum(rows.values()) == recorded_rows + twice + static


def test_can_frames_keep_bus_order_address_and_bytes(segment, recorded):
    stamps = exact_ns(segment / "processed_log/CAN/raw_can/t")
    sources = load(segment, "CAN/raw_can/src")
    addresses = load(segment, "CAN/raw_can/address")
    data = load(segment, "CAN/raw_can/data")
    for bus in (0, 1, 128, 129):
        rows = np.flatnonzero(sources == bus)
        messages = recorded.on(f"/can/bus{bus}")
        assert [m.log_time_ns for m in messages] == [stamps[row] for row in rows]
        some, rows = messages[::11], rows[::11]
        assert [m.header_ns for m in some] == [stamps[row] for row in rows]
        assert [m.body.id for m in some] == addresses[rows].tolist()
        assert b"".join(bytes(m.body.data) for m in some) == data[rows].tobytes()
        assert {(m.body.dlc, m.body.is_extended, m.body.header.frame_id) for m in some} == {(8, False, f"bus{bus}")}


def test_radar_rows_that_share_a_stamp_are_one_message(segment, recorded):
    stamps = exact_ns(segment / "processed_log/CAN/radar/t")
    values = load(segment, "CAN/radar/value")
    messages = recorded.on("/radar/tracks")
    assert [m.header_ns for m in messages] == sorted(set(stamps))
    tracks = [(m.header_ns, track) for m in messages for track in m.body.tracks]
    assert [stamp for stamp, _ in tracks] == stamps
    assert [[t.position.x, t.position.y, t.velocity.x] for _, t in tracks] == values[:, :3].tolist()
    assert [int.from_bytes(bytes(t.uuid)[:8], "big") for _, t in tracks] == values[:, 5].astype(int).tolist()
    generation = {}
    for (_, track), row in zip(tracks, values, strict=True):
        count = int.from_bytes(bytes(track.uuid)[8:], "big")
        assert count - generation.get(row[5], 0) == row[6]
        generation[row[5]] = count


def test_imu_and_magnetometer_values(segment, recorded):
    imu = [m.body for m in recorded.on("/imu")]
    acceleration = [[m.linear_acceleration.x, m.linear_acceleration.y, m.linear_acceleration.z] for m in imu]
    rate = [[m.angular_velocity.x, m.angular_velocity.y, m.angular_velocity.z] for m in imu]
    assert acceleration == load(segment, "IMU/accelerometer/value").tolist()
    assert rate == load(segment, "IMU/gyro/value").tolist()
    assert {m.orientation_covariance[0] for m in imu} == {-1.0}
    for name in ("magnetometer", "magnetometer_uncalibrated"):
        field = [m.body.magnetic_field for m in recorded.on(f"/imu/{name}")]
        assert np.allclose([[f.x * 1e6, f.y * 1e6, f.z * 1e6] for f in field], load(segment, f"IMU/{name}/value"))


@pytest.mark.parametrize(("topic", "source_and_units"), SIGNALS_OF.items())
def test_signals_keep_values_and_name_their_units(segment, recorded, topic, source_and_units):
    name, units = source_and_units
    expected = load(segment, f"{name}/value").reshape(len(load(segment, f"{name}/t")), -1).tolist()
    bodies = [m.body for m in recorded.on(topic)]
    assert [body["values"] for body in bodies] == expected
    assert all(body["units"] == units and len(body["names"]) == len(units) for body in bodies)


@pytest.mark.parametrize("receiver", ["ublox", "qcom"])
def test_gnss_rows_lose_nothing(segment, recorded, receiver):
    live = load(segment, f"GNSS/live_gnss_{receiver}/value")
    fixes = [m.body for m in recorded.on(f"/gnss/{receiver}/fix")]
    motions = [m.body["values"] for m in recorded.on(f"/gnss/{receiver}/motion")]
    rows = [
        [f.latitude, f.longitude, speed, utc_ms, f.altitude, bearing]
        for f, (speed, utc_ms, bearing) in zip(fixes, motions, strict=True)
    ]
    assert rows == live.tolist()
    raw = load(segment, f"GNSS/raw_gnss_{receiver}/value")
    bodies = [m.body for m in recorded.on(f"/gnss/{receiver}/raw")]
    found = np.array([[body[name] for name in list(body)[1:]] for body in bodies], dtype=np.float64)
    assert np.array_equal(found, raw, equal_nan=True)


def test_poses_are_the_recorded_ones_turned_to_base_link(segment, recorded):
    positions, velocities, orientations = (
        np.load(segment / "global_pose" / f"frame_{name}") for name in ("positions", "velocities", "orientations")
    )
    for row, message in enumerate(recorded.on("/pose")):
        body, q = message.body, message.body.pose.pose.orientation
        assert (body.header.frame_id, body.child_frame_id) == ("ecef", "base_link")
        p, v = body.pose.pose.position, body.twist.twist.linear
        assert [p.x, p.y, p.z] == positions[row].tolist()
        assert [q.x, -q.w, -q.z, q.y] == orientations[row].tolist()
        ecef_from_base = rotation(q.w, q.x, q.y, q.z)
        assert np.allclose(ecef_from_base @ [v.x, v.y, v.z], velocities[row], atol=1e-9)
        assert v.x > 0.99 * np.linalg.norm(velocities[row])
        up = positions[row] / np.linalg.norm(positions[row])
        assert ecef_from_base[:, 2] @ up > 0.99
        assert body.twist.covariance[21] == -1


def rotation(w, x, y, z):
    axis = np.array([x, y, z])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) * (w * w - axis @ axis) + 2 * np.outer(axis, axis) + 2 * w * cross


def test_clock_pairs_boot_time_with_gps_time_and_utc(segment, recorded):
    gps = np.load(segment / "global_pose/frame_gps_times")
    bodies = [m.body for m in recorded.on("/clock/gps")]
    assert [[body["gps_week"], body["gps_time_of_week_s"]] for body in bodies] == gps.tolist()
    assert recorded.metadata["scenelake.drive"]["clock"] == "boot_time"
    clock = recorded.metadata["comma2k19.clock"]
    assert int(clock["spread_ns"]) < 10_000
    fix = recorded.on("/gnss/ublox/motion")[0]
    receiver_ms = fix.body["values"][1]
    assert abs(fix.header_ns + int(clock["utc_minus_boot_ns"]) - receiver_ms * 1e6) < 0.5e9


def test_calibration_is_the_cameras_and_its_axes(recorded):
    info = recorded.on("/camera/road/camera_info")[0].body
    assert info.k.tolist() == [910, 0, 582, 0, 910, 437, 0, 0, 1]
    device, camera = recorded.on("/tf_static")[0].body.transforms
    assert (device.header.frame_id, device.child_frame_id) == ("base_link", "device")
    q, r = device.transform.rotation, camera.transform.rotation
    base_from_camera = rotation(q.w, q.x, q.y, q.z) @ rotation(r.w, r.x, r.y, r.z)
    assert np.allclose(base_from_camera, [[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def test_says_what_it_left_out_and_what_the_readme_has_wrong(converted):
    text = "\n".join(converted.remarks)
    for expected in ("video.hevc: absent", "preview.png: not converted", "microtesla", "milliseconds", "dlc is 8"):
        assert expected in text


@pytest.fixture
def tree(tmp_path):
    """A segment with an accelerometer and a gyro that do not share their stamps."""
    log = tmp_path / "dongle|date" / "3" / "processed_log"
    write(log / "IMU/accelerometer", [1.0, 2.0], np.ones((2, 3)))
    write(log / "IMU/gyro", [1.0, 2.5], np.ones((2, 3)))
    return log.parent


def write(folder, seconds, values):
    folder.mkdir(parents=True)
    save(folder / "t", np.array(seconds))
    save(folder / "value", values)


def save(path, array):
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)


def test_unequal_stamps_make_two_imu_topics(tree, tmp_path, read_recording):
    recorded = read_recording(comma2k19.convert(tree, tmp_path / "out.mcap").out)
    acceleration, rate = recorded.on("/imu/accelerometer"), recorded.on("/imu/gyro")
    assert [m.header_ns for m in rate] == [1_000_000_000, 2_500_000_000]
    assert acceleration[0].body.angular_velocity_covariance[0] == -1
    assert rate[0].body.linear_acceleration_covariance[0] == -1


def test_same_bytes_again_also_from_the_folder_above(tree, tmp_path):
    first = comma2k19.convert(tree, tmp_path / "first.mcap")
    again = comma2k19.convert(tree.parent.parent, tmp_path / "again.mcap")
    assert again.out.read_bytes() == first.out.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "value").write_bytes(b"not numpy"),
        lambda folder: (folder / "value").unlink(),
        lambda folder: save(folder / "value", np.ones((3, 3))),
        lambda folder: save(folder / "t", np.array([1.0, np.nan])),
        lambda folder: save(folder / "t", np.array([object()])),
    ],
    ids=["not numpy", "absent", "other length", "NaN stamp", "pickled objects"],
)
def test_damaged_arrays_are_named_and_leave_no_file(tree, tmp_path, damage):
    damage(tree / "processed_log/IMU/gyro")
    with pytest.raises(BadInputError, match="gyro"):
        comma2k19.convert(tree, tmp_path / "out.mcap")
    assert not (tmp_path / "out.mcap").exists()


def test_several_segments_are_refused_by_name(tree, tmp_path):
    shutil.copytree(tree, tree.parent / "4")
    with pytest.raises(BadInputError, match="holds 2 recordings"):
        comma2k19.convert(tmp_path, tmp_path / "out.mcap")
