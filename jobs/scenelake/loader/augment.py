"""One random motion per sample, applied alike to images, cameras, points and boxes.

What is kept: a point of the scene lies on the same picture content before and after. The scene moves by a mirror M of
the ego's y axis, a rotation R about its z axis and a scale s; a mirrored scene is seen by mirrored cameras, whose x
axis is mirrored too, so that every transform stays a rigid one: ``ego_from_sensor' = s R M ego_from_sensor C`` with C
the mirror of the sensor's x axis for cameras (of its y axis for other sensors). An image moves by an affine map A of
its pixels, and its camera matrix becomes ``A K`` (``A K C`` where it is mirrored).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenelake.loader.config import AugmentConfig

FloatArray = NDArray[np.float64]

_MIRROR_X = np.diag([-1.0, 1.0, 1.0])
_MIRROR_Y = np.diag([1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Motion:
    """What happens to one sample.

    Attributes:
        is_flipped: mirrored left to right.
        yaw_rad, scale: of the scene.
        image_rotation_rad, image_scale: of every image, about its centre; positive turns the content from the
            picture's x axis to its y axis (clockwise as seen).
    """

    is_flipped: bool = False
    yaw_rad: float = 0.0
    scale: float = 1.0
    image_rotation_rad: float = 0.0
    image_scale: float = 1.0

    @classmethod
    def drawn(cls, config: AugmentConfig, random: np.random.Generator) -> "Motion":
        """A motion at random; the same numbers are drawn whatever the configuration is."""
        chance, yaw, scale, turn, zoom = random.random(5)
        return cls(
            bool(chance < config.flip_probability),
            float((2 * yaw - 1) * config.max_yaw_rad),
            float(config.min_scale + scale * (config.max_scale - config.min_scale)),
            float((2 * turn - 1) * config.max_image_rotation_rad),
            float(config.min_image_scale + zoom * (config.max_image_scale - config.min_image_scale)),
        )

    @property
    def scene(self) -> FloatArray:
        """(3, 3) linear map of points in the ego frame; without its scale and mirror a rotation."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return self.scale * (rotation @ _MIRROR_Y if self.is_flipped else rotation)

    def points(self, points_m: NDArray[np.float32], *, is_in_ego: bool = True) -> NDArray[np.float32]:
        """Points (..., 3) moved with the scene; those in a sensor's own frame are mirrored and scaled alone."""
        linear = self.scene if is_in_ego else self.scale * (_MIRROR_Y if self.is_flipped else np.eye(3))
        return np.asarray(points_m @ linear.T.astype(np.float32), np.float32)

    def boxes(self, boxes: FloatArray) -> FloatArray:
        """Boxes (n, 7) in the ego frame: centre (m), length, width, height (m), yaw (rad) of its x axis."""
        moved = boxes.copy()
        moved[:, :3] = boxes[:, :3] @ self.scene.T
        moved[:, 3:6] = boxes[:, 3:6] * self.scale
        yaw = (-boxes[:, 6] if self.is_flipped else boxes[:, 6]) + self.yaw_rad
        moved[:, 6] = (yaw + math.pi) % (2 * math.pi) - math.pi
        return moved

    def extrinsics(self, ego_from_sensor: FloatArray, *, is_camera: bool) -> FloatArray:
        """A (4, 4) rigid transform, again a rigid one: scale moves the sensor, not its axes."""
        moved = ego_from_sensor.copy()
        rotation = ego_from_sensor[:3, :3]
        if self.is_flipped:
            rotation = rotation @ (_MIRROR_X if is_camera else _MIRROR_Y)
        moved[:3, :3] = self.scene @ rotation / self.scale
        moved[:3, 3] = self.scene @ ego_from_sensor[:3, 3]
        return moved

    def image_map(self, width_px: int, height_px: int) -> FloatArray:
        """(3, 3) affine map of pixels; pixel centres are whole numbers."""
        centre = np.array([(width_px - 1) / 2, (height_px - 1) / 2])
        cos, sin = math.cos(self.image_rotation_rad), math.sin(self.image_rotation_rad)
        linear = self.image_scale * np.array([[cos, -sin], [sin, cos]])
        if self.is_flipped:
            linear = linear @ np.diag([-1.0, 1.0])
        found = np.eye(3)
        found[:2, :2] = linear
        found[:2, 2] = centre - linear @ centre
        return found

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image (height, width, 3), moved; what comes from outside is black."""
        height, width = image.shape[:2]
        if self.image_rotation_rad == 0.0 and self.image_scale == 1.0:
            return np.ascontiguousarray(image[:, ::-1]) if self.is_flipped else image
        found = cv2.warpAffine(image, self.image_map(width, height)[:2], (width, height), flags=cv2.INTER_LINEAR)
        return np.asarray(found, np.uint8)

    def intrinsics(self, intrinsics: FloatArray, width_px: int, height_px: int) -> FloatArray:
        """The (3, 3) camera matrix of the moved image."""
        moved = self.image_map(width_px, height_px) @ intrinsics
        return moved @ _MIRROR_X if self.is_flipped else moved


def resized_intrinsics(intrinsics: FloatArray, from_px: tuple[int, int], to_px: tuple[int, int]) -> FloatArray:
    """The (3, 3) camera matrix after a resize; sizes are width and height, pixel centres are whole numbers."""
    scale = np.array(to_px, np.float64) / np.array(from_px, np.float64)
    resize = np.diag([scale[0], scale[1], 1.0])
    resize[:2, 2] = (scale - 1.0) / 2
    return resize @ intrinsics
