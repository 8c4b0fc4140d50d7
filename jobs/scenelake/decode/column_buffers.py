"""Columns that grow row by row: large values are copied once, from the recording to where Arrow reads them."""

from typing import Any

import numpy as np
import pyarrow as pa

_FIRST_BYTES = 64 * 1024
_SEGMENT_BYTES = 4 * 1024 * 1024


class _Segment:
    """Consecutive values in an array of fixed size, so that nothing is copied again when there are more."""

    def __init__(self, capacity: int, dtype: np.dtype) -> None:
        self.values = np.empty(capacity, dtype)
        self.lengths: list[int] = []
        self.nulls: list[int] = []
        self.size = 0

    def fits(self, length: int) -> bool:
        return self.size + length <= len(self.values)

    def append(self, values: np.ndarray) -> None:
        end = self.size + len(values)
        self.values[self.size : end] = values
        self.lengths.append(len(values))
        self.size = end

    def append_null(self) -> None:
        self.nulls.append(len(self.lengths))
        self.lengths.append(0)

    def clear(self) -> None:
        self.lengths, self.nulls, self.size = [], [], 0


class LargeColumn:
    """Binary values, or lists of numbers, in segments; what was reserved is kept for the next row group."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._is_binary = pa.types.is_binary(kind)
        self._dtype = np.dtype(np.uint8) if self._is_binary else np.dtype(kind.value_type.to_pandas_dtype())
        self._segments: list[_Segment] = []
        self._nbr_used = 0

    def append(self, value: Any) -> int:
        """Adds bytes (anything with a buffer), an array, a list of numbers, or None; returns the bytes it takes."""
        if value is None:
            self._segment(0).append_null()
            return 0
        numbers = np.frombuffer(value, np.uint8) if self._is_binary else np.asarray(value)
        self._segment(len(numbers)).append(numbers)
        return len(numbers) * self._dtype.itemsize

    def array(self) -> pa.ChunkedArray:
        """The column so far; valid until the next ``append``."""
        return pa.chunked_array(map(self._chunk, self._segments[: self._nbr_used]), self._kind)

    def clear(self) -> None:
        """Forgets the values and keeps the room."""
        for segment in self._segments:
            segment.clear()
        self._nbr_used = 0

    def _segment(self, length: int) -> _Segment:
        """The segment that takes a value of that length."""
        if self._nbr_used and self._segments[self._nbr_used - 1].fits(length):
            return self._segments[self._nbr_used - 1]
        at = self._nbr_used
        self._nbr_used += 1
        if at == len(self._segments) or not self._segments[at].fits(length):
            # The first may be small: a column of nothing but nulls, or of a few rows, must not reserve megabytes.
            is_small = not at and length * self._dtype.itemsize <= _FIRST_BYTES
            capacity = (_FIRST_BYTES if is_small else _SEGMENT_BYTES) // self._dtype.itemsize
            self._segments[at : at + 1] = [_Segment(max(capacity, length), self._dtype)]
        return self._segments[at]

    def _chunk(self, segment: _Segment) -> pa.Array:
        lengths = np.array(segment.lengths, np.int64)
        ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        mask = np.zeros(len(ends), bool)
        mask[segment.nulls] = True
        values = segment.values[: segment.size]
        if self._is_binary:
            valid = None if not segment.nulls else pa.array(~mask[:-1]).buffers()[1]
            buffers = [valid, pa.py_buffer(ends), pa.py_buffer(values)]
            return pa.Array.from_buffers(self._kind, len(lengths), buffers)
        offsets = pa.array(ends, pa.int32(), mask=mask if segment.nulls else None)
        return pa.ListArray.from_arrays(offsets, pa.array(values, self._kind.value_type), type=self._kind)


class SmallColumn:
    """Values of which a Python list does no harm."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._values: list[Any] = []

    def append(self, value: Any) -> int:
        self._values.append(value)
        return 0

    def array(self) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(self._values, self._kind)])

    def clear(self) -> None:
        self._values = []


def column_buffer(field: pa.Field) -> "LargeColumn | SmallColumn":
    """The kind of buffer that a column of this type needs."""
    is_large = pa.types.is_binary(field.type) or (
        pa.types.is_list(field.type) and pa.types.is_primitive(field.type.value_type)
    )
    return LargeColumn(field.type) if is_large else SmallColumn(field.type)
