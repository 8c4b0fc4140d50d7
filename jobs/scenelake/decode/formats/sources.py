"""Random access to an object's bytes, wherever they lie: memory is a few windows, whatever the object's size."""

import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from scenelake.contracts.errors import BadInputError, TransientError
from scenelake.contracts.ids import MERKLE_BLOCK_BYTES
from scenelake.decode.formats.blocks import Source

WINDOW_BYTES = 4 * 1024 * 1024
MAX_SPOOLED_BYTES = 32 * 1024 * 1024 * 1024
"""Larger objects are not copied to a temporary file; fetch them to one of your own and use ``FileSource``."""


class MemorySource:
    """An object that is in memory already."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> memoryview:
        return self._data[offset : offset + length]


class FileSource:
    """A local file, read by windows so that a walk over small records does not cost a system call for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        self._window = memoryview(b"")
        self._window_start = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; what was read stays valid."""
        os.close(self._file)

    @property
    def size_bytes(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> memoryview:
        at = offset - self._window_start
        if at < 0 or at + length > len(self._window):
            self._window = memoryview(self._pread(offset, max(length, WINDOW_BYTES)))
            self._window_start, at = offset, 0
        return self._window[at : at + length]

    def _pread(self, offset: int, length: int) -> bytes:
        length = max(min(length, self._size - offset), 0)
        data = os.pread(self._file, length, offset)
        # One call returns at most 2 GiB, and may be interrupted.
        while len(data) < length:
            more = os.pread(self._file, length - len(data), offset + len(data))
            if not more:
                raise TransientError(f"the file ends at {offset + len(data)}, it held {self._size} bytes when opened")
            data += more
        return data


class RangedSource:
    """An object in storage, read by aligned blocks of 8 MiB, the next of which are on their way.

    Args:
        fetch: bytes by offset and length; it retries what is worth it.
        nbr_ahead: blocks asked for ahead of the one being read, each by a thread of its own. Reading back far
            (to a summary, and then to the front) costs a request, not a mistake.
        max_held_bytes: an object of up to so many bytes is kept when it has been read; of a larger one, a few blocks.
    """

    def __init__(
        self, fetch: Callable[[int, int], bytes], size_bytes: int, *, nbr_ahead: int = 2, max_held_bytes: int = 0
    ) -> None:
        self._fetch = fetch
        self._size = size_bytes
        self._nbr_ahead = nbr_ahead
        self._nbr_kept = nbr_ahead + 2 + (max_held_bytes if size_bytes <= max_held_bytes else 0) // MERKLE_BLOCK_BYTES
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(max(nbr_ahead, 1), thread_name_prefix="range")
        self._last = -2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def size_bytes(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> memoryview:
        length = max(min(length, self._size - offset), 0)
        if not length:
            return memoryview(b"")
        first, last = offset // MERKLE_BLOCK_BYTES, (offset + length - 1) // MERKLE_BLOCK_BYTES
        start = offset - first * MERKLE_BLOCK_BYTES
        if first == last:
            return memoryview(self._block(first))[start : start + length]
        whole = bytearray(length)
        at = 0
        for number in range(first, last + 1):
            part = memoryview(self._block(number))[start : start + length - at]
            whole[at : at + len(part)] = part
            at, start = at + len(part), 0
        return memoryview(whole).toreadonly()

    def _block(self, number: int) -> bytes:
        block = self._asked(number)
        if number == self._last + 1:
            for ahead in range(number + 1, number + 1 + self._nbr_ahead):
                if ahead * MERKLE_BLOCK_BYTES < self._size:
                    self._asked(ahead)
        self._last = max(number, self._last) if number <= self._last + 1 else number
        self._blocks.move_to_end(number)
        while len(self._blocks) > self._nbr_kept:
            self._blocks.popitem(last=False)
        return block.result()

    def _asked(self, number: int) -> Future[bytes]:
        if number not in self._blocks:
            offset = number * MERKLE_BLOCK_BYTES
            length = min(MERKLE_BLOCK_BYTES, self._size - offset)
            self._blocks[number] = self._pool.submit(self._whole, offset, length)
        return self._blocks[number]

    def _whole(self, offset: int, length: int) -> bytes:
        data = self._fetch(offset, length)
        if len(data) != length:
            raise TransientError(f"{len(data)} of {length} bytes came back at byte {offset}")
        return data


@contextmanager
def local_path(source: Source, max_bytes: int = MAX_SPOOLED_BYTES) -> Iterator[Path]:
    """A path of the object, for libraries that open files themselves.

    What is not a local file already is copied to a temporary one, which lasts as long as the context.

    Raises:
        BadInputError: reason ``object_too_large`` for a copy of more than ``max_bytes``.
    """
    if isinstance(source, FileSource):
        yield source.path
        return
    if source.size_bytes > max_bytes:
        detail = f"the object holds {source.size_bytes} bytes, at most {max_bytes} are copied to a temporary file"
        raise BadInputError(detail, reason="object_too_large")
    with tempfile.NamedTemporaryFile(prefix="object-") as spooled:
        for at in range(0, source.size_bytes, WINDOW_BYTES):
            spooled.write(source.read(at, min(WINDOW_BYTES, source.size_bytes - at)))
        spooled.flush()
        yield Path(spooled.name)
