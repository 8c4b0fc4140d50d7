"""Argoverse 2 sensor dataset: LiDAR sweeps, city poses, calibration and cuboids of one log.

File layout: github.com/argoverse/av2-api. Sweeps and cuboids are in the ego frame (x forward, y left, z up), which
is ``base_link`` here; stamps are integer nanoseconds of the vehicle's clock in the source already.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import feather

from scenelake.contracts.errors import BadInputError
from scenelake.convert import messages
from scenelake.convert.messages import Box, Floats, Transform
from scenelake.convert.recording import Recording, Stream, stamps, write_recording
from scenelake.convert.report import ConversionReport, Progress
from scenelake.convert.sources import find_folder, stamp_remarks
from scenelake.geometry.poses import rotation_matrix

LICENSE = "CC BY-NC-SA 4.0 (non-commercial)"
POSE_COLUMNS = ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz")
INTRINSIC_COLUMNS = ("sensor_name", "fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3", "height_px", "width_px")
CUBOID_COLUMNS = (
    "timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m", *POSE_COLUMNS, "num_interior_pts",
)  # fmt: skip
POINT_DTYPE = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "u1"), ("laser_number", "u1"), ("offset_ns", "<i4")]
)
INTERIOR_POINTS = "av2.InteriorPoints"
INTERIOR_POINTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "timestamp_ns": {"type": "integer"},
        "track_uuid": {"type": "array", "items": {"type": "string"}},
        "num_interior_pts": {"type": "array", "items": {"type": "integer"}},
    },
}
_CITY = re.compile(r"____([A-Z]{3})_city")


def convert(source: Path, out: Path, *, progress: Progress | None = None) -> ConversionReport:
    """Converts one AV2 log; see ``report.Converter``.

    Sweeps are motion compensated to their stamps by the source (argoverse.github.io/user-guide/datasets/sensor.html),
    and the drive's metadata says so. Half-precision coordinates become float32, which is exact. Cuboids
    keep their track and category; the number of LiDAR points in each, for which ``Detection3D`` has no field, is a
    JSON message of the same stamp.
    """
    log = find_folder(source, "city_SE3_egovehicle.feather", "an AV2 log (city_SE3_egovehicle.feather)")
    remarks: list[str] = []
    streams = [*_lidar_streams(log, remarks), _pose_stream(log), *_cuboid_streams(log, remarks)]
    for stream in streams:
        remarks += stamp_remarks(stream.topic, stream.stamps_ns)
    streams = [*_calibration_streams(log, streams, remarks), *streams]
    _left_out(log, remarks)
    recording = Recording("av2", log, streams, _drive(log), {}, remarks)
    return write_recording(recording, out, progress)


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """A feather file with at least ``columns``.

    Raises:
        BadInputError: it is missing, no feather file, or lacks a column.
    """
    try:
        table = feather.read_table(path, memory_map=False)
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{path}: not a feather file: {error}", reason="malformed_table") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise BadInputError(f"{path}: columns {missing} are missing", reason="malformed_table")
    return table.select(list(columns))


def read_sweep(path: Path) -> npt.NDArray[np.void]:
    """Points ``[n]`` of one sweep: metres in the ego frame, intensity 0-255, laser 0-63, ns after the sweep's stamp.

    Raises:
        BadInputError: not a sweep's feather file.
    """
    names = POINT_DTYPE.names or ()
    table = read_table(path, names)
    points = np.empty(table.num_rows, POINT_DTYPE)
    for name in names:
        points[name] = table.column(name).to_numpy()
    return points


def _lidar_streams(log: Path, remarks: list[str]) -> list[Stream]:
    paths = {}
    for path in (log / "sensors" / "lidar").glob("*.feather"):
        if path.stem.isdigit():
            paths[int(path.stem)] = path
        else:
            remarks.append(f"sensors/lidar/{path.name}: its name is no stamp; not converted")
    stamps_ns = stamps(sorted(paths))

    def build(i: int) -> Any:
        stamp_ns = int(stamps_ns[i])
        return messages.point_cloud(stamp_ns, "base_link", read_sweep(paths[stamp_ns]))

    return [Stream("/lidar/points", messages.POINT_CLOUD, stamps_ns, build)]


def _pose_stream(log: Path) -> Stream:
    """City poses as PoseStamped: the source has no velocity, and an Odometry would claim one."""
    table = read_table(log / "city_SE3_egovehicle.feather", ("timestamp_ns", *POSE_COLUMNS))
    stamps_ns = stamps(table.column("timestamp_ns").to_numpy())
    values = _matrix(table, POSE_COLUMNS)

    def build(i: int) -> Any:
        return messages.pose_stamped(int(stamps_ns[i]), "city", values[i, :3], values[i, 3:])

    return Stream("/pose", messages.POSE, stamps_ns, build)


def _cuboid_streams(log: Path, remarks: list[str]) -> list[Stream]:
    path = log / "annotations.feather"
    if not path.is_file():
        remarks.append("annotations.feather: absent")
        return []
    table = read_table(path, CUBOID_COLUMNS)
    of_row = stamps(table.column("timestamp_ns").to_numpy())
    rows = np.argsort(of_row, kind="stable")
    stamps_ns, starts = np.unique(of_row[rows], return_index=True)
    ends = np.r_[starts[1:], len(rows)]
    poses = _matrix(table, POSE_COLUMNS)
    sizes = _matrix(table, ("length_m", "width_m", "height_m"))
    tracks, categories = table.column("track_uuid").to_pylist(), table.column("category").to_pylist()
    interior = table.column("num_interior_pts").to_pylist()

    def boxes(i: int) -> Any:
        chosen = [
            Box(tracks[r], categories[r], poses[r, :3].tolist(), poses[r, 3:].tolist(), sizes[r].tolist())
            for r in rows[starts[i] : ends[i]].tolist()
        ]
        return messages.detections(int(stamps_ns[i]), "base_link", chosen)

    def points(i: int) -> Any:
        chosen = rows[starts[i] : ends[i]].tolist()
        return {
            "timestamp_ns": int(stamps_ns[i]),
            "track_uuid": [tracks[r] for r in chosen],
            "num_interior_pts": [interior[r] for r in chosen],
        }

    return [
        Stream("/annotations/cuboids", messages.DETECTIONS, stamps_ns, boxes, nbr_source_rows=len(rows)),
        Stream(
            "/annotations/interior_points",
            INTERIOR_POINTS,
            stamps_ns,
            points,
            json_schema=INTERIOR_POINTS_SCHEMA,
            nbr_source_rows=len(rows),
        ),
    ]


def _calibration_streams(log: Path, streams: Sequence[Stream], remarks: list[str]) -> list[Stream]:
    start_ns = min((int(stream.stamps_ns.min()) for stream in streams if len(stream.stamps_ns)), default=0)
    folder = log / "calibration"
    if not folder.is_dir():
        remarks.append("calibration: absent")
        return []
    extrinsics = read_table(folder / "egovehicle_SE3_sensor.feather", ("sensor_name", *POSE_COLUMNS))
    poses = _matrix(extrinsics, POSE_COLUMNS)
    names = extrinsics.column("sensor_name").to_pylist()
    transforms = {
        ("base_link", name): Transform(pose[:3], rotation_matrix(pose[3:]))
        for name, pose in zip(names, poses, strict=True)
    }
    tf = messages.static_transforms(start_ns, transforms)
    table = read_table(folder / "intrinsics.feather", INTRINSIC_COLUMNS)
    return [
        Stream("/tf_static", messages.TF, stamps([start_ns]), lambda _: tf, nbr_source_rows=len(names)),
        *(_camera_info(start_ns, camera) for camera in table.to_pylist()),
    ]


def _camera_info(start_ns: int, camera: dict[str, Any]) -> Stream:
    name = str(camera["sensor_name"])
    k = np.array([
        [camera["fx_px"], 0.0, camera["cx_px"]], [0.0, camera["fy_px"], camera["cy_px"]], [0.0, 0.0, 1.0],
    ])  # fmt: skip
    d = (camera["k1"], camera["k2"], 0.0, 0.0, camera["k3"])
    size_px = (int(camera["width_px"]), int(camera["height_px"]))
    info = messages.camera_info(start_ns, name, size_px, k, "plumb_bob", d)
    return Stream(f"/camera/{name}/camera_info", messages.CAMERA_INFO, stamps([start_ns]), lambda _: info)


def _matrix(table: pa.Table, columns: Sequence[str]) -> Floats:
    return np.stack([table.column(name).to_numpy().astype(np.float64) for name in columns], axis=1)


def _left_out(log: Path, remarks: list[str]) -> None:
    for name in ("map", "flow_labels.feather", "ego_motion.npz", "sensors/cameras"):
        if (log / name).exists():
            remarks.append(f"{name}: not converted")


def _drive(log: Path) -> dict[str, str]:
    cities = {match[1] for path in (log / "map").glob("*") if (match := _CITY.search(path.name))}
    return {
        "robot_type": "car",
        "rig_id": f"av2-{log.name}",
        "description": f"Argoverse 2 sensor log {log.name}",
        "source": "Argoverse 2 sensor dataset, github.com/argoverse/av2-api",
        "license": LICENSE,
        "clock": "vehicle clock, ns as recorded; not UTC",
        "motion_compensated": "/lidar/points",
        **({"location": cities.pop()} if len(cities) == 1 else {}),
    }
