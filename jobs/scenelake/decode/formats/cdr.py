"""Reads ROS messages by a plan compiled once per schema: ROS 2's CDR (XCDR1, plain) and ROS 1's packed bytes.

A message becomes a flat dict: nested messages contribute dotted names (``header.stamp.sec``), numeric
arrays are zero-copy NumPy views, arrays of messages are lists of such dicts. Runs of fixed-size fields are
unpacked by one ``struct`` call. Source: OMG CDR (formal/02-06-51) as ROS 2 uses it: a 4-byte encapsulation
header, alignment counted from behind it, strings with a terminating NUL. ROS 1 serialises little-endian without
header, alignment or NUL (http://wiki.ros.org/ROS/Technical%20Overview).
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.ros2msg import PRIMITIVES, Definitions, Field

MAX_PLAN_FIELDS = 4096
"""Fields of one message type with everything nested in it; real ones stay below 200."""
MAX_NESTING = 32
MAX_ELEMENTS = 1_000_000
"""Texts, and fields of nested messages, in one message: each costs far more memory than the byte that can claim it."""
_ORDERS = {b"\x00\x00": ">", b"\x00\x01": "<"}
_CODE_SIZES = dict(PRIMITIVES.values())


@dataclass(slots=True)
class Run:
    """Consecutive fixed-size fields; where they are aligned, the layout depends on where (modulo 8) the run starts."""

    is_aligned: bool
    names: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    layouts: dict[tuple[str, int], struct.Struct] = field(default_factory=dict)

    @property
    def sizes(self) -> list[int]:
        return [_CODE_SIZES[code] for code in self.codes]

    def layout(self, order: str, start: int) -> struct.Struct:
        key = (order, start % 8 if self.is_aligned else 0)
        if key not in self.layouts:
            text, at = order, key[1]
            for code in self.codes:
                size = _CODE_SIZES[code]
                pad = -at % size if self.is_aligned else 0
                text += f"{pad}x{code}" if pad else code
                at += pad + size
            self.layouts[key] = struct.Struct(text)
        return self.layouts[key]


@dataclass(frozen=True, slots=True)
class Text:
    name: str


@dataclass(frozen=True, slots=True)
class Numbers:
    name: str
    code: str
    size: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Texts:
    name: str
    length: int | None


@dataclass(frozen=True, slots=True)
class Messages:
    name: str
    plan: "Plan"
    length: int | None


Step = Run | Text | Numbers | Texts | Messages


@dataclass(slots=True)
class Plan:
    """How to read one message type.

    Attributes:
        min_bytes: no message of the type is smaller; bounds what a sequence's count may claim.
        is_aligned: CDR aligns every number to its size, ROS 1 does not.
        head_bytes: of the encapsulation in front.
        max_trailing_bytes: CDR writers pad the end to 4 bytes.
    """

    steps: list[Step]
    min_bytes: int
    is_aligned: bool = True

    @property
    def nbr_values(self) -> int:
        """Entries of a message's dict."""
        return sum(len(step.names) if isinstance(step, Run) else 1 for step in self.steps)

    @property
    def head_bytes(self) -> int:
        return 4 if self.is_aligned else 0

    @property
    def max_trailing_bytes(self) -> int:
        return 3 if self.is_aligned else 0


def compile_plan(definitions: Definitions, name: str, *, is_aligned: bool = True) -> Plan:
    """Plan for one type of a schema; ``is_aligned`` for CDR, not for ROS 1.

    Raises:
        BadInputError: reason ``schema_invalid`` for a type that is missing, contains itself, nests too deep
            or is too large; ``schema_unsupported`` for wide strings.
    """
    return _Compiler(definitions, is_aligned).plan(name, ())


class _Compiler:
    def __init__(self, definitions: Definitions, is_aligned: bool) -> None:
        self._definitions = definitions
        self._is_aligned = is_aligned
        self._fields = 0

    def plan(self, name: str, outer: tuple[str, ...]) -> Plan:
        steps: list[Step] = []
        min_bytes = self._append(name, "", outer, steps)
        return Plan(steps, max(min_bytes, 1), self._is_aligned)

    def _append(self, name: str, prefix: str, outer: tuple[str, ...], steps: list[Step]) -> int:
        if name in outer or len(outer) >= MAX_NESTING:
            raise BadInputError(f"{name}: contains itself or nests too deep", reason="schema_invalid")
        if name not in self._definitions:
            raise BadInputError(f"{name}: the schema does not define it", reason="schema_invalid")
        min_bytes = 0
        for entry in self._definitions[name]:
            self._fields += 1
            if self._fields > MAX_PLAN_FIELDS:
                raise BadInputError(f"{name}: more than {MAX_PLAN_FIELDS} fields", reason="schema_invalid")
            min_bytes += self._append_field(entry, prefix + entry.name, (*outer, name), steps)
        return min_bytes

    def _append_field(self, entry: Field, path: str, outer: tuple[str, ...], steps: list[Step]) -> int:
        if entry.type == "wstring":
            raise BadInputError(f"{path}: wide strings are not read", reason="schema_unsupported")
        count = entry.length if entry.length is not None else 0
        if entry.type == "string":
            steps.append(Texts(path, entry.length) if entry.is_array else Text(path))
            return 4 * count if entry.length is not None else 4
        if entry.type in PRIMITIVES:
            code, size = PRIMITIVES[entry.type]
            if entry.is_array:
                steps.append(Numbers(path, code, size, entry.length))
                return size * count if entry.length is not None else 4
            if not (steps and isinstance(steps[-1], Run)):
                steps.append(Run(self._is_aligned))
            run = steps[-1]
            if isinstance(run, Run):
                run.names.append(path)
                run.codes.append(code)
            return size
        if not entry.is_array:
            return self._append(entry.type, f"{path}.", outer, steps)
        plan = self.plan(entry.type, outer)
        steps.append(Messages(path, plan, entry.length))
        return plan.min_bytes * count if entry.length is not None else 4


def encapsulation_order(plan: Plan, data: memoryview) -> str | None:
    """Byte order of a message, ``<`` or ``>``; None when its encapsulation is not a plain one."""
    if not plan.is_aligned:
        return "<"
    return _ORDERS.get(bytes(data[:2])) if len(data) >= plan.head_bytes else None


def read_cdr(plan: Plan, data: memoryview) -> dict[str, Any]:
    """One message as a flat dict of Python scalars, strings, NumPy views and lists of dicts.

    Raises:
        BadInputError: reason ``cdr_encapsulation_unsupported`` or ``cdr_contradicts_schema``.
    """
    order = encapsulation_order(plan, data)
    if order is None:
        raise BadInputError(
            f"expected a plain CDR encapsulation, got {bytes(data[:2]).hex() or 'no bytes'}",
            reason="cdr_encapsulation_unsupported",
        )
    body = data[plan.head_bytes :]
    reader = _Reader(body, order, plan.is_aligned)
    try:
        message = reader.message(plan)
    except (struct.error, UnicodeDecodeError) as error:
        raise _contradiction(f"at byte {reader.at}: {error}") from error
    if len(body) - reader.at > plan.max_trailing_bytes:
        raise _contradiction(f"{len(body) - reader.at} bytes are left over")
    return message


def _contradiction(detail: str) -> BadInputError:
    return BadInputError(f"the bytes contradict the schema: {detail}", reason="cdr_contradicts_schema")


class _Reader:
    def __init__(self, body: memoryview, order: str, is_aligned: bool) -> None:
        self._body = body
        self._is_aligned = is_aligned
        self._size = len(body)
        self._order = order
        self._u32 = struct.Struct(f"{order}I")
        self._elements = 0
        self.at = 0

    def message(self, plan: Plan) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for step in plan.steps:
            if isinstance(step, Run):
                layout = step.layout(self._order, self.at)
                values.update(zip(step.names, layout.unpack_from(self._body, self.at), strict=True))
                self.at += layout.size
            elif isinstance(step, Text):
                values[step.name] = self._text()
            elif isinstance(step, Numbers):
                values[step.name] = self._numbers(step)
            elif isinstance(step, Texts):
                values[step.name] = [self._text() for _ in range(self._elements_of(step.length, 4, 1))]
            else:
                count = self._elements_of(step.length, step.plan.min_bytes, step.plan.nbr_values)
                values[step.name] = [self.message(step.plan) for _ in range(count)]
        return values

    def _length(self) -> int:
        if self._is_aligned:
            self.at += -self.at % 4
        length: int = self._u32.unpack_from(self._body, self.at)[0]
        self.at += 4
        return length

    def _count(self, fixed: int | None, min_bytes: int) -> int:
        count = self._length() if fixed is None else fixed
        if count * min_bytes > self._size - self.at:
            raise _contradiction(f"{count} elements are claimed at byte {self.at}, {self._size - self.at} bytes left")
        return count

    def _elements_of(self, fixed: int | None, min_bytes: int, nbr_values: int) -> int:
        count = self._count(fixed, min_bytes)
        self._elements += count * nbr_values
        if self._elements > MAX_ELEMENTS:
            raise BadInputError(f"more than {MAX_ELEMENTS} texts and nested fields", reason="message_too_large")
        return count

    def _text(self) -> str:
        length = self._length()
        end = self.at + length
        if end > self._size:
            raise _contradiction(f"a string of {length} bytes at byte {self.at}")
        text = bytes(self._body[self.at : end])
        self.at = end
        # Some writers send an empty string as length 0, without its NUL.
        return text.removesuffix(b"\x00").decode()

    def _numbers(self, step: Numbers) -> np.ndarray:
        count = self._count(step.length, step.size)
        if not count:
            return np.empty(0, f"{self._order}{NUMPY_CODES[step.code]}")
        if self._is_aligned:
            self.at += -self.at % step.size
        end = self.at + count * step.size
        if end > self._size:
            raise _contradiction(f"{count} numbers of {step.size} bytes at byte {self.at}")
        numbers = np.frombuffer(self._body, f"{self._order}{NUMPY_CODES[step.code]}", count, self.at)
        self.at = end
        return numbers


NUMPY_CODES = {"?": "u1", "b": "i1", "B": "u1", "h": "i2", "H": "u2", "i": "i4", "I": "u4", "q": "i8", "Q": "u8",
                "f": "f4", "d": "f8"}  # fmt: skip
