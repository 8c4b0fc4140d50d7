"""Ways to break an MCAP file, each drawn from a seeded random source."""

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import lz4.frame
import zstandard

MAGIC = b"\x89MCAP0\r\n"
HOSTILE = (0, 1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1)
OPCODES = (*range(0x11), 0x7F, 0x80, 0xFF)


@dataclass(frozen=True)
class Record:
    offset: int
    opcode: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + 9 + self.length


@dataclass(frozen=True)
class Mutant:
    """A broken file.

    Attributes:
        touched: changed byte ranges of a file whose other bytes lie where they were; None when bytes moved.
        is_forged: whether checksums were made to fit, so that differences are the file's own truth.
    """

    kind: str
    data: bytes
    touched: tuple[tuple[int, int], ...] | None
    is_forged: bool = False


def records(data: bytes, at: int = len(MAGIC)) -> list[Record]:
    """Records of a file up to its closing magic, or of a chunk with ``at`` 0."""
    found = []
    while len(data) - at >= 9:
        opcode, length = struct.unpack_from("<BQ", data, at)
        if at + 9 + length > len(data) or (at and data[at : at + 8] == MAGIC):
            break
        found.append(Record(at, opcode, length))
        at += 9 + length
    return found


def bit_flips(data: bytes, rng: random.Random) -> Mutant:
    changed = bytearray(data)
    places = [rng.randrange(len(data)) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
    for at in places:
        changed[at] ^= 1 << rng.randrange(8)
    return Mutant("bit_flips", bytes(changed), tuple((at, at + 1) for at in places))


def overwritten(data: bytes, rng: random.Random) -> Mutant:
    changed, at = bytearray(data), rng.randrange(len(data))
    patch = rng.randbytes(rng.randrange(1, 40))[: len(data) - at]
    changed[at : at + len(patch)] = patch
    return Mutant("overwritten", bytes(changed), ((at, at + len(patch)),))


def truncated(data: bytes, rng: random.Random) -> Mutant:
    """At a record's boundary, or a few bytes beside it."""
    ends = [r.end for r in records(data)]
    size = max(0, rng.choice(ends) + rng.choice((0, 0, 0, -1, 1, 4, 9, 17)))
    return Mutant("truncated", data[:size], ((min(size, len(data)), len(data)),))


def hostile_lengths(data: bytes, rng: random.Random) -> Mutant:
    """A record's length, or a length within a record."""
    record, changed = rng.choice(records(data)), bytearray(data)
    if rng.random() < 0.5 or record.length < 8:
        at, layout = record.offset + 1, "<Q"
    else:
        layout = rng.choice(("<I", "<Q"))
        at = record.offset + 9 + rng.randrange(min(record.length, 64) - 3 if layout == "<I" else record.length - 7)
    value = rng.choice((*HOSTILE, rng.randrange(2 * len(data))))
    patch = struct.pack(layout, value & (2**32 - 1 if layout == "<I" else 2**64 - 1))[: len(data) - at]
    changed[at : at + len(patch)] = patch
    return Mutant("hostile_lengths", bytes(changed), ((at, at + len(patch)),))


def opcodes(data: bytes, rng: random.Random) -> Mutant:
    record, changed = rng.choice(records(data)), bytearray(data)
    changed[record.offset] = rng.choice(OPCODES)
    return Mutant("opcodes", bytes(changed), ((record.offset, record.offset + 1),))


def moved_records(data: bytes, rng: random.Random) -> Mutant:
    """Records swapped, doubled or left out."""
    found = records(data)
    parts = [data[r.offset : r.end] for r in found]
    return Mutant("moved_records", data[:8] + b"".join(_shuffled(parts, rng)) + data[found[-1].end :], None)


def in_chunk(data: bytes, rng: random.Random) -> Mutant:
    """A chunk whose records were changed before they were compressed; its CRC is left as it was."""
    return _rechunked("in_chunk", data, rng, is_forged=False)


def forged_chunk(data: bytes, rng: random.Random) -> Mutant:
    """The same with a CRC that fits."""
    return _rechunked("forged_chunk", data, rng, is_forged=True)


def bombs(data: bytes, rng: random.Random) -> Mutant:
    """A chunk that inflates to far more than it claims, or that claims as much."""
    chunks = [r for r in records(data) if r.opcode == 6]
    size = rng.choice((1, 8, 48)) * 1024 * 1024
    compression = rng.choice(("zstd", "lz4"))
    if compression == "zstd":
        compressor = zstandard.ZstdCompressor(write_content_size=rng.random() < 0.5)
        stored = compressor.compress(bytes(size))
    else:
        stored = lz4.frame.compress(bytes(size), store_size=rng.random() < 0.5)
    claimed = rng.choice((size, size, 1000, 2**40, 2**63))
    crc = rng.choice((0, zlib.crc32(bytes(size))))
    bomb = _chunk(claimed, crc, compression, stored, bytes(16))
    if not chunks:
        at = records(data)[0].end
        return Mutant("bombs", data[:at] + bomb + data[at:], None, is_forged=True)
    chosen = rng.choice(chunks)
    return Mutant("bombs", data[: chosen.offset] + bomb + data[chosen.end :], None, is_forged=True)


def cyclic_schemas(data: bytes, rng: random.Random) -> Mutant:
    """A schema that contains itself, or grows without bound, in front of everything else."""
    rule = "=" * 80
    text = rng.choice(
        (
            "p/T0 a",
            f"A a\n{rule}\nMSG: p/A\nB b\n{rule}\nMSG: p/B\nA a",
            "L0 a\n" + "".join(f"{rule}\nMSG: p/L{i}\nL{i + 1} a\nL{i + 1} b\n" for i in range(40)),
            "uint8[999999999999] a",
            "float64[] a\n" * 50_000,
        )
    ).encode()
    name = b"sensor_msgs/msg/Imu" if rng.random() < 0.5 else b"p/msg/T0"
    fields = (
        struct.pack("<I", len(name)) + name,
        struct.pack("<I", 7) + b"ros2msg",
        struct.pack("<I", len(text)) + text,
    )
    body = struct.pack("<H", rng.choice((1, 2))) + b"".join(fields)
    at = records(data)[0].end
    return Mutant(
        "cyclic_schemas", data[:at] + struct.pack("<BQ", 3, len(body)) + body + data[at:], None, is_forged=True
    )


Mutation = Callable[[bytes, random.Random], Mutant]
KINDS: dict[str, Mutation] = {
    function.__name__: function
    for function in (
        bit_flips,
        overwritten,
        truncated,
        hostile_lengths,
        opcodes,
        moved_records,
        in_chunk,
        forged_chunk,
        bombs,
        cyclic_schemas,
    )
}


def _shuffled(parts: list[bytes], rng: random.Random) -> list[bytes]:
    parts = list(parts)
    first, second = rng.randrange(len(parts)), rng.randrange(len(parts))
    action = rng.choice(("swap", "double", "leave out"))
    if action == "swap":
        parts[first], parts[second] = parts[second], parts[first]
    elif action == "double":
        parts.insert(second, parts[first])
    else:
        del parts[first]
    return parts


def _rechunked(kind: str, data: bytes, rng: random.Random, *, is_forged: bool) -> Mutant:
    chunks = [r for r in records(data) if r.opcode == 6]
    if not chunks:
        return bit_flips(data, rng)
    chosen = rng.choice(chunks)
    body = data[chosen.offset + 9 : chosen.end]
    size, crc, name_bytes = struct.unpack_from("<QII", body, 16)
    compression = body[32 : 32 + name_bytes].decode()
    stored = body[32 + name_bytes + 8 :]
    inner = _decompressed(compression, stored, size)
    found = records(inner, 0)
    if not found:
        return bit_flips(data, rng)
    action = rng.choice((bit_flips, overwritten, hostile_lengths, opcodes, None, "cut"))
    if action is None:
        changed = b"".join(_shuffled([inner[r.offset : r.end] for r in found], rng))
    elif action == "cut":
        changed = inner[: rng.choice(found).offset + rng.choice((0, 0, 1, 5))]
    elif action is hostile_lengths or action is opcodes:
        record, patched = rng.choice(found), bytearray(inner)
        if action is opcodes:
            patched[record.offset] = rng.choice(OPCODES)
        else:
            struct.pack_into("<Q", patched, record.offset + 1, rng.choice(HOSTILE))
        changed = bytes(patched)
    else:
        changed = action(inner, rng).data
    if rng.random() < 0.7:
        size = len(changed)
    new = _chunk(
        size, zlib.crc32(changed) if is_forged else crc, compression, _compressed(compression, changed), body[:16]
    )
    return Mutant(kind, data[: chosen.offset] + new + data[chosen.end :], None, is_forged)


def _chunk(size: int, crc: int, compression: str, stored: bytes, times: bytes) -> bytes:
    name = compression.encode()
    body = times + struct.pack("<QII", size, crc, len(name)) + name + struct.pack("<Q", len(stored)) + stored
    return struct.pack("<BQ", 6, len(body)) + body


def _decompressed(compression: str, stored: bytes, size: int) -> bytes:
    if compression == "zstd":
        return zstandard.decompress(stored, max_output_size=size)
    return lz4.frame.decompress(stored) if compression == "lz4" else stored


def _compressed(compression: str, records_: bytes) -> bytes:
    if compression == "zstd":
        return zstandard.compress(records_)
    return lz4.frame.compress(records_) if compression == "lz4" else records_
