"""Columns that grow row by row: large values are copied once, from the recording to where Arrow reads them."""

from typing import Any

import numpy as np
import pyarrow as pa

_FIRST_CAPACITY = 64 * 1024


class _Growing:
    """An array with room behind its end; what was reserved is kept for the next row group."""

    def __init__(self, dtype: np.dtype) -> None:
        self._array = np.empty(_FIRST_CAPACITY // dtype.itemsize, dtype)
        self.size = 0

    def append(self, values: np.ndarray) -> None:
        end = self.size + len(values)
        if end > len(self._array):
            grown = np.empty(max(end, len(self._array) * 2), self._array.dtype)
            grown[: self.size] = self._array[: self.size]
            self._array = grown
        self._array[self.size : end] = values
        self.size = end

    def filled(self) -> np.ndarray:
        return self._array[: self.size]

    @property
    def reserved_bytes(self) -> int:
        return self._array.nbytes


class LargeColumn:
    """Binary values, or lists of numbers: one buffer, and the values' lengths."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._is_binary = pa.types.is_binary(kind)
        self._values = _Growing(np.dtype(np.uint8) if self._is_binary else np.dtype(kind.value_type.to_pandas_dtype()))
        self._lengths: list[int] = []
        self._nulls: list[int] = []

    @property
    def reserved_bytes(self) -> int:
        return self._values.reserved_bytes

    def append(self, value: Any) -> int:
        """Adds bytes (anything with a buffer), an array, a list of numbers, or None; returns the bytes it takes."""
        if value is None:
            self._nulls.append(len(self._lengths))
            self._lengths.append(0)
            return 0
        numbers = np.frombuffer(value, np.uint8) if self._is_binary else np.asarray(value)
        self._lengths.append(len(numbers))
        self._values.append(numbers)
        return len(numbers) * self._values.filled().itemsize

    def array(self) -> pa.Array:
        """The column so far; valid until the next ``append``."""
        ends = np.concatenate(([0], np.cumsum(np.array(self._lengths, np.int64)))).astype(np.int32)
        mask = np.zeros(len(ends), bool)
        mask[self._nulls] = True
        values = self._values.filled()
        if self._is_binary:
            valid = None if not self._nulls else pa.array(~mask[:-1]).buffers()[1]
            buffers = [valid, pa.py_buffer(ends), pa.py_buffer(values)]
            return pa.Array.from_buffers(self._kind, len(self._lengths), buffers)
        offsets = pa.array(ends, pa.int32(), mask=mask if self._nulls else None)
        return pa.ListArray.from_arrays(offsets, pa.array(values, self._kind.value_type), type=self._kind)

    def clear(self) -> None:
        """Forgets the values and keeps the room."""
        self._values.size = 0
        self._lengths, self._nulls = [], []


class SmallColumn:
    """Values of which a Python list does no harm."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._values: list[Any] = []

    reserved_bytes = 0

    def append(self, value: Any) -> int:
        self._values.append(value)
        return 0

    def array(self) -> pa.Array:
        return pa.array(self._values, self._kind)

    def clear(self) -> None:
        self._values = []


def column_buffer(field: pa.Field) -> "LargeColumn | SmallColumn":
    """The kind of buffer that a column of this type needs."""
    is_large = pa.types.is_binary(field.type) or (
        pa.types.is_list(field.type) and pa.types.is_primitive(field.type.value_type)
    )
    return LargeColumn(field.type) if is_large else SmallColumn(field.type)
