"""TFRecord framing: records with a length and two checksums, found again behind damage.

A record is ``uint64 length, uint32 crc(length), data, uint32 crc(data)``, little-endian, with CRC-32C masked by a
rotation and a constant (tensorflow/core/lib/io/record_writer.h, lib/hash/crc32c.h).
"""

import struct
from collections.abc import Iterator

import numpy as np
from google_crc32c import extend

from scenelake.contracts.stages import Problem
from scenelake.decode.formats.blocks import Source

HEAD = struct.Struct("<QI")
TAIL_BYTES = 4
MAX_PROBLEMS = 1000
"""A file with more is given up at that point: the rest of it is one last problem."""
_MASK_DELTA = 0xA282EAD8
_CRC_BYTES = _SEARCH_BYTES = 1024 * 1024


def masked_crc(data: bytes | memoryview) -> int:
    """CRC-32C as TFRecord stores it."""
    crc = 0
    for start in range(0, len(data), _CRC_BYTES):
        # The C code takes bytes alone: a piece at a time, so that a large record is not copied whole.
        crc = extend(crc, bytes(data[start : start + _CRC_BYTES]))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def starts_with_record(head: bytes) -> bool:
    """Whether 12 bytes are the head of a record: its length has the right checksum."""
    return len(head) >= HEAD.size and HEAD.unpack_from(head)[1] == masked_crc(head[:8])


def read_records(source: Source, max_record_bytes: int, problems: list[Problem]) -> Iterator[tuple[int, memoryview]]:
    """Offset and data of every sound record, in file order; the data are valid until the next one.

    A record with bad data is lost alone, since its length is sound. Where a length is not, the next place with a
    sound one that fits the file goes on; what lies between is one problem.
    """
    at, size = 0, source.size_bytes
    while at < size:
        if len(problems) >= MAX_PROBLEMS:
            problems.append(Problem("too_many_problems", f"more than {MAX_PROBLEMS} problems", at, size))
            return
        head = bytes(source.read(at, HEAD.size))
        if not starts_with_record(head):
            following = _next_head(source, at + 1)
            reason = "truncated" if len(head) < HEAD.size else "record_length_crc"
            problems.append(Problem(reason, f"no record starts at byte {at}", at, following))
            at = following
            continue
        length = HEAD.unpack(head)[0]
        end = at + HEAD.size + length + TAIL_BYTES
        if end > size:
            detail = f"a record claims {length} bytes, {max(size - at - HEAD.size - TAIL_BYTES, 0)} are left"
            problems.append(Problem("truncated", detail, at, size))
            return
        if length > max_record_bytes:
            detail = f"a record of {length} bytes, at most {max_record_bytes} are read"
            problems.append(Problem("record_too_large", detail, at, end))
        else:
            body = source.read(at + HEAD.size, length + TAIL_BYTES)
            data = body[:length]
            if int.from_bytes(body[length:], "little") == masked_crc(data):
                yield at, data
            else:
                problems.append(Problem("record_crc", f"a record of {length} bytes fails its checksum", at, end))
        at = end


def _next_head(source: Source, start: int) -> int:
    """First offset from ``start`` at which a record with a sound length fits the file; its end if there is none."""
    size = source.size_bytes
    for offset in range(start, size, _SEARCH_BYTES):
        window = np.frombuffer(bytes(source.read(offset, _SEARCH_BYTES + HEAD.size - 1)), np.uint8)
        count = len(window) - HEAD.size + 1
        if count <= 0:
            break
        # No record has 4 GiB, so four bytes of its length are zero: in most data nearly all places are out at once.
        is_zero = window == 0
        places = np.flatnonzero(is_zero[4:][:count] & is_zero[5:][:count] & is_zero[6:][:count] & is_zero[7:][:count])
        stored = sum(window[places + 8 + i].astype(np.uint32) << np.uint32(8 * i) for i in range(4))
        for place in places[_masked_crcs(window, places) == stored].tolist():
            length = int(window[place : place + 8].view("<u8")[0])
            if offset + place + HEAD.size + length + TAIL_BYTES <= size:
                return int(offset + place)
    return size


def _masked_crcs(window: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``masked_crc`` of the 8 bytes at each place, the last four of which are zero, (n,) uint32.

    A CRC is linear: that of the bytes is that of each byte alone, added up.
    """
    crc = np.full(len(places), _CRC_OF_ZEROS, np.uint32)
    for position, table in enumerate(_CRC_OF_BYTE):
        crc ^= table[window[places + position]]
    masked: np.ndarray = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(_MASK_DELTA)
    return masked


_CRC_OF_ZEROS = extend(0, bytes(8))
_CRC_OF_BYTE = [
    np.array([extend(0, bytes(at) + bytes([byte]) + bytes(7 - at)) ^ _CRC_OF_ZEROS for byte in range(256)], np.uint32)
    for at in range(4)
]
