"""Many ROS messages of one layout as columns, by views on the recorded bytes.

Messages of a sensor nearly always have their fields at the same bytes: their strings and sequences keep their
lengths. One message's layout is worked out step by step (``lay_out``), then compared with all others by their length
words, and those that agree are read as NumPy views, without a step per message. Whatever does not agree goes the slow
way (``cdr.read_cdr``), which is the reference that tests hold this one to.
"""

import struct
from dataclasses import dataclass, field

import numpy as np

from scenelake.decode.formats.blocks import Block
from scenelake.decode.formats.cdr import (
    NUMPY_CODES,
    Messages,
    Numbers,
    Plan,
    Run,
    Step,
    Text,
    Texts,
    encapsulation_order,
)

MAX_LAYOUT_FIELDS = 1024
"""Fields of one layout, repeated parts counted; a message with more is cheaper read alone."""
MAX_MATRIX_BYTES = 16 * 1024 * 1024
MIN_ROWS = 4
"""Fewer messages of one length are read faster one by one: a hostile block has as many lengths as messages."""


class NoLayoutError(ValueError):
    """The message is not one to be read by columns."""


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    dtype: str
    count: int | None


@dataclass(slots=True)
class Layout:
    """Where the fields of one message lie, relative to its first byte.

    Attributes:
        size_bytes: of the message.
        words: offsets and values of the length words: messages that have the same have the same layout.
    """

    size_bytes: int
    order: str
    numbers: dict[str, _Place] = field(default_factory=dict)
    texts: dict[str, tuple[int, int]] = field(default_factory=dict)
    text_lists: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    messages: dict[str, list["Layout"]] = field(default_factory=dict)
    words: list[tuple[int, int]] = field(default_factory=list)
    nbr_fields: int = 0


def lay_out(plan: Plan, data: memoryview) -> Layout:
    """Layout of one message.

    Raises:
        NoLayoutError: too many fields, or bytes that contradict the plan.
    """
    order = encapsulation_order(plan, data)
    if order is None:
        raise NoLayoutError("encapsulation")
    builder = _Builder(plan, data, order)
    try:
        builder.message(plan, builder.layout)
    except struct.error as error:
        raise NoLayoutError(str(error)) from error
    if len(data) - builder.at > plan.max_trailing_bytes:
        raise NoLayoutError("trailing bytes")
    return builder.layout


class _Builder:
    def __init__(self, plan: Plan, data: memoryview, order: str) -> None:
        self._data = data
        self._order = order
        self._is_aligned = plan.is_aligned
        self._origin = plan.head_bytes
        self._u32 = struct.Struct(f"{order}I")
        self.at = self._origin
        self.layout = Layout(len(data), order)

    def message(self, plan: Plan, layout: Layout) -> None:
        for step in plan.steps:
            self._step(step, layout)

    def _step(self, step: Step, layout: Layout) -> None:
        if isinstance(step, Run):
            for name, code, size in zip(step.names, step.codes, step.sizes, strict=True):
                layout.numbers[name] = self._place(code, size, None)
        elif isinstance(step, Text):
            layout.texts[step.name] = self._text()
        elif isinstance(step, Numbers):
            count = self._word() if step.length is None else step.length
            layout.numbers[step.name] = self._place(step.code, step.size, count)
        elif isinstance(step, Texts):
            count = self._counted(step.length)
            layout.text_lists[step.name] = [self._text() for _ in range(count)]
        elif isinstance(step, Messages):
            parts = []
            for _ in range(self._counted(step.length)):
                part = Layout(0, self._order)
                self.message(step.plan, part)
                parts.append(part)
            layout.messages[step.name] = parts

    def _account(self) -> None:
        self.layout.nbr_fields += 1
        if self.layout.nbr_fields > MAX_LAYOUT_FIELDS:
            raise NoLayoutError("too many fields")

    def _align(self, size: int) -> None:
        if self._is_aligned:
            self.at += -(self.at - self._origin) % size

    def _place(self, code: str, size: int, count: int | None) -> _Place:
        self._account()
        if count != 0:
            self._align(size)
        place = _Place(self.at, f"{self._order}{NUMPY_CODES[code]}", count)
        self.at += size * (1 if count is None else count)
        if self.at > len(self._data):
            raise NoLayoutError("too short")
        return place

    def _word(self) -> int:
        self._account()
        self._align(4)
        value: int = self._u32.unpack_from(self._data, self.at)[0]
        self.layout.words.append((self.at, value))
        self.at += 4
        if value > len(self._data):
            raise NoLayoutError("too short")
        return value

    def _counted(self, length: int | None) -> int:
        count = self._word() if length is None else length
        if count > MAX_LAYOUT_FIELDS:
            raise NoLayoutError("too many fields")
        return count

    def _text(self) -> tuple[int, int]:
        length = self._word()
        start = self.at
        self.at += length
        if self.at > len(self._data):
            raise NoLayoutError("too short")
        return start, length


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Equally long messages, evenly spaced in a buffer."""

    data: np.ndarray
    offset: int
    stride: int
    nbr_rows: int
    nbr_bytes: int

    def view(self, dtype: str, offset: int, count: int | None = None) -> np.ndarray:
        """A field of every row: (n,), or (n, ``count``)."""
        kind = np.dtype(dtype)
        shape = (self.nbr_rows,) if count is None else (self.nbr_rows, count)
        if 0 in shape:
            return np.empty(shape, kind)
        strides = (self.stride,) if count is None else (self.stride, kind.itemsize)
        return np.ndarray(shape, kind, self.data, self.offset + offset, strides)


class Columns:
    """``n`` messages of one layout.

    Attributes:
        size: n.
    """

    def __init__(self, layout: Layout, matrix: _Matrix) -> None:
        self._layout = layout
        self._matrix = matrix
        self.size = matrix.nbr_rows

    def __contains__(self, name: str) -> bool:
        return name in self._layout.numbers or name in self._layout.texts

    def numbers(self, name: str) -> np.ndarray:
        """A number, (n,), or an array of numbers, (n, length), as recorded, without a copy.

        Raises:
            KeyError: no such field.
        """
        place = self._layout.numbers[name]
        return self._matrix.view(place.dtype, place.offset, place.count)

    def text(self, name: str) -> "TextColumn":
        """A string, decoded once for each value that occurs.

        Raises:
            KeyError: no such field.
            UnicodeDecodeError: a value is not UTF-8.
        """
        return self._text(*self._layout.texts[name])

    def texts(self, name: str) -> list["TextColumn"]:
        """A list of strings, element by element."""
        places = self._layout.text_lists[name]
        if places and self._is_constant(places[0][0], sum(places[-1]) - places[0][0]):
            same = np.zeros(self.size, np.int32)
            return [TextColumn([self._first(start, length)], same) for start, length in places]
        return [self._text(start, length) for start, length in places]

    def messages(self, name: str) -> list["Columns"]:
        """A list of messages, element by element, each (n)."""
        return [Columns(part, self._matrix) for part in self._layout.messages[name]]

    def _text(self, start: int, length: int) -> "TextColumn":
        if not length:
            return TextColumn([""], np.zeros(self.size, np.int32))
        if self._is_constant(start, length):
            return TextColumn([self._first(start, length)], np.zeros(self.size, np.int32))
        whole = np.ascontiguousarray(self._matrix.view("u1", start, length)).view(f"V{length}")[:, 0]
        values, codes = np.unique(whole, return_inverse=True)
        return TextColumn([_decoded(np.frombuffer(v, np.uint8)) for v in values], codes.astype(np.int32))

    def _first(self, start: int, length: int) -> str:
        return _decoded(self._matrix.view("u1", start, length)[0])

    def _is_constant(self, start: int, length: int) -> bool:
        part = self._matrix.view("u1", start, length)
        return bool((part == part[:1]).all())


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Strings by code: ``values[codes[i]]``; codes (n,) int32."""

    values: list[str]
    codes: np.ndarray


def _decoded(part: np.ndarray) -> str:
    return part.tobytes().removesuffix(b"\x00").decode()


def read_columns(plan: Plan, block: Block, rows: np.ndarray) -> tuple[list[tuple[np.ndarray, Columns]], np.ndarray]:
    """Groups of messages with the same layout, and those that must be read one by one.

    Args:
        rows: (n,) int64, positions of the messages in the block, ascending.

    Returns:
        Positions in the block (k,) and columns of each group; positions in the block (m,) of the rest.
    """
    groups: list[tuple[np.ndarray, Columns]] = []
    alone: list[np.ndarray] = []
    size = block.exclusive_end[rows] - block.start[rows]
    order = np.argsort(size, kind="stable")
    lengths, first = np.unique(size[order], return_index=True)
    for nbr_bytes, same in zip(lengths.tolist(), np.split(rows[order], first[1:]), strict=True):
        if len(same) < MIN_ROWS:
            alone.append(same)
            continue
        for part in np.array_split(same, max(1, -(-len(same) * nbr_bytes // MAX_MATRIX_BYTES))):
            found, rest = _by_layout(plan, block, part, nbr_bytes)
            groups += found
            alone.append(rest)
    return groups, np.sort(np.concatenate(alone)) if alone else np.empty(0, np.int64)


_MAX_LAYOUTS = 8


def _by_layout(
    plan: Plan, block: Block, rows: np.ndarray, nbr_bytes: int
) -> tuple[list[tuple[np.ndarray, Columns]], np.ndarray]:
    groups: list[tuple[np.ndarray, Columns]] = []
    for _ in range(_MAX_LAYOUTS):
        if not len(rows):
            break
        matrix = _matrix(block, rows, nbr_bytes)
        try:
            layout = lay_out(plan, block.data(int(rows[0])))
        except NoLayoutError:
            break
        agrees = _equal(matrix, 0, plan.head_bytes)
        for offset, _ in layout.words:
            agrees &= _equal(matrix, offset, 4)
        if agrees.all():
            return [*groups, (rows, Columns(layout, matrix))], rows[:0]
        groups.append((rows[agrees], Columns(layout, _matrix(block, rows[agrees], nbr_bytes))))
        rows = rows[~agrees]
    return groups, rows


def _equal(matrix: _Matrix, offset: int, length: int) -> np.ndarray:
    """Whether each row has the first row's bytes there, (n,) bool."""
    part = matrix.view("u4" if length == 4 else "u1", offset, None if length == 4 else length)
    equal: np.ndarray = part == part[0]
    return equal if equal.ndim == 1 else np.logical_and.reduce(equal, axis=1)


def _matrix(block: Block, rows: np.ndarray, nbr_bytes: int) -> _Matrix:
    """Where they lie if they are evenly spaced in one buffer, else side by side in a copy."""
    bodies = [(np.frombuffer(body, np.uint8), block.start[own]) for body, own in block.by_member(rows)]
    if len(bodies) == 1:
        (body, start), stride = bodies[0], _even_stride(bodies[0][1], nbr_bytes)
        if stride is not None:
            return _Matrix(body, int(start[0]), stride, len(start), nbr_bytes)
    copied = np.empty((len(rows), nbr_bytes), np.uint8)
    at = 0
    for body, start in bodies:
        target, stride = copied[at : at + len(start)], _even_stride(start, nbr_bytes)
        at += len(start)
        if stride is None:
            target[:] = np.lib.stride_tricks.sliding_window_view(body, nbr_bytes)[start]
        else:
            target[:] = np.ndarray(target.shape, np.uint8, body, int(start[0]), (stride, 1))
    return _Matrix(copied.reshape(-1), 0, nbr_bytes, len(rows), nbr_bytes)


def _even_stride(start: np.ndarray, nbr_bytes: int) -> int | None:
    """Bytes from one message to the next, where they are evenly spaced."""
    steps = np.diff(start)
    if not len(steps):
        return nbr_bytes
    return int(steps[0]) if (steps == steps[0]).all() else None
