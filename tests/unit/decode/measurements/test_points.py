"""Point statistics against sweeps whose figures are known."""

import numpy as np
import pytest

from scenelake.decode.measurements.points import point_statistics

EMPTY = np.empty(0, np.float32)


def test_a_known_sweep() -> None:
    x = np.array([3, 0, np.nan, 0, np.inf], np.float32)
    y = np.array([4, 0, 1, 0, 1], np.float32)
    z = np.array([0, 0, 1, 2, 1], np.float32)
    intensity = np.array([1, 2, 3, np.nan, 6], np.float32)
    found = point_statistics(x, y, z, intensity, np.array([0, 1, 1, 7, 7]), np.array([5, 9, 100, 2, 50]))
    assert (found.nbr_points, found.nbr_invalid) == (5, 3)
    assert (found.range_min_m, found.range_mean_m, found.range_max_m) == (2.0, 3.5, 5.0)
    assert (found.intensity_mean, found.nbr_rings, found.offset_span_ns) == (3.0, 3, 98)


def test_a_sweep_without_valid_points() -> None:
    for x in (EMPTY, np.zeros(4, np.float32), np.full(4, np.nan, np.float32)):
        found = point_statistics(x, x, x)
        assert (found.nbr_points, found.nbr_invalid) == (len(x), len(x))
        assert (found.range_min_m, found.range_mean_m, found.range_max_m) == (None, None, None)
        assert (found.intensity_mean, found.nbr_rings, found.offset_span_ns) == (None, None, None)


def test_strided_columns_and_huge_values() -> None:
    packed = np.zeros(10, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("ring", "u2")])
    packed["x"] = 3e38
    packed["z"][0] = 1
    found = point_statistics(packed["x"], packed["y"], packed["z"], ring=packed["ring"])
    assert (found.nbr_invalid, found.nbr_rings) == (10, 1)
    packed["x"][0] = 0
    assert point_statistics(packed["x"], packed["y"], packed["z"]).range_max_m == pytest.approx(1.0)


def _ring_of_points(nbr: int = 7200, nbr_rings: int = 8) -> tuple[np.ndarray, ...]:
    turn = (np.arange(nbr) // nbr_rings + 0.5) / (nbr // nbr_rings) * 2 * np.pi
    ring = np.arange(nbr) % nbr_rings
    return (8 * np.cos(turn)).astype(np.float32), (8 * np.sin(turn)).astype(np.float32), ring * np.float32(0.1), ring


def test_sectors_are_counted_by_group_of_rings() -> None:
    x, y, z, ring = _ring_of_points()
    counts = point_statistics(x, y, z, None, ring).sector_counts.reshape(4, 72)
    assert counts.sum() == 7200
    assert counts.min() > 20
    hidden = (ring >= 6) & (np.degrees(np.arctan2(y, x)) > 0) & (np.degrees(np.arctan2(y, x)) < 10)
    counts = point_statistics(x[~hidden], y[~hidden], z[~hidden], None, ring[~hidden]).sector_counts.reshape(4, 72)
    assert np.argwhere(counts == 0).tolist() == [[3, 36], [3, 37]]


@pytest.mark.parametrize("nbr_rings", [16, 32, 40, 64, 80, 128])
def test_a_sample_has_every_ring(nbr_rings: int) -> None:
    x, y, z, ring = _ring_of_points(1000 * nbr_rings, nbr_rings)
    counts = point_statistics(x, y, z, None, ring).sector_counts.reshape(4, 72).sum(axis=1)
    assert 4000 < counts.sum() <= 8192
    assert counts.min() > 0.24 * counts.sum()


def test_without_rings_the_elevation_groups() -> None:
    x = np.full(4, 10, np.float32)
    z = np.array([-5, -1, -0.1, 3], np.float32)
    assert point_statistics(x, 0 * x, z).sector_counts.reshape(4, 72).sum(axis=1).tolist() == [1, 1, 1, 1]


def test_histograms_hold_every_valid_point() -> None:
    random = np.random.default_rng(0)
    x = (10 ** random.uniform(-3, 4, 5000)).astype(np.float32)
    intensity = random.uniform(-1, 1e5, 5000).astype(np.float32)
    intensity[:10] = np.nan
    found = point_statistics(x, 0 * x, 0 * x, intensity)
    assert (found.range_counts.sum(), len(found.range_counts)) == (5000, 32)
    assert found.intensity_counts.sum() == np.count_nonzero(intensity >= 0)
    doubled = point_statistics(2 * np.full(9, 8.1, np.float32), *np.zeros((2, 9), np.float32)).range_counts
    single = point_statistics(np.full(9, 8.1, np.float32), *np.zeros((2, 9), np.float32)).range_counts
    assert doubled.argmax() - single.argmax() in (3, 4)


def test_silent_rings_lie_between_others() -> None:
    x = np.ones(5, np.float32)
    found = point_statistics(x, x, x, None, np.array([2, 3, 6, 8, 8]))
    assert (found.nbr_rings, found.nbr_silent_rings) == (4, 3)
    assert point_statistics(x, x, x).nbr_silent_rings is None


def test_the_fingerprint_knows_points_again() -> None:
    x, y, z, _ = _ring_of_points()
    known = point_statistics(x, y, z).fingerprint
    assert known == point_statistics(x.copy(), y, z).fingerprint
    assert known != point_statistics(x + np.float32(1e-3), y, z).fingerprint
    assert known != point_statistics(x[:-1], y[:-1], z[:-1]).fingerprint
    assert point_statistics(EMPTY, EMPTY, EMPTY).fingerprint is None


def test_points_that_are_no_numbers_are_counted_apart() -> None:
    x = np.array([1, 0, np.nan, np.inf, 2], np.float32)
    found = point_statistics(x, *np.zeros((2, 5), np.float32))
    assert (found.nbr_invalid, found.nbr_not_finite) == (3, 2)
