"""How strong an image's edges are along short lines across projected outlines."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenelake.geometry.camera import project
from scenelake.geometry.poses import compose, invert, transform
from scenelake.quality.calibration.depth_edges import DepthEdges
from scenelake.timebase.arrays import FloatArray

Float32Array = NDArray[np.float32]
GreyImage = NDArray[np.uint8]

REACH_RAD = np.radians(3.0)
"""Half length of the lines: larger errors than the search covers are left to the checks of transforms."""
NBR_STEPS = 61
"""Samples on a line: 0.1° apart, which is half a pixel of a camera with 300 px per radian."""
STEP_RAD = 2 * REACH_RAD / (NBR_STEPS - 1)
_BLUR_PX = 1.0
_NBR_PARAMETERS = 6


@dataclass(frozen=True, slots=True)
class CameraView:
    """How one image was taken.

    Attributes:
        intrinsics: (3, 3) px of the image as it is given (reduced, if it is).
        size_px: width and height of it.
    """

    ego_from_camera: FloatArray
    intrinsics: FloatArray
    distortion: FloatArray | None
    camera_model: str | None
    size_px: tuple[int, int]

    @property
    def focal_px(self) -> float:
        return float(np.sqrt(self.intrinsics[0, 0] * self.intrinsics[1, 1]))


@dataclass(frozen=True, slots=True)
class Profiles:
    """Edge strength across projected outlines.

    Attributes:
        strength: (m, NBR_STEPS) float32 with mean 0 per line, from -REACH_RAD to REACH_RAD about where the outline
            is expected.
        shifts: (m, 6) float32, what moves the outline along its line, in rad: per rad of a rotation about the
            camera's x, y and z axes, and per metre along them.
        is_across: (m,) of ``DepthEdges``.
        depth_m: (m,).
    """

    strength: Float32Array
    shifts: Float32Array
    is_across: NDArray[np.bool_]
    depth_m: Float32Array

    def __len__(self) -> int:
        return len(self.strength)

    def thinned(self, most: int) -> "Profiles":
        """At most so many outlines, upright and level ones evenly, each kind evenly over the sweep."""
        if len(self) <= most:
            return self
        level, upright = np.flatnonzero(self.is_across), np.flatnonzero(~self.is_across)
        nbr_level = min(len(level), max(most // 2, most - len(upright)))
        chosen = np.sort(np.concatenate([_evenly(level, nbr_level), _evenly(upright, most - nbr_level)]))
        return Profiles(*(getattr(self, name)[chosen] for name in self.__slots__))


def edge_profiles(image: GreyImage, edges: DepthEdges, ego_from_lidar: FloatArray, view: CameraView) -> Profiles:
    """Samples an image across the outlines of a sweep.

    Args:
        image: (height, width) grey.
        edges: with ``points_m`` and ``aside_m`` as seen at the image's time.
    """
    camera_from_lidar = compose(invert(view.ego_from_camera), ego_from_lidar)
    points, aside = transform(camera_from_lidar, edges.points_m), transform(camera_from_lidar, edges.aside_m)
    lens = (view.intrinsics, view.distortion, view.camera_model, view.size_px)
    here, there = project(points, *lens), project(aside, *lens)
    step = there.pixels - here.pixels
    length = np.linalg.norm(step, axis=1)
    kept = np.flatnonzero(here.is_visible & there.is_visible & (length > 0.5))
    normal, pixels, points = step[kept] / length[kept, None], here.pixels[kept], points[kept]
    along = np.linspace(-REACH_RAD, REACH_RAD, NBR_STEPS) * view.focal_px
    where = (pixels[:, None, :] + along[:, None] * normal[:, None, :]).astype(np.float32)
    strength = _strength(image, where, normal.astype(np.float32))
    shifts = _shifts(points, normal, view)
    return Profiles(strength, shifts, edges.is_across[kept], points[:, 2].astype(np.float32))


def _evenly(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most so many of the rows."""
    count = min(len(rows), count)
    return rows[np.arange(count) * len(rows) // max(count, 1)]


def _strength(image: GreyImage, where: Float32Array, normal: Float32Array) -> Float32Array:
    """Directional gradient in [0, 1) against the image's own contrast, less the mean of each line within it."""
    if not len(where):
        return np.empty((0, NBR_STEPS), np.float32)
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR_PX)
    gradients = [cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3, scale=0.125) for dx, dy in ((1, 0), (0, 1))]
    contrast = max(4.0 * float(np.median(np.abs(gradients[0][::4, ::4]) + np.abs(gradients[1][::4, ::4]))), 3.0)
    sampled = [
        cv2.remap(g, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) for g in gradients
    ]
    across = np.abs(sampled[0] * normal[:, :1] + sampled[1] * normal[:, 1:])
    strength = across / (across + contrast)
    # What lies outside the image is as strong as the line's mean: nothing at all there would draw outlines inwards.
    last = np.array(image.shape[::-1], np.float32) - 1
    is_inside = ((where >= 0) & (where <= last)).all(axis=-1)
    count = np.maximum(is_inside.sum(axis=1, keepdims=True), 1)
    mean = np.where(is_inside, strength, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(is_inside, strength - mean, 0.0).astype(np.float32)


def _shifts(points_m: FloatArray, normal: FloatArray, view: CameraView) -> Float32Array:
    """How far along its line an outline moves with the camera's pose: by a pinhole, the lens bends both alike."""
    x, y, z = points_m.T
    nothing = np.zeros_like(z)
    fx, fy = view.intrinsics[0, 0], view.intrinsics[1, 1]
    du = np.stack([fx / z, nothing, -fx * x / z**2], axis=1)
    dv = np.stack([nothing, fy / z, -fy * y / z**2], axis=1)
    moved = normal[:, :1] * du + normal[:, 1:] * dv
    # A small rotation w moves a point p by w x p: d/dw of moved . (w x p) is p x moved.
    turned = np.cross(points_m, moved)
    return (np.concatenate([turned, moved], axis=1) / view.focal_px).astype(np.float32)
