import numpy as np
import pytest

from scenelake.timebase.windows import Window, window_of


def test_contains_and_slice_are_half_open():
    window = Window(10, 20)
    stamps = np.array([9, 10, 10, 19, 20])
    assert window.contains(stamps).tolist() == [False, True, True, True, False]
    assert stamps[window.slice_of(stamps)].tolist() == [10, 10, 19]
    assert window.duration_ns == 10


@pytest.mark.parametrize("end", [10, 9])
def test_an_empty_window_is_refused(end):
    with pytest.raises(ValueError, match="exclusive_end_ns"):
        Window(10, end)


def test_every_stamp_is_in_one_window_or_none():
    windows = (Window(0, 10), Window(10, 20), Window(30, 31))
    stamps = np.array([30, -1, 0, 9, 10, 19, 20, 29, 31])
    assert window_of(stamps, windows).tolist() == [2, -1, 0, 0, 1, 1, -1, -1, -1]
    assert window_of(stamps, ()).tolist() == [-1] * len(stamps)


@pytest.mark.parametrize("windows", [(Window(0, 10), Window(9, 12)), (Window(10, 12), Window(0, 1))])
def test_overlapping_windows_are_refused(windows):
    with pytest.raises(ValueError, match="disjoint"):
        window_of(np.array([0]), windows)
