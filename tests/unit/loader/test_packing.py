"""Nothing is lost, no budget is exceeded, and mixed lengths leave less than 5% empty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.packing import pack, padding_share


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), max_size=300), st.integers(50, 120), st.integers(1, 64))
def test_every_item_is_in_one_bin_within_the_budget(lengths: list[int], budget: int, buffer: int) -> None:
    given_lengths = np.array(lengths, np.int64)
    bins = pack(given_lengths, budget, buffer)
    assert sorted(i for b in bins for i in b.tolist()) == list(range(len(lengths)))
    assert all(given_lengths[b].sum() <= budget for b in bins)
    assert [b.tolist() for b in pack(given_lengths, budget, buffer)] == [b.tolist() for b in bins]


MIXES = {
    "uniform": lambda r: r.integers(1, 513, 4000),
    "log-uniform": lambda r: np.exp(r.uniform(0, np.log(512), 4000)).astype(np.int64).clip(1),
    "chunks of few sizes": lambda r: r.choice([10, 16, 50, 100, 128, 200], 4000),
    "episodes cut into windows": lambda r: np.where(r.random(4000) < 0.7, 256, r.integers(1, 256, 4000)),
    "long ones and texts": lambda r: np.where(
        r.random(4000) < 0.1, r.integers(200, 400, 4000), r.integers(5, 60, 4000)
    ),
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", range(5))
def test_mixed_lengths_leave_less_than_five_percent_empty(mix: str, seed: int) -> None:
    lengths = MIXES[mix](np.random.default_rng(seed))
    assert padding_share(lengths, pack(lengths, 512), 512) < 0.05


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 256), st.integers(257, 600), st.integers(0, 2**32 - 1))
def test_lengths_spread_from_one_to_any_maximum_leave_less_than_five_percent_empty(
    low: int, high: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, high + 1, 3000)
    lengths = np.where(np.arange(3000) % 3 == 0, np.minimum(lengths, low), lengths)
    assert padding_share(lengths, pack(lengths, 2 * high), 2 * high) < 0.05


def test_an_item_that_no_bin_holds_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"packing\.budget: expected at least 12, .* got 10"):
        pack(np.array([3, 12, 11]), 10)
    assert pack(np.empty(0, np.int64), 10) == []
    assert padding_share(np.empty(0, np.int64), [], 10) == 0.0


def test_items_stay_near_those_that_they_came_with() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 5000)
    bins = pack(lengths, 200, buffer=100)
    assert max(int(b.max() - b.min()) for b in bins) <= 300
