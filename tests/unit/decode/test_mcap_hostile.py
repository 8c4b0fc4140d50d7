"""MCAP files that lie: in their indexes, their lengths, their definitions and their order."""

import io
import struct
import time
import tracemalloc
import zlib
from collections import Counter
from itertools import pairwise
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zstandard
from mcap.writer import CompressionType, Writer

from scenelake.decode.formats.blocks import Part, PlanContradictedError
from scenelake.decode.formats.mcap_problems import MAX_PROBLEMS
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.mcap_records import MAX_MAP_ENTRIES
from scenelake.decode.formats.mcap_walk import MAX_MESSAGES, walk
from scenelake.decode.formats.sources import FileSource, MemorySource

MIB = 1024 * 1024
MAGIC = b"\x89MCAP0\r\n"


def _record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def _text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def _schema(schema_id: int, name: str = "S", data: bytes = b"uint8 x") -> bytes:
    return _record(
        3, struct.pack("<H", schema_id) + _text(name) + _text("ros2msg") + struct.pack("<I", len(data)) + data
    )


def _channel(channel_id: int, topic: str = "/t", schema_id: int = 0) -> bytes:
    return _record(4, struct.pack("<HH", channel_id, schema_id) + _text(topic) + _text("json") + struct.pack("<I", 0))


def _message(channel_id: int, data: bytes = b"{}", sequence: int = 1) -> bytes:
    return _record(5, struct.pack("<HIQQ", channel_id, sequence, 2, 3) + data)


def _chunk(records: bytes, compression: str = "", stored: bytes | None = None, crc: int | None = None) -> bytes:
    crc = zlib.crc32(records) if crc is None else crc
    stored = records if stored is None else stored
    head = struct.pack("<QQQI", 0, 0, len(records), crc) + _text(compression)
    return _record(6, head + struct.pack("<Q", len(stored)) + stored)


def _index(channel_id: int, offsets: list[int]) -> bytes:
    entries = b"".join(struct.pack("<QQ", 2, offset) for offset in offsets)
    return _record(7, struct.pack("<HI", channel_id, len(entries)) + entries)


def _file(*records: bytes, listed: list[tuple[int, int]] | None = None, channels: tuple[int, ...] = (7,)) -> bytes:
    """A file; ``listed`` are starts and lengths of chunks in its summary, which counts no message but has channels."""
    data = MAGIC + _record(1, _text("") + _text("")) + b"".join(records) + _record(15, bytes(4))
    if listed is None:
        return data + _record(2, bytes(20)) + MAGIC
    summary = b"".join(_channel(c) for c in channels)
    summary += b"".join(
        _record(8, struct.pack("<QQQQ", 0, 0, start, length) + bytes(4 + 8 + 4 + 16)) for start, length in listed
    )
    summary += _record(11, struct.pack("<QHIIIIQQ", 0, 0, 0, 0, 0, 0, 0, 0) + struct.pack("<I", 0))
    footer = struct.pack("<BQQQ", 2, 20, len(data), 0)
    return data + summary + footer + struct.pack("<I", zlib.crc32(summary + footer)) + MAGIC


def _read(data: bytes, **bounds: int) -> tuple[McapReader, list[Any]]:
    given = {"max_chunk_bytes": 64 * MIB, "max_record_bytes": MIB, **bounds}
    reader = McapReader(MemorySource(data), **given)
    return reader, [(m.channel.topic, m.sequence, bytes(m.data), m.problem) for m in reader.messages()]


def _reasons(reader: McapReader) -> list[str]:
    return [p.reason for p in reader.findings.problems]


FIRST = len(MAGIC) + len(_record(1, _text("") + _text("")))
"""Offset of the first record behind the header."""


def test_a_chunk_of_definitions_alone_is_read() -> None:
    reader, messages = _read(_file(_chunk(_record(3, struct.pack("<H", 1) + bytes(12))), _chunk(b""), _message(3)))
    assert [m[0] for m in messages] == ["unknown_channel_3"]
    assert _reasons(reader) == []


@pytest.mark.parametrize("start", [0, 3, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1])
def test_a_chunk_index_may_claim_any_place(start: int, length: int) -> None:
    data = _file(_channel(7) + _chunk(_message(7)), listed=[(start, length)] * 3)
    _, messages = _read(data)
    assert [m[0] for m in messages] == ["/t"]
    parts = McapReader(MemorySource(data), max_chunk_bytes=MIB, max_record_bytes=MIB).parts(1)
    assert (parts[0].start_byte, parts[-1].exclusive_end_byte) == (0, len(data))
    assert all(a.exclusive_end_byte == b.start_byte for a, b in pairwise(parts))


def _by_parts(data: bytes, part_bytes: int = 1) -> tuple[list[Part], list[Any]]:
    parts = list(McapReader(MemorySource(data), max_chunk_bytes=MIB, max_record_bytes=MIB).parts(part_bytes))
    messages = []
    for part in parts:
        reader = McapReader(MemorySource(data), max_chunk_bytes=MIB, max_record_bytes=MIB)
        for block in reader.blocks(part):
            messages += [(m.channel.topic, m.sequence, bytes(m.data), m.problem) for m in block.messages()]
    return parts, messages


def test_an_index_that_points_into_a_message_with_a_chunk_in_it_is_contradicted() -> None:
    fake = _chunk(_message(7, b"fake", 99))
    outer = _chunk(_message(7, b"x" * 200 + fake + b"y" * 200))
    data = _file(outer, _chunk(_message(7)), listed=[])
    at = data.index(fake)
    lying = _file(outer, _chunk(_message(7)), listed=[(FIRST, len(outer)), (at, len(fake))])
    _, messages = _read(lying)
    assert [m[1] for m in messages] == [1, 1]
    with pytest.raises(PlanContradictedError):
        _by_parts(lying)
    _, messages = _read(_file(outer, _chunk(_message(7)), listed=[(at, len(fake))]))
    assert [m[1] for m in messages] == [1, 1]


def test_loose_messages_and_definitions_that_others_must_know_refuse_a_split() -> None:
    chunk = _chunk(_message(7, b"x" * 300))
    listed = [(FIRST, len(chunk)), (FIRST + len(chunk), len(chunk))]
    good = _file(chunk, chunk, listed=listed)
    parts, messages = _by_parts(good)
    # The first is the header alone.
    assert (len(parts), len(messages)) == (3, 2)
    assert messages == _read(good)[1]
    for odd in (_message(7), _channel(7, "/other"), _channel(8), _schema(1), _chunk(_channel(7, "/other"))):
        with pytest.raises(PlanContradictedError):
            _by_parts(_file(chunk, chunk, odd, listed=listed))


@pytest.mark.parametrize(
    "patch", [b"\x06" + struct.pack("<Q", 2**40), b"\x06" + struct.pack("<Q", 450), b"\x86", b"\x02", b"\x0f", b"\x00"]
)
def test_a_frame_that_was_hit_costs_no_message_where_the_list_of_chunks_repairs_it(patch: bytes) -> None:
    chunks = [_chunk(_message(7, bytes([i]) * 300, i)) for i in range(3)]
    starts = [FIRST + sum(map(len, chunks[:i])) for i in range(3)]
    data = bytearray(_file(*chunks, listed=list(zip(starts, map(len, chunks), strict=True))))
    data[starts[1] : starts[1] + len(patch)] = patch
    reader, messages = _read(bytes(data))
    assert [m[1] for m in messages] == [0, 1, 2]
    assert _reasons(reader) == ["chunk_frame_repaired"]


def test_a_lost_frame_costs_what_lies_before_the_next_listed_chunk() -> None:
    chunks = [_chunk(_message(7, bytes([i]) * 300, i)) for i in range(3)]
    starts = [FIRST + sum(map(len, chunks[:i])) for i in range(3)]
    data = bytearray(_file(*chunks, listed=list(zip(starts, map(len, chunks), strict=True))))
    data[starts[1] : starts[1] + 9] = b"\xff" * 9
    reader, messages = _read(bytes(data))
    assert [m[1] for m in messages] == [0, 2]
    (problem,) = reader.findings.problems
    assert (problem.reason, problem.start_byte, problem.exclusive_end_byte) == (
        "record_framing_lost", starts[1], starts[2],
    )  # fmt: skip


@pytest.mark.parametrize("opcode", [9, 12, 0x81, 15, 2])
def test_a_record_that_swallows_listed_chunks_loses_none_of_them(opcode: int) -> None:
    chunks = [_chunk(_message(7, bytes([i]) * 300, i)) for i in range(2)]
    odd = struct.pack("<BQ", opcode, 20 + len(chunks[0]) + 50) + bytes(20)
    starts = [FIRST + len(odd), FIRST + len(odd) + len(chunks[0])]
    reader, messages = _read(_file(odd, *chunks, listed=list(zip(starts, map(len, chunks), strict=True))))
    assert [m[1] for m in messages] == [0, 1]
    assert _reasons(reader) == ["record_framing_lost"]


def test_records_out_of_place_are_reported() -> None:
    data = _file(
        _channel(7), _message(7), _record(15, bytes(4)), _message(7, sequence=2), _record(2, bytes(20)), _message(7)
    )
    reader, messages = _read(data)
    assert [m[1] for m in messages] == [1, 2, 1]
    assert _reasons(reader) == ["record_misplaced", "record_misplaced"]
    reader, _ = _read(_file(_record(0x44, b"new"), _record(0x99, b"private"), _record(9, b"attached")))
    assert _reasons(reader) == ["record_misplaced"]


def _plain(body: bytes) -> list[Any]:
    return _told(walk(memoryview(body)))


def _told(found: Any) -> list[Any]:
    walks = list(found)
    errors = [w.error for w in walks if w.error]
    return [np.concatenate([w.messages for w in walks]).tolist(), [o for w in walks for o in w.others], errors]


def test_message_indexes_that_lie_change_nothing() -> None:
    inner = b"".join(_message(9, b"fake", i) for i in range(40))
    body = b"".join(
        _message(7, inner, i) + (_channel(8) if i % 10 == 0 else b"") + _record(0x90, b"private" * (i % 3))
        for i in range(60)
    )
    truth = _plain(body)
    starts = np.array(truth[0], np.uint64)
    rng = np.random.default_rng(0)
    lies = [
        starts,
        starts[::-1],
        np.repeat(starts, 2),
        starts[:32],
        starts[20:],
        np.delete(starts, [3, 4, 5]),
        starts + 1,
        np.append(starts, [len(body) - 1]),
        np.append(starts, [2**64 - 1, 2**63]),
        starts + 31,
        np.zeros(100, np.uint64),
        np.arange(len(body), dtype=np.uint64),
        *(rng.integers(0, len(body), 64).astype(np.uint64) for _ in range(50)),
        *(np.sort(np.append(rng.choice(starts, 40, replace=False), starts[5] + 31 + 35 * n)) for n in range(3)),
    ]
    for hints in lies:
        assert _told(walk(memoryview(body), hints.astype(np.uint64))) == truth
    for cut in (1, 8, 40):
        assert _told(walk(memoryview(body[:-cut]), starts)) == _plain(body[:-cut])


def test_hints_across_the_border_of_a_portion() -> None:
    body = b"".join(_message(7, b"", i) for i in range(MAX_MESSAGES + 100)) + _channel(8)
    truth = _plain(body)
    starts = np.array(truth[0], np.uint64)
    assert len(starts) == MAX_MESSAGES + 100
    late = starts.copy()
    late[MAX_MESSAGES] += 3
    for hints in (starts, starts[1:], late, np.delete(starts, MAX_MESSAGES), starts[: MAX_MESSAGES + 1]):
        assert _told(walk(memoryview(body), hints)) == truth
        assert max(len(w.messages) for w in walk(memoryview(body), hints)) <= 2 * MAX_MESSAGES


def test_a_gap_of_a_million_records_between_hints_is_walked_by_portions() -> None:
    gap = _record(0x90, b"") * 300_000
    body = b"".join(_message(7) + gap if i % 16 == 0 else _message(7) for i in range(33))
    starts = np.array(_plain(body)[0], np.uint64)
    assert max(len(w.others) for w in walk(memoryview(body), starts)) <= MAX_MESSAGES


def test_loose_records_between_messages_do_not_read_the_file_again_and_again(tmp_path: Any) -> None:
    pair = _message(7, b"x" * 3000) + _record(0x90, b"")
    path = tmp_path / "loose.mcap"
    path.write_bytes(_file(_channel(7), pair * 6_000))
    started = time.perf_counter()
    with FileSource(path) as source:
        reader = McapReader(source, max_chunk_bytes=MIB, max_record_bytes=MIB)
        assert sum(map(len, reader.blocks())) == 6_000
    # Reading a window of 4 MiB for each of them took 10 s.
    assert time.perf_counter() - started < 4


def test_message_indexes_of_any_size_take_no_memory() -> None:
    chunk = _channel(7) + _message(7)
    entries = bytes(16) * 500_000
    index = _record(7, struct.pack("<HI", 7, len(entries)) + entries)
    data = _file(_chunk(chunk), index, index, index)
    tracemalloc.start()
    _, messages = _read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(messages) == 1
    assert peak < 4 * MIB
    broken = bytearray(_file(_chunk(chunk), _index(7, [0] * 5)))
    broken[FIRST + 9 + 32 + 8] ^= 1
    assert _read(bytes(broken))[0].findings.lost == {7: 5}


def test_a_schema_that_changes_all_the_time_is_given_up() -> None:
    records = b"".join(_schema(1, f"S{i}") + _message(7, sequence=i) for i in range(5 * MAX_PROBLEMS))
    for data in (_file(_channel(7, schema_id=1), _chunk(records)), _file(_channel(7, schema_id=1), records)):
        reader, messages = _read(data)
        assert MAX_PROBLEMS <= len(messages) <= MAX_PROBLEMS + 2
        assert _reasons(reader)[-1] == "too_many_problems"
        assert set(_reasons(reader)) <= {"schema_redefined", "too_many_problems", "chunk_record_invalid"}


def test_a_message_in_front_of_its_definition_does_not_get_it() -> None:
    _, messages = _read(_file(_chunk(_message(7) + _channel(7) + _message(7))))
    assert [(m[0], m[3]) for m in messages] == [("unknown_channel_7", "channel_unknown"), ("/t", None)]


def test_definitions_together_are_bounded() -> None:
    schemas = [_chunk(_schema(i, data=bytes([i]) * (MIB - 100))) for i in range(1, 7)]
    reader, _ = _read(_file(*schemas))
    assert Counter(_reasons(reader)) == {"chunk_record_invalid": 2}
    same = _chunk(_schema(1, data=bytes(MIB - 100)))
    reader, _ = _read(_file(*[same] * 20))
    assert _reasons(reader) == []
    reader, _ = _read(_file(_chunk(_schema(1, data=bytes(2 * MIB)))))
    assert _reasons(reader) == ["record_too_large"]


def test_a_topic_that_was_hit_outside_chunks_is_told_by_the_summary() -> None:
    chunk = _chunk(_message(7, b"x" * 300))
    reader, _ = _read(_file(_channel(7, "/u"), chunk, listed=[(FIRST + len(_channel(7)), len(chunk))]))
    assert _reasons(reader) == ["definition_contradicted"]


@pytest.mark.parametrize(("compression", "nbr_read"), [("zstd", 0), ("lz4", 3), ("", 3)])
def test_bytes_behind_what_is_compressed(compression: str, nbr_read: int) -> None:
    """Whether a chunk is opened at once or by windows must not decide whether it is read."""
    records = _channel(7) + _message(7, b"x" * 100) * 3
    stored = {"zstd": zstandard.compress, "lz4": lz4.frame.compress, "": bytes}[compression](records)
    data = _file(_chunk(records, compression, stored + (b"tail" if compression else b"")))
    for window_bytes in (MIB, 150):
        reader, messages = _read(data, window_bytes=window_bytes, max_message_bytes=MIB)
        assert (len(messages), _reasons(reader)) == (nbr_read, [] if nbr_read else ["chunk_not_decompressible"])


def test_a_million_tiny_chunks_cost_as_much_each_as_a_thousand() -> None:
    chunk = _chunk(_message(7, b""))
    seconds = []
    for nbr in (2_000, 16_000):
        data = _file(_channel(7), chunk * nbr)
        started = time.process_time()
        assert len(_read(data)[1]) == nbr
        seconds.append((time.process_time() - started) / nbr)
    assert seconds[1] < 3 * seconds[0]


@pytest.mark.parametrize("use_chunking", [True, False])
def test_bits_of_real_writers_frames_are_all_seen(use_chunking: bool) -> None:
    """Every single bit of every top-level frame: no message is lost or changed in silence."""
    buffer = io.BytesIO()
    writer = Writer(
        buffer,
        chunk_size=200,
        compression=CompressionType.ZSTD,
        use_chunking=use_chunking,
        enable_data_crcs=not use_chunking,
    )
    writer.start("p", "l")
    channel = writer.register_channel("/t", "json", 0)
    for i in range(12):
        writer.add_message(channel, 2**60 + i, bytes([i]) * 40, 2**60 + i, i)
    writer.finish()
    data = buffer.getvalue()
    whole = _read(data)[1]
    at, nbr_lossless = len(MAGIC), 0
    while at < len(data) - len(MAGIC):
        (length,) = struct.unpack_from("<Q", data, at + 1)
        for bit in range(72):
            changed = bytearray(data)
            changed[at + bit // 8] ^= 1 << bit % 8
            reader, messages = _read(bytes(changed))
            assert messages == whole or reader.findings.problems, (at, bit)
            nbr_lossless += messages == whole
        at += 9 + length
    assert nbr_lossless > 500


def _metadata(name: str, values: dict[str, str]) -> bytes:
    pairs = b"".join(_text(key) + _text(value) for key, value in values.items())
    return _record(12, _text(name) + struct.pack("<I", len(pairs)) + pairs)


def test_metadata_without_end_cost_one_problem_and_no_message() -> None:
    many = [_metadata(f"m{i}", {"key": "value" * 20}) for i in range(MAX_PROBLEMS + 100)]
    reader, messages = _read(_file(*many, _channel(7), _message(7)), max_record_bytes=1024)
    assert messages == [("/t", 1, b"{}", None)]
    (problem,) = reader.findings.problems
    assert (problem.reason, "all later ones are left out" in problem.detail) == ("record_invalid", True)
    assert 0 < len(reader.findings.metadata) < 10


def test_maps_of_next_to_nothing_are_not_taken_by_their_bytes() -> None:
    """A dictionary takes ten times as much memory as the bytes that make it."""
    record = _metadata("m", {str(i): "" for i in range(MAX_MAP_ENTRIES + 1)})
    reader, messages = _read(_file(record, _channel(7), _message(7)), max_record_bytes=16 * MIB)
    assert messages == [("/t", 1, b"{}", None)]
    assert [p.reason for p in reader.findings.problems] == ["record_invalid"]
    assert not reader.findings.metadata
