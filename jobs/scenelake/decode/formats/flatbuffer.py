"""FlatBuffer messages by the binary schema (``.bfbs``) that the recording carries, read by attribute.

The Python library of FlatBuffers reads through generated classes and verifies nothing, so the few rules of the wire
format are applied here, with every offset checked, lazily: a field costs something when a handler asks for it.
Sources: the FlatBuffers internals document (tables, vtables, vectors, strings, structs); reflection.fbs (slots of
Schema, Object, Field, Type, and the numbers of BaseType).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError

MAX_OBJECTS = 4096
MAX_FIELDS = 1024
MAX_ITEMS = 100_000
"""Tables, structs and texts in one vector: each costs far more memory than the bytes that can claim it."""
MAX_TEXT_BYTES = 1024 * 1024
"""Text read of one message: many strings of it may lie at the same bytes."""

_SCALARS = {1: "<u1", 2: "<u1", 3: "<i1", 4: "<u1", 5: "<i2", 6: "<u2", 7: "<i4", 8: "<u4", 9: "<i8", 10: "<u8",
            11: "<f4", 12: "<f8"}  # fmt: skip
_STRING, _VECTOR, _OBJECT = 13, 14, 15
_REAL = (11, 12)
_PROTOBUF_NAMES = {"seconds": "sec", "nanos": "nsec"}


@dataclass(frozen=True, slots=True)
class _Field:
    """Where a field is and what it holds; ``offset`` is into the vtable, or into the struct itself."""

    offset: int
    kind: int
    element: int
    type_index: int
    default: float


@dataclass(slots=True)
class _Object:
    name: str
    is_struct: bool
    size_bytes: int
    fields: dict[str, _Field]


class _Buffer:
    """Bytes that are never read outside their bounds."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._text_left = MAX_TEXT_BYTES

    def number(self, kind: int, at: int) -> Any:
        code = _SCALARS[kind]
        return np.frombuffer(self.bytes(at, int(code[2])), code)[0].item()

    def u16(self, at: int) -> int:
        return int.from_bytes(self.bytes(at, 2), "little")

    def u32(self, at: int) -> int:
        return int.from_bytes(self.bytes(at, 4), "little")

    def bytes(self, at: int, size: int) -> memoryview:
        if at < 0 or at + size > len(self._data):
            raise _invalid(f"{size} bytes at byte {at} of {len(self._data)}")
        return self._data[at : at + size]

    def slot(self, table: int, offset: int) -> int | None:
        """Where a table's field lies; None when it has its default."""
        vtable = table - struct.unpack("<i", self.bytes(table, 4))[0]
        if offset + 2 > self.u16(vtable):
            return None
        found = self.u16(vtable + offset)
        return table + found if found else None

    def vector(self, at: int, element_bytes: int) -> tuple[int, int]:
        """First element and count of the vector that the offset at ``at`` leads to."""
        start = at + self.u32(at)
        count = self.u32(start)
        self.bytes(start + 4, count * element_bytes)
        return start + 4, count

    def text(self, at: int) -> str:
        start, count = self.vector(at, 1)
        self._text_left -= count
        if self._text_left < 0:
            raise _invalid(f"more than {MAX_TEXT_BYTES} bytes of text")
        try:
            return str(self.bytes(start, count), "utf-8")
        except UnicodeDecodeError as error:
            raise _invalid(f"text at byte {start}: {error}") from error


class FlatFields:
    """One table or struct of a message; absent fields have their defaults, absent tables are None."""

    __slots__ = ("_at", "_buffer", "_object", "_objects")

    def __init__(self, buffer: _Buffer, objects: list[_Object], index: int, at: int) -> None:
        self._buffer, self._objects, self._at = buffer, objects, at
        self._object = objects[index]

    def HasField(self, name: str) -> bool:  # noqa: N802 (protobuf's name)
        """Whether a field is there."""
        return name in self._object.fields and self._place(self._object.fields[name]) is not None

    def __getattr__(self, name: str) -> Any:
        field = self._object.fields.get(_PROTOBUF_NAMES.get(name, name))
        if field is None:
            raise AttributeError(f"{self._object.name} has no {name!r}")
        at = self._place(field)
        if field.kind in _SCALARS:
            return field.default if at is None else self._buffer.number(field.kind, at)
        if field.kind == _STRING:
            return "" if at is None else self._buffer.text(at)
        if field.kind == _OBJECT:
            return None if at is None else self._child(field.type_index, at)
        if field.kind == _VECTOR:
            return self._vector(field, at)
        raise AttributeError(f"{self._object.name}.{name} is of a kind that is not read")

    def _place(self, field: _Field) -> int | None:
        return self._at + field.offset if self._object.is_struct else self._buffer.slot(self._at, field.offset)

    def _child(self, index: int, at: int) -> "FlatFields":
        start = at if self._objects[index].is_struct else at + self._buffer.u32(at)
        return FlatFields(self._buffer, self._objects, index, start)

    def _vector(self, field: _Field, at: int | None) -> Any:
        if field.element in _SCALARS:
            code = _SCALARS[field.element]
            if at is None:
                return np.empty(0, code)
            start, count = self._buffer.vector(at, int(code[2]))
            return np.frombuffer(self._buffer.bytes(start, count * int(code[2])), code)
        if at is None:
            return []
        if field.element not in (_STRING, _OBJECT):
            raise AttributeError(f"{self._object.name}: a vector of a kind that is not read")
        item = self._objects[field.type_index] if field.element == _OBJECT else None
        step = item.size_bytes if item is not None and item.is_struct else 4
        start, count = self._buffer.vector(at, step)
        if count > MAX_ITEMS:
            raise BadInputError(f"a vector of {count} items, at most {MAX_ITEMS}", reason="message_too_large")
        places = range(start, start + step * count, step)
        return [self._buffer.text(p) if item is None else self._child(field.type_index, p) for p in places]


def flatbuffer_parser(name: str, binary_schema: bytes) -> Callable[[memoryview], FlatFields]:
    """A function from message bytes to the message's root table.

    Raises:
        BadInputError: reason ``schema_invalid`` here, ``flatbuffer_invalid`` from the returned function and from
            the fields that are read of what it returns.
    """
    try:
        objects = _objects(_Buffer(memoryview(binary_schema)))
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}", reason="schema_invalid") from error
    index = next((i for i, o in enumerate(objects) if o.name == name and not o.is_struct), None)
    if index is None:
        raise BadInputError(f"{name}: the schema does not define it as a table", reason="schema_invalid")

    def parse(data: memoryview) -> FlatFields:
        buffer = _Buffer(data)
        return FlatFields(buffer, objects, index, buffer.u32(0))

    return parse


def _objects(schema: _Buffer) -> list[_Object]:
    at = schema.slot(schema.u32(0), 4)
    if at is None:
        raise _invalid("the schema defines no objects")
    start, count = schema.vector(at, 4)
    if count > MAX_OBJECTS:
        raise _invalid(f"{count} objects, at most {MAX_OBJECTS}")
    objects = [_object(schema, start + 4 * i + schema.u32(start + 4 * i)) for i in range(count)]
    for entry in objects:
        for field in entry.fields.values():
            if _OBJECT in (field.kind, field.element) and not 0 <= field.type_index < count:
                raise _invalid(f"{entry.name}: a field of object {field.type_index} of {count}")
    return objects


def _object(schema: _Buffer, table: int) -> _Object:
    name, fields = schema.slot(table, 4), schema.slot(table, 6)
    if name is None:
        raise _invalid("an object without a name")
    found: dict[str, _Field] = {}
    if fields is not None:
        start, count = schema.vector(fields, 4)
        if count > MAX_FIELDS:
            raise _invalid(f"{count} fields, at most {MAX_FIELDS}")
        for i in range(count):
            at = start + 4 * i
            found.update([_field(schema, at + schema.u32(at))])
    is_struct = bool(_scalar(schema, table, 8, 2, 0))
    size_bytes = int(_scalar(schema, table, 12, 7, 0))
    if is_struct and size_bytes <= 0:
        raise _invalid("a struct without a size")
    return _Object(schema.text(name), is_struct, size_bytes, found)


def _field(schema: _Buffer, table: int) -> tuple[str, _Field]:
    name, type_at = schema.slot(table, 4), schema.slot(table, 6)
    if name is None or type_at is None:
        raise _invalid("a field without a name or a type")
    kind_table = type_at + schema.u32(type_at)
    kind = int(_scalar(schema, kind_table, 4, 3, 0))
    default = _scalar(schema, table, 14, 12, 0.0) if kind in _REAL else _scalar(schema, table, 12, 9, 0)
    return schema.text(name), _Field(
        offset=int(_scalar(schema, table, 10, 6, 0)),
        kind=kind,
        element=int(_scalar(schema, kind_table, 6, 3, 0)),
        type_index=int(_scalar(schema, kind_table, 8, 7, -1)),
        default=default,
    )


def _scalar(schema: _Buffer, table: int, offset: int, kind: int, default: float) -> float:
    at = schema.slot(table, offset)
    number: float = default if at is None else schema.number(kind, at)
    return number


def _invalid(detail: str) -> BadInputError:
    return BadInputError(f"not a FlatBuffer: {detail}", reason="flatbuffer_invalid")
