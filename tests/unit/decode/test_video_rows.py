"""Rows to decode from: back to the last start in the same file, never across files, whatever the batches."""

import numpy as np
import pytest

from scenelake.decode.formats.cdr_columns import TextColumn
from scenelake.decode.video_rows import DecodeFromRows

FLAGS = np.array([False, True, False, False, True, False, False, True])
ROWS = np.array([0, 1, 2, 3, 0, 1, 2, 3])
FILES = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32)
EXPECTED = [-1, 1, 1, 1, 0, 0, 0, 3]


@pytest.mark.parametrize("cuts", [(), (1,), (2, 3, 6), tuple(range(1, 8))])
def test_each_frame_goes_back_to_the_last_start_in_its_file(cuts: tuple[int, ...]) -> None:
    rows = DecodeFromRows()
    parts = np.split(np.arange(8), cuts)
    found = [rows.rows(TextColumn(["a", "b"], FILES[p]), ROWS[p], FLAGS[p]).tolist() for p in parts]
    assert [row for part in found for row in part] == EXPECTED


def test_a_file_that_starts_within_a_group_has_none_until_its_first_start() -> None:
    rows = DecodeFromRows()
    assert rows.rows("a", np.array([0, 1]), np.array([True, False])).tolist() == [0, 0]
    assert rows.rows("b", np.array([0, 1, 2]), np.array([False, False, True])).tolist() == [-1, -1, 2]
    assert rows.rows("a", np.array([2]), np.array([False])).tolist() == [0]
