"""Fragmented MP4 files: each frame lies where the demuxer finds it, damage costs its fragment, claims are bounded."""

import io
import random
import struct
import time
import tracemalloc
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.mp4 import VideoTrack, read_video_track
from scenelake.decode.formats.sources import MemorySource

MIB = 1024 * 1024
FLAGS = ("frag_keyframe", "frag_keyframe+empty_moov", "frag_keyframe+empty_moov+default_base_moof",
         "frag_every_frame+empty_moov", "frag_keyframe+separate_moof", "frag_keyframe+omit_tfhd_offset",
         "frag_keyframe+negative_cts_offsets", "cmaf", "frag_keyframe+delay_moov")  # fmt: skip

NEGATIVE = ("frag_keyframe+negative_cts_offsets", "cmaf")


def encoded(flags: str, count: int = 40, *, b_frames: int = 0, sound: bool = False, codec: str = "libx264") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": flags}) as container:
        options = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"sc_threshold": "0"}}.get(codec, {})
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 8, b_frames
        audio = container.add_stream("aac", rate=8000) if sound else None
        for number in range(count):
            image = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
            if audio is not None:
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 267), np.float32), format="fltp", layout="mono")
                samples.sample_rate, samples.pts = 8000, number * 267
                samples.time_base = Fraction(1, 8000)
                container.mux(audio.encode(samples))
        container.mux(stream.encode(None))
        if audio is not None:
            container.mux(audio.encode(None))
    return file.getvalue()


def demuxed(data: bytes) -> list[tuple[int, int, bytes]]:
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        ns = stream.time_base * 1_000_000_000
        return [(nearest(p.pts * ns), nearest(p.dts * ns), bytes(p)) for p in container.demux(stream) if p.size]


def nearest(ns: Fraction) -> int:
    return int((ns + Fraction(1, 2)) // 1)


def read(data: bytes) -> tuple[list[tuple[int, int, bytes]], VideoTrack]:
    track = read_video_track(MemorySource(data), 16 * MIB)
    columns = (track.shown_ns, track.decoded_ns, track.offset, track.size_bytes)
    rows = zip(*(c.tolist() for c in columns), strict=True)
    return [(shown, at, data[offset : offset + size]) for shown, at, offset, size in rows], track


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("flags", FLAGS)
def test_fragments_hold_what_the_demuxer_gives(flags: str, sound: bool, b_frames: int) -> None:
    data = encoded(flags, b_frames=b_frames, sound=sound)
    assert b"moof" in data
    found, track = read(data)
    assert track.problems == ()
    assert len(found) == 40
    expected = demuxed(data)
    assert [packet for *_, packet in found] == [packet for *_, packet in expected]
    if b_frames and flags in NEGATIVE:
        # There the demuxer shows the frames of later fragments a frame too late: 7 at 233 ms, 8 at 300 ms.
        assert sorted(shown for shown, *_ in found) == [nearest(Fraction(n * 10**9, 30)) for n in range(40)]
    else:
        assert found == expected


@pytest.mark.parametrize("codec", ["libx265", "libsvtav1"])
def test_other_codecs_in_fragments(codec: str) -> None:
    data = encoded("frag_keyframe+empty_moov", 20, codec=codec)
    assert read(data)[0] == demuxed(data)


def boxes(data: bytes) -> list[tuple[int, bytes]]:
    """Start and kind of the boxes of a file, and where it ends."""
    found, at = [], 0
    while at < len(data):
        found.append((at, data[at + 4 : at + 8]))
        at += struct.unpack_from(">I", data, at)[0]
    return [*found, (len(data), b"")]


def test_a_file_cut_anywhere_gives_its_whole_frames(tmp_path: Any, read_in: Any) -> None:
    data = encoded("frag_keyframe+empty_moov")
    whole, track = read(data)
    fragments = [start for start, kind in boxes(data) if kind == b"moof"]
    assert len(fragments) == 5
    name = "cut.mp4"
    for size in sorted({*range(fragments[1], len(data), len(data) // 23), *(f + 20 for f in fragments[1:])}):
        (tmp_path / name).write_bytes(data[:size])
        messages, findings = read_in(tmp_path, name)
        ends = track.offset + track.size_bytes
        listed = max(f for f, after in pairwise([*fragments, len(data)]) if _moof_end(data, f) <= size)
        there = [r for r, end in zip(whole, ends.tolist(), strict=True) if end <= size]
        assert sorted(b for _, b in messages["/video"]) == sorted(b for _, _, b in there)
        is_cut = size not in (listed, *(start for start, _ in boxes(data)))
        assert bool(findings.problems) == is_cut, (size, findings.problems)


def _moof_end(data: bytes, start: int) -> int:
    return start + int(struct.unpack_from(">I", data, start)[0])


@pytest.mark.parametrize(
    ("kind", "offset", "value"),
    [
        (b"trun", 4, b"\xff\xff\xff\xff"),
        (b"trun", 4, b"\x00\x20\x00\x00"),
        (b"trun", -8, b"\x7f\xff\xff\xff"),
        (b"trun", 8, b"\x80\x00\x00\x00"),
        (b"tfdt", 4, b"\xff\xff\xff\xff"),
        (b"tfhd", 1, b"\xff\xff\xff"),
        (b"tfhd", -8, b"\x00\x00\x00\x0c"),
    ],
)
def test_a_lying_fragment_costs_its_own_frames(kind: bytes, offset: int, value: bytes) -> None:
    data = encoded("frag_keyframe+empty_moov+default_base_moof")
    whole, _ = read(data)
    second = [start for start, name in boxes(data) if name == b"moof"][1]
    at = data.index(kind, second) + 4 + offset
    tracemalloc.start()
    found, track = read(data[:at] + value + data[at + len(value) :])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [p.reason for p in track.problems] == ["fragment_invalid"]
    assert track.problems[0].start_byte == second
    assert found == whole[:8] + whole[16:]
    assert peak < 4 * MIB


def test_defaults_of_size_are_held_against_the_file() -> None:
    data = encoded("frag_keyframe+empty_moov")
    fragment = data.index(b"moof")
    run = struct.pack(">I4sII", 16, b"trun", 0, 1_900_000)
    head = struct.pack(">I4sIII", 20, b"tfhd", 0x10, 1, 1_000_000)
    traf = struct.pack(">I4s", 8 + len(head) + len(run), b"traf") + head + run
    moof = struct.pack(">I4s", 8 + len(traf), b"moof") + traf
    _, track = read(data[: fragment - 4] + moof)
    assert len(track.offset) == 0
    assert [p.reason for p in track.problems] == ["fragment_invalid"]


def test_frames_that_share_their_bytes_are_refused(tmp_path: Any, read_in: Any) -> None:
    """A file of some kilobytes could be made to give terabytes."""
    data = encoded("frag_keyframe+empty_moov")
    second = [start for start, name in boxes(data) if name == b"moof"][1]
    first_end = next(start for start, name in boxes(data) if name == b"moof")
    fragment = data[first_end:second]
    (tmp_path / "a.mp4").write_bytes(data[:first_end] + _rebased(fragment, first_end) * 4 + data[first_end:second])
    with pytest.raises(BadInputError, match="larger together"):
        read_in(tmp_path, "a.mp4")


def _rebased(fragment: bytes, first: int) -> bytes:
    """A fragment's head alone, whose frames start right behind the first fragment's head wherever it stands."""
    (length,) = struct.unpack_from(">I", fragment)
    head = bytearray(fragment[:length])
    at = head.index(b"tfhd") + 4
    flags = int.from_bytes(head[at + 1 : at + 4], "big")
    if flags & 1:
        struct.pack_into(">Q", head, at + 8, first)
    return bytes(head)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_fragments_are_read_in_time_and_memory(seed: int, read_bytes: Any) -> None:
    generator = random.Random(seed)
    data = encoded(generator.choice(FLAGS), sound=seed == 2)
    heads = [at for start, kind in boxes(data) if kind in (b"moof", b"moov") for at in range(start, start + 300)]
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(generator.randrange(1, 5)):
            at = min(generator.choice(heads), len(data) - 5)
            damaged[at : at + 1] = generator.choice((b"\0", b"\1", b"\xff", b"\x7f", generator.randbytes(1)))
        started = time.process_time()
        read_bytes(bytes(damaged))
        assert time.process_time() - started < 2
