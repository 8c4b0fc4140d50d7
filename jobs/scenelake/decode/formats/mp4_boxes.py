"""Boxes of an MP4 file, none of which is believed to be larger than what holds it (ISO/IEC 14496-12)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Source

MAX_SAMPLES = 2_000_000
"""Frames of one file: 18 hours at 30 Hz."""
MAX_BOXES = 10_000
MAX_SECONDS = 1 << 31
_MAX_HEAD_BYTES = 16
Boxes = dict[bytes, memoryview]


@dataclass(frozen=True, slots=True)
class BoxPlace:
    """A box of the file itself: its content starts at ``content``."""

    kind: bytes
    start: int
    content: int
    exclusive_end: int


def box_at(source: Source, at: int) -> BoxPlace | None:
    """The box that starts at a byte of the file; None where no head fits.

    Raises:
        BadInputError: reason ``mp4_invalid`` for one that is shorter than its own head.
    """
    if at + 8 > source.size_bytes:
        return None
    head = bytes(source.read(at, _MAX_HEAD_BYTES))
    length, kind, head_bytes = int.from_bytes(head[:4], "big"), head[4:8], 8
    if length == 1:
        length, head_bytes = int.from_bytes(head[8:16], "big"), 16
    elif length == 0:
        length = source.size_bytes - at
    if length < head_bytes:
        raise invalid(f"a box of {length} bytes", at)
    return BoxPlace(kind, at, at + head_bytes, at + length)


def boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of the boxes in a box."""
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(content):
            return
        length, kind = int.from_bytes(content[at : at + 4], "big"), bytes(content[at + 4 : at + 8])
        if length == 0:
            length = len(content) - at
        if length < 8 or at + length > len(content):
            raise invalid(f"box {kind!r} of {length} bytes, {len(content) - at} are left")
        yield kind, content[at + 8 : at + length]
        at += length
    raise invalid(f"more than {MAX_BOXES} boxes in one")


def only(content: memoryview) -> Boxes:
    """The boxes of a box by kind; of several the first counts."""
    found: Boxes = {}
    for kind, inner in boxes(content):
        found.setdefault(kind, inner)
    return found


def one(content: memoryview, kind: bytes) -> memoryview:
    return need(only(content), kind)


def need(found: Boxes, kind: bytes) -> memoryview:
    if kind not in found:
        raise invalid(f"no box {kind!r}")
    return found[kind]


def table_rows(box: memoryview, dtype: str, count_at: int = 4) -> np.ndarray:
    """Rows of a table box behind its count; the count must fit the box."""
    start = count_at + 4
    count = int.from_bytes(box[count_at:start], "big") if len(box) >= start else -1
    kind = np.dtype(dtype)
    if not 0 <= count <= MAX_SAMPLES or start + count * kind.itemsize > len(box):
        raise invalid(f"a table of {count} rows in {len(box)} bytes")
    return np.frombuffer(box, kind, count, start)


def invalid(detail: str, byte_offset: int | None = None) -> BadInputError:
    return BadInputError(f"not an MP4 file: {detail}", reason="mp4_invalid", byte_offset=byte_offset)
