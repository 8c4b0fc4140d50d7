"""Statistics equal NumPy's, in one pass and in parts; quantiles within the stated error of rank."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.errors import BadInputError
from scenelake.loader.config import Normalisation
from scenelake.loader.quantiles import QuantileSketch, rank_error
from scenelake.loader.statistics import RunningImages, RunningValues, dumps, loads

SHAPES = {
    "normal": lambda r, n: r.normal(3.0, 2.0, n),
    "long tail": lambda r, n: np.exp(r.normal(0.0, 2.0, n)),
    "sorted": lambda r, n: np.sort(r.random(n)),
    "falling": lambda r, n: -np.sort(r.random(n)),
    "few values": lambda r, n: r.integers(0, 4, n).astype(float),
    "far from zero": lambda r, n: 1e9 + r.normal(0.0, 1e-3, n),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("nbr_parts", [1, 7])
def test_quantiles_are_within_the_stated_error_of_rank(shape: str, nbr_parts: int) -> None:
    values = SHAPES[shape](np.random.default_rng(1), 300_000)
    sketches = []
    for part in np.array_split(values, nbr_parts):
        sketch = QuantileSketch(1024)
        for portion in np.array_split(part, 40):
            sketch.update(portion)
        sketches.append(sketch)
    for other in sketches[1:]:
        sketches[0].merge(other)
    merged = sketches[0]
    assert merged.count == len(values)
    assert sum(map(len, merged._levels)) < 4 * 1024 + 64, "memory is not bounded"
    shares = np.array([0.0, 0.01, 0.25, 0.5, 0.99, 1.0])
    found = merged.quantiles(shares)
    below = np.searchsorted(np.sort(values), found, side="left") / len(values)
    upto = np.searchsorted(np.sort(values), found, side="right") / len(values)
    error = rank_error(1024)
    assert ((below - error <= shares) & (shares <= upto + error)).all(), (below, upto)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_few_numbers_have_exact_quantiles(values: list[float], share: float) -> None:
    sketch = QuantileSketch()
    sketch.update(values)
    assert sketch.quantiles([share])[0] == np.quantile(values, share, method="inverted_cdf")


def test_the_error_is_the_one_that_is_documented() -> None:
    assert rank_error() < 0.0013
    assert np.isnan(QuantileSketch().quantiles([0.5])).all()


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 300), min_size=1, max_size=6),
    st.sampled_from([0.0, 1e6]),
    st.booleans(),
)
def test_moments_equal_those_of_all_rows_at_once(seed: int, sizes: list[int], offset: float, is_merged: bool) -> None:
    random = np.random.default_rng(seed)
    parts = [random.normal(offset, 3.0, (n, 3)) for n in sizes]
    total = RunningValues(3)
    for part in parts:
        if is_merged:
            other = RunningValues(3)
            other.update(part)
            total.merge(other)
        else:
            total.update(part)
    rows, found = np.concatenate(parts), total.result()
    assert found.count == len(rows)
    if not len(rows):
        assert np.isnan(found.mean).all()
        return
    assert np.allclose(found.mean, rows.mean(axis=0), rtol=1e-12)
    assert np.allclose(found.std, rows.std(axis=0), rtol=1e-9)
    assert np.array_equal(found.min, rows.min(axis=0))
    assert np.array_equal(found.max, rows.max(axis=0))
    for share, values in ((0.01, found.q01), (0.99, found.q99)):
        assert np.array_equal(values, np.quantile(rows, share, axis=0, method="inverted_cdf"))


def test_numbers_that_are_none_do_not_count() -> None:
    running = RunningValues(2)
    running.update(np.array([[1.0, np.nan], [3.0, 5.0], [np.inf, 7.0]]))
    found = running.result()
    assert found.mean.tolist() == [2.0, 6.0]
    assert found.max.tolist() == [3.0, 7.0]
    with pytest.raises(BadInputError, match="rows of 2 numbers, got 3"):
        running.update(np.zeros((1, 3)))


def test_images_are_measured_exactly() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3)).astype(np.uint8)
    one, two = RunningImages(), RunningImages()
    one.update(images[:2])
    two.update(images[2:])
    one.merge(two)
    found, pixels = one.result(), images.reshape(-1, 3) / 255.0
    assert found.count == len(pixels)
    assert np.allclose(found.mean, pixels.mean(axis=0))
    assert np.allclose(found.std, pixels.std(axis=0))
    assert np.allclose(found.min, pixels.min(axis=0))
    assert np.allclose(found.max, pixels.max(axis=0))
    assert np.allclose(found.q01, np.quantile(pixels, 0.01, axis=0, method="inverted_cdf"))
    assert np.isnan(RunningImages().result().mean).all()


def test_values_are_brought_to_a_common_scale() -> None:
    running = RunningValues(2)
    rows = np.stack([np.linspace(-4.0, 8.0, 1000), np.full(1000, 5.0)], axis=1)
    running.update(rows)
    found = loads(dumps({"state": running.result()}))["state"]
    scaled = found.normalised(rows, Normalisation.MEAN_STD)
    assert scaled.dtype == np.float32
    assert np.allclose(scaled[:, 0].mean(), 0, atol=1e-6)
    assert np.allclose(scaled[:, 0].std(), 1)
    assert not scaled[:, 1].any(), "a number that never varied"
    bounded = found.normalised(rows, Normalisation.MIN_MAX)[:, 0]
    assert (bounded.min(), bounded.max()) == (-1.0, 1.0)
    inner = found.normalised(rows, Normalisation.QUANTILES)[:, 0]
    assert ((inner >= -1.0) & (inner <= 1.0)).mean() >= 0.98
    assert np.array_equal(found.normalised(rows, Normalisation.NONE), rows.astype(np.float32))
