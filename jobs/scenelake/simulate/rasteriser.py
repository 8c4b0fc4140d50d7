"""Draws coloured convex polygons into a camera image: clip, project, paint far to near, distort, add noise, JPEG."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from scenelake.simulate.config import Camera
from scenelake.simulate.geometry import Floats, generator

NEAR_M = 0.02
_SUBPIXEL_BITS = 4
_LARGEST_PX = 4_000_000.0

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Polygons:
    """Convex quads of one frame: ``corner_m`` (m, 4, 3) and ``colour_bgr`` (m, 3), painted in order."""

    corner_m: Floats
    colour_bgr: Floats

    def __len__(self) -> int:
        return len(self.corner_m)


class Lens:
    """Pinhole intrinsics and plumb_bob distortion of one camera.

    Images are painted with straight lines on a canvas that is larger than the image by what the lens bends in,
    then bent once, so that every pixel obeys the published model.
    """

    def __init__(self, config: Camera) -> None:
        self.config = config
        focal_px = config.width_px / 2 / np.tan(np.radians(config.horizontal_fov_deg) / 2)
        self.matrix = np.array(
            [
                [focal_px, 0.0, (config.width_px - 1) / 2],
                [0.0, focal_px, (config.height_px - 1) / 2],
                [0.0, 0.0, 1.0],
            ]
        )
        self.distortion = np.array(config.distortion)
        bent = self._undistorted()
        margin = np.maximum(np.ceil(-bent.min(axis=(0, 1))), 0) + 2
        reach = np.maximum(np.ceil(bent.max(axis=(0, 1))), [config.width_px - 1, config.height_px - 1]) + 3
        self.canvas_size = (int(reach[0] + margin[0]), int(reach[1] + margin[1]))
        self.canvas_matrix = self.matrix.copy()
        self.canvas_matrix[:2, 2] += margin
        self._maps = cv2.convertMaps((bent + margin).astype(np.float32), None, cv2.CV_16SC2)

    def _undistorted(self) -> Floats:
        """Where on the straight canvas each image pixel lies, (height, width, 2), by fixed-point iteration."""
        v, u = np.mgrid[0 : self.config.height_px, 0 : self.config.width_px]
        focal, centre = self.matrix[0, 0], self.matrix[:2, 2]
        bent = (np.stack([u, v], axis=-1) - centre) / focal
        straight = bent.copy()
        for _ in range(12):
            straight += bent - plumb_bob(straight, self.distortion)
        pixels: Floats = straight * focal + centre
        return pixels

    def bend(self, canvas: Image) -> Image:
        """The image (height, width, 3) that the lens makes of a straight canvas."""
        image: Image = cv2.remap(canvas, self._maps[0], self._maps[1], cv2.INTER_LINEAR)
        return image

    @cached_property
    def _noise(self) -> npt.NDArray[np.int16]:
        shape = (self.config.height_px + 64, self.config.width_px + 64, 1)
        grey = generator("image noise").normal(0.0, self.config.noise, shape)
        return np.repeat(np.rint(grey).astype(np.int16), 3, axis=2)

    def develop(self, canvas: Image, random: np.random.Generator) -> bytes:
        """Bends a canvas, adds noise and encodes it as JPEG."""
        image = self.bend(canvas)
        if self.config.noise > 0:
            row, column = random.integers(0, 64, 2)
            grain = self._noise[row : row + image.shape[0], column : column + image.shape[1]]
            image = cv2.add(image, grain, dtype=cv2.CV_8U)
        return self.encode(image)

    def encode(self, image: Image) -> bytes:
        """JPEG of a BGR image."""
        data: bytes = simplejpeg.encode_jpeg(
            np.ascontiguousarray(image), quality=self.config.jpeg_quality, colorspace="BGR", colorsubsampling="420"
        )
        return data

    def black(self) -> bytes:
        """JPEG of an image without light."""
        return self.encode(np.zeros((self.config.height_px, self.config.width_px, 3), np.uint8))


def plumb_bob(points: Floats, coefficients: Floats) -> Floats:
    """Distorted normalised image points (..., 2) for k1, k2, p1, p2, k3 (Brown 1966, as in ROS's CameraInfo)."""
    k1, k2, p1, p2, k3 = coefficients
    x, y = points[..., 0], points[..., 1]
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    bent_y = y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return np.stack([bent_x, bent_y], axis=-1)


def paint(canvas: Image, matrix: Floats, polygons: Polygons) -> None:
    """Paints polygons, given in the camera's frame, in their order; what is nearer than ``NEAR_M`` is cut off."""
    height, width = canvas.shape[:2]
    depth = polygons.corner_m[..., 2]
    whole = np.asarray((depth > NEAR_M).all(axis=1))
    cut = ~whole & (depth > NEAR_M).any(axis=1)
    corners = np.where(depth[..., None] > NEAR_M, polygons.corner_m, NEAR_M)
    pixels = _project(corners, matrix)
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    visible = whole & (high[:, 0] >= 0) & (low[:, 0] < width) & (high[:, 1] >= 0) & (low[:, 1] < height)
    fixed = np.rint(np.clip(pixels, -_LARGEST_PX, _LARGEST_PX) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    colours = polygons.colour_bgr.tolist()
    for i in np.flatnonzero(visible | cut).tolist():
        outline = fixed[i] if whole[i] else _cut_outline(polygons.corner_m[i], matrix)
        cv2.fillConvexPoly(canvas, outline, colours[i], cv2.LINE_AA, _SUBPIXEL_BITS)


def _project(corner_m: Floats, matrix: Floats) -> Floats:
    projected: Floats = corner_m[..., :2] / corner_m[..., 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
    return projected


def _cut_outline(corner_m: Floats, matrix: Floats) -> npt.NDArray[np.int32]:
    """Outline of a polygon cut at the near plane (Sutherland & Hodgman 1974), in fixed-point pixels."""
    kept: list[Floats] = []
    for i in range(len(corner_m)):
        here, following = corner_m[i], corner_m[(i + 1) % len(corner_m)]
        if here[2] > NEAR_M:
            kept.append(here)
        if (here[2] > NEAR_M) != (following[2] > NEAR_M):
            kept.append(here + (NEAR_M - here[2]) / (following[2] - here[2]) * (following - here))
    pixels = np.clip(_project(np.array(kept), matrix), -_LARGEST_PX, _LARGEST_PX)
    return np.rint(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)
