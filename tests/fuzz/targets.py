"""Random ROS schemas and messages, and what two ways of reading a message must agree in."""

import random
import struct
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Block
from scenelake.decode.formats.cdr import Numbers, Plan, Run, Text, Texts, read_cdr
from scenelake.decode.formats.cdr_columns import Columns, read_columns

TYPES = ("bool", "uint8", "int16", "uint32", "float32", "float64", "int64", "string", "I", "string<=4", "char")
_RULE = "=" * 80


def random_schema(rng: random.Random) -> str:
    """A schema, now and then a broken one."""
    lines = [
        f"{rng.choice(TYPES)}{rng.choice(('', '', '', '[]', '[2]', '[<=3]', '[0]'))} f{i}"
        for i in range(rng.randrange(1, 8))
    ]
    inner = [f"{rng.choice(TYPES[:8])} g{i}" for i in range(rng.randrange(0, 4))]
    text = "\n".join([*lines, _RULE, "MSG: p/I", *inner])
    if rng.random() < 0.15:
        at = rng.randrange(len(text))
        text = (
            text[:at]
            + rng.choice(("\0", "[", "=", "\n", " ", "\N{LINE SEPARATOR}", "I I"))
            + text[at + rng.randrange(3) :]
        )
    return text


def random_message(rng: random.Random) -> bytes:
    """Bytes behind an encapsulation: mostly small numbers, so that lengths make sense."""
    words = [rng.choice((0, 0, 1, 1, 2, 3, 4, 65, 0xFFFFFFFF, rng.getrandbits(32))) for _ in range(rng.randrange(60))]
    order = rng.choice("<<<>")
    head = rng.choice((b"\0\1\0\0",) * 8 + (b"\0\0\0\0", b"\0\1\0", b"\1\2\3\4", b"")) if order == "<" else b"\0\0\0\0"
    data = struct.pack(f"{order}{len(words)}I", *words)
    return head + data[: rng.randrange(len(data) + 1)]


def valid_message(plan: Plan, rng: random.Random) -> bytes:
    """A little-endian message of the plan's type."""
    body = bytearray()
    _append(plan, body, rng)
    return b"\0\1\0\0" + bytes(body) + bytes(rng.randrange(4))


def _append(plan: Plan, body: bytearray, rng: random.Random) -> None:
    for step in plan.steps:
        if isinstance(step, Run):
            for size in step.sizes:
                _number(size, body, rng)
        elif isinstance(step, Text):
            _text(body, rng)
        else:
            count = rng.randrange(4) if step.length is None else min(step.length, 4)
            if step.length is None:
                body += bytes(-len(body) % 4) + struct.pack("<I", count)
            for _ in range(count):
                if isinstance(step, Numbers):
                    _number(step.size, body, rng)
                elif isinstance(step, Texts):
                    _text(body, rng)
                else:
                    _append(step.plan, body, rng)


def _number(size: int, body: bytearray, rng: random.Random) -> None:
    body += bytes(-len(body) % size) + rng.randbytes(size)


def _text(body: bytearray, rng: random.Random) -> None:
    text = rng.choice((b"", b"\0", b"a\0", b"four\0", b"\xff\xfe\0" if rng.random() < 0.1 else b"b\0", b"c"))
    body += bytes(-len(body) % 4) + struct.pack("<I", len(text)) + text


def block_at(body: memoryview, starts: np.ndarray, ends: np.ndarray) -> Block:
    """A block of messages that lie at these places of a buffer."""
    zeros = np.zeros(len(starts), np.int64)
    times = zeros.astype(np.uint64)
    return Block(body, {}, zeros.astype(np.int32), zeros, times, times, zeros, starts, starts, ends)


def columns_agree(plan: Plan, data: bytes) -> bool:
    """Whether columns took a message; then each of its fields must be what ``read_cdr`` reads.

    The message stands five times at the very end of its buffer, between others that are changed or cut.

    Raises:
        AssertionError: the two differ.
        BadInputError: the message is not one of the plan's.
    """
    other = bytes(b ^ (i == len(data) // 2) for i, b in enumerate(data))
    parts = [data, other, data[:-1], data, data, other, data, data]
    ends = np.cumsum([len(p) for p in parts])
    starts = ends - [len(p) for p in parts]
    body = memoryview(b"".join(parts))
    groups, alone = read_columns(plan, block_at(body, starts, ends), np.arange(len(parts)))
    rows = sorted([r for positions, _ in groups for r in positions.tolist()] + alone.tolist())
    if rows != list(range(len(parts))):
        raise AssertionError(f"rows {rows}")
    for positions, columns in groups:
        for at, row in enumerate(positions.tolist()):
            try:
                message = read_cdr(plan, memoryview(parts[row]))
            except BadInputError as error:
                # Columns decode a string when somebody asks for it.
                if "codec can't decode" not in str(error):
                    raise AssertionError(f"columns took row {row}: {error}") from error
                continue
            _compare(columns, at, message)
    read_cdr(plan, memoryview(data))
    return bool(groups)


def _compare(columns: Columns, at: int, message: dict[str, Any]) -> None:
    for name, value in message.items():
        if isinstance(value, str):
            column = columns.text(name)
            same = column.values[column.codes[at]] == value
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            parts = columns.messages(name)
            same = len(parts) == len(value)
            for part, element in zip(parts, value, strict=same):
                _compare(part, at, element)
        elif isinstance(value, list):
            same = not value or [c.values[c.codes[at]] for c in columns.texts(name)] == value
        else:
            found = np.asarray(columns.numbers(name)[at])
            # A bool may be any byte: columns leave it as it is.
            same = bool(found) == value if isinstance(value, bool) else _is_same(found, value)
        if not same:
            raise AssertionError(f"{name}: {value!r} differs in the columns")


def _is_same(found: np.ndarray, value: Any) -> bool:
    return np.array_equal(found, np.asarray(value, found.dtype), equal_nan=found.dtype.kind == "f")
