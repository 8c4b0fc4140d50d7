"""Sliding windows against a loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.loader.config import WindowConfig, WindowEnds
from scenelake.loader.windows import Windows, runs_of


def by_hand(n: int, length: int, stride: int, ends: WindowEnds) -> list[int]:
    """Starts of the windows of one scene."""
    starts: list[int] = []
    for start in range(0, n, stride):
        if ends is WindowEnds.DROP and start + length > n:
            break
        if starts and starts[-1] + length >= n:
            break
        starts.append(start)
    return starts


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 20), max_size=6), st.integers(1, 8), st.integers(1, 8), st.sampled_from(list(WindowEnds))
)
def test_windows_are_those_of_a_loop(frames: list[int], length: int, stride: int, ends: WindowEnds) -> None:
    windows = Windows(np.array(frames, np.int64), WindowConfig(length=length, stride=stride, ends=ends))
    expected = [(s, start) for s, n in enumerate(frames) for start in by_hand(n, length, stride, ends)]
    assert len(windows) == len(expected)
    scene, start = windows.locate(np.arange(len(windows)))
    assert list(zip(scene.tolist(), start.tolist(), strict=True)) == expected
    assert windows.lengths(np.arange(len(windows))).tolist() == [min(length, frames[s] - at) for s, at in expected]
    if ends is not WindowEnds.DROP and stride <= length:
        covered = {(s, at + i) for s, at in expected for i in range(min(length, frames[s] - at))}
        assert covered == {(s, i) for s, n in enumerate(frames) for i in range(n)}


@pytest.mark.parametrize(("longest", "expected"), [(None, [(0, 5), (5, 1), (6, 4)]), (2, 6), (100, 3)])
def test_runs_hold_every_window_once(longest: int | None, expected: object) -> None:
    first, counts = runs_of(np.array([5, 0, 1, 4]), longest)
    windows = [int(f) + i for f, c in zip(first, counts, strict=True) for i in range(c)]
    assert windows == list(range(10))
    assert len(first) == expected or list(zip(first.tolist(), counts.tolist(), strict=True)) == expected
    assert longest is None or counts.max() <= longest
