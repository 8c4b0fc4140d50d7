"""Growing columns hold what was appended, whatever the sizes and however often they are emptied."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.decode import column_buffers
from scenelake.decode.column_buffers import column_buffer

BINARY = pa.field("data", pa.binary())
FLOATS = pa.field("x_m", pa.list_(pa.field("element", pa.float32())))
ROW_GROUPS = st.lists(st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=8), max_size=4)


@contextmanager
def _small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_buffers, "_FIRST_BYTES", 16)
        patch.setattr(column_buffers, "_SEGMENT_BYTES", 64)
        yield


@settings(deadline=None)
@given(groups=ROW_GROUPS, field=st.sampled_from([BINARY, FLOATS]))
def test_values_come_back(groups: list[list[int | None]], field: pa.Field) -> None:
    with _small_segments():
        column = column_buffer(field)
        for lengths in groups:
            values = [None if n is None else _value(field, n) for n in lengths]
            taken = [column.append(value) for value in values]
            assert taken == [0 if n is None else n * (1 if field is BINARY else 4) for n in lengths]
            expected = pa.array([v if v is None or isinstance(v, bytes) else v.tolist() for v in values], field.type)
            found = column.array()
            found.validate(full=True)
            assert found.to_pylist() == expected.to_pylist()
            assert found.type == field.type
            column.clear()


def test_room_is_used_again() -> None:
    with _small_segments():
        column = column_buffer(BINARY)
        for turn in range(20):
            for length in (20 + turn, 50, 3, 60):
                column.append(bytes(length))
            column.clear()
        reserved = sum(len(segment.values) for segment in column._segments)
    assert reserved <= 5 * 64


def _value(field: pa.Field, length: int) -> Any:
    numbers = np.arange(length) % 251
    return numbers.astype(np.uint8).tobytes() if field is BINARY else numbers.astype(np.float32)
