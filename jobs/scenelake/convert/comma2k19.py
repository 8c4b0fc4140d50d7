"""comma2k19 (comma.ai): phone IMU and GNSS, raw CAN, radar tracks and ECEF poses of one highway minute.

File layout and units: README of github.com/commaai/comma2k19. Everything is on one clock, seconds since the
device booted, stored as float64; that clock is kept, and its distance from UTC is in the
``comma2k19.clock`` metadata record. One row of an array is one message on its topic, except: a live GNSS row makes
two (``fix`` and ``motion``), an accelerometer row and a gyro row with one stamp make one ``Imu``, and radar rows
that follow each other with one stamp make one ``RadarTracks``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.contracts.errors import BadInputError
from scenelake.convert import messages
from scenelake.convert.comma2k19_vehicle import can_streams, radar_stream
from scenelake.convert.messages import SIGNALS, SIGNALS_SCHEMA, Floats, Transform, ros
from scenelake.convert.recording import Recording, Stream, stamps, write_recording
from scenelake.convert.report import ConversionReport, Progress
from scenelake.convert.sources import find_folder, nanoseconds_of_floats, read_array, stamp_remarks
from scenelake.geometry.poses import rotation_matrix

IMAGE_SIZE_PX = (1164, 874)
FOCAL_PX = 910.0
"""Camera of the EON: ``notebooks/camera_intrinsics.txt`` and ``utils/camera.py`` of the repository."""
GPS_EPOCH_UNIX_S = 315_964_800
SECONDS_PER_WEEK = 604_800
LEAP_SECONDS = 18
"""GPS minus UTC from 2017 on; the dataset is of 2018."""
TESLA_PER_RECORDED = 1e-6
"""The README says tesla, the values (about 42) are microtesla: the Earth's field is 25 to 65 µT."""

GPS_CLOCK = "comma2k19.GpsClock"
RAW_GNSS = "comma2k19.RawGnss"
RAW_GNSS_FIELDS = (
    "nmea_id", "gps_week", "gps_time_of_week_s", "glonass_channel", "pseudorange_m", "pseudorange_std_m",
    "pseudorange_rate_m_s", "pseudorange_rate_std_m_s", "signal_strength_db_hz", "carrier_phase_cycles",
)  # fmt: skip
"""Columns by the README; the last two, which it leaves out, by laika's ``normal_meas_from_array`` (S1C, L1C)."""

_BASE_FROM_DEVICE = np.diag([1.0, -1.0, -1.0])
_DEVICE_FROM_CAMERA = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Series:
    """One ``processed_log`` folder: stamps int64 ns ``[n]``, values ``[n, columns]``."""

    stamps_ns: npt.NDArray[np.int64]
    values: Floats


def convert(source: Path, out: Path, *, progress: Progress | None = None) -> ConversionReport:
    """Converts one segment (the folder with ``processed_log`` and ``global_pose``); see ``report.Converter``.

    ``base_link`` is the device turned from its x forward, y right, z down axes to x forward, y left, z up. Poses
    are ``ecef_from_base_link``, twists in ``base_link``.
    """
    segment = find_folder(source, "processed_log", "a comma2k19 segment (processed_log beside global_pose)")
    log = segment / "processed_log"
    remarks: list[str] = []
    streams = [
        *_imu_streams(log / "IMU", remarks),
        *_gnss_streams(log / "GNSS", remarks),
        *_signal_streams(log / "CAN", remarks),
        *can_streams(log / "CAN" / "raw_can", remarks),
        *radar_stream(log / "CAN" / "radar", remarks),
    ]
    pose_streams, records = _pose_streams(segment / "global_pose", remarks)
    streams += pose_streams
    for stream in streams:
        if not stream.topic.startswith("/can/") and not stream.topic.endswith("/raw"):
            remarks += stamp_remarks(stream.topic, stream.stamps_ns)
    streams = [*_calibration_streams(streams, remarks), *streams]
    for name in ("video.hevc", "raw_log.bz2", "preview.png"):
        state = "not converted" if (segment / name).is_file() else "absent"
        remarks.append(f"{name}: {state}")
    recording = Recording("comma2k19", segment, streams, _drive(segment), records, remarks)
    return write_recording(recording, out, progress)


def read_series(folder: Path, columns: int) -> Series:
    """Arrays ``t`` ``[n]`` and ``value`` ``[n, columns]`` (or ``[n]`` for one column).

    Raises:
        BadInputError: one is missing or no float array of that shape.
    """
    seconds = read_array(folder / "t")
    values = read_array(folder / "value")
    if values.ndim == 1:
        values = values.reshape(-1, 1)
    if values.shape != (len(seconds), columns) or values.dtype.kind != "f" or seconds.dtype != np.float64:
        raise BadInputError(
            f"{folder}: expected float value of shape ({len(seconds)}, {columns}), got {values.dtype} {values.shape}",
            reason="malformed_array",
        )
    return Series(nanoseconds_of_floats(seconds, str(folder / "t")), values.astype(np.float64))


def _series(folder: Path, columns: int, remarks: list[str]) -> Series:
    if not folder.is_dir():
        remarks.append(f"{folder.name}: absent")
        return Series(stamps([]), np.empty((0, columns)))
    return read_series(folder, columns)


def _signals(topic: str, series: Series, names: Sequence[str], units: Sequence[str]) -> Stream:
    def build(i: int) -> Any:
        return messages.signals(int(series.stamps_ns[i]), names, units, series.values[i])

    return Stream(topic, SIGNALS, series.stamps_ns, build, json_schema=SIGNALS_SCHEMA)


def _imu_streams(folder: Path, remarks: list[str]) -> list[Stream]:
    acceleration = _series(folder / "accelerometer", 3, remarks)
    rate = _series(folder / "gyro", 3, remarks)
    if np.array_equal(acceleration.stamps_ns, rate.stamps_ns):
        imu = [_imu("/imu", acceleration.stamps_ns, acceleration.values, rate.values)]
    else:
        remarks.append("accelerometer and gyro have different stamps; they are two topics")
        imu = [
            _imu("/imu/accelerometer", acceleration.stamps_ns, acceleration.values, None),
            _imu("/imu/gyro", rate.stamps_ns, None, rate.values),
        ]
    axes = ("x", "y", "z")
    for name in ("gyro_bias", "gyro_uncalibrated"):
        series = _series(folder / name, 3, remarks)
        imu.append(_signals(f"/imu/{name}", series, [f"{name}_{axis}" for axis in axes], ["rad/s"] * 3))
    magnetic = {name: _series(folder / name, 3, remarks) for name in ("magnetometer", "magnetometer_uncalibrated")}
    if any(len(series.stamps_ns) for series in magnetic.values()):
        remarks.append("magnetometer: README says tesla, the values are microtesla; written in tesla")
    return [*imu, *(_magnetic_field(f"/imu/{name}", series) for name, series in magnetic.items())]


def _imu(topic: str, stamps_ns: npt.NDArray[np.int64], acceleration: Floats | None, rate: Floats | None) -> Stream:
    """Imu in the device frame (x forward, y right, z down). What is not measured has covariance[0] = -1."""
    unknown = np.array([-1.0] + [0.0] * 8)
    nothing = np.zeros(3)

    def build(i: int) -> Any:
        return ros().Imu(
            header=messages.header(int(stamps_ns[i]), "device"),
            orientation=messages.quaternion((1.0, 0.0, 0.0, 0.0)),
            orientation_covariance=unknown,
            angular_velocity=messages.vector(nothing if rate is None else rate[i]),
            angular_velocity_covariance=unknown if rate is None else np.zeros(9),
            linear_acceleration=messages.vector(nothing if acceleration is None else acceleration[i]),
            linear_acceleration_covariance=unknown if acceleration is None else np.zeros(9),
        )

    nbr_arrays = (acceleration is not None) + (rate is not None)
    return Stream(topic, messages.IMU, stamps_ns, build, nbr_source_rows=nbr_arrays * len(stamps_ns))


def _magnetic_field(topic: str, series: Series) -> Stream:
    def build(i: int) -> Any:
        return ros().MagneticField(
            header=messages.header(int(series.stamps_ns[i]), "device"),
            magnetic_field=messages.vector(series.values[i] * TESLA_PER_RECORDED),
            magnetic_field_covariance=np.zeros(9),
        )

    return Stream(topic, messages.MAGNETIC_FIELD, series.stamps_ns, build)


def _gnss_streams(folder: Path, remarks: list[str]) -> list[Stream]:
    streams = []
    for receiver in ("ublox", "qcom"):
        live = _series(folder / f"live_gnss_{receiver}", 6, remarks)
        raw = _series(folder / f"raw_gnss_{receiver}", len(RAW_GNSS_FIELDS), remarks)
        streams += [
            _fix(f"/gnss/{receiver}/fix", live),
            _motion(f"/gnss/{receiver}/motion", live),
            _raw_gnss(f"/gnss/{receiver}/raw", raw),
        ]
    if any(len(stream.stamps_ns) for stream in streams):
        remarks.append("live GNSS: README says utc_timestamp in seconds, the values are milliseconds; written as ms")
    return streams


def _fix(topic: str, series: Series) -> Stream:
    def build(i: int) -> Any:
        latitude_deg, longitude_deg, _, _, altitude_m, _ = series.values[i]
        return messages.nav_sat_fix(int(series.stamps_ns[i]), "device", (latitude_deg, longitude_deg, altitude_m))

    return Stream(topic, messages.NAV_SAT_FIX, series.stamps_ns, build)


def _motion(topic: str, series: Series) -> Stream:
    """What NavSatFix has no room for: speed, the receiver's own UTC time, bearing."""
    chosen = Series(series.stamps_ns, series.values[:, [2, 3, 5]])
    return _signals(topic, chosen, ["speed", "utc_timestamp", "bearing"], ["m/s", "ms", "deg"])


def _raw_gnss(topic: str, series: Series) -> Stream:
    """One satellite at one epoch per message; null where the array has NaN."""
    schema = {
        "type": "object",
        "properties": {
            "timestamp_ns": {"type": "integer"},
            **{name: {"type": ["number", "null"]} for name in RAW_GNSS_FIELDS},
        },
    }

    def build(i: int) -> Any:
        values = [value if np.isfinite(value) else None for value in series.values[i].tolist()]
        return {"timestamp_ns": int(series.stamps_ns[i]), **dict(zip(RAW_GNSS_FIELDS, values, strict=True))}

    return Stream(topic, RAW_GNSS, series.stamps_ns, build, json_schema=schema)


def _signal_streams(folder: Path, remarks: list[str]) -> list[Stream]:
    wheels = [f"wheel_speed_{wheel}" for wheel in ("front_left", "front_right", "rear_left", "rear_right")]
    return [
        _signals("/vehicle/speed", _series(folder / "speed", 1, remarks), ["speed"], ["m/s"]),
        _signals(
            "/vehicle/steering_angle", _series(folder / "steering_angle", 1, remarks), ["steering_angle"], ["deg"]
        ),
        _signals("/vehicle/wheel_speed", _series(folder / "wheel_speed", 4, remarks), wheels, ["m/s"] * 4),
    ]


def _pose_streams(folder: Path, remarks: list[str]) -> tuple[list[Stream], dict[str, dict[str, str]]]:
    if not folder.is_dir():
        remarks.append("global_pose: absent")
        return [], {}
    stamps_ns = nanoseconds_of_floats(read_array(folder / "frame_times"), str(folder / "frame_times"))
    shapes = {"frame_gps_times": 2, "frame_positions": 3, "frame_velocities": 3, "frame_orientations": 4}
    arrays = {name: read_array(folder / name) for name in shapes}
    for name, columns in shapes.items():
        if arrays[name].shape != (len(stamps_ns), columns):
            raise BadInputError(
                f"{folder / name}: expected shape ({len(stamps_ns)}, {columns}), got {arrays[name].shape}",
                reason="malformed_array",
            )
    poses = _odometry(stamps_ns, arrays["frame_positions"], arrays["frame_velocities"], arrays["frame_orientations"])
    gps_ns = _gps_nanoseconds(arrays["frame_gps_times"], str(folder / "frame_gps_times"))
    offsets_ns = gps_ns + (GPS_EPOCH_UNIX_S - LEAP_SECONDS) * messages.NS_PER_S - stamps_ns
    record = {}
    if len(offsets_ns):
        record["comma2k19.clock"] = {
            "utc_minus_boot_ns": str(int(np.sort(offsets_ns)[len(offsets_ns) // 2])),
            "spread_ns": str(int(offsets_ns.max() - offsets_ns.min())),
            "derivation": "median over frames of frame_gps_times - 18 leap seconds - frame_times",
        }
    return [poses, _gps_clock(stamps_ns, arrays["frame_gps_times"], gps_ns)], record


def _odometry(stamps_ns: npt.NDArray[np.int64], positions: Floats, velocities: Floats, orientations: Floats) -> Stream:
    """ECEF poses of ``base_link``.

    The recorded Hamilton quaternion (qw, qx, qy, qz) is ``ecef_from_device`` when read as a matrix: its first
    column points along the recorded velocity (checked on the data, and ``device_from_ecef`` in ``utils/camera.py``
    transposes it). Turning it half round x gives ``base_link``, which only permutes its parts: nothing is lost.
    No angular velocity belongs to these poses; covariance -1 says so, as it does in ``sensor_msgs/Imu``.
    """
    covariance = np.diag([0.0, 0.0, 0.0, -1.0, -1.0, -1.0]).reshape(36)

    def build(i: int) -> Any:
        qw, qx, qy, qz = orientations[i].tolist()
        ecef_from_base = (-qx, qw, qz, -qy)
        velocity = rotation_matrix(np.array(ecef_from_base)).T @ velocities[i]
        twist = ros().Twist(linear=messages.vector(velocity), angular=messages.vector(np.zeros(3)))
        return ros().Odometry(
            header=messages.header(int(stamps_ns[i]), "ecef"),
            child_frame_id="base_link",
            pose=ros().PoseWithCovariance(pose=messages.pose(positions[i], ecef_from_base), covariance=np.zeros(36)),
            twist=ros().TwistWithCovariance(twist=twist, covariance=covariance),
        )

    return Stream("/pose", messages.ODOMETRY, stamps_ns, build)


def _gps_nanoseconds(week_and_second: Floats, name: str) -> npt.NDArray[np.int64]:
    weeks = week_and_second[:, 0]
    if not np.isfinite(weeks).all():
        raise BadInputError(f"{name}: GPS week is not finite", reason="malformed_stamp")
    of_week = nanoseconds_of_floats(np.ascontiguousarray(week_and_second[:, 1]), name)
    return weeks.astype(np.int64) * SECONDS_PER_WEEK * messages.NS_PER_S + of_week


def _gps_clock(stamps_ns: npt.NDArray[np.int64], recorded: Floats, gps_ns: npt.NDArray[np.int64]) -> Stream:
    """Pairs boot time with GPS time at each video frame."""
    schema = {
        "type": "object",
        "properties": {
            "timestamp_ns": {"type": "integer"},
            "gps_week": {"type": "integer"},
            "gps_time_of_week_s": {"type": "number"},
            "gps_time_ns": {"type": "integer"},
        },
    }

    def build(i: int) -> Any:
        return {
            "timestamp_ns": int(stamps_ns[i]),
            "gps_week": int(recorded[i, 0]),
            "gps_time_of_week_s": float(recorded[i, 1]),
            "gps_time_ns": int(gps_ns[i]),
        }

    return Stream("/clock/gps", GPS_CLOCK, stamps_ns, build, json_schema=schema)


def _calibration_streams(streams: Sequence[Stream], remarks: list[str]) -> list[Stream]:
    starts = [int(stream.stamps_ns.min()) for stream in streams if len(stream.stamps_ns)]
    if not starts:
        return []
    start_ns = min(starts)
    k = np.array([
        [FOCAL_PX, 0.0, IMAGE_SIZE_PX[0] / 2], [0.0, FOCAL_PX, IMAGE_SIZE_PX[1] / 2], [0.0, 0.0, 1.0],
    ])  # fmt: skip
    transforms = {
        ("base_link", "device"): Transform(np.zeros(3), _BASE_FROM_DEVICE),
        ("device", "camera_road"): Transform(np.zeros(3), _DEVICE_FROM_CAMERA),
    }
    remarks.append("calibration: base_link is the device itself; its place in the car and the radar's are not recorded")
    remarks.append("calibration: the camera's lens distortion is not recorded; its CameraInfo has none")
    tf = messages.static_transforms(start_ns, transforms)
    info = messages.camera_info(start_ns, "camera_road", IMAGE_SIZE_PX, k, "", ())
    return [
        Stream("/tf_static", messages.TF, stamps([start_ns]), lambda _: tf),
        Stream("/camera/road/camera_info", messages.CAMERA_INFO, stamps([start_ns]), lambda _: info),
    ]


def _drive(segment: Path) -> Mapping[str, str]:
    route = segment.parent.name
    return {
        "robot_type": "car",
        "rig_id": f"comma2k19-{route.split('|')[0]}",
        "location": "California, highway 280",
        "description": f"comma2k19 route {route}, segment {segment.name}",
        "source": "comma2k19 (comma.ai), github.com/commaai/comma2k19",
        "license": "MIT",
        "clock": "boot_time",
    }
