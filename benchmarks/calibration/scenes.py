"""Windows of keyframes of simulated drives: every one with a world, rig and noise of its own, drawn from its seed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import simplejpeg

from scenelake.geometry.poses import compose, pose_of
from scenelake.geometry.trajectory import Trajectory
from scenelake.quality.calibration.image_edges import CameraView
from scenelake.quality.calibration.keyframes import Keyframe, Sweep, TakenImage
from scenelake.simulate.camera import CameraModel
from scenelake.simulate.config import SECOND_NS, Camera, DriveConfig, Lidar, Mount, plan_default_drive
from scenelake.simulate.geometry import generator
from scenelake.simulate.lidar import LidarModel
from scenelake.simulate.scenery import Scenery
from scenelake.simulate.world import World, build_world

DURATION_NS = 40 * SECOND_NS
POSE_STEP_NS = 20_000_000
_MARGIN_NS = SECOND_NS // 5
_YAWS_DEG = (0.0, 55.0, -55.0, 110.0, -110.0)

_OTHER_SEED = 500_000

Image = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Drive:
    """One simulated drive with one camera and one LiDAR, and what disturbs its images.

    Attributes:
        spoil: changes an image after it was developed.
        seen: world of the images; another than the LiDAR's where they do not belong together.
    """

    seed: int
    camera: Camera
    lidar: Lidar
    world: World
    seen: World
    spoil: Callable[[Image], Image] | None = None


def clean_drive(seed: int) -> Drive:
    """A drive with structure: a road with buildings, poles, trees, parked and moving cars, pedestrians."""
    random = generator(seed, "calibration drive")
    config = plan_default_drive(seed).model_copy(
        update={
            "vehicles": int(random.integers(4, 18)),
            "pedestrians": int(random.integers(4, 20)),
            "ego_speed_m_s": float(random.uniform(5.0, 14.0)),
            "duration_ns": DURATION_NS,
        }
    )
    world = build_world(config)
    return Drive(seed, _camera(config, random), _lidar(config, random), world, world)


def _camera(config: DriveConfig, random: np.random.Generator) -> Camera:
    yaw_deg = float(random.choice(_YAWS_DEG, p=(0.4, 0.2, 0.2, 0.1, 0.1)))
    side = np.sign(yaw_deg)
    mount = Mount(
        x_m=float(random.uniform(1.2, 1.9)),
        y_m=float(0.6 * side + random.uniform(-0.1, 0.1)),
        z_m=float(random.uniform(1.3, 1.8)),
        roll_deg=float(random.uniform(-1.5, 1.5)),
        pitch_deg=float(random.uniform(-1.0, 4.0)),
        yaw_deg=yaw_deg + float(random.uniform(-3, 3)),
    )
    width_px, height_px = ((640, 384), (800, 450), (672, 376))[int(random.integers(3))]
    return config.cameras[0].model_copy(
        update={
            "mount": mount,
            "width_px": width_px,
            "height_px": height_px,
            "horizontal_fov_deg": float(random.uniform(65.0, 95.0)),
            "noise": float(random.uniform(1.0, 4.0)),
            "jpeg_quality": int(random.integers(55, 92)),
        }
    )


def _lidar(config: DriveConfig, random: np.random.Generator) -> Lidar:
    mount = Mount(
        x_m=float(random.uniform(0.5, 1.3)),
        y_m=float(random.uniform(-0.1, 0.1)),
        z_m=float(random.uniform(1.7, 2.0)),
        roll_deg=float(random.uniform(-1, 1)),
        pitch_deg=float(random.uniform(-1, 1)),
        yaw_deg=float(random.uniform(-5, 5)),
    )
    return config.lidars[0].model_copy(
        update={
            "mount": mount,
            "azimuths": int(random.choice((450, 720, 900))),
            "range_noise_m": float(random.uniform(0.01, 0.03)),
            "dropout": float(random.uniform(0.005, 0.03)),
        }
    )


def _cleared(world: World, kept: int) -> World:
    """A world with its first so many boxes."""
    boxes, rows = world.boxes, np.arange(kept)
    few = replace(
        boxes, motions=boxes.motions.take(rows), size_m=boxes.size_m[rows], base_m=boxes.base_m[rows],
        colour_rgb=boxes.colour_rgb[rows], category=boxes.category[:kept],
    )  # fmt: skip
    return replace(world, boxes=few)


def _fog(image: Image) -> Image:
    return cv2.GaussianBlur(image, (0, 0), 18.0) // 3 + np.uint8(130)


def _covered(image: Image) -> Image:
    random = generator("covered", int(image.sum()))
    return np.clip(random.normal(12.0, 2.0, image.shape), 0, 255).astype(np.uint8)


def _empty(drive: Drive) -> Drive:
    world = _cleared(drive.world, 0)
    return replace(drive, world=world, seen=world)


POOR: dict[str, Callable[[Drive], Drive]] = {
    "empty road": _empty,
    "fog on the lens": lambda drive: replace(drive, spoil=_fog),
    "covered lens": lambda drive: replace(drive, spoil=_covered),
    "images of another drive": lambda drive: replace(
        drive, seen=build_world(plan_default_drive(drive.seed + _OTHER_SEED))
    ),
}
"""What makes a drive show nothing of a calibration."""


def trajectory_of(drive: Drive) -> Trajectory:
    """Poses at 50 Hz with the noise of a good localiser: 5 mm and 0.01° from one to the next."""
    random = generator(drive.seed, "poses")
    stamps_ns = np.arange(0, DURATION_NS + _MARGIN_NS, POSE_STEP_NS, dtype=np.int64)
    position_m, rotation = drive.world.ego.poses(stamps_ns / SECOND_NS)
    poses = pose_of(rotation, position_m + random.normal(0.0, 0.005, position_m.shape))
    return Trajectory.of(stamps_ns, compose(poses, np.stack([_small_turn(v) for v in random.normal(
        0.0, np.radians(0.01), (len(poses), 3))])))  # fmt: skip


def _small_turn(vector_rad: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(vector_rad))
    axis = vector_rad / angle if angle else vector_rad
    return np.concatenate([np.zeros(3), [np.cos(angle / 2)], np.sin(angle / 2) * axis])


def error_pose(rotation_rad: np.ndarray, translation_m: np.ndarray) -> np.ndarray:
    """``true_camera_from_given`` (7,) inverted: what is multiplied to the true pose to give a wrong one."""
    pose = _small_turn(rotation_rad)
    pose[:3] = translation_m
    return pose


def keyframes(drive: Drive, count: int) -> Iterator[Keyframe]:
    """Keyframes spread over a drive, with sweeps up to 40 ms and stamps up to some ms beside the images."""
    random = generator(drive.seed, "keyframes")
    scenery = Scenery(drive.seen)
    camera, lidar = CameraModel(drive.camera, drive.seen, scenery), LidarModel(drive.lidar, drive.world)
    mount, placed = drive.camera.ego_from_sensor(), drive.lidar.ego_from_sensor()
    ego_from_camera = pose_of(mount.rotation, mount.translation_m)
    ego_from_lidar = pose_of(placed.rotation, placed.translation_m)
    lens = camera.lens
    size_px = drive.camera.width_px, drive.camera.height_px
    view = CameraView(ego_from_camera, lens.matrix, lens.distortion, "plumb_bob", size_px)
    for at_ns in np.linspace(_MARGIN_NS, DURATION_NS - _MARGIN_NS, count).astype(np.int64).tolist():
        start_ns = max(at_ns - 50_000_000 + int(random.uniform(-40e6, 40e6)), 0)
        grey = simplejpeg.decode_jpeg(camera.render(at_ns, mount, random), "GRAY")[..., 0]
        if drive.spoil is not None:
            grey = drive.spoil(grey)
        points = lidar.scan(start_ns, placed, random)
        xyz = np.stack([points["x"], points["y"], points["z"]], axis=1).astype(np.float64)
        stamp_ns = at_ns + int(random.normal(0.0, 1e6))
        sweep = Sweep(
            "/lidar", start_ns, xyz, points["ring"].astype(np.int64), points["t"].astype(np.int64), ego_from_lidar
        )
        yield Keyframe(sweep, (TakenImage("/camera", stamp_ns, grey, view),))
