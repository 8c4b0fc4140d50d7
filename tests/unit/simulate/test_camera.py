"""Lens and painter."""

import cv2
import numpy as np
import pytest

from scenelake.simulate.config import Camera
from scenelake.simulate.rasteriser import Lens, Polygons, paint

DISTORTIONS = [(0.0, 0.0, 0.0, 0.0, 0.0), (-0.06, 0.008, 0.0004, -0.0003, 0.0), (0.05, 0.0, 0.0, 0.0, 0.0)]


def _camera(distortion):
    return Camera(
        topic="/camera/a/image", frame_id="a", rate_hz=1.0, width_px=320, height_px=200, distortion=distortion
    )


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_painted_points_are_where_the_published_model_puts_them(distortion):
    lens = Lens(_camera(distortion))
    places = np.array([[x, y, 4.0] for x in (-2.4, 0.5, 2.2) for y in (-1.1, 0.2, 1.3)])
    expected = cv2.projectPoints(places, np.zeros(3), np.zeros(3), lens.matrix, lens.distortion)[0].reshape(-1, 2)
    for place, pixel in zip(places, expected, strict=True):
        canvas = np.zeros((lens.canvas_size[1], lens.canvas_size[0], 3), np.uint8)
        square = place + np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.04
        paint(canvas, lens.canvas_matrix, Polygons(square[None], np.array([[255.0, 255.0, 255.0]])))
        image = lens.bend(canvas)[..., 0].astype(np.float64)
        v, u = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
        centre = np.array([(u * image).sum(), (v * image).sum()]) / image.sum()
        np.testing.assert_allclose(centre, pixel, atol=0.35)


def test_what_is_behind_the_camera_is_not_painted_and_what_reaches_behind_is_cut():
    lens = Lens(_camera(DISTORTIONS[0]))
    canvas = np.zeros((lens.canvas_size[1], lens.canvas_size[0], 3), np.uint8)
    behind = np.array([[-1, -1, -2], [1, -1, -2], [1, 1, -2], [-1, 1, -2]], dtype=np.float64)
    paint(canvas, lens.canvas_matrix, Polygons(behind[None], np.full((1, 3), 255.0)))
    assert canvas.max() == 0
    floor = np.array([[-50, 1.5, -10], [50, 1.5, -10], [50, 1.5, 80], [-50, 1.5, 80]], dtype=np.float64)
    paint(canvas, lens.canvas_matrix, Polygons(floor[None], np.full((1, 3), 255.0)))
    middle = canvas.shape[0] // 2
    assert canvas[: middle - 2].max() == 0
    assert canvas[middle + 40 :, 100:200].min() == 255


def test_frames_have_sky_above_and_road_below(messages):
    image = cv2.imdecode(messages["/camera/front/image"][0].message.data, cv2.IMREAD_COLOR).astype(int)
    assert image.shape == (192, 320, 3)
    sky, road = image[:8, 140:180].reshape(-1, 3).mean(axis=0), image[-25:-5, 120:200].reshape(-1, 3)
    assert sky[0] > sky[2] + 20
    assert 50 < road.mean() < 140
    assert road.std() > 2


def test_lane_paint_is_yellow_in_the_middle_of_the_road(messages):
    image = cv2.imdecode(messages["/camera/front/image"][0].message.data, cv2.IMREAD_COLOR)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[110:]
    yellow = (np.abs(hsv[..., 0].astype(int) - 23) < 8) & (hsv[..., 1] > 100)
    assert yellow.sum() > 100
