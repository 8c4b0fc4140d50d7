"""Thrift's compact protocol, as far as Parquet's headers and footer need it, with a bound on what they may hold.

Arrow's own parser ends the process on some footers that are not what they should be, so what is handed to it must
have been looked at. Source: apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from typing import Union

Value = Union[int, bytes, list["Value"], "Fields", None]
Fields = dict[int, Value]

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_MAX_DEPTH = 16


class ThriftError(ValueError):
    """The bytes are not the compact protocol, or hold more than they may."""


class ThriftEndError(ThriftError):
    """The bytes end before the value does."""


class CompactReader:
    """Reads values one after another.

    Attributes:
        at: next byte.
        budget: values that may still be read; each field and element takes one.
    """

    def __init__(self, data: bytes, budget: int) -> None:
        self._data = data
        self.at = 0
        self.budget = budget

    def struct(self, depth: int = 0) -> Fields:
        """Fields by number; a double is None, a map too."""
        fields: Fields = {}
        number = 0
        while (field := self.field(number)) is not None:
            number, kind = field
            fields[number] = self.value(kind, depth)
        return fields

    def field(self, previous: int) -> tuple[int, int] | None:
        """Number and type of the next field of a struct; None at its end."""
        head = self.byte()
        if head == 0:
            return None
        self._spend()
        number = previous + (head >> 4) if head >> 4 else self._zigzag()
        return number, head & 0x0F

    def elements(self) -> tuple[int, int]:
        """Number and type of the elements of a list that follow."""
        head = self.byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        return count, head & 0x0F

    def value(self, kind: int, depth: int) -> Value:
        """A value of the type; of a list's booleans, their byte."""
        if depth > _MAX_DEPTH:
            raise ThriftError(f"nested deeper than {_MAX_DEPTH} at byte {self.at}")
        if kind in (_TRUE, _FALSE):
            return int(kind == _TRUE)
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind in (_BYTE, _DOUBLE):
            self._take(8 if kind == _DOUBLE else 1)
            return None
        raise ThriftError(f"a value of type {kind} at byte {self.at}")

    def byte(self) -> int:
        if self.at >= len(self._data):
            raise ThriftEndError(f"the bytes end at byte {self.at}")
        self.at += 1
        return self._data[self.at - 1]

    def _list(self, depth: int) -> list[Value]:
        count, kind = self.elements()
        found: list[Value] = []
        for _ in range(count):
            self._spend()
            found.append(self.byte() if kind in (_TRUE, _FALSE) else self.value(kind, depth))
        return found

    def _spend(self) -> None:
        self.budget -= 1
        if self.budget < 0:
            raise ThriftError(f"more values than expected at byte {self.at}")

    def _take(self, length: int) -> bytes:
        if self.at + length > len(self._data):
            raise ThriftEndError(f"{length} bytes at byte {self.at}, {len(self._data) - self.at} are left")
        self.at += length
        return self._data[self.at - length : self.at]

    def _zigzag(self) -> int:
        raw = self._varint()
        return raw >> 1 ^ -(raw & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ThriftError(f"a number of more than 64 bits at byte {self.at}")
