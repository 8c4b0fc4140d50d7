"""Statistics against NumPy on the whole."""

import numpy as np
import pytest

from scenelake.export.statistics import QUANTILES, PixelStatistics, VectorStatistics, vector_statistics


def pieces(seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    scale = np.array([1e-3, 1.0, 1e4, 0.0])
    return [random.normal(size=(n, 4)) * scale + [0, 5, -1e5, 3] for n in (1, 7, 500)]


@pytest.mark.parametrize("seed", range(4))
def test_pieces_give_what_the_whole_gives(seed: int) -> None:
    parts = pieces(seed)
    running = VectorStatistics()
    for part in parts:
        running.add(part)
    found, expected = running.finish(lambda: iter(parts)), vector_statistics(np.concatenate(parts))
    for name in ("min", "max", "mean", "std"):
        assert np.allclose(found[name], expected[name], rtol=1e-9, atol=1e-9), name
    assert found["count"] == expected["count"] == [508]
    whole = np.concatenate(parts)
    span = whole.max(axis=0) - whole.min(axis=0)
    for name, share in QUANTILES.items():
        exact = np.quantile(whole, share, axis=0, method="inverted_cdf")
        assert (np.abs(np.array(found[name]) - exact) <= span / 65_536 + 1e-12).all(), name


def test_pixels_are_counted_exactly() -> None:
    random = np.random.default_rng(1)
    pictures = [random.integers(10, 200, (6, 8, 3), dtype=np.uint8) for _ in range(5)]
    one, two = PixelStatistics(), PixelStatistics()
    for i, picture in enumerate(pictures):
        (one if i % 2 else two).add(picture)
    one.merge(two)
    found = one.finish()
    values = np.stack(pictures).reshape(-1, 3) / 255
    assert np.shape(found["mean"]) == (3, 1, 1)
    for name, exact in (
        ("mean", values.mean(0)),
        ("std", values.std(0)),
        ("min", values.min(0)),
        ("max", values.max(0)),
    ):
        assert np.allclose(np.ravel(found[name]), exact), name
    exact = np.quantile(values, 0.1, axis=0, method="inverted_cdf")
    assert np.allclose(np.ravel(found["q10"]), exact)
    assert found["count"] == [5]
