"""nuScenes keyframes as MMDetection3D's demo ships them: info pickle, camera JPEGs, LiDAR ``.pcd.bin``.

Layout of the pickle: info version 1.1 of github.com/open-mmlab/mmdetection3d (``docs/en/advanced_guides/datasets``).
Stamps come from the file names (integer microseconds); the pickle's float seconds are not used.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.contracts.errors import BadInputError
from scenelake.convert import messages
from scenelake.convert.messages import Box, Transform
from scenelake.convert.plain_pickle import load_plain
from scenelake.convert.recording import Recording, Stream, stamps, write_recording
from scenelake.convert.report import ConversionReport, Progress
from scenelake.convert.sources import find_folder, read_bytes, stamp_remarks
from scenelake.geometry.poses import quaternion_of

LICENSE = "CC BY-NC-SA 4.0 and the nuScenes terms of use (non-commercial)"
LIDAR = "LIDAR_TOP"
OTHER = "other"
"""Category of boxes outside the ten detection classes (label -1)."""
IMAGE_SIZE_PX = (1600, 900)
"""All six nuScenes cameras (nuscenes.org, data collection)."""
POINT_DTYPE = np.dtype([(name, "<f4") for name in ("x", "y", "z", "intensity", "ring")])
LABELS = "nuscenes.InstanceDetails"
LABELS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "timestamp_ns": {"type": "integer"},
        "num_lidar_pts": {"type": "array", "items": {"type": "integer"}},
        "num_radar_pts": {"type": "array", "items": {"type": "integer"}},
        "is_valid": {"type": "array", "items": {"type": "boolean"}},
        "velocity_m_s": {"type": "array", "items": {"type": "array", "items": {"type": ["number", "null"]}}},
    },
}
_NAME = re.compile(r"__(?P<channel>[A-Z_]+)__(?P<us>\d{1,18})\.(?:jpg|pcd\.bin)\Z")


def convert(source: Path, out: Path, *, progress: Progress | None = None) -> ConversionReport:
    """Converts the keyframes of one info pickle; see ``report.Converter``.

    Boxes are in the LiDAR frame (x right, y forward, z up) about their centre, length along their own x.
    """
    folder = find_folder(source, "*.pcd.bin", "nuScenes keyframes (a .pkl beside .pcd.bin and .jpg files)")
    pickles = sorted(folder.glob("*.pkl"))
    if len(pickles) != 1:
        raise BadInputError(f"{folder}: expected one info .pkl, found {len(pickles)}", reason="not_this_dataset")
    info = load_plain(read_bytes(pickles[0]), str(pickles[0]))
    remarks: list[str] = []
    try:
        samples = sorted(info["data_list"], key=lambda sample: _stamp_ns(sample["lidar_points"]["lidar_path"]))
        categories = {label: name for name, label in info["metainfo"]["categories"].items()}
        streams = [
            *_image_streams(folder, samples, remarks),
            _lidar_stream(folder, samples),
            _pose_stream(samples),
            *_box_streams(samples, categories),
        ]
        streams = [*_calibration_streams(samples), *streams]
        drive = _drive(folder, info["metainfo"], samples)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise BadInputError(
            f"{pickles[0]}: not a nuScenes info of version 1.1 ({type(error).__name__}: {error})",
            reason="malformed_info",
        ) from error
    for stream in streams:
        remarks += stamp_remarks(stream.topic, stream.stamps_ns)
    _left_out(folder, samples, categories, remarks)
    return write_recording(Recording("nuscenes", folder, streams, drive, {}, remarks), out, progress)


def _stamp_ns(file_name: str) -> int:
    match = _NAME.search(file_name)
    if match is None:
        raise BadInputError(
            f"{file_name}: expected <log>__<CHANNEL>__<microseconds>.jpg or .pcd.bin", reason="malformed_stamp"
        )
    return int(match["us"]) * 1000


def _file(folder: Path, name: str) -> Path:
    path = folder / Path(name).name
    if not path.is_file():
        raise BadInputError(f"{path}: named by the info pickle, but absent", reason="unreadable_file")
    return path


def _image_streams(folder: Path, samples: Sequence[Mapping[str, Any]], remarks: list[str]) -> list[Stream]:
    streams = []
    for camera in sorted({name for sample in samples for name in sample["images"]}):
        named = [sample["images"][camera]["img_path"] for sample in samples if camera in sample["images"]]
        present = [name for name in named if (folder / Path(name).name).is_file()]
        if len(present) < len(named):
            remarks.append(f"{camera}: {len(named) - len(present)} of {len(named)} images are absent")
        streams.append(_images(camera, folder, present))
    return streams


def _images(camera: str, folder: Path, names: Sequence[str]) -> Stream:
    stamps_ns = stamps([_stamp_ns(name) for name in names])

    def build(i: int) -> Any:
        return messages.image(int(stamps_ns[i]), camera, "jpeg", read_bytes(_file(folder, names[i])))

    return Stream(f"/camera/{camera}/image", messages.IMAGE, stamps_ns, build)


def read_points(path: Path) -> npt.NDArray[np.void]:
    """Points ``[n]``: metres in the LiDAR frame, intensity 0-255, ring 0-31, all float32 as stored.

    Raises:
        BadInputError: the file is no whole number of points.
    """
    data = read_bytes(path)
    if len(data) % POINT_DTYPE.itemsize:
        raise BadInputError(
            f"{path}: {len(data)} bytes are no whole number of {POINT_DTYPE.itemsize}-byte points",
            reason="malformed_points",
            byte_offset=len(data) - len(data) % POINT_DTYPE.itemsize,
        )
    return np.frombuffer(data, POINT_DTYPE)


def _lidar_stream(folder: Path, samples: Sequence[Mapping[str, Any]]) -> Stream:
    names = [sample["lidar_points"]["lidar_path"] for sample in samples]
    stamps_ns = stamps([_stamp_ns(name) for name in names])

    def build(i: int) -> Any:
        return messages.point_cloud(int(stamps_ns[i]), LIDAR, read_points(_file(folder, names[i])))

    return Stream(f"/lidar/{LIDAR}/points", messages.POINT_CLOUD, stamps_ns, build)


def _pose_stream(samples: Sequence[Mapping[str, Any]]) -> Stream:
    """Ego poses at the LiDAR's stamp, as PoseStamped: the source has no velocity."""
    stamps_ns = stamps([_stamp_ns(sample["lidar_points"]["lidar_path"]) for sample in samples])
    poses = [_transform(sample["ego2global"]) for sample in samples]

    def build(i: int) -> Any:
        orientation = quaternion_of(poses[i].rotation)
        return messages.pose_stamped(int(stamps_ns[i]), "map", poses[i].translation_m.tolist(), orientation.tolist())

    return Stream("/pose", messages.POSE, stamps_ns, build)


def _box_streams(samples: Sequence[Mapping[str, Any]], categories: Mapping[int, str]) -> list[Stream]:
    stamps_ns = stamps([_stamp_ns(sample["lidar_points"]["lidar_path"]) for sample in samples])
    boxes = [[_box(instance, categories) for instance in sample["instances"]] for sample in samples]
    details = [_details(sample["instances"]) for sample in samples]
    nbr_boxes = sum(len(of_sample) for of_sample in boxes)

    def build(i: int) -> Any:
        return messages.detections(int(stamps_ns[i]), LIDAR, boxes[i])

    def build_details(i: int) -> Any:
        return {"timestamp_ns": int(stamps_ns[i]), **details[i]}

    return [
        Stream("/annotations/boxes", messages.DETECTIONS, stamps_ns, build, nbr_source_rows=nbr_boxes),
        Stream(
            "/annotations/details",
            LABELS,
            stamps_ns,
            build_details,
            json_schema=LABELS_SCHEMA,
            nbr_source_rows=nbr_boxes,
        ),
    ]


def _box(instance: Mapping[str, Any], categories: Mapping[int, str]) -> Box:
    """``bbox_3d`` is x, y, z of the centre, length, width, height, yaw about z; no track identity is recorded."""
    x, y, z, length, width, height, yaw_rad = (float(value) for value in instance["bbox_3d"])
    half = yaw_rad / 2
    category = categories.get(instance["bbox_label_3d"], OTHER)
    return Box("", category, (x, y, z), (math.cos(half), 0.0, 0.0, math.sin(half)), (length, width, height))


def _details(instances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "num_lidar_pts": [int(instance["num_lidar_pts"]) for instance in instances],
        "num_radar_pts": [int(instance["num_radar_pts"]) for instance in instances],
        "is_valid": [bool(instance["bbox_3d_isvalid"]) for instance in instances],
        "velocity_m_s": [
            [float(value) if math.isfinite(value) else None for value in instance["velocity"]] for instance in instances
        ],
    }


def _calibration_streams(samples: Sequence[Mapping[str, Any]]) -> list[Stream]:
    """Rigid calibration of the first sample; nuScenes calibrates once per log."""
    first = samples[0]
    images = first["images"]
    start_ns = min(_stamp_ns(name) for name in (_first_name(first), *(image["img_path"] for image in images.values())))
    transforms = {("base_link", LIDAR): _transform(first["lidar_points"]["lidar2ego"])}
    transforms |= {("base_link", name): _transform(image["cam2ego"]) for name, image in images.items()}
    tf = messages.static_transforms(start_ns, transforms)
    return [
        Stream("/tf_static", messages.TF, stamps([start_ns]), lambda _: tf, nbr_source_rows=len(transforms)),
        *(_camera_info(name, image) for name, image in sorted(images.items())),
    ]


def _camera_info(camera: str, image: Mapping[str, Any]) -> Stream:
    """The dataset's images are rectified already: no distortion."""
    stamp_ns = _stamp_ns(image["img_path"])
    k = np.array(image["cam2img"], np.float64)[:3, :3]
    info = messages.camera_info(stamp_ns, camera, IMAGE_SIZE_PX, k, "plumb_bob", (0.0,) * 5)
    return Stream(f"/camera/{camera}/camera_info", messages.CAMERA_INFO, stamps([stamp_ns]), lambda _: info)


def _first_name(sample: Mapping[str, Any]) -> str:
    return str(sample["lidar_points"]["lidar_path"])


def _transform(matrix: Sequence[Sequence[float]]) -> Transform:
    values = np.array(matrix, np.float64)
    if values.shape != (4, 4):
        raise ValueError(f"expected a 4x4 matrix, got {values.shape}")
    return Transform(values[:3, 3], values[:3, :3])


def _left_out(
    folder: Path, samples: Sequence[Mapping[str, Any]], categories: Mapping[int, str], remarks: list[str]
) -> None:
    named = {Path(image["img_path"]).name for sample in samples for image in sample["images"].values()}
    named |= {Path(_first_name(sample)).name for sample in samples}
    present = {path.name for pattern in ("*.jpg", "*.pcd.bin") for path in folder.glob(pattern)}
    if present - named:
        remarks.append(f"{len(present - named)} files are not named by the info pickle; not converted")
    nbr_2d = sum(len(boxes) for sample in samples for boxes in sample.get("cam_instances", {}).values())
    if nbr_2d:
        remarks.append(f"cam_instances: {nbr_2d} 2D boxes (projections of the 3D ones) are not converted")
    remarks.append("lidar2cam (which includes the ego's motion between the two instants) is not converted; TF is rigid")
    labels = [instance["bbox_label_3d"] for sample in samples for instance in sample["instances"]]
    if nbr_other := sum(label not in categories for label in labels):
        remarks.append(f"boxes: {nbr_other} of {len(labels)} have no class; category {OTHER}")
    remarks.append("boxes: no track identity is recorded; ids are empty")


def _drive(folder: Path, metainfo: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    log = Path(_first_name(samples[0])).name.split("__")[0]
    return {
        "robot_type": "car",
        "rig_id": f"nuscenes-{log.split('-')[0]}",
        "description": f"nuScenes {metainfo['version']}, {len(samples)} keyframe(s) of log {log} in {folder.name}",
        "source": "nuScenes (Motional), via github.com/open-mmlab/mmdetection3d demo/data",
        "license": LICENSE,
        "clock": "unix time, microseconds as recorded",
    }
