"""What a recording says of itself in an index, for a look at it that does not read it: optional parts of a reader."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from scenelake.decode.formats.blocks import Definition

_WINDOW_BYTES = 64 * 1024


@dataclass(slots=True)
class Overview:
    """A recording by its index alone. Nothing of it was compared with the messages.

    Attributes:
        message_counts: by channel id, the recording's own.
        times: (n,) uint64 channel ids and (n,) uint64 log times in ns, in the order of the file and for each channel
            of its messages, of the index parts that were read; empty arrays where parts between were left out.
        is_complete: whether every part of the index was read, so that ``times`` hold every message.
        start_known, end_known: ids of channels whose first and last message are among ``times``.
        start_ns, last_ns: of the whole recording; None when it holds no message.
        note: which part of the index was read.
    """

    definitions: dict[int, Definition]
    message_counts: dict[int, int]
    times: list[tuple[np.ndarray, np.ndarray]]
    is_complete: bool
    start_known: frozenset[int]
    end_known: frozenset[int]
    start_ns: int | None
    last_ns: int | None
    note: str
    compressions: frozenset[str] = frozenset()
    header: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)


@runtime_checkable
class Summarised(Protocol):
    """A reader whose format may hold an index."""

    def overview(self, max_index_reads: int) -> Overview | None:
        """The object by its index, of which at most about ``max_index_reads`` parts are read.

        None when there is no index, or when it contradicts itself: then only reading the object tells.
        """


@runtime_checkable
class Compressed(Protocol):
    """A reader that knows how the parts it has read were compressed.

    Attributes:
        compressions: names as recorded, ``none`` for no compression.
    """

    compressions: set[str]


class SparseSource:
    """An object of which little is read, here and there: every read asks for a small window."""

    def __init__(self, fetch: Callable[[int, int], bytes], size_bytes: int) -> None:
        self._fetch = fetch
        self._size = size_bytes
        self._window = memoryview(b"")
        self._start = 0

    @property
    def size_bytes(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> memoryview:
        at = offset - self._start
        if at < 0 or at + length > len(self._window):
            wanted = max(min(max(length, _WINDOW_BYTES), self._size - offset), 0)
            self._window = memoryview(self._fetch(offset, wanted) if wanted else b"")
            self._start, at = offset, 0
        return self._window[at : at + length]
