"""A long column of distinct texts, in a file where scratch has one."""

import mmap

import numpy as np
import pyarrow as pa

from scenelake.timebase.scratch import Scratch


class TextWriter:
    """Takes texts in order and gives them back as one array.

    Args:
        count: texts that will come.
    """

    def __init__(self, count: int, scratch: Scratch) -> None:
        self._count = count
        self._scratch = scratch
        self._ends = scratch.array(count + 1, np.int64)
        self._file = scratch.open_file()
        self._parts: list[bytes] = []
        self._filled = 0

    def append(self, texts: pa.Array) -> None:
        """Adds texts; none may be null."""
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
        written = memoryview(data)[ends[0] : ends[-1]] if data is not None else b""
        if self._file is not None:
            self._file.write(written)
        else:
            self._parts.append(bytes(written))
        start, self._filled = self._filled, self._filled + len(texts)
        self._ends[start + 1 : self._filled + 1] = ends[1:] - ends[0] + self._ends[start]

    def finish(self) -> pa.Array:
        """All of them: (count,) large_string."""
        data: bytes | mmap.mmap = b"".join(self._parts)
        if self._file is not None:
            with self._file as file:
                data = self._scratch.map_file(file) if self._ends[-1] else data
        buffers = [None, pa.py_buffer(self._ends), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.large_string(), self._count, buffers)
