"""Slots: 20 s of time anchored at the epoch, the unit of payload files and of drive segments."""

from datetime import UTC, date, datetime, timedelta

from scenelake.timebase.arrays import Int64Array
from scenelake.timebase.windows import Window

SECOND_NS = 1_000_000_000
SLOT_NS = 20 * SECOND_NS
"""A UTC day is a whole number of slots, so a slot has one date."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def slot_of(timestamp_ns: int) -> int:
    """Number of the slot that holds a stamp; negative before the epoch."""
    return timestamp_ns // SLOT_NS


def slots_of(timestamps_ns: Int64Array) -> Int64Array:
    """The same for (n,) int64 stamps."""
    return timestamps_ns // SLOT_NS


def slot_window(slot: int) -> Window:
    """The half-open window of a slot."""
    return Window(slot * SLOT_NS, (slot + 1) * SLOT_NS)


def drive_date_of(timestamp_ns: int) -> date:
    """UTC date of a stamp: the partition of its rows."""
    return (_EPOCH + timedelta(seconds=timestamp_ns // SECOND_NS)).date()
