"""RADIATE (Heriot-Watt University): stereo camera, LiDAR, scanning radar, GPS/IMU and radar boxes.

File layout and meaning of the fields: README of github.com/marcelsheeny/radiate_sdk.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.contracts.errors import BadInputError
from scenelake.convert import messages
from scenelake.convert.messages import Box, ros
from scenelake.convert.radiate_geometry import Calibration, radar_box, read_calibration
from scenelake.convert.recording import Recording, Stream, stamps, write_recording
from scenelake.convert.report import ConversionReport, Progress
from scenelake.convert.sources import find_folder, nanoseconds_of_text, read_bytes, read_text, stamp_remarks

LICENSE = "CC BY-NC-SA 4.0 (non-commercial)"
CALIBRATION_PATH = Path("config") / "default-calib.yaml"
RADAR = {"scenelake.modality": "radar"}
POINT_DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2")])
GPS_LINE_LENGTHS = (3, 3, 3, 3, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3)
_STAMP_LINE = re.compile(r"Frame:\s*(\d+)\s+Time:\s*(\S+)\s*\Z")


@dataclass(frozen=True)
class StampedFiles:
    """Files of one sensor folder in the order of its stamp file: frame numbers, paths, stamps int64 ns."""

    frames: tuple[int, ...]
    paths: tuple[Path, ...]
    stamps_ns: npt.NDArray[np.int64]


@dataclass(frozen=True)
class GpsRow:
    """One file of ``GPS_IMU_Twist``: values by line, in the README's order and units."""

    lines: tuple[tuple[float, ...], ...]

    def matrix(self, first: int) -> npt.NDArray[np.float64]:
        """The 3x3 covariance that starts at line ``first`` (from 1)."""
        return np.array(self.lines[first - 1 : first + 2])

    def line(self, number: int) -> tuple[float, ...]:
        """One line, counted from 1."""
        return self.lines[number - 1]


def convert(source: Path, out: Path, *, progress: Progress | None = None) -> ConversionReport:
    """Converts one RADIATE sequence; see ``report.Converter``.

    Images and radar PNGs are the files' bytes. Boxes are in the radar frame (``radiate_geometry.radar_box``). The
    twist is as the Advanced Navigation driver gives it: linear velocity north, east, down; angular in the body.
    """
    sequence = find_folder(source, "velo_lidar.txt", "a RADIATE sequence (velo_lidar.txt beside velo_lidar/)")
    remarks: list[str] = []
    records: dict[str, dict[str, str]] = {}
    files: dict[str, StampedFiles] = {}
    for name, suffix in (
        ("zed_left", "png"),
        ("zed_right", "png"),
        ("velo_lidar", "csv"),
        ("Navtech_Polar", "png"),
        ("Navtech_Cartesian", "png"),
        ("GPS_IMU_Twist", "txt"),
    ):
        files[name], left_out = _stamped_files(sequence, name, suffix, remarks)
        if left_out:
            records[f"radiate.left_out.{name}"] = left_out
    streams = [
        *_sensor_streams(files),
        *_gps_streams(files["GPS_IMU_Twist"]),
        *_annotation_streams(sequence, files["Navtech_Cartesian"], records, remarks),
    ]
    streams = [*_calibration_streams(source, sequence, streams, files, records, remarks), *streams]
    _clock_remark(files, remarks)
    recording = Recording("radiate", sequence, streams, _drive(sequence), records, remarks)
    return write_recording(recording, out, progress)


def read_stamps(path: Path) -> list[tuple[str, int]]:
    """(frame name, stamp in ns) for each line ``Frame: 000001 Time: 1574859771.744660272``.

    Raises:
        BadInputError: a line has another form; the message names file and line.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        match = _STAMP_LINE.match(line)
        try:
            if match is None:
                raise ValueError(line)
            rows.append((match[1], nanoseconds_of_text(match[2])))
        except ValueError as error:
            raise BadInputError(
                f"{path} line {number}: expected 'Frame: <number> Time: <seconds>.<nanoseconds>', got {line!r}",
                reason="malformed_stamp",
            ) from error
    return rows


def _stamped_files(sequence: Path, name: str, suffix: str, remarks: list[str]) -> tuple[StampedFiles, dict[str, str]]:
    rows = read_stamps(sequence / f"{name}.txt") if (sequence / f"{name}.txt").is_file() else []
    present = {path.stem for path in (sequence / name).glob(f"*.{suffix}")}
    kept = [(frame, stamp) for frame, stamp in rows if frame in present]
    missing = [frame for frame, _ in rows if frame not in present]
    unstamped = sorted(present - {frame for frame, _ in rows})
    left_out = {}
    if missing:
        remarks.append(f"{name}: {len(missing)} of {len(rows)} stamps have no file; they make no message")
        left_out["stamps_without_file"] = ",".join(missing)
    if unstamped:
        remarks.append(f"{name}: {len(unstamped)} of {len(present)} files have no stamp; they are not converted")
        left_out["files_without_stamp"] = ",".join(unstamped)
    if not rows and not present:
        remarks.append(f"{name}: absent")
    stamps_ns = stamps([stamp for _, stamp in kept])
    remarks.extend(stamp_remarks(name, stamps_ns))
    paths = tuple(sequence / name / f"{frame}.{suffix}" for frame, _ in kept)
    return StampedFiles(tuple(int(frame) for frame, _ in kept), paths, stamps_ns), left_out


def _images(topic: str, frame_id: str, files: StampedFiles, metadata: Mapping[str, str] | None = None) -> Stream:
    def build(i: int) -> Any:
        return messages.image(int(files.stamps_ns[i]), frame_id, "png", read_bytes(files.paths[i]))

    return Stream(topic, messages.IMAGE, files.stamps_ns, build, metadata=metadata or {})


def _sensor_streams(files: Mapping[str, StampedFiles]) -> list[Stream]:
    lidar = files["velo_lidar"]

    def cloud(i: int) -> Any:
        return messages.point_cloud(int(lidar.stamps_ns[i]), "velo_lidar", read_points(lidar.paths[i]))

    return [
        _images("/camera/zed_left/image", "zed_left", files["zed_left"]),
        _images("/camera/zed_right/image", "zed_right", files["zed_right"]),
        Stream("/lidar/velo_lidar/points", messages.POINT_CLOUD, lidar.stamps_ns, cloud),
        _images("/radar/polar/image", "radar", files["Navtech_Polar"], RADAR),
        _images("/radar/cartesian/image", "radar", files["Navtech_Cartesian"], RADAR),
    ]


def read_points(path: Path) -> npt.NDArray[np.void]:
    """Points ``[n]`` of one ``x,y,z,intensity,ring`` file: metres in the LiDAR frame, reflectance 0-255, laser 0-31.

    Raises:
        BadInputError: a row is not five numbers, or a ring is no small integer.
    """
    text = read_text(path)
    if not text.strip():
        return np.empty(0, POINT_DTYPE)
    try:
        values = np.loadtxt(text.splitlines(), delimiter=",", ndmin=2)
    except ValueError as error:
        raise BadInputError(f"{path}: expected x,y,z,intensity,ring: {error}", reason="malformed_points") from error
    rings = values[:, -1]
    if values.shape[1] != 5 or not ((rings >= 0) & (rings < 65536) & (rings == np.floor(rings))).all():
        raise BadInputError(
            f"{path}: expected five columns with an integer ring, got {values.shape[1]}", reason="malformed_points"
        )
    points = np.empty(len(values), POINT_DTYPE)
    for column, name in enumerate(POINT_DTYPE.names or ()):
        points[name] = values[:, column]
    return points


def read_gps(path: Path) -> GpsRow:
    """One ``GPS_IMU_Twist`` file.

    Raises:
        BadInputError: too few lines, or a line without the numbers that the README gives it.
    """
    lines = read_text(path).splitlines()
    rows = []
    for number, expected in enumerate(GPS_LINE_LENGTHS, start=1):
        line = lines[number - 1] if number <= len(lines) else ""
        try:
            values = tuple(float(value) for value in line.split(","))
        except ValueError:
            values = ()
        if len(values) != expected:
            raise BadInputError(
                f"{path} line {number}: expected {expected} numbers, got {line!r}", reason="malformed_gps"
            )
        rows.append(values)
    return GpsRow(tuple(rows))


def _gps_streams(files: StampedFiles) -> list[Stream]:
    @lru_cache(maxsize=8)
    def row(i: int) -> GpsRow:
        return read_gps(files.paths[i])

    def fix(i: int) -> Any:
        return messages.nav_sat_fix(int(files.stamps_ns[i]), "gps_imu", row(i).line(1), row(i).matrix(2))

    def imu(i: int) -> Any:
        qx, qy, qz, qw = row(i).line(5)
        return ros().Imu(
            header=messages.header(int(files.stamps_ns[i]), "gps_imu"),
            orientation=messages.quaternion((qw, qx, qy, qz)),
            orientation_covariance=row(i).matrix(8).reshape(9),
            angular_velocity=messages.vector(row(i).line(6)),
            angular_velocity_covariance=row(i).matrix(11).reshape(9),
            linear_acceleration=messages.vector(row(i).line(7)),
            linear_acceleration_covariance=row(i).matrix(14).reshape(9),
        )

    def twist(i: int) -> Any:
        velocity = ros().Twist(linear=messages.vector(row(i).line(17)), angular=messages.vector(row(i).line(18)))
        return ros().TwistStamped(header=messages.header(int(files.stamps_ns[i]), "ned"), twist=velocity)

    return [
        Stream("/gps/fix", messages.NAV_SAT_FIX, files.stamps_ns, fix),
        Stream("/imu", messages.IMU, files.stamps_ns, imu),
        Stream("/gps/twist", messages.TWIST, files.stamps_ns, twist),
    ]


def _annotation_streams(
    sequence: Path, radar: StampedFiles, records: dict[str, dict[str, str]], remarks: list[str]
) -> list[Stream]:
    path = sequence / "annotations" / "annotations.json"
    if not path.is_file():
        remarks.append("annotations: absent")
        return []
    try:
        tracks = json.loads(read_text(path))
        boxes = {frame: _boxes_of_frame(tracks, frame) for frame in set(radar.frames)}
        nbr_frames = max((len(track["bboxes"]) for track in tracks), default=0)
        visible = {box.track_id for of_frame in boxes.values() for box in of_frame}
        summary = [
            {"id": t["id"], "class_name": t["class_name"], "nbr_boxes": sum(bool(b) for b in t["bboxes"])}
            for t in tracks
        ]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadInputError(
            f"{path}: not RADIATE annotations ({type(error).__name__}: {error})", reason="malformed_annotations"
        ) from error
    records["radiate.tracks"] = {"tracks": json.dumps(summary), "nbr_frames": str(nbr_frames)}
    nbr_boxes = sum(track["nbr_boxes"] for track in summary)
    nbr_written = sum(len(boxes[frame]) for frame in radar.frames)
    if nbr_written != nbr_boxes:
        remarks.append(
            f"annotations: {nbr_written} boxes of {len(visible)} tracks lie on the {len(radar.frames)} radar frames "
            f"here; {nbr_boxes - nbr_written} more ({len(tracks)} tracks over {nbr_frames} frames) have no radar frame"
        )
    remarks.append("annotations: no z was annotated; boxes lie in the radar's plane with height 0")

    def build(i: int) -> Any:
        return messages.detections(int(radar.stamps_ns[i]), "radar", boxes[radar.frames[i]])

    return [Stream("/annotations/radar", messages.DETECTIONS, radar.stamps_ns, build, nbr_source_rows=nbr_written)]


def _boxes_of_frame(tracks: Sequence[Mapping[str, Any]], frame: int) -> list[Box]:
    """Boxes of one radar frame; the SDK takes list position ``frame - 1``, and an empty entry is an absent object."""
    boxes = []
    for track in tracks:
        entry = track["bboxes"][frame - 1] if 0 < frame <= len(track["bboxes"]) else None
        if entry:
            boxes.append(radar_box(str(track["id"]), str(track["class_name"]), entry["position"], entry["rotation"]))
    return boxes


def _calibration_streams(
    source: Path,
    sequence: Path,
    streams: Sequence[Stream],
    files: Mapping[str, StampedFiles],
    records: dict[str, dict[str, str]],
    remarks: list[str],
) -> list[Stream]:
    places = [folder / CALIBRATION_PATH for folder in (sequence, *sequence.parents[:4])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        remarks.append(f"calibration: no {CALIBRATION_PATH} in {source} or above the sequence")
        return []
    calibration = read_calibration(path)
    records["radiate.calibration"] = {"file": CALIBRATION_PATH.name, "text": calibration.text}
    remarks.append(
        "calibration: camera extrinsics belong to the rectified images, the images are as recorded (unrectified); "
        "the stereo rotation between them is in the radiate.calibration record"
    )
    remarks.append("calibration: where the GPS/IMU is mounted is not recorded; there is no transform for gps_imu")
    start_ns = min(int(stream.stamps_ns.min()) for stream in streams if len(stream.stamps_ns))
    static = _once(
        "/tf_static", messages.TF, start_ns, lambda: messages.static_transforms(start_ns, calibration.transforms)
    )
    return [static, *(_camera_info(name, calibration, files[name]) for name in calibration.cameras)]


def _camera_info(name: str, calibration: Calibration, files: StampedFiles) -> Stream:
    camera = calibration.cameras[name]

    def build(i: int) -> Any:
        return messages.camera_info(int(files.stamps_ns[i]), name, camera.size_px, camera.k, "plumb_bob", camera.d)

    return Stream(f"/camera/{name}/camera_info", messages.CAMERA_INFO, files.stamps_ns[:1], build)


def _once(topic: str, type_name: str, stamp_ns: int, build: Callable[[], Any]) -> Stream:
    return Stream(topic, type_name, stamps([stamp_ns]), lambda _: build())


def _clock_remark(files: Mapping[str, StampedFiles], remarks: list[str]) -> None:
    gps, radar = files["GPS_IMU_Twist"].stamps_ns, files["Navtech_Cartesian"].stamps_ns
    if len(gps) and len(radar) and int(gps.min()) > int(radar.max()):
        remarks.append(
            f"GPS_IMU_Twist: its clock starts {int(gps[0]) - int(radar[0])} ns after the radar's and never meets it; "
            "kept as recorded"
        )


def _drive(sequence: Path) -> dict[str, str]:
    path = sequence / "meta.json"
    try:
        meta = json.loads(read_text(path)) if path.is_file() else {}
        details = ", ".join(
            f"{key} {meta[key]}" for key in ("name", "type", "set", "version", "date_created") if key in meta
        )
    except (json.JSONDecodeError, TypeError) as error:
        raise BadInputError(f"{path}: not a JSON object: {error}", reason="malformed_metadata") from error
    return {
        "robot_type": "car",
        "rig_id": "radiate",
        "description": f"RADIATE sequence {sequence.name}: {details}"
        if details
        else f"RADIATE sequence {sequence.name}",
        "source": "RADIATE dataset (Heriot-Watt University), github.com/marcelsheeny/radiate_sdk",
        "license": LICENSE,
        "clock": "unix time of arrival; GPS/IMU on a clock of its own",
    }
