"""Chunks of any size: the same messages whatever the window, and memory that the chunk's size does not show in."""

import hashlib
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.decode.config import MIB, DecodeConfig
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.sources import FileSource, MemorySource

MAGIC = b"\x89MCAP0\r\n"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
}


def _record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def _text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def _channel(channel_id: int, topic: str) -> bytes:
    return _record(4, struct.pack("<HH", channel_id, 0) + _text(topic) + _text("json") + struct.pack("<I", 0))


def _message(channel_id: int, sequence: int, data: bytes) -> bytes:
    return _record(5, struct.pack("<HIQQ", channel_id, sequence, sequence, sequence) + data)


def _index(channel_id: int, count: int) -> bytes:
    return _record(7, struct.pack("<HI", channel_id, 16 * count) + bytes(16 * count))


def _file(records: bytes, compression: str, *, crc: int | None = None, behind: bytes = b"") -> bytes:
    stored = COMPRESS[compression](records)
    crc = zlib.crc32(records) if crc is None else crc
    head = struct.pack("<QQQI", 0, 0, len(records), crc) + _text(compression) + struct.pack("<Q", len(stored))
    return (
        MAGIC
        + _record(1, bytes(8))
        + _record(6, head + stored)
        + behind
        + _record(15, bytes(4))
        + _record(2, bytes(20))
        + MAGIC
    )


def _read(data: bytes, window_bytes: int, **bounds: int) -> tuple[McapReader, list[tuple[Any, ...]]]:
    given = {"max_chunk_bytes": 64 * MIB, "max_record_bytes": MIB, "max_message_bytes": MIB, **bounds}
    reader = McapReader(MemorySource(data), window_bytes=window_bytes, **given)
    return reader, [
        (m.channel.topic, m.sequence, m.chunk_offset_bytes, m.message_offset_bytes, bytes(m.data))
        for m in reader.messages()
    ]


def _found(reader: McapReader) -> tuple[Any, ...]:
    findings = reader.findings
    return ([(p.reason, p.detail, p.start_byte, p.exclusive_end_byte) for p in findings.problems], findings.lost)


RECORDS = st.lists(
    st.one_of(
        st.tuples(st.just("message"), st.integers(0, 200), st.integers(1, 3)),
        st.tuples(st.just("channel"), st.integers(0, 40), st.integers(1, 3)),
        st.tuples(st.just("private"), st.integers(0, 200), st.just(0)),
        st.tuples(st.just("bad"), st.integers(0, 30), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(
    drawn=RECORDS,
    window_bytes=st.integers(1, 400),
    compression=st.sampled_from(sorted(COMPRESS)),
    cut=st.integers(0, 40),
)
def test_the_window_decides_nothing(
    drawn: list[tuple[str, int, int]], window_bytes: int, compression: str, cut: int
) -> None:
    parts = []
    for sequence, (kind, size, channel_id) in enumerate(drawn):
        parts.append(
            {
                "message": _message(channel_id, sequence, bytes([sequence]) * size),
                "channel": _channel(channel_id, f"/{'x' * size}"),
                "private": _record(0x80 + size % 128, bytes(size)),
                "bad": struct.pack("<BQ", (5, 1, 3)[size % 3], size) + bytes(size),
            }[kind]
        )
    records = b"".join(parts)
    records = records[: max(0, len(records) - cut)] if cut < 20 else records
    data = _file(records, compression, behind=_index(1, 30) + _index(2, 2))
    whole, by_windows = _read(data, MIB), _read(data, window_bytes)
    assert by_windows[1] == whole[1]
    assert _found(by_windows[0]) == _found(whole[0])


@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_a_message_that_is_too_large_is_lost_alone(compression: str) -> None:
    messages = [_message(1, 0, b"a"), _message(2, 1, b"b" * 5000), _message(1, 2, b"c" * 900), _message(1, 3, b"d")]
    records = _channel(1, "/a") + _channel(2, "/b") + b"".join(messages)
    data = _file(records, compression, behind=_index(1, 3) + _index(2, 1))
    reader, found = _read(data, 100, max_message_bytes=1000)
    assert [(m[0], m[1], len(m[4])) for m in found] == [("/a", 0, 1), ("/a", 2, 900), ("/a", 3, 1)]
    (problem,) = reader.findings.problems
    assert problem.reason == "message_too_large"
    assert (reader.findings.lost, reader.findings.definitions[2].channel.topic) == ({2: 1}, "/b")
    loose = MAGIC + _record(1, bytes(8)) + records + _record(15, bytes(4)) + _record(2, bytes(20)) + MAGIC
    reader, found = _read(loose, 100, max_message_bytes=1000)
    assert [m[1] for m in found] == [0, 2, 3]
    assert ([p.reason for p in reader.findings.problems], reader.findings.lost) == (["message_too_large"], {2: 1})


@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_nothing_of_a_bad_chunk_is_delivered(compression: str) -> None:
    records = _channel(1, "/a") + b"".join(_message(1, i, bytes([i]) * 50) for i in range(100))
    good = _file(records, compression, behind=_index(1, 100))
    assert len(_read(good, 300)[1]) == 100
    changed = bytearray(good)
    changed[len(MAGIC) + 17 + 9 + 40 + len(COMPRESS[compression](records)) // 2] ^= 16
    for data in (bytes(changed), _file(records, compression, crc=1, behind=_index(1, 100))):
        reader, found = _read(data, 300)
        assert found == []
        (problem,) = reader.findings.problems
        assert problem.reason in ("chunk_crc_mismatch", "chunk_not_decompressible", "chunk_size_mismatch")
        assert reader.findings.lost == {1: 100}


def test_a_window_of_a_gigabyte_is_not_believed() -> None:
    """A zstd frame says itself how far it looks back, and a decompressor would allocate it."""
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True, write_content_size=False)
    records = _channel(1, "/a") + _message(1, 0, bytes(5 * MIB))
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stored = compressor.compress(records) + compressor.flush()
    assert zstandard.get_frame_parameters(stored).window_size == 2**31
    head = struct.pack("<QQQI", 0, 0, len(records), 0) + _text("zstd") + struct.pack("<Q", len(stored))
    data = MAGIC + _record(6, head + stored) + _record(15, bytes(4)) + _record(2, bytes(20)) + MAGIC
    reader, found = _read(data, MIB, max_message_bytes=8 * MIB)
    assert (found, [p.reason for p in reader.findings.problems]) == ([], ["chunk_not_decompressible"])


def test_what_an_object_may_inflate_to_is_bounded_by_its_size() -> None:
    records = _channel(1, "/a") + _message(1, 0, bytes(30 * MIB))
    one = _file(records, "zstd", crc=0)[len(MAGIC) + 17 : -len(MAGIC) - 29 - 13]
    data = MAGIC + one * 20 + _record(15, bytes(4)) + _record(2, bytes(20)) + MAGIC
    reader, found = _read(data, 32 * MIB, max_message_bytes=64 * MIB)
    assert len(found) == 17
    assert {p.reason for p in reader.findings.problems} == {"chunk_inflation_too_large"}
    assert len(_read(data, 32 * MIB, max_message_bytes=64 * MIB, max_inflation=10_000)[1]) == 20


CHUNK_BYTES = 400 * MIB
_NBR_LARGE = 100


def _large_records() -> Iterator[bytes]:
    """400 MiB: 100 messages of 4 MiB, mostly zeros, and small ones between them."""
    yield _channel(1, "/a") + _channel(2, "/b")
    for i in range(_NBR_LARGE):
        block = struct.pack("<Q", i) + zlib.compress(str(i).encode()) * 3000
        yield _message(1, i, block + bytes(CHUNK_BYTES // _NBR_LARGE - len(block)))
        yield b"".join(_message(2, i * 200 + j, b"small") for j in range(200))


def _write_large(path: Path, compression: str) -> None:
    crc = size = 0
    for part in _large_records():
        crc, size = zlib.crc32(part, crc), size + len(part)
    stored = path.with_suffix(".stored")
    with stored.open("wb") as file:
        if compression == "zstd":
            writer = zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False, size=size)
            for part in _large_records():
                writer.write(part)
            writer.close()
        elif compression == "lz4":
            with lz4.frame.LZ4FrameFile(file, "wb") as frame:
                for part in _large_records():
                    frame.write(part)
        else:
            for part in _large_records():
                file.write(part)
    nbr_bytes = stored.stat().st_size
    head = struct.pack("<QQQI", 0, 0, size, crc) + _text(compression) + struct.pack("<Q", nbr_bytes)
    with path.open("wb") as file:
        file.write(MAGIC + _record(1, bytes(8)) + struct.pack("<BQ", 6, len(head) + nbr_bytes) + head)
        with stored.open("rb") as source:
            while piece := source.read(MIB):
                file.write(piece)
        file.write(_index(1, _NBR_LARGE) + _index(2, 200 * _NBR_LARGE))
        file.write(_record(15, bytes(4)) + _record(2, bytes(20)) + MAGIC)
    stored.unlink()


_PEAK = """
import hashlib, resource, sys
from pathlib import Path
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.sources import FileSource
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest = hashlib.sha256()
with FileSource(Path(sys.argv[1])) as source:
    reader = open_reader(source, DecodeConfig())
    for block in reader.blocks():
        for message in block.messages():
            digest.update(message.channel.topic.encode() + message.sequence.to_bytes(4, "little"))
            digest.update(message.message_offset_bytes.to_bytes(8, "little") + message.data)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((peak - base) // 1024, digest.hexdigest(), [p.reason for p in reader.findings.problems], reader.findings.lost)
"""


def _peak_of(path: Path) -> tuple[int, str, str]:
    ran = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
    peak_mib, digest, rest = ran.stdout.strip().split(" ", 2)
    return int(peak_mib), digest, rest


@pytest.mark.slow
@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_a_chunk_of_400_mib_takes_no_more_memory_than_its_windows(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "large.mcap"
    _write_large(path, compression)
    digest, at = hashlib.sha256(), 0
    for part in _large_records():
        record = 0
        while record < len(part):
            opcode, length = struct.unpack_from("<BQ", part, record)
            if opcode == 5:
                channel_id, sequence = struct.unpack_from("<HI", part, record + 9)
                digest.update((b"/a", b"/b")[channel_id - 1] + sequence.to_bytes(4, "little"))
                digest.update((at + record).to_bytes(8, "little") + part[record + 31 : record + 9 + length])
            record += 9 + length
        at += len(part)
    assert at > CHUNK_BYTES
    peak_mib, found, rest = _peak_of(path)
    assert (found, rest) == (digest.hexdigest(), "[] {}")
    assert peak_mib < 150
    with path.open("r+b") as file:
        file.seek(len(MAGIC) + 17 + 1)
        (length,) = struct.unpack("<Q", file.read(8))
        file.seek(length // 2, 1)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))
    peak_mib, found, rest = _peak_of(path)
    assert found == hashlib.sha256().hexdigest()
    assert rest.startswith("['chunk_")
    assert rest.endswith(f"{{1: {_NBR_LARGE}, 2: {200 * _NBR_LARGE}}}")
    assert peak_mib < 150


def test_the_defaults_hold_a_task_below_its_cap(tmp_path: Path) -> None:
    config = DecodeConfig()
    assert config.window_bytes <= config.max_message_bytes <= 64 * MIB
    path = tmp_path / "small.mcap"
    path.write_bytes(_file(_channel(1, "/a") + _message(1, 0, b"x"), "zstd"))
    with FileSource(path) as source:
        assert sum(map(len, open_reader(source, config).blocks())) == 1
