from datetime import date

import numpy as np
import pytest

from scenelake.timebase.slots import SLOT_NS, drive_date_of, slot_of, slot_window, slots_of

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("timestamp_ns", "slot"),
    [(0, 0), (SLOT_NS - 1, 0), (SLOT_NS, 1), (-1, -1), (-SLOT_NS, -1), (1574859771700975000, 78742988)],
)
def test_a_slot_is_half_open_and_anchored_at_the_epoch(timestamp_ns, slot):
    assert slot_of(timestamp_ns) == slot
    assert slots_of(np.array([timestamp_ns])).tolist() == [slot]
    window = slot_window(slot)
    assert window.start_ns <= timestamp_ns < window.exclusive_end_ns


def test_a_day_is_a_whole_number_of_slots():
    assert DAY_NS % SLOT_NS == 0


@pytest.mark.parametrize(
    ("timestamp_ns", "expected"),
    [
        (0, date(1970, 1, 1)),
        (DAY_NS - 1, date(1970, 1, 1)),
        (DAY_NS, date(1970, 1, 2)),
        (-1, date(1969, 12, 31)),
        (1574859771700975000, date(2019, 11, 27)),
    ],
)
def test_the_date_is_utc(timestamp_ns, expected):
    assert drive_date_of(timestamp_ns) == expected
