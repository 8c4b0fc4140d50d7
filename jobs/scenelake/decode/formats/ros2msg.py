"""Parses ``ros2msg`` schema text: the concatenated message definitions that recorders store.

The text comes from the file, so it is only ever data here: nothing is generated from it and executed, and
its size, nesting and recursion are bounded (``cdr.compile_plan``). Sources: the ROS 2 interface definition
language (https://docs.ros.org/en/humble/Concepts/Basic/About-Interfaces.html) and the MCAP registry's
``ros2msg`` entry (https://mcap.dev/spec/registry).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from scenelake.contracts.errors import BadInputError

PRIMITIVES: dict[str, tuple[str, int]] = {
    "bool": ("?", 1),
    "byte": ("B", 1),
    "char": ("B", 1),
    "int8": ("b", 1),
    "uint8": ("B", 1),
    "int16": ("h", 2),
    "uint16": ("H", 2),
    "int32": ("i", 4),
    "uint32": ("I", 4),
    "int64": ("q", 8),
    "uint64": ("Q", 8),
    "float32": ("f", 4),
    "float64": ("d", 8),
}
"""Primitive type to its ``struct`` code and size in bytes."""

MAX_SCHEMA_BYTES = 1024 * 1024
MAX_SCHEMA_FIELDS = 16_384
_SEPARATOR = re.compile(r"^={20,}\s*$", re.MULTILINE)
_LINE = re.compile(
    r"^\s*(?P<type>[A-Za-z][A-Za-z0-9_/]*)(?:<=\d+)?(?P<array>\[(?:<=)?\d*\])?\s+(?P<name>[A-Za-z_]\w*)\s*(?P<rest>=?)",
    re.ASCII,
)
_IGNORED = re.compile(r"^\s*(#.*|@.*)?$")
_IMPLIED = {
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
    "builtin_interfaces/Duration": "int32 sec\nuint32 nanosec",
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
}
_IMPLIED_ROS1 = {
    "builtin_interfaces/Time": "uint32 sec\nuint32 nanosec",
    "std_msgs/Header": "uint32 seq\nbuiltin_interfaces/Time stamp\nstring frame_id",
}
"""ROS 1's ``time`` is a primitive; it is read as ROS 2's message, so that one handler serves both."""
_ALIASES = {
    "time": "builtin_interfaces/Time",
    "duration": "builtin_interfaces/Duration",
    "Header": "std_msgs/Header",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        type: a primitive, ``string``, ``wstring`` or a message as ``package/Name``.
        is_array: a fixed array or a sequence.
        length: elements of a fixed array; None for sequences and scalars.
    """

    name: str
    type: str
    is_array: bool
    length: int | None


Definitions = dict[str, tuple[Field, ...]]


def short_name(type_name: str) -> str:
    """``sensor_msgs/msg/Imu`` and ``sensor_msgs/Imu`` are one type: ``sensor_msgs/Imu``."""
    parts = type_name.split("/")
    return f"{parts[0]}/{parts[-1]}" if len(parts) > 2 else type_name


def parse_definitions(name: str, data: bytes, *, is_ros1: bool = False) -> Definitions:
    """All message types of one schema, by short name; not to be changed, since those of the last schemas are kept.

    Raises:
        BadInputError: reason ``schema_invalid`` with the line that is at fault.
    """
    found = _parsed_or_refused(name, data, is_ros1)
    if isinstance(found, BadInputError):
        raise BadInputError(str(found), reason=found.reason)
    return found


@lru_cache(maxsize=16)
def _parsed_or_refused(name: str, data: bytes, is_ros1: bool) -> Definitions | BadInputError:
    """Thousands of channels may share one schema of a megabyte, a broken one too."""
    try:
        return _parsed(name, data, is_ros1)
    except BadInputError as error:
        return error.with_traceback(None)


def _parsed(name: str, data: bytes, is_ros1: bool) -> Definitions:
    if len(data) > MAX_SCHEMA_BYTES:
        raise BadInputError(f"{name}: the schema holds {len(data)} bytes", reason="schema_invalid")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name}: the schema is not UTF-8 at {error.start}", reason="schema_invalid") from error
    implied = _IMPLIED | (_IMPLIED_ROS1 if is_ros1 else {})
    found = {known: _fields(known, body) for known, body in implied.items()}
    main, *others = _SEPARATOR.split(text)
    nbr_fields = 0
    for part in others:
        heading, _, body = part.strip("\r\n").partition("\n")
        if not heading.startswith("MSG: "):
            raise BadInputError(f"{name}: expected 'MSG: <type>', got {heading[:80]!r}", reason="schema_invalid")
        part_name = short_name(heading[5:].strip())
        found[part_name] = _fields(part_name, body)
        nbr_fields += len(found[part_name])
        if nbr_fields > MAX_SCHEMA_FIELDS:
            raise BadInputError(f"{name}: more than {MAX_SCHEMA_FIELDS} fields", reason="schema_invalid")
    found[short_name(name)] = _fields(short_name(name), main)
    return found


def _fields(owner: str, body: str) -> tuple[Field, ...]:
    fields = []
    for line in body.split("\n"):
        if _IGNORED.match(line):
            continue
        match = _LINE.match(line)
        if match is None:
            raise BadInputError(f"{owner}: cannot read {line[:80]!r}", reason="schema_invalid")
        if match["rest"] != "=":
            fields.append(_field(owner, match))
        if len(fields) > MAX_SCHEMA_FIELDS:
            raise BadInputError(f"{owner}: more than {MAX_SCHEMA_FIELDS} fields", reason="schema_invalid")
    return tuple(fields) or (Field("structure_needs_at_least_one_member", "uint8", False, None),)


def _field(owner: str, match: re.Match[str]) -> Field:
    array = match["array"]
    digits = array[1:-1] if array else ""
    if len(digits) > 12:
        raise BadInputError(f"{owner}.{match['name']}: array length {digits[:20]}…", reason="schema_invalid")
    length = int(digits) if digits.isdigit() else None
    return Field(match["name"], _type_name(owner, match["type"]), array is not None, length)


def _type_name(owner: str, written: str) -> str:
    if written in PRIMITIVES or written in ("string", "wstring"):
        return written
    if written in _ALIASES:
        return _ALIASES[written]
    if "/" not in written:
        return f"{owner.split('/')[0]}/{written}"
    return short_name(written)
