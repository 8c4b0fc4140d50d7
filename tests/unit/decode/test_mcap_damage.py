"""Damaged and hostile files: what is read is true, what is not is reported, and nothing crashes."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.mcap_problems import HARMLESS_REASONS, MAX_PROBLEMS
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.sources import MemorySource

MIB = 1024 * 1024
MAGIC = b"\x89MCAP0\r\n"


def _recording(compression: CompressionType, *, use_chunking: bool = True, nbr_messages: int = 12) -> bytes:
    buffer = io.BytesIO()
    writer = Writer(
        buffer, chunk_size=200, compression=compression, use_chunking=use_chunking, enable_data_crcs=not use_chunking
    )
    writer.start("p", "l")
    schema_id = writer.register_schema("S", "ros2msg", b"uint8 x")
    channels = [writer.register_channel(f"/{i}", "cdr", schema_id) for i in range(2)]
    for i in range(nbr_messages):
        writer.add_message(channels[i % 2], i, bytes([i]) * 40, i, i)
    writer.add_metadata("m", {"k": "v"})
    writer.finish()
    return buffer.getvalue()


def _read(data: bytes, max_chunk_bytes: int = MIB) -> tuple[McapReader, list[tuple[Any, ...]]]:
    reader = McapReader(MemorySource(data), max_chunk_bytes=max_chunk_bytes, max_record_bytes=MIB)
    messages = [
        (m.channel.topic, m.sequence, m.log_time_ns, bytes(m.data), m.chunk_offset_bytes, m.message_offset_bytes)
        for m in reader.messages()
    ]
    return reader, messages


def _record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def _text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def _chunk(records: bytes, claimed: int, compression: str, crc: int = 0) -> bytes:
    head = struct.pack("<QQQI", 0, 0, claimed, crc) + _text(compression)
    return _record(6, head + struct.pack("<Q", len(records)) + records)


def _file(*records: bytes) -> bytes:
    header = _record(1, _text("") + _text(""))
    return MAGIC + header + b"".join(records) + _record(15, bytes(4)) + _record(2, bytes(20)) + MAGIC


LAYOUTS = [
    (CompressionType.ZSTD, True),
    (CompressionType.LZ4, True),
    (CompressionType.NONE, True),
    (CompressionType.NONE, False),
]


@pytest.mark.parametrize(("compression", "use_chunking"), LAYOUTS)
def test_an_intact_file_has_no_problems(compression: CompressionType, use_chunking: bool) -> None:
    reader, messages = _read(_recording(compression, use_chunking=use_chunking))
    assert reader.findings.problems == []
    assert [m[1] for m in messages] == list(range(12))
    assert reader.findings.recorded == {1: 6, 2: 6}
    assert (reader.findings.header["profile"], reader.findings.metadata) == ("p", {"m": {"k": "v"}})
    assert reader.findings.header["library"].endswith("l") or "l" in reader.findings.header["library"]


@pytest.mark.parametrize(("compression", "use_chunking"), LAYOUTS)
def test_every_truncation_gives_a_prefix_and_says_where(compression: CompressionType, use_chunking: bool) -> None:
    data = _recording(compression, use_chunking=use_chunking, nbr_messages=6)
    _, whole = _read(data)
    assert len(whole) == 6
    found = set()
    for size in range(len(data)):
        if size < len(MAGIC):
            with pytest.raises(BadInputError) as error:
                _read(data[:size])
            assert error.value.reason == ("not_mcap" if size else "empty_object")
            continue
        reader, messages = _read(data[:size])
        assert messages == whole[: len(messages)], size
        (problem,) = reader.findings.problems
        assert problem.reason in ("truncated", "summary_unreadable"), size
        assert problem.start_byte <= problem.exclusive_end_byte == size
        if problem.reason == "summary_unreadable":
            assert messages == whole
        found.add(len(messages))
    assert {0, 6} < found


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE])
def test_a_flipped_bit_in_a_chunk_costs_that_chunk_alone(compression: CompressionType) -> None:
    data = bytearray(_recording(compression))
    _, whole = _read(bytes(data))
    offsets = sorted({m[4] for m in whole})
    assert len(offsets) > 2
    for position, offset in enumerate(offsets):
        (length,) = struct.unpack_from("<Q", data, offset + 1)
        at = offset + 9 + length - 5
        data[at] ^= 1
        reader, messages = _read(bytes(data))
        data[at] ^= 1
        assert messages == [m for m in whole if m[4] != offset], position
        (problem,) = reader.findings.problems
        assert problem.reason.startswith("chunk_")
        assert (problem.start_byte, problem.exclusive_end_byte) == (offset, offset + 9 + length)
        assert sum(reader.findings.lost.values()) == len(whole) - len(messages)


def test_a_flipped_bit_outside_chunks_is_found_by_the_data_crc() -> None:
    data = bytearray(_recording(CompressionType.NONE, use_chunking=False))
    _, whole = _read(bytes(data))
    data[whole[0][4] + 9 + 22 + 3] ^= 1
    reader, messages = _read(bytes(data))
    assert len(messages) == len(whole)
    assert [p.reason for p in reader.findings.problems] == ["data_crc_mismatch"]


def _bomb(compression: str, size: int) -> bytes:
    if compression == "zstd":
        compressor = zstandard.ZstdCompressor().compressobj()
        block = bytes(MIB)
        return b"".join(compressor.compress(block) for _ in range(size // MIB)) + compressor.flush()
    return lz4.frame.compress(bytes(size), store_size=False)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("has_size", [False, True])
def test_a_chunk_that_inflates_past_its_claim_is_not_inflated(compression: str, has_size: bool) -> None:
    size = 512 * MIB if compression == "zstd" and not has_size else 64 * MIB
    if has_size:
        whole = bytes(size)
        bomb = zstandard.compress(whole) if compression == "zstd" else lz4.frame.compress(whole)
        del whole
    else:
        bomb = _bomb(compression, size)
    data = _file(_chunk(bomb, 1024, compression))
    tracemalloc.start()
    reader, messages = _read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert messages == []
    assert reader.findings.problems[0].reason in ("chunk_size_mismatch", "chunk_not_decompressible")
    assert peak < 8 * len(data) + 4 * MIB


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_a_claim_of_a_terabyte_is_not_believed(compression: str) -> None:
    reader, _ = _read(_file(_chunk(b"x" * 100, 2**40, compression)))
    assert [p.reason for p in reader.findings.problems] == ["chunk_too_large"]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (_record(5, bytes(10)), "chunk_record_invalid"),
        (struct.pack("<BQ", 5, 2**63), "chunk_record_invalid"),
        (b"\x05\x01", "chunk_record_invalid"),
        (_record(6, b""), "chunk_record_invalid"),
        (_record(3, bytes(3)), "chunk_record_invalid"),
        (_record(4, struct.pack("<HH", 1, 1) + struct.pack("<I", 2**32 - 1)), "chunk_record_invalid"),
    ],
)
def test_garbage_inside_a_chunk_is_reported_and_what_precedes_it_is_read(records: bytes, reason: str) -> None:
    channel = _record(4, struct.pack("<HH", 7, 0) + _text("/t") + _text("json") + struct.pack("<I", 0))
    good = channel + _record(5, struct.pack("<HIQQ", 7, 1, 2, 3) + b"{}")
    body = good + records
    reader, messages = _read(_file(_chunk(body, len(body), "", zlib.crc32(body)), _chunk(good, len(good), "")))
    assert [m[0] for m in messages] == ["/t", "/t"]
    assert [p.reason for p in reader.findings.problems] == [reason]


def test_unknown_channels_and_schemas_are_named() -> None:
    message = struct.pack("<IQQ", 1, 2, 3) + b"{}"
    channel = _record(4, struct.pack("<HH", 7, 9) + _text("/t") + _text("json") + struct.pack("<I", 0))
    data = _file(_record(5, struct.pack("<H", 3) + message), channel, _record(5, struct.pack("<H", 7) + message))
    reader = McapReader(MemorySource(data), max_chunk_bytes=MIB, max_record_bytes=MIB)
    found = [(m.channel.topic, m.problem) for m in reader.messages()]
    assert found == [("unknown_channel_3", "channel_unknown"), ("/t", "schema_unknown")]


def test_a_lost_record_length_in_the_middle_is_told_from_a_truncation() -> None:
    data = _file(struct.pack("<BQ", 5, 2**62), b"rest")
    reader, _ = _read(data)
    assert [p.reason for p in reader.findings.problems] == ["record_framing_lost"]
    reader, _ = _read(_file(bytes(50)))
    assert [p.reason for p in reader.findings.problems] == ["record_framing_lost"]


def test_a_file_of_nothing_but_problems_is_given_up() -> None:
    reader, messages = _read(_file(*[_record(5, b"")] * (MAX_PROBLEMS + 500)))
    assert messages == []
    assert len(reader.findings.problems) == MAX_PROBLEMS + 1
    assert reader.findings.problems[-1].reason == "too_many_problems"


def test_definitions_of_a_lost_chunk_come_from_the_summary() -> None:
    data = bytearray(_recording(CompressionType.ZSTD))
    _, whole = _read(bytes(data))
    first = whole[0][4]
    (length,) = struct.unpack_from("<Q", data, first + 1)
    data[first + 9 + length - 5] ^= 1
    _, messages = _read(bytes(data))
    assert {m[0] for m in messages} == {"/0", "/1"}


def test_a_broken_summary_costs_no_message() -> None:
    data = bytearray(_recording(CompressionType.ZSTD))
    (start,) = struct.unpack_from("<Q", data, len(data) - 8 - 20)
    data[start + 12] ^= 1
    reader, messages = _read(bytes(data))
    assert len(messages) == 12
    assert [p.reason for p in reader.findings.problems] == ["summary_unreadable"]
    assert reader.findings.recorded is None


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.NONE])
def test_what_follows_the_end_is_never_lost_in_silence(compression: CompressionType) -> None:
    data = _recording(compression)
    for tail in (data, b"\0" * 50, b"x"):
        reader, messages = _read(data + tail)
        assert len(messages) == 12
        assert [p.reason for p in reader.findings.problems] == ["bytes_after_end"]
        assert (reader.findings.problems[0].start_byte, reader.findings.problems[0].exclusive_end_byte) == (
            len(data),
            len(data + tail),
        )
        assert not {p.reason for p in reader.findings.problems} & HARMLESS_REASONS


INTACT = {layout: _recording(layout[0], use_chunking=layout[1]) for layout in LAYOUTS}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    layout=st.sampled_from(LAYOUTS),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=9)), min_size=1, max_size=6),
    cut=st.integers(0, 200),
)
def test_mutations_never_crash_and_never_pass_unseen(
    layout: tuple[CompressionType, bool], edits: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(INTACT[layout])
    for at, patch in edits:
        at %= len(data)
        data[at : at + len(patch)] = patch[: len(data) - at]
    if cut:
        del data[-cut:]
    if data[: len(MAGIC)] != MAGIC:
        with pytest.raises(BadInputError):
            _read(bytes(data))
        return
    reader, messages = _read(bytes(data))
    for problem in reader.findings.problems:
        assert 0 <= problem.start_byte <= problem.exclusive_end_byte <= len(data)
    if not reader.findings.problems:
        # Top-level bytes outside chunks (header, metadata) have no checksum, but messages do.
        _, whole = _read(INTACT[layout])
        assert [m[1:4] for m in messages] == [m[1:4] for m in whole]
