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
_MASK_DELTA = 0xA282EAD8
_CRC_BYTES = _SEARCH_BYTES = 1024 * 1024
_POLYNOMIAL = 0x82F63B78


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
        if len(window) < HEAD.size:
            break
        bytes_at = np.lib.stride_tricks.sliding_window_view(window, HEAD.size)
        # No record has 4 GiB, so four bytes of its length are zero: nearly all places are out at once.
        places = np.flatnonzero(~bytes_at[:, 4:8].any(axis=1))
        found = bytes_at[places]
        sound = places[_masked_crcs(found[:, :8]) == np.ascontiguousarray(found[:, 8:12]).view("<u4")[:, 0]]
        for place in sound.tolist():
            length = HEAD.unpack_from(window, place)[0]
            if offset + place + HEAD.size + length + TAIL_BYTES <= size:
                return int(offset + place)
    return size


def _masked_crcs(lengths: np.ndarray) -> np.ndarray:
    """``masked_crc`` of each row of (n, 8) uint8, (n,) uint32."""
    crc = np.full(len(lengths), 0xFFFFFFFF, np.uint32)
    for column in range(lengths.shape[1]):
        crc = _TABLE[(crc ^ lengths[:, column]) & 0xFF] ^ (crc >> np.uint32(8))
    crc = ~crc
    masked: np.ndarray = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(_MASK_DELTA)
    return masked


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


_TABLE = _crc_table()
