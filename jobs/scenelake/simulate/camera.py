"""Renders what a camera on the ego sees of a drive's world, as JPEG."""

from functools import cache, cached_property

import cv2
import numpy as np

from scenelake.simulate.config import SECOND_NS, Camera
from scenelake.simulate.geometry import Floats, Transform, generator
from scenelake.simulate.rasteriser import Image, Lens, paint
from scenelake.simulate.scenery import Scenery
from scenelake.simulate.world import World

_TEXTURE_PX = 512
_TEXTURE_M_PER_PX = 0.08
_GRASS_BGR = np.array([84, 128, 112], np.uint8)
_ZENITH_BGR, _HORIZON_BGR = np.array([206.0, 158.0, 104.0]), np.array([232.0, 222.0, 210.0])


@cache
def _ground_grain() -> Image:
    """Brightness of the ground, a tile that repeats: 128 means as painted."""
    tile = np.tile(generator("ground").normal(0, 1, (_TEXTURE_PX, _TEXTURE_PX)), (2, 2)).astype(np.float32)
    grey = np.full((_TEXTURE_PX, _TEXTURE_PX), 128.0)
    for sigma_px, contrast in ((2.5, 7.0), (18.0, 5.0)):
        smooth = cv2.GaussianBlur(tile, (0, 0), sigma_px)[128 : 128 + _TEXTURE_PX, 128 : 128 + _TEXTURE_PX]
        grey += contrast * smooth / smooth.std()
    grain: Image = np.clip(grey, 90, 166).astype(np.uint8)
    return grain


class CameraModel:
    """One camera of a drive."""

    def __init__(self, config: Camera, world: World, scenery: Scenery) -> None:
        self.config = config
        self.lens = Lens(config)
        self._world = world
        self._scenery = scenery

    @cached_property
    def _sky(self) -> Image:
        """Twice the canvas's height of sky; its last row is at the horizon."""
        width, height = self.lens.canvas_size
        share = np.linspace(0, 1, 2 * height)[:, None] ** 1.5
        column = _ZENITH_BGR + (_HORIZON_BGR - _ZENITH_BGR) * share
        sky: Image = np.repeat(column[:, None].astype(np.uint8), width, axis=1)
        return sky

    def render(self, offset_ns: int, ego_from_camera: Transform, random: np.random.Generator) -> bytes:
        """JPEG of the world at a true time since the recording's start."""
        return self.lens.develop(self.canvas(offset_ns, ego_from_camera), random)

    def canvas(self, offset_ns: int, ego_from_camera: Transform) -> Image:
        """The undistorted, noiseless picture on the lens's canvas, BGR."""
        time_s = offset_ns / SECOND_NS
        map_from_ego = self._world.ego.map_from_ego(time_s)
        map_from_camera = map_from_ego @ ego_from_camera
        camera_from_map = map_from_camera.inverse()
        canvas = self._backdrop(map_from_camera, camera_from_map, float(map_from_ego.translation_m[0]))
        paint(canvas, self.lens.canvas_matrix, self._scenery.boxes(camera_from_map, time_s))
        return canvas

    def _backdrop(self, map_from_camera: Transform, camera_from_map: Transform, ego_x_m: float) -> Image:
        """Sky and ground; the ground is worked out for the rows that have any."""
        width, height = self.lens.canvas_size
        left, right = self._horizon_rows(map_from_camera.rotation)
        first = int(np.clip(np.floor(min(left, right)), 0, height - 1))
        top = int(np.clip(2 * height - (left + right) / 2, 0, height))
        canvas = self._sky[top : top + height].copy()
        matrix = self.lens.canvas_matrix.copy()
        matrix[1, 2] -= first
        ground = np.full((height - first, width, 3), _GRASS_BGR, np.uint8)
        paint(ground, matrix, self._scenery.ground(camera_from_map, ego_x_m))
        grain = cv2.warpPerspective(
            _ground_grain(),
            self._texture_from_pixel(matrix, map_from_camera, camera_from_map),
            (width, height - first),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
        ground = cv2.multiply(ground, cv2.cvtColor(grain, cv2.COLOR_GRAY2BGR), scale=1 / 128)
        outline = np.array([(0, left - first), (width - 1, right - first), (width - 1, height), (0, height)])
        outline = np.clip(np.rint(outline), -20_000, 20_000).astype(np.int32)
        mask = cv2.fillConvexPoly(np.zeros(ground.shape[:2], np.uint8), outline, 255)
        cv2.copyTo(ground, mask, canvas[first:])
        return canvas

    def _horizon_rows(self, map_from_camera: Floats) -> tuple[float, float]:
        """The horizon's row in the canvas's first and last column.

        A pixel sees ground where its ray points down: the third row of the rotation is linear in the pixel.
        """
        down = -map_from_camera[2] @ np.linalg.inv(self.lens.canvas_matrix)
        left, right = (-(down[0] * column + down[2]) / down[1] for column in (0, self.lens.canvas_size[0] - 1))
        return float(left), float(right)

    def _texture_from_pixel(self, matrix: Floats, map_from_camera: Transform, camera_from_map: Transform) -> Floats:
        """Homography from pixels of the ground's rows to the ground's texture, whose origin moves by whole tiles."""
        tile_m = _TEXTURE_PX * _TEXTURE_M_PER_PX
        origin_m = np.floor(map_from_camera.translation_m / tile_m) * tile_m * [1, 1, 0]
        ground = camera_from_map.rotation[:, :2]
        at_origin = camera_from_map.apply(origin_m)
        pixel_from_ground = matrix @ np.column_stack([ground, at_origin])
        scale = np.diag([1 / _TEXTURE_M_PER_PX, 1 / _TEXTURE_M_PER_PX, 1.0])
        texture_from_pixel: Floats = scale @ np.linalg.inv(pixel_from_ground)
        return texture_from_pixel
