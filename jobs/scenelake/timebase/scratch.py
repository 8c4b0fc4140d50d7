"""Long arrays that lie in files, so that memory does not grow with them."""

import mmap
import os
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_LEAST_FILE_BYTES = 1 << 18
"""What is shorter stays in memory: a file costs more than it saves."""


class Scratch:
    """Gives arrays. With a folder, the long ones are files there, mapped into memory: their pages are the system's to
    write out and to drop, and a file is gone when its last array is. Without one, all are plain memory.

    Args:
        folder: on a disk; a file takes as many bytes as its array.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def array(self, count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Zeros (count,)."""
        size_bytes = count * np.dtype(dtype).itemsize
        file = self.open_file() if size_bytes >= _LEAST_FILE_BYTES else None
        if file is None:
            return np.zeros(count, dtype)
        with file:
            # Room is taken now: a full disk is an error here, and the end of the process on a write to a mapped page.
            os.posix_fallocate(file.fileno(), 0, size_bytes)
            return np.frombuffer(self.map_file(file), dtype)

    def open_file(self) -> IO[bytes] | None:
        """An empty file without a name; None without a folder."""
        return None if self._folder is None else tempfile.TemporaryFile(dir=self._folder)

    def map_file(self, file: IO[bytes]) -> mmap.mmap:
        """A file of at least one byte, mapped into memory; it may be closed then."""
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0)
        self._mapped.add(mapped)
        return mapped

    def drop_pages(self) -> None:
        """Takes the pages of all files out of this process's memory; what is read again comes from the files."""
        for mapped in list(self._mapped):
            mapped.madvise(mmap.MADV_DONTNEED)


IN_MEMORY = Scratch()
