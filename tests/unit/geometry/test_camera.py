"""Projection against OpenCV's, and what a lens does not see."""

import cv2
import numpy as np
import pytest

from scenelake.geometry.camera import EQUIDISTANT, PLUMB_BOB, RATIONAL, is_known_model, project

K = np.array([[500.0, 0, 320], [0, 510, 190], [0, 0, 1]])
SIZE = (640, 384)
LENSES = {
    PLUMB_BOB: [-0.28, 0.07, 0.0004, -0.0003, 0.01],
    RATIONAL: [0.3, -0.1, 0.0004, -0.0003, 0.02, 0.6, -0.05, 0.01],
    EQUIDISTANT: [-0.02, 0.004, -0.002, 0.0003],
}


def cloud(count=4000, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform([-40, -20, -20], [40, 20, 60], (count, 3))


@pytest.mark.parametrize("model", LENSES)
def test_pixels_are_opencvs(model):
    points = cloud()
    found = project(points, K, np.array(LENSES[model]), model, SIZE)
    seen = points[found.is_visible]
    assert len(seen) > 200
    zero, lens = np.zeros(3), np.array(LENSES[model])
    if model == EQUIDISTANT:
        expected, _ = cv2.fisheye.projectPoints(seen[:, None], zero, zero, K, lens)
    else:
        expected, _ = cv2.projectPoints(seen, zero, zero, K, lens)
    np.testing.assert_allclose(found.pixels[found.is_visible], expected.reshape(-1, 2), atol=1e-8)
    assert np.isnan(found.pixels[~found.is_visible]).all()
    np.testing.assert_array_equal(found.depth_m, points[:, 2])


def test_a_pinhole_needs_no_model():
    points = np.array([[1.0, -2, 10], [0, 0, 0.05], [0, 0, -5], [100, 0, 10]])
    for model in (None, "", PLUMB_BOB):
        found = project(points, K, None, model, SIZE)
        assert found.is_visible.tolist() == [True, False, False, False]
        np.testing.assert_allclose(found.pixels[0], [370, 88])


def test_what_the_polynomial_folds_back_is_not_seen():
    """With k1 = -0.28 alone, r (1 - 0.28 r^2) turns back at r = 1.09: beyond that OpenCV puts points into the image."""
    lens = np.array([-0.28, 0.0, 0.0, 0.0, 0.0])
    wide = np.array([[1.88, 0.0, 1.0]])
    folded, _ = cv2.projectPoints(wide, np.zeros(3), np.zeros(3), K, lens)
    assert 0 < folded[0, 0, 0] < SIZE[0]
    assert not project(wide, K, lens, PLUMB_BOB, SIZE).is_visible.any()


def test_the_edge_of_the_image_is_half_a_pixel_out():
    edge = [
        ((u - 320) / 500, (v - 190) / 510, 1.0) for u, v in ((-0.49, 100), (-0.51, 100), (639.49, 100), (5, 383.51))
    ]
    assert project(np.array(edge), K, None, None, SIZE).is_visible.tolist() == [True, False, True, False]


def test_an_unknown_lens_is_said_to_be_unknown():
    assert not is_known_model("ftheta")
    with pytest.raises(ValueError, match="camera_model: expected one of plumb_bob"):
        project(cloud(1), K, None, "ftheta", SIZE)
