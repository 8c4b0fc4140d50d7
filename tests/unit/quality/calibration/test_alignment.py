"""A correction is found with an honest uncertainty, and nothing is found where nothing shows."""

import numpy as np
import pytest

from scenelake.quality.calibration.alignment import estimate
from scenelake.quality.calibration.image_edges import NBR_STEPS, REACH_RAD, Profiles

NOISE_RAD = np.radians(0.2)


def frames(
    error: np.ndarray, seed: int, *, count: int = 60, outlines: int = 80, hit: float = 0.5, is_flat: bool = False
) -> list[Profiles]:
    """Frames whose edges lie where a correction would put the outlines, with noise; a share has none."""
    random = np.random.default_rng(seed)
    along = np.linspace(-REACH_RAD, REACH_RAD, NBR_STEPS)
    made = []
    for _ in range(count):
        depth = random.uniform(4, 40, outlines)
        direction = random.uniform(-0.7, 0.7, (outlines, 2)) * [1.0, 0.4]
        points = depth[:, None] * np.column_stack([direction, np.ones(outlines)])
        is_across = random.random(outlines) < 0.4
        normal = np.where(is_across[:, None], [0.0, 1.0], [1.0, 0.0])
        moved = np.column_stack([normal, -(normal * direction).sum(axis=1)]) / depth[:, None]
        shifts = np.concatenate([np.cross(points, moved), moved], axis=1)
        centre = shifts @ error + random.normal(0, NOISE_RAD, outlines)
        strength = np.exp(-0.5 * ((along - centre[:, None]) / np.radians(0.2)) ** 2)
        strength[random.random(outlines) > hit] = 0.0
        if is_flat:
            strength[:] = 0.0
        strength += 0.3 * random.random(strength.shape)
        strength -= strength.mean(axis=1, keepdims=True)
        made.append(Profiles(strength.astype(np.float32), shifts.astype(np.float32), is_across, depth.astype("f4")))
    return made


@pytest.mark.parametrize("rotation_deg", [(0, 0, 0), (0.5, 0, 0), (0, -0.5, 0), (0, 0, 0.5), (1.4, -1.1, 0.3)], ids=str)
def test_a_rotation_is_found_within_its_uncertainty(rotation_deg: tuple[float, float, float]) -> None:
    error = np.concatenate([np.radians(rotation_deg), np.zeros(3)])
    found = estimate(frames(error, 1))
    assert found is not None
    assert found.contrast > 20
    assert (found.rotation_sigma_rad < np.radians(0.1)).all()
    assert (np.abs(found.rotation_rad - error[:3]) < 4 * found.rotation_sigma_rad).all()
    assert (np.abs(found.joint - error) < 4 * found.joint_sigma).all()


@pytest.mark.parametrize("axis", range(3))
def test_a_translation_is_told_from_a_rotation_by_near_structure(axis: int) -> None:
    error = np.zeros(6)
    error[3 + axis] = 0.1
    found = estimate(frames(error, 2))
    assert found is not None
    assert (found.joint_sigma[3:] < 0.02).all()
    np.testing.assert_allclose(found.joint[3:], error[3:], atol=0.03)


def test_the_uncertainty_is_that_of_repeated_estimates() -> None:
    found = [estimate(frames(np.zeros(6), seed, count=40, outlines=40)) for seed in range(12)]
    rotations = np.array([f.rotation_rad for f in found if f is not None])
    sigmas = np.array([f.rotation_sigma_rad for f in found if f is not None])
    assert len(rotations) == 12
    ratio = rotations.std(axis=0, ddof=1) / sigmas.mean(axis=0)
    assert ((ratio > 0.5) & (ratio < 2.0)).all(), ratio


def test_images_without_edges_have_no_contrast() -> None:
    found = estimate(frames(np.zeros(6), 3, is_flat=True))
    assert found is None or found.contrast < 6


@pytest.mark.parametrize(("count", "outlines"), [(0, 0), (20, 80), (60, 2)])
def test_little_data_gives_no_estimate(count: int, outlines: int) -> None:
    assert estimate(frames(np.zeros(6), 4, count=count, outlines=outlines)) is None
