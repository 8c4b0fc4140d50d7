"""MP4 and Parquet files that lie: refused or salvaged, within bounded memory and time."""

import io
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import DropVerdict
from scenelake.decode.formats.mp4 import read_video_track
from scenelake.decode.formats.parquet_file import checked_row_group, open_parquet, read_batches
from scenelake.decode.formats.parquet_pages import read_pages
from scenelake.decode.formats.sources import MemorySource

MIB = 1024 * 1024
VIDEO = "videos/chunk-000/observation.images.front/episode_000000.mp4"


@pytest.fixture
def video(tmp_path: Path, encode_video: Callable[..., None]) -> bytes:
    encode_video(tmp_path / "v.mp4", 30)
    return (tmp_path / "v.mp4").read_bytes()


def patched(data: bytes, kind: bytes, offset: int, value: bytes) -> bytes:
    """Bytes at an offset from a box's content replaced."""
    at = data.index(kind) + 4 + offset
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("kind", "offset", "value", "reason"),
    [
        (b"stsz", 8, b"\xff\xff\xff\xff", "mp4_too_large"),
        (b"stsz", 4, b"\xff\xff\xff\xff", "mp4_invalid"),
        (b"stts", 8, b"\xff\xff\xff\xff", "mp4_invalid"),
        (b"stts", 4, b"\x7f\xff\xff\xff", "mp4_invalid"),
        (b"stsc", 12, b"\xff\xff\xff\xff", "mp4_invalid"),
        (b"stsc", 8, b"\xff\xff\xff\xff", "mp4_invalid"),
        (b"ctts", 8, b"\xff\xff\xff\xff", "mp4_invalid"),
        (b"mdhd", 12, b"\x00\x00\x00\x00", "mp4_invalid"),
        (b"stco", 4, b"\x00\x00\x00\x00", "mp4_invalid"),
        (b"hdlr", 8, b"soun", "mp4_without_video"),
        (b"moov", -8, b"\x00\x00\x00\x04", "mp4_invalid"),
        (b"avcC", 5, b"\xff", "mp4_invalid"),
    ],
)
def test_lying_tables(kind: bytes, offset: int, value: bytes, reason: str, video: bytes) -> None:
    with pytest.raises(BadInputError) as caught:
        read_video_track(MemorySource(patched(video, kind, offset, value)), 16 * MIB)
    assert caught.value.reason == reason


def test_a_header_over_the_bound(video: bytes) -> None:
    with pytest.raises(BadInputError, match="a header of"):
        read_video_track(MemorySource(video), 100)


def test_a_cut_video_gives_what_it_holds(video: bytes, tmp_path: Path, encode_video: Any, read_in: Any) -> None:
    with pytest.raises(BadInputError) as caught:
        read_video_track(MemorySource(video[: len(video) // 2]), 16 * MIB)
    assert caught.value.reason == "mp4_truncated"
    whole, _ = read_video_track(MemorySource(video), 16 * MIB), None
    moov = video.index(b"moov") - 4
    header, body = video[moov:], video[:moov]
    # The header in front, as streaming files have it; offsets move by its length.
    head = len(header)
    at = header.index(b"stco") + 8
    (count,) = struct.unpack_from(">I", header, at)
    chunks = np.frombuffer(header, ">u4", count, at + 4) + head
    header = header[: at + 4] + chunks.astype(">u4").tobytes() + header[at + 4 + 4 * count :]
    ftyp = body[: struct.unpack(">I", body[:4])[0]]
    data = ftyp + header + body[len(ftyp) :]
    kept = len(data) - int(whole.size_bytes[-3:].sum()) + 1
    (tmp_path / VIDEO).parent.mkdir(parents=True)
    (tmp_path / VIDEO).write_bytes(data[:kept])
    messages, findings = read_in(tmp_path, VIDEO)
    assert len(messages["/observation/images/front"]) == 27
    assert [(p.reason, p.exclusive_end_byte) for p in findings.problems] == [("truncated", kept)]


def test_a_broken_frame_is_kept_as_bytes(tmp_path: Path, video: bytes, decode_in: Any) -> None:
    track = read_video_track(MemorySource(video), 16 * MIB)
    at = int(track.offset[4])
    (tmp_path / VIDEO).parent.mkdir(parents=True)
    (tmp_path / VIDEO).write_bytes(video[:at] + b"\x7f" + video[at + 1 :])
    result = decode_in(tmp_path, VIDEO)
    bad = [r for r in result.index if r["status"] == "undecodable"]
    assert [r["reason"] for r in bad] == ["video_nal_invalid"]
    size = int(track.size_bytes[4])
    assert result.payload(bad[0])["data"] == b"\x7f" + video[at + 1 : at + size]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_videos(seed: int, video: bytes, read_bytes: Any) -> None:
    generator = random.Random(seed)
    moov = video.index(b"moov")
    for _ in range(60):
        damaged = bytearray(video)
        for _ in range(generator.randrange(1, 5)):
            damaged[generator.randrange(moov, len(damaged))] = generator.randrange(256)
        started = time.process_time()
        read_bytes(bytes(damaged))
        assert time.process_time() - started < 2


def parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def some_rows(count: int = 500) -> pa.Table:
    generator = np.random.default_rng(0)
    vectors = pa.FixedSizeListArray.from_arrays(generator.normal(size=count * 6).astype(np.float32), 6)
    return pa.table(
        {
            "observation.state": vectors,
            "timestamp": pa.array(np.arange(count) / np.float32(10), pa.float32()),
            "episode_index": pa.array([0] * count),
            "frame_index": pa.array(range(count)),
            "note": pa.array([f"{i:06d}" for i in range(count)]),
        }
    )


def test_a_page_larger_than_the_bound_is_refused_unread() -> None:
    """64 MiB of one letter are a few kilobytes of file."""
    data = parquet(pa.table({"a": ["x" * (64 * MIB)]}), compression="zstd", use_dictionary=False)
    assert len(data) < MIB
    opened = open_parquet(MemorySource(data), 16 * MIB)
    before = pa.total_allocated_bytes()
    with pytest.raises(BadInputError) as caught:
        checked_row_group(opened, 0)
    assert caught.value.reason == "parquet_page_too_large"
    assert pa.total_allocated_bytes() - before < MIB


def test_repeated_large_values_come_a_few_rows_at_a_time() -> None:
    """A dictionary entry of 256 KiB in 65,536 rows would be 16 GiB in one batch."""
    column = pa.DictionaryArray.from_arrays(np.zeros(400, np.int32), pa.array(["y" * (256 * 1024)])).cast(pa.string())
    data = parquet(pa.table({"a": column}), store_schema=False)
    opened = open_parquet(MemorySource(data), 256 * MIB)
    group = checked_row_group(opened, 0)
    assert max(batch.nbytes for batch in read_batches(opened, group)) <= 65 * MIB
    assert 200 < group.batch_rows < 256


def test_small_values_among_large_ones_come_a_few_rows_at_a_time() -> None:
    values = ["z" * (8 * MIB) if i % 100 == 0 else "a" for i in range(1000)]
    data = parquet(pa.table({"a": values}), compression="zstd", use_dictionary=False, data_page_size=MIB)
    opened = open_parquet(MemorySource(data), 256 * MIB)
    group = checked_row_group(opened, 0)
    sizes = [batch.nbytes for batch in read_batches(opened, group)]
    assert sum(sizes) >= 80 * MIB
    assert max(sizes) <= 80 * MIB


def test_a_row_of_millions_of_numbers_is_refused() -> None:
    """Run-length encoded, one row of equal numbers takes almost nothing."""
    row = pa.ListArray.from_arrays(
        pa.array([0, 6_000_000], pa.int32()), pa.array(np.zeros(6_000_000, np.int8), pa.int8())
    )
    data = parquet(pa.table({"a": row.cast(pa.list_(pa.int32()))}), compression="zstd")
    assert len(data) < MIB
    with pytest.raises(BadInputError) as caught:
        checked_row_group(open_parquet(MemorySource(data), 16 * MIB), 0)
    assert caught.value.reason == "row_group_too_large"


def test_page_figures_are_the_writers() -> None:
    table = some_rows()
    data = parquet(table, data_page_size=1000, write_batch_size=50, data_page_version="2.0")
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    pages = read_pages(MemorySource(data), start, start + chunk.total_compressed_size, MIB)
    assert int(pages.nbr_values.sum()) == chunk.num_values == 3000
    assert len(pages.size_bytes) > 3


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 5 * MIB])
def test_a_footer_of_a_lying_length(length: int) -> None:
    data = parquet(some_rows())[:-8] + struct.pack("<I", length) + b"PAR1"
    with pytest.raises(BadInputError) as caught:
        open_parquet(MemorySource(data), 256 * MIB)
    assert caught.value.reason in ("parquet_invalid", "parquet_footer_too_large")


def test_a_bad_page_costs_its_row_group(tmp_path: Path, decode_in: Any) -> None:
    data = bytearray(parquet(some_rows(), row_group_size=100, write_page_checksum=True))
    groups = pq.ParquetFile(io.BytesIO(data)).metadata
    at = groups.row_group(2).column(0).data_page_offset + 60
    data[at] ^= 1
    name = "data/chunk-000/episode_000000.parquet"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(data)
    result = decode_in(tmp_path, name)
    assert result.outcome.verdict is DropVerdict.SALVAGED
    (problem,) = result.outcome.problems
    assert problem.reason == "parquet_page_invalid"
    assert problem.start_byte <= at < problem.exclusive_end_byte
    rows = [r["chunk_offset_bytes"] for r in result.index if r["channel"] == "/observation/state"]
    assert rows == [*range(200), *range(300, 500)]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_parquet(seed: int, read_bytes: Any) -> None:
    """Footer and pages: whatever is changed, it ends in time and in Scenelake's own errors."""
    data = parquet(some_rows(), row_group_size=200)
    generator = random.Random(seed)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for number in range(80):
        damaged = bytearray(data)
        first = footer if number % 2 else 4
        for _ in range(generator.randrange(1, 5)):
            damaged[generator.randrange(first, len(damaged) - 4)] = generator.randrange(256)
        started = time.process_time()
        read_bytes(bytes(damaged), "data/chunk-000/episode_000000.parquet")
        assert time.process_time() - started < 2


@pytest.mark.parametrize("size", [4, 11, 12, 100])
def test_cut_parquet_is_refused(size: int) -> None:
    with pytest.raises(BadInputError) as caught:
        open_parquet(MemorySource(parquet(some_rows())[:size]), MIB)
    assert caught.value.reason == "parquet_invalid"
