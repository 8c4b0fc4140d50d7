"""RADIATE's calibration and radar boxes, in the conventions of its own SDK.

Frames: ``radar`` and ``velo_lidar`` are x right, y forward, z up; cameras are x right, y down, z forward;
``base_link`` is the radar's place with ISO 8855 axes (x forward, y left, z up), because the dataset takes the
radar as its origin. Conventions read in marcelsheeny/radiate_sdk, ``utils/calibration.py`` (``Calibration``) and
``radiate.py`` (``__get_projected_bbox``, ``draw_boundingbox_rot``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from scenelake.contracts.errors import BadInputError
from scenelake.convert.messages import Box, Floats, Transform
from scenelake.convert.sources import read_text

CAMERA_SECTIONS = {"zed_left": "left_cam_calib", "zed_right": "right_cam_calib"}
IMAGE_CENTER_PX = 576
"""The Cartesian radar image is 1152 x 1152 px with the radar in its middle."""
METRES_PER_PIXEL = 0.173611
"""``radar_calib.range_res`` of the SDK's ``config/config.yaml``."""

_RADAR_IS_ORIGIN = {"radar_calib": {"T": [0.0, 0.0, 0.0], "R": [0.0, 0.0, 0.0]}}
_CAMERA_FROM_ENU_AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_BASE_FROM_RADAR = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class CameraModel:
    """Intrinsics of one unrectified camera: ``k`` ``[3, 3]`` px, ``d`` plumb_bob (k1, k2, p1, p2, k3)."""

    size_px: tuple[int, int]
    k: Floats
    d: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """Cameras by frame id, transforms by (parent, child), and the file's own text."""

    cameras: Mapping[str, CameraModel]
    transforms: Mapping[tuple[str, str], Transform]
    text: str


def read_calibration(path: Path) -> Calibration:
    """Reads ``default-calib.yaml``.

    Raises:
        BadInputError: not YAML, or a section or key is missing or not a number.
    """
    text = read_text(path)
    try:
        sections = {**_RADAR_IS_ORIGIN, **yaml.safe_load(text)}
        cameras = {name: _camera(sections[section]) for name, section in CAMERA_SECTIONS.items()}
        transforms = _transforms(sections)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadInputError(
            f"{path}: not a RADIATE calibration ({type(error).__name__}: {error})", reason="malformed_calibration"
        ) from error
    return Calibration(cameras, transforms, text)


def _camera(section: Mapping[str, Any]) -> CameraModel:
    k = np.array([
        [float(section["fx"]), 0.0, float(section["cx"])],
        [0.0, float(section["fy"]), float(section["cy"])],
        [0.0, 0.0, 1.0],
    ])  # fmt: skip
    d = tuple(float(section[key]) for key in ("k1", "k2", "p1", "p2", "k3"))
    width_px, height_px = (int(value) for value in section["res"])
    return CameraModel((width_px, height_px), k, d)


def _transforms(sections: Mapping[str, Any]) -> dict[tuple[str, str], Transform]:
    """A tree that reproduces the SDK's pairwise transforms.

    The SDK subtracts the T and R of two sensors instead of composing poses, so its pairs do not quite close. The
    LiDAR-to-camera pairs are the ones that were tuned on data: both are kept exactly, by hanging the cameras
    below the LiDAR. The radar reaches the LiDAR through the left camera; radar to right camera then differs from
    the SDK's by about a centimetre.
    """
    left_from_radar = _camera_from(sections, "radar_calib", "left_cam_calib")
    left_from_lidar = _camera_from(sections, "lidar_calib", "left_cam_calib")
    right_from_lidar = _camera_from(sections, "lidar_calib", "right_cam_calib")
    return {
        ("base_link", "radar"): Transform(np.zeros(3), _BASE_FROM_RADAR),
        ("radar", "velo_lidar"): left_from_radar.inverse() @ left_from_lidar,
        ("velo_lidar", "zed_left"): left_from_lidar.inverse(),
        ("velo_lidar", "zed_right"): right_from_lidar.inverse(),
    }


def _camera_from(sections: Mapping[str, Any], source: str, camera: str) -> Transform:
    """``camera_from_source`` as the SDK computes it: T in metres along the camera's axes, R in degrees."""
    t = np.array(sections[source]["T"], np.float64) - np.array(sections[camera]["T"], np.float64)
    angles = np.radians(np.array(sections[source]["R"], np.float64) - np.array(sections[camera]["R"], np.float64))
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    if t.shape != (3,):
        raise ValueError(f"T of {source} and {camera} must have three numbers")
    return Transform(t, (rx @ ry @ rz).T @ _CAMERA_FROM_ENU_AXES)


def radar_box(track_id: str, category: str, position_px: Sequence[float], rotation_deg: float) -> Box:
    """A box of the Cartesian radar image in the radar frame, in metres.

    ``position_px`` is (left, top, width, height) before rotation; the rotation is about the box's centre,
    counter-clockwise as seen in the image, which is counter-clockwise from above as well. Vehicles are drawn with
    their length along the image's vertical, so the box's x (length) is the annotated height and its yaw the rotation
    plus 90°; oncoming traffic is drawn at about 180°, so x points ahead, though the dataset does not promise it. A
    partly seen vehicle can be wider than long. Nothing is known of z: the box lies in the radar's own plane (z = 0)
    and has no height (size z = 0).
    """
    left, top, width, height = (float(value) for value in position_px)
    x_m = (left + width / 2 - IMAGE_CENTER_PX) * METRES_PER_PIXEL
    y_m = (IMAGE_CENTER_PX - (top + height / 2)) * METRES_PER_PIXEL
    half_yaw_rad = math.radians(float(rotation_deg) + 90.0) / 2
    return Box(
        track_id,
        category,
        (x_m, y_m, 0.0),
        (math.cos(half_yaw_rad), 0.0, 0.0, math.sin(half_yaw_rad)),
        (height * METRES_PER_PIXEL, width * METRES_PER_PIXEL, 0.0),
    )
