"""Chunks that hold nothing that is wanted are not read, and the wanted messages are those of a filtered full read."""

import io
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer

from scenelake.decode.formats.blocks import Part, PlanContradictedError
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.mcap_selection import MAX_RANGES, Wanted
from scenelake.decode.formats.sources import MemorySource

MIB = 1024 * 1024
TOPICS = ("/a", "/b", "/c")
Found = list[tuple[str, int, int, int, bytes]]


def recording(sent: list[tuple[int, ...]], **options: Any) -> bytes:
    """A file of (topic, log time, bytes of content)."""
    buffer = io.BytesIO()
    writer = Writer(buffer, **{"chunk_size": 300, "compression": CompressionType.NONE, **options})
    writer.start()
    schema = writer.register_schema("p/msg/T", "ros2msg", b"uint8[] data")
    channels = [writer.register_channel(topic, "cdr", schema) for topic in TOPICS]
    for number, (topic, at, size) in enumerate(sent):
        writer.add_message(channels[topic], at, bytes([number % 256]) * size, at)
        if number == 20:
            writer.add_metadata("m", {"k": "v"})
    writer.finish()
    return buffer.getvalue()


def reader_of(source: Any) -> McapReader:
    return McapReader(source, max_chunk_bytes=MIB, max_record_bytes=MIB)


def messages(reader: McapReader, parts: list[Part], wanted: Wanted) -> Found:
    found = [
        (m.channel.topic, m.log_time_ns, m.chunk_offset_bytes, m.message_offset_bytes, bytes(m.data))
        for part in parts
        for block in reader.blocks(part)
        for m in block.messages()
    ]
    return [f for f in found if _is_wanted(f, wanted)]


def _is_wanted(found: Any, wanted: Wanted) -> bool:
    topic, at, *_ = found
    is_in_time = (wanted.start_ns or 0) <= at and (wanted.exclusive_end_ns is None or at < wanted.exclusive_end_ns)
    return is_in_time and (wanted.topics is None or topic in wanted.topics)


OPTIONS = st.fixed_dictionaries(
    {
        "chunk_size": st.sampled_from((60, 200, 1000)),
        "compression": st.sampled_from((CompressionType.NONE, CompressionType.ZSTD, CompressionType.LZ4)),
        "index_types": st.sampled_from(
            (IndexType.ALL, IndexType.ALL, IndexType.CHUNK, IndexType.MESSAGE, IndexType.NONE)
        ),
        "repeat_channels": st.sampled_from((True, True, True, False)),
        "use_statistics": st.sampled_from((True, True, True, False)),
        "use_chunking": st.sampled_from((True, True, True, False)),
        "enable_crcs": st.booleans(),
    }
)
TIMES = st.one_of(st.none(), st.integers(0, 60))
WANTED = st.builds(Wanted, st.one_of(st.none(), st.frozensets(st.sampled_from((*TOPICS, "/other")))), TIMES, TIMES)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    options=OPTIONS,
    wanted=WANTED,
    part_bytes=st.sampled_from((400, 10**6)),
)
def test_what_is_wanted_is_what_a_filtered_read_gives(
    seed: int, options: dict[str, Any], wanted: Wanted, part_bytes: int
) -> None:
    generator = random.Random(seed)
    sent = [tuple(map(generator.randrange, (3, 61, 91))) for _ in range(generator.randrange(120))]
    data = recording(sent, **options)
    whole = reader_of(MemorySource(data))
    expected = messages(whole, [Part(0, 0, len(data))], wanted)
    reader = reader_of(MemorySource(data))
    found: Found = []
    for part in reader_of(MemorySource(data)).parts(part_bytes):
        found += messages(reader, reader.selected(part, wanted), wanted)
    assert found == expected
    assert reader.findings.problems == []
    assert reader.findings.metadata == whole.findings.metadata


class Counted(MemorySource):
    """Remembers what was read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.places: set[int] = set()

    def read(self, offset: int, length: int) -> memoryview:
        found = super().read(offset, length)
        self.places.update(range(offset, offset + len(found)))
        return found


ONE_AFTER_THE_OTHER = [(i // 100, 1 + i, 50) for i in range(300)]


@pytest.mark.parametrize(
    ("wanted", "nbr"), [(Wanted(frozenset({"/b"})), 100), (Wanted(start_ns=150, exclusive_end_ns=180), 30)]
)
def test_unwanted_chunks_are_not_read(wanted: Wanted, nbr: int) -> None:
    data = recording(ONE_AFTER_THE_OTHER)
    source = Counted(data)
    reader = reader_of(source)
    parts = reader.selected(None, wanted)
    assert len(parts) > 1
    assert len(messages(reader, parts, wanted)) == nbr
    assert len(source.places) < 0.6 * len(data)


def test_ranges_are_few_however_the_wanted_chunks_lie() -> None:
    data = recording([(i % 7 == 0, 1 + i, 80) for i in range(1500)], chunk_size=60)
    wanted = Wanted(frozenset({"/b"}))
    reader = reader_of(MemorySource(data))
    parts = reader.selected(None, wanted)
    assert len(parts) == MAX_RANGES
    assert parts[0].start_byte == 0
    assert parts[-1].exclusive_end_byte == len(data)
    whole = messages(reader_of(MemorySource(data)), [Part(0, 0, len(data))], wanted)
    assert messages(reader, parts, wanted) == whole


def test_nothing_is_left_out_by_an_index_that_fails_its_checksum() -> None:
    data = bytearray(recording(ONE_AFTER_THE_OTHER))
    data[-40] ^= 1
    reader = reader_of(MemorySource(bytes(data)))
    whole = Part(0, 0, len(data))
    assert reader.selected(None, Wanted(frozenset({"/b"}))) == [whole]


def test_an_index_that_contradicts_what_is_read_is_found() -> None:
    data = recording(ONE_AFTER_THE_OTHER)
    parts = reader_of(MemorySource(data)).selected(None, Wanted(frozenset({"/b"})))
    cut_elsewhere = Part(0, parts[0].start_byte, parts[0].exclusive_end_byte - 3)
    with pytest.raises(PlanContradictedError):
        messages(reader_of(MemorySource(data)), [cut_elsewhere], Wanted())
