"""Recordings that are compressed as a whole or message by message: what is read is what was written, within bounds."""

import contextlib
import gzip
import random
import sqlite3
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Block, Channel, Definition
from scenelake.decode.formats.compressed_file import CompressedReader, Compression, compression_of
from scenelake.decode.formats.compressed_messages import MessageInflation
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.rlds_reader import RldsReader
from scenelake.decode.formats.siblings import NO_SIBLINGS
from scenelake.decode.formats.sources import FileSource, MemorySource
from scenelake.decode.formats.tfrecord import masked_crc, read_records

MIB = 1024 * 1024
STORE = get_typestore(Stores.ROS2_JAZZY)
T0_NS = 1_700_000_000_000_000_000
Messages = list[tuple[str, int, bytes]]


def bag(folder: Path, plugin: StoragePlugin, mode: CompressionMode, count: int = 60) -> Path:
    """The file of a bag that another library writes."""
    header = STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](1, 2), "imu")
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        string = writer.add_connection("/text", "std_msgs/msg/String", typestore=STORE)
        stamped = writer.add_connection("/head", "std_msgs/msg/Header", typestore=STORE)
        for i in range(count):
            text = STORE.serialize_cdr(STORE.types["std_msgs/msg/String"]("text " * (i + 1)), "std_msgs/msg/String")
            writer.write(string, T0_NS + 2 * i, bytes(text))
            writer.write(stamped, T0_NS + 2 * i + 1, bytes(STORE.serialize_cdr(header, "std_msgs/msg/Header")))
    (path,) = (p for p in folder.iterdir() if p.suffix != ".yaml")
    return path


def collected(reader: Any) -> Messages:
    return sorted((m.channel.topic, m.log_time_ns, bytes(m.data)) for b in reader.blocks() for m in b.messages())


def read(data: bytes, config: DecodeConfig | None = None, name: str = "") -> tuple[Any, Messages]:
    reader = open_reader(MemorySource(data), config or DecodeConfig(), name)
    return reader, collected(reader)


def reasons(reader: Any) -> list[str]:
    return [problem.reason for problem in reader.findings.problems]


PLUGINS = pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])


@PLUGINS
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_compressed_bag_holds_what_a_plain_one_does(
    tmp_path: Path, plugin: StoragePlugin, mode: CompressionMode
) -> None:
    _, plain = read(bag(tmp_path / "plain", plugin, CompressionMode.NONE).read_bytes())
    path = bag(tmp_path / "compressed", plugin, mode)
    assert (path.suffix == ".zstd") == (mode == CompressionMode.FILE)
    reader, messages = read(path.read_bytes())
    assert len(plain) == 120
    assert messages == plain
    assert reader.findings.problems == []
    assert "zstd" in reader.compressions
    assert reader.format == ("rosbag2" if plugin == StoragePlugin.SQLITE3 else "mcap")
    assert {d.problem for d in reader.findings.definitions.values()} == {None}
    with FileSource(path) as source:
        assert collected(open_reader(source, DecodeConfig())) == plain


def test_a_compressed_bag_is_one_part(tmp_path: Path) -> None:
    data = bag(tmp_path / "b", StoragePlugin.MCAP, CompressionMode.FILE).read_bytes()
    reader = open_reader(MemorySource(data), DecodeConfig())
    (part,) = reader.parts(10)
    assert (part.start_byte, part.exclusive_end_byte) == (0, len(data))
    findings = reader.findings
    assert sum(map(len, reader.blocks(part))) == 120
    assert findings is reader.findings
    assert sum((findings.recorded or {}).values()) == 120


@PLUGINS
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags_decode_as_drops(
    tmp_path: Path, plugin: StoragePlugin, mode: CompressionMode, decode: Callable[..., Any]
) -> None:
    result = decode(bag(tmp_path / "b", plugin, mode))
    assert result.outcome.verdict == "decoded"
    counts = {c.channel: (c.read, c.decoded, c.undecodable) for c in result.outcome.channels}
    assert counts["/text"] == (60, 60, 0)


@PLUGINS
def test_a_cut_stream_gives_its_beginning_and_says_so(tmp_path: Path, plugin: StoragePlugin) -> None:
    content = bag(tmp_path / "b", plugin, CompressionMode.NONE, 4000).read_bytes()
    data = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(content)
    _, whole = read(data)
    most = 0
    for size in range(len(data) // 8, len(data), len(data) // 8):
        try:
            reader, messages = read(data[:size])
        except BadInputError:
            continue
        assert set(messages) <= set(whole)
        assert "stream_damaged" in reasons(reader)
        most = max(most, len(messages))
    assert most > len(whole) // 4


def test_a_claimed_size_is_not_believed(tmp_path: Path) -> None:
    content = bag(tmp_path / "b", StoragePlugin.MCAP, CompressionMode.NONE).read_bytes()
    small = DecodeConfig(max_inflation=1)
    bomb = zstandard.ZstdCompressor().compress(content + bytes(600 * MIB))
    tracemalloc.start()
    with pytest.raises(BadInputError) as caught:
        read(bomb, small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason == "object_inflation_too_large"
    assert peak < 16 * MIB
    data = bytearray(zstandard.compress(content))
    assert zstandard.get_frame_parameters(bytes(data)).content_size == len(content)
    data[data.index((len(content) - 256).to_bytes(2, "little"), 4)] ^= 1
    with pytest.raises(BadInputError, match="zstd"):
        read(bytes(data))


def test_what_is_compressed_and_no_recording_is_refused() -> None:
    inner = zstandard.compress(b"\x89MCAP0\r\n" + bytes(100))
    for content in (b"hello", b"", inner):
        for data in (zstandard.compress(content), gzip.compress(content), zlib.compress(content)):
            with pytest.raises(BadInputError) as caught:
                read(data)
            assert caught.value.reason == "format_unknown"


TO_FILE = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "zlib-fast": lambda data: zlib.compress(data, 1),
    "gzip members": lambda data: gzip.compress(data[:900], mtime=0) + gzip.compress(data[900:], mtime=0) + bytes(512),
    "zstd": zstandard.compress,
    "zstd frames": lambda data: zstandard.compress(data[:900]) + zstandard.compress(data[900:]),
}


@pytest.fixture(scope="module")
def episodes(real_data: Callable[[str], Path]) -> bytes:
    (path,) = sorted(real_data("octo_bridge_rlds").rglob("*.tfrecord*"))[:1]
    return path.read_bytes()


@pytest.mark.parametrize("compress", TO_FILE.values(), ids=TO_FILE)
def test_compressed_tfrecords_hold_what_plain_ones_do(episodes: bytes, compress: Callable[[bytes], bytes]) -> None:
    name = "bridge-train.tfrecord-00000-of-00001"
    _, plain = read(episodes, name=name)
    for given_name in (name, f"{name}.gz", "x"):
        reader, messages = read(compress(episodes), name=given_name)
        assert isinstance(reader, CompressedReader)
        assert reader.format == "rlds"
        assert [m[2] for m in messages] == [m[2] for m in plain]
        assert reader.findings.problems == []
    assert len(plain) > 1000


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_cut_tfrecords_give_their_beginning(episodes: bytes, kind: str) -> None:
    data = TO_FILE[kind](episodes)
    _, whole = read(data, name="a.tfrecord")
    for size in (len(data) // 2, len(data) - 3):
        reader, messages = read(data[:size], name="a.tfrecord")
        assert "stream_damaged" in reasons(reader)
        assert set(messages) <= set(whole)
        assert messages


def test_a_plain_record_whose_length_looks_like_zlib_is_plain() -> None:
    data = framed(bytes(0x0178))
    assert compression_of(data[:16]) is Compression.ZLIB
    reader = open_reader(MemorySource(data), DecodeConfig(), "a.tfrecord")
    assert reader.format == "rlds"
    assert not isinstance(reader, CompressedReader)


def block_of(contents: list[bytes], encoding: str = "cdr") -> Block:
    lengths = np.array([len(c) for c in contents], np.int64)
    zeros = np.zeros(len(contents), np.int64)
    end = np.cumsum(lengths)
    definition = Definition(Channel(1, 0, "/a", encoding, {}))
    return Block(
        memoryview(b"".join(contents)), {1: definition}, zeros.astype(np.int32) + 1, zeros.astype(np.uint32),
        np.arange(len(contents), dtype=np.uint64), zeros.astype(np.uint64), zeros, np.arange(len(contents)),
        end - lengths, end,
    )  # fmt: skip


def opened(block: Block, max_message_bytes: int = MIB, object_bytes: int = 0) -> list[bytes]:
    inflation = MessageInflation(max_message_bytes, object_bytes, 1)
    blocks = list(inflation.opened(block))
    rows = np.concatenate([b.message_offset_bytes for b in blocks])
    assert rows.tolist() == list(range(len(block)))
    assert [int(t) for b in blocks for t in b.log_time_ns] == list(range(len(block)))
    assert max(len(b.body) for b in blocks) <= 8 * MIB + max_message_bytes
    return [bytes(b.data(i)) for b in blocks for i in range(len(b))]


CONTENT = st.binary(max_size=300).map(lambda data: b"\0\1\0\0" + data)
ODD = st.one_of(
    st.binary(max_size=3), st.binary(max_size=60).map(lambda d: b"\x28\xb5\x2f\xfd" + d), st.just(b"\x28\xb5\x2f")
)


@settings(max_examples=200, deadline=None)
@given(contents=st.lists(st.tuples(CONTENT, st.booleans()), min_size=1, max_size=30), odd=st.lists(ODD, max_size=3))
def test_each_message_is_itself_again_or_left_alone(contents: list[tuple[bytes, bool]], odd: list[bytes]) -> None:
    stored = [zstandard.compress(c) if is_compressed else c for c, is_compressed in contents]
    found = opened(block_of([*stored, *odd]))
    assert found[: len(contents)] == [c for c, _ in contents]
    for before, after in zip(odd, found[len(contents) :], strict=True):
        assert before == after or before.startswith(b"\x28\xb5\x2f\xfd")


def test_messages_of_other_encodings_are_left_alone() -> None:
    data = zstandard.compress(b"\0\1\0\0abc")
    assert opened(block_of([data], "json")) == [data]


def test_messages_are_inflated_within_bounds() -> None:
    big = zstandard.compress(bytes(2 * MIB))
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(b"\0\1\0\0abc")
    assert opened(block_of([big, unsaid])) == [big, unsaid]
    assert opened(block_of([big]), 2 * MIB) == [bytes(2 * MIB)]
    many = [zstandard.compress(bytes(MIB))] * 700
    tracemalloc.start()
    inflation = MessageInflation(MIB, 0, 1)
    sizes = [int((b.exclusive_end - b.start).sum()) for b in inflation.opened(block_of(many))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(sizes) <= 9 * MIB
    assert 511 * MIB < sum(sizes) < 513 * MIB
    assert peak < 64 * MIB


def test_a_message_that_cannot_be_inflated_is_kept_and_labelled(tmp_path: Path, decode: Callable[..., Any]) -> None:
    path = bag(tmp_path / "b", StoragePlugin.SQLITE3, CompressionMode.MESSAGE)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE messages SET data = substr(data, 1, 9) WHERE rowid = 3")
    connection.commit()
    connection.close()
    result = decode(path)
    (bad,) = (r for r in result.index if r["status"] == "undecodable")
    assert bad["reason"] == "cdr_encapsulation_unsupported"
    assert result.payload(bad)["data"].startswith(b"\x28\xb5\x2f\xfd")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_files_are_read_in_time(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Frames of rosbag2 have no checksum: in them a change can pass unseen, as it can in a plain bag."""
    seeds = _seeds(tmp_path_factory)
    mutated = bytearray(data.draw(st.sampled_from(seeds)))
    generator = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(generator.choice((1, 1, 3))):
        mutated[generator.randrange(len(mutated))] ^= 1 << generator.randrange(8)
    if generator.random() < 0.3:
        del mutated[generator.randrange(len(mutated)) :]
    started = time.process_time()
    with contextlib.suppress(BadInputError):
        read(bytes(mutated), name="a")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_mutated_tfrecords_give_what_was_written_or_report(kind: str) -> None:
    generator = random.Random(kind)
    records = b"".join(framed(generator.randbytes(generator.randrange(200))) for _ in range(40))
    data = TO_FILE[kind](records)
    intact = read_records_of(data)[0]
    assert len(intact) == 40
    for _ in range(300):
        mutated = bytearray(data)
        for _ in range(generator.choice((1, 1, 3))):
            mutated[generator.randrange(len(mutated))] ^= 1 << generator.randrange(8)
        found, problems = read_records_of(bytes(mutated))
        assert set(found) <= set(intact)
        # Gzip's own header has bytes that mean nothing.
        assert problems or found == intact


def framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked_crc(length)) + record + struct.pack("<I", masked_crc(record))


def read_records_of(data: bytes) -> tuple[list[bytes], list[Problem]]:
    """Records of a compressed file, without what a dataset makes of them."""
    problems: list[Problem] = []
    found: list[bytes] = []

    def content(source: Any) -> Any:
        reader = RldsReader(source, DecodeConfig(), "a.tfrecord", NO_SIBLINGS)
        found.extend(bytes(record) for _, record in read_records(source, MIB, problems))
        return reader

    compression = compression_of(data[:16])
    if compression is None:
        return [], [Problem("format_unknown", "", 0, 0)]
    reader = CompressedReader(MemorySource(data), compression, "rlds", content, max_inflation=200)
    with contextlib.suppress(BadInputError):
        list(reader.blocks())
    return found, problems + [p for p in reader.findings.problems if p.reason == "stream_damaged"]


_SEEDS: list[bytes] = []


def _seeds(factory: pytest.TempPathFactory) -> list[bytes]:
    if not _SEEDS:
        folder = factory.mktemp("compressed")
        for plugin in (StoragePlugin.SQLITE3, StoragePlugin.MCAP):
            for mode in (CompressionMode.FILE, CompressionMode.MESSAGE):
                _SEEDS.append(bag(folder / f"{plugin.name}-{mode.name}", plugin, mode, 12).read_bytes())
    return _SEEDS
