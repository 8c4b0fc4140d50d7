"""Parses the subset of OMG IDL in which ROS 2 stores message definitions (schema encoding ``ros2idl``).

The text is a series of IDL files, each behind a line of ``=`` and ``IDL: package/msg/Name``. Modules, structs,
typedefs, constants and annotations are read; what would change the layout and is not known (unions, enums, optional
members, wide characters, sequences of sequences) is refused with a reason, never guessed.

Sources: OMG IDL 4.2 (formal/18-01-05), https://design.ros2.org/articles/idl_interface_definition.html and the
``ros2idl`` entry of the MCAP registry.
"""

import re
from dataclasses import dataclass, replace

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.ros2msg import MAX_SCHEMA_BYTES, Definitions, Field, short_name

MAX_MODULE_DEPTH = 16
MAX_TYPEDEF_STEPS = 32
MAX_LENGTH_DIGITS = 12
MAX_WORD_CHARACTERS = 512
MAX_MEMBERS = 16_384
"""Of all structs together; more than any plan takes (``cdr.MAX_PLAN_FIELDS``)."""

_HEADING = re.compile(r"^={20,}[ \t]*\r?\n(?:IDL:[^\n]*(?:\n|\Z))?", re.MULTILINE)
_TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/|^[ \t]*#[^\n]*)"
    r'|(?P<text>"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')'
    r"|(?P<word>@?[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*|::[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*)"
    r"|(?P<number>[0-9][0-9A-Za-z_.]*)"
    r"|(?P<sign>[^\s])",
    re.DOTALL | re.MULTILINE | re.ASCII,
)
_BASE = {
    "boolean": "bool", "octet": "byte", "char": "char", "int8": "int8", "uint8": "uint8", "int16": "int16",
    "uint16": "uint16", "int32": "int32", "uint32": "uint32", "int64": "int64", "uint64": "uint64", "short": "int16",
    "unsigned short": "uint16", "long": "int32", "unsigned long": "uint32", "long long": "int64",
    "unsigned long long": "uint64", "float": "float32", "double": "float64", "string": "string", "wstring": "wstring",
}  # fmt: skip
_PARTS_OF_BASE = frozenset(("unsigned", "long", "short", "double"))
_REFUSED = frozenset(("wchar", "any", "fixed", "map", "bitset", "bitmask", "union", "enum", "long double"))
_REFUSED_ANNOTATIONS = frozenset(("@optional", "@mutable", "@external", "@bit_bound"))


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    is_array: bool = False
    length: int | None = None


def parse_idl(name: str, data: bytes) -> Definitions:
    """All message types of one schema, by short name.

    Raises:
        BadInputError: reason ``schema_invalid``, or ``schema_unsupported`` for a construct that is not read.
    """
    if len(data) > MAX_SCHEMA_BYTES:
        raise BadInputError(f"{name}: the schema holds {len(data)} bytes", reason="schema_invalid")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name}: the schema is not UTF-8 at {error.start}", reason="schema_invalid") from error
    parser = _Parser(name)
    for part in _HEADING.split(text):
        parser.file(part)
    return parser.definitions()


class _Parser:
    def __init__(self, name: str) -> None:
        self._name = name
        self._tokens: list[str] = []
        self._at = 0
        self._nbr_members = 0
        self._typedefs: dict[str, tuple[_Type, tuple[str, ...]]] = {}
        self._structs: dict[str, tuple[tuple[str, ...], list[tuple[str, _Type]]]] = {}

    def file(self, text: str) -> None:
        """Takes one IDL file."""
        self._tokens, self._at = [], 0
        for match in _TOKEN.finditer(text):
            # A quote or comment that nothing closes is found here at once; looking for the end of each would be slow.
            if match["sign"] in ("'", '"', "/"):
                raise self._error(f"cannot read {text[match.start() : match.start() + 80]!r}")
            if match["word"] and len(match[0]) > MAX_WORD_CHARACTERS:
                raise self._error(f"a name of {len(match[0])} characters")
            if match.lastgroup != "skip":
                self._tokens.append(match[0])
        self._scope(())
        if self._at < len(self._tokens):
            raise self._error(f"unexpected {self._peek()!r}")

    def definitions(self) -> Definitions:
        """Everything taken, with typedefs put in their places."""
        found: Definitions = {}
        for path, (scope, members) in self._structs.items():
            fields = [self._field(member, of_type, scope) for member, of_type in members]
            found[_short(path)] = tuple(fields) or (Field("structure_needs_at_least_one_member", "uint8", False, None),)
        return found

    def _error(self, detail: str, reason: str = "schema_invalid") -> BadInputError:
        return BadInputError(f"{self._name}: {detail[:200]}", reason=reason)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise self._error("the definition ends early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise self._error(f"expected {token!r}, got {found!r}")

    def _identifier(self) -> str:
        word = self._next()
        if not re.fullmatch(r"[A-Za-z_]\w*", word, re.ASCII):
            raise self._error(f"expected a name, got {word!r}")
        return word

    def _scope(self, path: tuple[str, ...]) -> None:
        """Definitions up to a closing brace or the end."""
        if len(path) > MAX_MODULE_DEPTH:
            raise self._error("the modules nest too deep")
        while self._peek() not in ("", "}"):
            self._annotations()
            keyword = self._next()
            if keyword == "module":
                inner = (*path, self._identifier())
                self._expect("{")
                self._scope(inner)
                self._expect("}")
                self._expect(";")
            elif keyword == "struct":
                self._struct(path)
            elif keyword == "typedef":
                for alias, of_type in self._declared():
                    self._typedefs["::".join((*path, alias))] = (of_type, path)
            elif keyword == "const":
                while self._next() != ";":
                    continue
            elif keyword != ";":
                raise self._error(f"{keyword!r} is not read", reason="schema_unsupported")

    def _annotations(self) -> None:
        while self._peek().startswith("@"):
            annotation = self._next()
            if annotation in _REFUSED_ANNOTATIONS:
                raise self._error(f"{annotation} is not read", reason="schema_unsupported")
            if self._peek() == "(":
                depth = 0
                while True:
                    depth += {"(": 1, ")": -1}.get(self._next(), 0)
                    if not depth:
                        break

    def _struct(self, path: tuple[str, ...]) -> None:
        name = self._identifier()
        if self._peek() == ":":
            raise self._error(f"{name}: inheritance is not read", reason="schema_unsupported")
        self._expect("{")
        members: list[tuple[str, _Type]] = []
        while self._peek() != "}":
            self._annotations()
            declared = self._declared()
            members += declared
            self._nbr_members += len(declared)
            if self._nbr_members > MAX_MEMBERS:
                raise self._error(f"more than {MAX_MEMBERS} members")
        self._expect("}")
        self._expect(";")
        self._structs["::".join((*path, name))] = ((*path, name), members)

    def _declared(self) -> list[tuple[str, _Type]]:
        """``type name[3], other;``"""
        of_type = self._type()
        found = []
        while True:
            name, declared = self._identifier(), of_type
            if self._peek() == "[":
                if of_type.is_array:
                    raise self._error(f"{name}: an array of sequences is not read", reason="schema_unsupported")
                self._next()
                declared = replace(of_type, is_array=True, length=self._number())
                self._expect("]")
                if self._peek() == "[":
                    raise self._error(f"{name}: arrays of arrays are not read", reason="schema_unsupported")
            found.append((name, declared))
            separator = self._next()
            if separator == ";":
                return found
            if separator != ",":
                raise self._error(f"expected ',' or ';', got {separator!r}")

    def _type(self) -> _Type:
        word = self._next()
        if word == "sequence":
            self._expect("<")
            if self._peek() == "sequence":
                raise self._error("a sequence of sequences is not read", reason="schema_unsupported")
            element = self._type()
            if self._peek() == ",":
                self._next()
                self._number()
            self._expect(">")
            return _Type(element.name, is_array=True)
        if word in _PARTS_OF_BASE:
            while self._peek() in _PARTS_OF_BASE:
                word = f"{word} {self._next()}"
        if word in _REFUSED:
            raise self._error(f"{word!r} is not read", reason="schema_unsupported")
        if word in ("string", "wstring") and self._peek() == "<":
            self._next()
            self._number()
            self._expect(">")
        if word not in _BASE and not re.fullmatch(r"(?:::)?[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*", word, re.ASCII):
            raise self._error(f"expected a type, got {word!r}")
        return _Type(_BASE.get(word, f"::{word}"))

    def _number(self) -> int:
        word = self._next()
        if not word.isdecimal() or len(word) > MAX_LENGTH_DIGITS:
            raise self._error(f"expected a length, got {word!r}", reason="schema_unsupported")
        return int(word)

    def _field(self, name: str, of_type: _Type, scope: tuple[str, ...]) -> Field:
        for _ in range(MAX_TYPEDEF_STEPS):
            if not of_type.name.startswith("::"):
                return Field(name, of_type.name, of_type.is_array, of_type.length)
            written = of_type.name.lstrip(":")
            path = self._found(written, () if of_type.name.startswith("::::") else scope)
            if path not in self._typedefs:
                return Field(name, _short(path), of_type.is_array, of_type.length)
            target, scope = self._typedefs[path]
            if target.is_array and of_type.is_array:
                raise self._error(f"{name}: an array of arrays is not read", reason="schema_unsupported")
            of_type = target if target.is_array else replace(of_type, name=target.name)
        raise self._error(f"{name}: a chain of more than {MAX_TYPEDEF_STEPS} typedefs")

    def _found(self, written: str, scope: tuple[str, ...]) -> str:
        """Full path of a name, looked for from the inside out as IDL does; as written when nothing defines it."""
        for depth in range(len(scope), -1, -1):
            path = "::".join((*scope[:depth], written))
            if path in self._typedefs or path in self._structs:
                return path
        return written


def _short(path: str) -> str:
    return short_name(path.replace("::", "/"))
