"""Moments of pieces equal NumPy's of the whole, whatever the pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.timebase.moments import RunningMoments


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 50), min_size=1, max_size=6),
    st.sampled_from([0.0, 1e6, -1e9]),
    st.booleans(),
    st.floats(0.0, 0.9),
)
def test_pieces_give_what_the_whole_gives(
    seed: int, sizes: list[int], offset: float, is_merged: bool, share_missing: float
) -> None:
    random = np.random.default_rng(seed)
    parts = [random.normal(offset, 3.0, (n, 3)) for n in sizes]
    for part in parts:
        part[random.random(part.shape) < share_missing] = random.choice([np.nan, np.inf, -np.inf])
    running = RunningMoments(3)
    for part in parts:
        if is_merged:
            other = RunningMoments(3)
            assert np.array_equal(other.update(part), np.isfinite(part))
            running.merge(other)
        else:
            running.update(part)
    whole = np.concatenate(parts)
    for column in range(3):
        good = whole[np.isfinite(whole[:, column]), column]
        assert running.count[column] == len(good)
        found = [getattr(running, name)[column] for name in ("mean", "std", "min", "max")]
        if not len(good):
            assert np.isnan(found).all()
            continue
        assert found[0] == pytest.approx(good.mean(), rel=1e-12, abs=1e-12)
        assert found[1] == pytest.approx(good.std(), rel=1e-8, abs=1e-6 * max(1.0, abs(offset) / 1e6))
        assert found[2:] == [good.min(), good.max()]
