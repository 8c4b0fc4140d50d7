"""The sample table of an MP4 file: where each frame of its video lies, and when it is shown.

The tables are read as columns and held against the size of the file before anything is made of them, since a file of
a kilobyte can claim billions of samples. ``mp4_fragments`` reads what is listed in fragments.
Sources: ISO/IEC 14496-12 (boxes and sample tables), 14496-15 (avcC, hvcC); AV1 in ISOBMFF 1.2.
"""

import base64
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.mp4_boxes import (
    MAX_BOXES,
    MAX_SAMPLES,
    MAX_SECONDS,
    Boxes,
    box_at,
    boxes,
    invalid,
    need,
    one,
    only,
    table_rows,
)
from scenelake.decode.formats.mp4_fragments import Samples, Track, read_fragments

_NS_PER_S = 1_000_000_000
_CODECS = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "h265", b"hev1": "h265", b"av01": "av1"}
_ENTRY_BYTES = 86
"""Of a VisualSampleEntry before the boxes in it."""


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The first video track of a file; n frames in the order of decoding.

    Attributes:
        schema: codec, size in pixels, and how its NAL units are framed: ``handlers.datasets.VideoReader`` takes it.
        offset, size_bytes: (n,) int64, where each frame lies in the file.
        shown_ns, decoded_ns: (n,) int64, presentation and decoding time since the start of the presentation.
        problems: fragments that could not be used.
    """

    schema: dict[str, Any]
    offset: np.ndarray
    size_bytes: np.ndarray
    shown_ns: np.ndarray
    decoded_ns: np.ndarray
    problems: tuple[Problem, ...] = ()


def read_video_track(source: Source, max_header_bytes: int) -> VideoTrack:
    """Reads the tables of the first video track.

    Raises:
        BadInputError: reason ``mp4_invalid``, ``mp4_too_large``, ``mp4_without_video`` or ``mp4_truncated``.
    """
    movie, exclusive_end = _movie(source, max_header_bytes)
    inner = list(boxes(movie))
    for kind, track in inner:
        if kind == b"trak":
            media = only(one(track, b"mdia"))
            if bytes(media.get(b"hdlr", b"")[8:12]) == b"vide":
                return _track(source, dict(inner), track, media, exclusive_end, max_header_bytes)
    raise BadInputError("no video track", reason="mp4_without_video")


def _movie(source: Source, max_header_bytes: int) -> tuple[memoryview, int]:
    """Content of the header (moov), and the byte behind it."""
    at = 0
    for _ in range(MAX_BOXES):
        box = box_at(source, at)
        if box is None or (box.kind == b"moov" and box.exclusive_end > source.size_bytes):
            break
        if box.kind == b"moov":
            length = box.exclusive_end - box.content
            if length > max_header_bytes:
                raise BadInputError(f"a header of {length} bytes", reason="mp4_too_large", byte_offset=at)
            return memoryview(bytes(source.read(box.content, length))), box.exclusive_end
        at = box.exclusive_end
    size = source.size_bytes
    raise BadInputError("the file ends before its header (moov)", reason="mp4_truncated", byte_offset=size)


def _track(
    source: Source, movie: Boxes, track: memoryview, media: Boxes, exclusive_end: int, max_header_bytes: int
) -> VideoTrack:
    tables, inner = only(one(need(media, b"minf"), b"stbl")), only(track)
    schema = _sample_entry(need(tables, b"stsd"))
    timescale = _timescale(need(media, b"mdhd"))
    samples, end = _samples(tables, source.size_bytes)
    problems: tuple[Problem, ...] = ()
    if b"mvex" in movie:
        wanted = Track(_track_id(need(inner, b"tkhd")), timescale, end)
        samples, problems = read_fragments(source, exclusive_end, movie, wanted, samples, max_header_bytes)
    shift = _edit_shift(inner.get(b"edts"), timescale, _timescale(need(movie, b"mvhd")))
    shown_ns = _ns(samples.decoded + samples.composition + shift, timescale)
    decoded_ns = _ns(samples.decoded + shift, timescale)
    return VideoTrack(schema, samples.offset, samples.size_bytes, shown_ns, decoded_ns, problems)


def _samples(tables: Boxes, file_bytes: int) -> tuple[Samples, int]:
    """The samples of the header's tables, and the tick at which they end."""
    size_bytes = _sizes(need(tables, b"stsz"), file_bytes)
    offset = _offsets(tables, size_bytes)
    decoded, end = _decoding_times(need(tables, b"stts"), len(size_bytes))
    return Samples(offset, size_bytes, decoded, _composition_offsets(tables.get(b"ctts"), len(size_bytes))), end


def _track_id(box: memoryview) -> int:
    """Of a tkhd box."""
    at = 20 if len(box) and box[0] == 1 else 12
    return int.from_bytes(box[at : at + 4], "big")


def _timescale(box: memoryview) -> int:
    """Ticks per second of an mdhd or mvhd box."""
    at = 20 if len(box) and box[0] == 1 else 12
    timescale = int.from_bytes(box[at : at + 4], "big") if len(box) >= at + 4 else 0
    if not timescale:
        raise invalid("a clock without ticks")
    return timescale


def _sizes(box: memoryview, file_bytes: int) -> np.ndarray:
    if len(box) < 12:
        raise invalid("stsz is too short")
    fixed, count = struct.unpack_from(">II", box, 4)
    if count > MAX_SAMPLES:
        raise BadInputError(f"{count} frames, at most {MAX_SAMPLES} are read", reason="mp4_too_large")
    if fixed and fixed * count > file_bytes:
        raise invalid(f"{count} frames of {fixed} bytes in a file of {file_bytes}")
    if fixed:
        return np.full(count, fixed, np.int64)
    return table_rows(box, ">u4", 8).astype(np.int64)


def _offsets(tables: Boxes, size_bytes: np.ndarray) -> np.ndarray:
    """Byte offset of each frame from the chunks that hold them."""
    chunks = table_rows(tables[b"stco"], ">u4") if b"stco" in tables else table_rows(need(tables, b"co64"), ">u8")
    if len(chunks) and int(chunks.max()) >= 2**62:
        raise invalid("a chunk beyond every file")
    runs = table_rows(need(tables, b"stsc"), ">u4,>u4,>u4")
    first, per_chunk = runs["f0"].astype(np.int64) - 1, runs["f1"].astype(np.int64)
    if not len(size_bytes) and not len(chunks):
        return np.empty(0, np.int64)
    if not len(runs) or first[0] != 0 or (np.diff(first) <= 0).any() or first[-1] >= max(len(chunks), 1):
        raise invalid("stsc does not cover the chunks")
    counts = np.repeat(per_chunk, np.diff(np.append(first, len(chunks))))
    if int(counts.sum()) != len(size_bytes):
        raise invalid(f"chunks of {int(counts.sum())} frames, stsz has {len(size_bytes)}")
    before = np.cumsum(size_bytes) - size_bytes
    starts = np.cumsum(counts) - counts
    in_chunk = before - np.repeat(before[np.minimum(starts, len(before) - 1)], counts)
    offsets: np.ndarray = np.repeat(chunks.astype(np.int64), counts) + in_chunk
    return offsets


def _decoding_times(box: memoryview, count: int) -> tuple[np.ndarray, int]:
    """Tick of each frame, and of the end of the last."""
    runs = table_rows(box, ">u4,>u4")
    lengths = runs["f0"].astype(np.int64)
    if int(lengths.sum()) != count:
        raise invalid(f"times of {int(lengths.sum())} frames, stsz has {count}")
    steps = np.repeat(runs["f1"].astype(np.int64), lengths)
    return np.cumsum(steps) - steps, int(steps.sum())


def _composition_offsets(box: memoryview | None, count: int) -> np.ndarray:
    if box is None:
        return np.zeros(count, np.int64)
    # Version 0 is unsigned by the letter; writers put negative ones there all the same, and players take them so.
    runs = table_rows(box, ">u4,>i4")
    lengths = runs["f0"].astype(np.int64)
    if int(lengths.sum()) != count:
        raise invalid(f"composition offsets of {int(lengths.sum())} frames, stsz has {count}")
    return np.repeat(runs["f1"].astype(np.int64), lengths)


def _edit_shift(edits: memoryview | None, timescale: int, movie_timescale: int) -> int:
    """Ticks to add to media time: an empty edit delays the track, the first real one says where it begins."""
    if edits is None:
        return 0
    box = only(edits).get(b"elst")
    if box is None:
        return 0
    is_long = len(box) and box[0] == 1
    rows = table_rows(box, ">u8,>i8,>u4" if is_long else ">u4,>i4,>u4")
    shift = 0
    for duration, media_time, _ in rows.tolist()[:16]:
        if media_time >= 0:
            return shift - int(media_time)
        shift += int(duration) * timescale // movie_timescale
    return shift


def _ns(ticks: np.ndarray, timescale: int) -> np.ndarray:
    """Ticks in ns, rounded to the nearest."""
    seconds, rest = np.divmod(ticks, timescale)
    if len(seconds) and (int(seconds.max()) > MAX_SECONDS or int(seconds.min()) < -MAX_SECONDS):
        raise invalid("frames are shown more than 68 years from the start")
    ns: np.ndarray = seconds * _NS_PER_S + (rest * _NS_PER_S + timescale // 2) // timescale
    return ns


def _sample_entry(box: memoryview) -> dict[str, Any]:
    """Codec, size and NAL framing of the first sample entry."""
    kind, entry = next(boxes(box[8:]), (b"", box[:0]))
    if len(entry) < _ENTRY_BYTES - 8:
        raise invalid(f"a sample entry {kind!r} of {len(entry)} bytes")
    width_px, height_px = struct.unpack_from(">HH", entry, 24)
    codec = _CODECS.get(kind, kind.decode("latin-1"))
    schema: dict[str, Any] = {"codec": codec, "width_px": width_px, "height_px": height_px}
    inner = only(entry[_ENTRY_BYTES - 8 :]) if codec in ("h264", "h265") else {}
    if codec == "h264":
        length, sets = _avc_sets(need(inner, b"avcC"))
    elif codec == "h265":
        length, sets = _hevc_sets(need(inner, b"hvcC"))
    else:
        return schema
    return {**schema, "nal_length_bytes": length, "parameter_sets": [base64.b64encode(s).decode() for s in sets]}


def _avc_sets(box: memoryview) -> tuple[int, list[memoryview]]:
    """Bytes of a NAL unit's length, and SPS and PPS."""
    sets: list[memoryview] = []
    if len(box) < 7:
        raise invalid("avcC is too short")
    at = 6
    for count in (box[5] & 0x1F, None):
        if count is None:
            if at >= len(box):
                raise invalid("avcC ends early")
            count, at = box[at], at + 1
        found, at = _units(box, at, count)
        sets += found
    return (box[4] & 3) + 1, sets


def _hevc_sets(box: memoryview) -> tuple[int, list[memoryview]]:
    """Bytes of a NAL unit's length, and VPS, SPS, PPS."""
    if len(box) < 23:
        raise invalid("hvcC is too short")
    sets: list[memoryview] = []
    at = 23
    for _ in range(box[22]):
        if at + 3 > len(box):
            raise invalid("hvcC ends early")
        kind, count = box[at] & 0x3F, int.from_bytes(box[at + 1 : at + 3], "big")
        found, at = _units(box, at + 3, count)
        sets += found if kind in (32, 33, 34) else []
    return (box[21] & 3) + 1, sets


def _units(box: memoryview, at: int, count: int) -> tuple[list[memoryview], int]:
    units = []
    for _ in range(count):
        start = at + 2
        at = start + int.from_bytes(box[at:start], "big")
        if at > len(box) or at == start:
            raise invalid("a parameter set beyond its box")
        units.append(box[start:at])
    return units, at
