"""Outlines are where surfaces end, and nowhere else."""

import numpy as np
import pytest

from scenelake.quality.calibration.depth_edges import DepthEdges, depth_edges

STEP_DEG, RINGS_DEG = 0.5, np.arange(-10.0, 11.0, 1.0)


def sweep(range_of, *, keep=lambda azimuth, elevation: np.ones_like(azimuth, bool), turn_deg: float = 0.0):
    """Points and rings of a sensor that measures ``range_of(azimuth, elevation)`` in degrees; inf is no return."""
    azimuth, elevation = np.meshgrid(np.arange(-180, 180, STEP_DEG) + turn_deg, RINGS_DEG)
    azimuth, elevation = azimuth.ravel(), elevation.ravel()
    range_m = range_of(azimuth, elevation)
    ring = np.repeat(np.arange(len(RINGS_DEG)), len(range_m) // len(RINGS_DEG))
    kept = np.isfinite(range_m) & keep(azimuth, elevation)
    a, e = np.radians(azimuth[kept]), np.radians(elevation[kept])
    points = range_m[kept, None] * np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)
    return points, ring[kept]


def screen(azimuth, elevation):
    """A screen 10 m away from -4.6° to 6.3° and up to 3.4°, before a round wall 30 m away."""
    is_screen = (azimuth > -4.6) & (azimuth < 6.3) & (elevation < 3.4)
    return np.where(is_screen, 10.0, 30.0)


def directions_deg(edges: DepthEdges) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = edges.points_m.T
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def test_the_sides_and_the_top_of_a_screen_are_found_between_the_beams() -> None:
    edges = depth_edges(*sweep(screen))
    azimuth, elevation = directions_deg(edges)
    sides, top = azimuth[~edges.is_across], elevation[edges.is_across]
    assert len(sides) == 2 * np.count_nonzero(RINGS_DEG < 3.4)
    assert np.abs(np.abs(sides - 0.85) - 5.45).max() < STEP_DEG / 2 + 1e-6
    assert len(top) == round((6.3 + 4.6) / STEP_DEG)
    np.testing.assert_allclose(top, 3.5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(edges.points_m, axis=1), 10.0, atol=1e-6)


def test_outlines_are_unbiased_over_where_the_beams_fall() -> None:
    found = []
    for turn_deg in np.linspace(0, STEP_DEG, 10, endpoint=False):
        edges = depth_edges(*sweep(screen, turn_deg=turn_deg))
        azimuth, _ = directions_deg(edges)
        found.append([azimuth[(azimuth < 0) & ~edges.is_across][0], azimuth[(azimuth > 0) & ~edges.is_across][0]])
    np.testing.assert_allclose(np.mean(found, axis=0), [-4.6, 6.3], atol=0.05)


def test_a_screen_before_the_sky_has_outlines_too() -> None:
    def before_sky(azimuth, elevation):
        return np.where(screen(azimuth, elevation) < 20, 10.0, np.where(np.abs(azimuth) > 90, 25.0, np.inf))

    edges = depth_edges(*sweep(before_sky))
    azimuth, _ = directions_deg(edges)
    sides = azimuth[~edges.is_across & (np.abs(azimuth) < 45)]
    assert len(sides) == 2 * np.count_nonzero(RINGS_DEG < 3.4)
    assert np.abs(np.abs(sides - 0.85) - 5.45).max() < STEP_DEG / 2 + 1e-6


def test_a_wall_along_the_road_and_the_ground_have_none() -> None:
    def street(azimuth, elevation):
        with np.errstate(divide="ignore"):
            wall = 4.0 / np.abs(np.sin(np.radians(azimuth))) / np.cos(np.radians(elevation))
            ground = np.where(elevation < 0, 1.8 / np.sin(np.radians(-elevation)), np.inf)
        return np.where(np.minimum(wall, ground) < 60, np.minimum(wall, ground), np.inf)

    edges = depth_edges(*sweep(street, keep=lambda a, e: np.abs(a) < 175))
    azimuth, _ = directions_deg(edges)
    assert not np.count_nonzero(~edges.is_across & (np.abs(azimuth) > 10) & (np.abs(azimuth) < 170))


def test_lost_points_are_no_outlines() -> None:
    random = np.random.default_rng(3)
    lost = sweep(lambda a, e: np.full_like(a, 20.0), keep=lambda a, e: random.random(len(a)) > 0.05)
    assert len(depth_edges(*lost)) < 5


@pytest.mark.parametrize("nbr_points", [0, 3])
def test_a_sweep_of_next_to_nothing_has_none(nbr_points: int) -> None:
    assert not len(depth_edges(np.ones((nbr_points, 3)), np.zeros(nbr_points, np.int64)))


def test_order_and_bad_points_change_nothing() -> None:
    points, ring = sweep(screen)
    known = depth_edges(points, ring)
    order = np.random.default_rng(1).permutation(len(points) + 50)
    more = np.concatenate([points, np.full((25, 3), np.nan), np.zeros((25, 3))])[order]
    found = depth_edges(more, np.concatenate([ring, np.zeros(50, np.int64)])[order])
    assert len(found) == len(known)
    np.testing.assert_allclose(np.sort(found.points_m, axis=0), np.sort(known.points_m, axis=0))
    for edge, row in zip(found.points_m, found.rows, strict=True):
        assert np.linalg.norm(more[row] - edge) < 0.2
