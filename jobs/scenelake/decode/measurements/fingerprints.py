"""Whether two payloads are the same: a number that differs where they do, for next to nothing."""

from collections.abc import Sequence

import numpy as np
from blake3 import blake3

_PIECES = 16
_PIECE_BYTES = 256
_SAMPLED = 256


def fingerprint(data: memoryview) -> int:
    """64 signed bits of BLAKE3 over the size and 16 evenly spaced pieces of 256 bytes; of all of a small payload.

    Sensors have noise in every bit, so what repeats all pieces repeats the whole; hashing all of an image takes six
    times as long.
    """
    size = len(data)
    pieces = [data]
    if size > _PIECES * _PIECE_BYTES:
        last = size - _PIECE_BYTES
        pieces = [data[at : at + _PIECE_BYTES] for at in (k * last // (_PIECES - 1) for k in range(_PIECES))]
    return _number([size.to_bytes(8, "little"), *pieces])


def columns_fingerprint(columns: tuple[np.ndarray, ...]) -> int:
    """The same of numbers in columns (n,): of the size and at least 256 rows, evenly spaced."""
    count = len(columns[0])
    step = max(count // _SAMPLED, 1)
    return _number([count.to_bytes(8, "little"), *(column[::step].tobytes() for column in columns)])


def _number(parts: Sequence[bytes | memoryview]) -> int:
    return int.from_bytes(blake3(b"".join(parts)).digest(8), "little", signed=True)
