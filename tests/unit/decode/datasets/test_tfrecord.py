"""TFRecord framing: what is lost to damage, and that nothing else is."""

import contextlib
import random
import struct
import time
from typing import Any

import google_crc32c
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.formats.sources import MemorySource
from scenelake.decode.formats.tf_example import read_example
from scenelake.decode.formats.tfrecord import masked_crc, read_records

MAX_RECORD_BYTES = 1_000_000


def read(data: bytes) -> tuple[list[tuple[int, bytes]], list[Problem]]:
    problems: list[Problem] = []
    found = [(at, bytes(record)) for at, record in read_records(MemorySource(data), MAX_RECORD_BYTES, problems)]
    return found, problems


@pytest.fixture
def sent() -> list[bytes]:
    generator = random.Random(1)
    return [generator.randbytes(generator.randrange(0, 4000)) for _ in range(30)] + [bytes(500)]


def test_round_trip(framed: Any, sent: list[bytes]) -> None:
    found, problems = read(framed(sent))
    assert [r for _, r in found] == sent
    assert problems == []


def test_large_record_checksum(framed: Any) -> None:
    """Checksums of records are taken in pieces."""
    record = random.Random(2).randbytes(3_500_000)
    assert masked_crc(memoryview(record)) == struct.unpack("<I", framed([record])[-4:])[0]


def test_every_truncation(framed: Any, sent: list[bytes]) -> None:
    data = framed(sent[:6])
    whole, _ = read(data)
    for size in range(1, len(data), 7):
        found, problems = read(data[:size])
        assert found == [(at, r) for at, r in whole if at + 16 + len(r) <= size]
        end = found[-1][0] + 16 + len(found[-1][1]) if found else 0
        assert [(p.reason, p.start_byte, p.exclusive_end_byte) for p in problems] == (
            [("truncated", end, size)] if end < size else []
        )


def test_every_flip_is_reported_and_costs_one_record(framed: Any, sent: list[bytes]) -> None:
    data = framed(sent[:8])
    whole, _ = read(data)
    generator = random.Random(3)
    for at in generator.sample(range(len(data)), 400):
        damaged = bytearray(data)
        damaged[at] ^= 1 << generator.randrange(8)
        found, problems = read(bytes(damaged))
        (problem,) = problems
        assert problem.start_byte <= at < problem.exclusive_end_byte
        assert found == [(o, r) for o, r in whole if not o <= at < o + 16 + len(r)]


def test_hostile_lengths(framed: Any, sent: list[bytes]) -> None:
    before, after = framed(sent[:2]), framed(sent[2:4])
    for length in (2**64 - 1, 2**63, 2**32, 2**31, MAX_RECORD_BYTES + 1):
        head = struct.pack("<Q", length)
        lie = head + struct.pack("<I", masked_crc(head))
        found, problems = read(before + lie + after)
        assert [r for _, r in found] == sent[:2]
        assert [(p.reason, p.start_byte) for p in problems] == [("truncated", len(before))]


def test_a_record_over_the_bound_is_passed_over(framed: Any, sent: list[bytes]) -> None:
    found, problems = read(framed([sent[0], bytes(MAX_RECORD_BYTES + 1), sent[1]]))
    assert [r for _, r in found] == sent[:2]
    assert [p.reason for p in problems] == ["record_too_large"]


def test_problems_are_bounded(framed: Any) -> None:
    data = framed([b"ab"])[:-1] + b"\x00"
    found, problems = read(data * 5000)
    assert found == []
    assert len(problems) == 1001
    assert (problems[-1].reason, problems[-1].exclusive_end_byte) == ("too_many_problems", len(data) * 5000)


@pytest.mark.parametrize("filler", [b"\x00", b"\xff", b"\x01\x00\x00\x00\x00\x00\x00\x00"])
def test_a_record_is_found_behind_megabytes_of_damage(filler: bytes, framed: Any) -> None:
    data = b"x" + filler * (8_000_000 // len(filler)) + framed([b"found"])
    started = time.process_time()
    found, problems = read(data)
    assert time.process_time() - started < 2
    assert [r for _, r in found] == [b"found"]
    assert [p.reason for p in problems] == ["record_length_crc"]


@pytest.mark.parametrize("seed", range(5))
def test_mutated_examples_are_refused_or_read(seed: int) -> None:
    """No mutation of an Example's bytes gets past the parser as anything but BadInputError."""
    generator = random.Random(seed)
    inner = b"\x0a\x03abc" * 5
    feature = b"\x12" + bytes([len(inner) + 2]) + b"\x0a" + bytes([len(inner)]) + inner
    entry = b"\x0a\x05steps" + feature
    record = b"\x0a" + bytes([len(entry) + 2]) + b"\x0a" + bytes([len(entry)]) + entry
    assert len(read_example(memoryview(record))["steps"].spans) == 5
    for _ in range(2000):
        damaged = bytearray(record)
        for _ in range(generator.randrange(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        with contextlib.suppress(BadInputError):
            for found in read_example(memoryview(bytes(damaged))).values():
                found.count(memoryview(bytes(damaged)))
                assert all(0 <= start <= end <= len(damaged) for start, end in found.spans)


def test_a_bomb_of_empty_strings_is_refused() -> None:
    inner = b"\x0a\x00" * 500_001

    def field(body: bytes) -> bytes:
        size = bytearray()
        left = len(body)
        while left > 0x7F:
            size.append(left & 0x7F | 0x80)
            left >>= 7
        return b"\x0a" + bytes([*size, left]) + body

    feature = field(inner)
    record = field(field(b"\x0a\x01a" + b"\x12" + field(feature)[1:]))
    with pytest.raises(BadInputError, match="more than 500000 values"):
        read_example(memoryview(record))


def test_google_crc32c_is_the_c_implementation() -> None:
    assert google_crc32c.implementation == "c"
