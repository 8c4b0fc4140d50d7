"""The sample table of an MP4 file: where each frame of its video lies, and when it is shown.

The tables are read as columns and held against the size of the file before anything is made of them, since a file of
a kilobyte can claim billions of samples. Files in fragments (``moof``) are not read.
Sources: ISO/IEC 14496-12 (boxes and sample tables), 14496-15 (avcC, hvcC); AV1 in ISOBMFF 1.2.
"""

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Source

MAX_SAMPLES = 2_000_000
"""Frames of one file: 18 hours at 30 Hz."""
MAX_BOXES = 10_000
_NS_PER_S = 1_000_000_000
_MAX_SECONDS = 1 << 31
_CODECS = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "h265", b"hev1": "h265", b"av01": "av1"}
_ENTRY_BYTES = 86
"""Of a VisualSampleEntry before the boxes in it."""
Boxes = dict[bytes, memoryview]


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The first video track of a file; n frames in the order of decoding.

    Attributes:
        schema: codec, size in pixels, and how its NAL units are framed: ``handlers.datasets.VideoReader`` takes it.
        offset, size_bytes: (n,) int64, where each frame lies in the file.
        shown_ns, decoded_ns: (n,) int64, presentation and decoding time since the start of the presentation.
    """

    schema: dict[str, Any]
    offset: np.ndarray
    size_bytes: np.ndarray
    shown_ns: np.ndarray
    decoded_ns: np.ndarray


def read_video_track(source: Source, max_header_bytes: int) -> VideoTrack:
    """Reads the tables of the first video track.

    Raises:
        BadInputError: reason ``mp4_invalid``, ``mp4_fragmented``, ``mp4_too_large``, ``mp4_without_video`` or
            ``mp4_truncated``.
    """
    movie = _movie(source, max_header_bytes)
    boxes = list(_boxes(movie))
    for kind, track in boxes:
        if kind == b"trak":
            media = _only(_one(track, b"mdia"))
            if bytes(media.get(b"hdlr", b"")[8:12]) == b"vide":
                return _track(dict(boxes), track, media, source.size_bytes)
    raise BadInputError("no video track", reason="mp4_without_video")


def _movie(source: Source, max_header_bytes: int) -> memoryview:
    at, size, is_fragmented = 0, source.size_bytes, False
    for _ in range(MAX_BOXES):
        if at + 8 > size:
            break
        head = bytes(source.read(at, 16))
        length, kind, head_bytes = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, head_bytes = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = size - at
        if length < head_bytes:
            raise _invalid(f"a box of {length} bytes", at)
        if kind == b"moov":
            if length > max_header_bytes:
                raise BadInputError(f"a header of {length} bytes", reason="mp4_too_large", byte_offset=at)
            if at + length > size:
                break
            movie = memoryview(bytes(source.read(at + head_bytes, length - head_bytes)))
            if any(kind == b"mvex" for kind, _ in _boxes(movie)):
                raise BadInputError("the file is in fragments", reason="mp4_fragmented", byte_offset=at)
            return movie
        is_fragmented |= kind == b"moof"
        at += length
    if is_fragmented:
        raise BadInputError("the file is in fragments", reason="mp4_fragmented")
    raise BadInputError("the file ends before its header (moov)", reason="mp4_truncated", byte_offset=size)


def _boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(content):
            return
        length, kind = int.from_bytes(content[at : at + 4], "big"), bytes(content[at + 4 : at + 8])
        if length == 0:
            length = len(content) - at
        if length < 8 or at + length > len(content):
            raise _invalid(f"box {kind!r} of {length} bytes, {len(content) - at} are left")
        yield kind, content[at + 8 : at + length]
        at += length
    raise _invalid(f"more than {MAX_BOXES} boxes in one")


def _only(content: memoryview) -> Boxes:
    """The boxes of a box by kind; of several the first counts."""
    found: Boxes = {}
    for kind, inner in _boxes(content):
        found.setdefault(kind, inner)
    return found


def _one(content: memoryview, kind: bytes) -> memoryview:
    return _need(_only(content), kind)


def _need(boxes: Boxes, kind: bytes) -> memoryview:
    if kind not in boxes:
        raise _invalid(f"no box {kind!r}")
    return boxes[kind]


def _track(movie: Boxes, track: memoryview, media: Boxes, file_bytes: int) -> VideoTrack:
    tables = _only(_one(_need(media, b"minf"), b"stbl"))
    schema = _sample_entry(_need(tables, b"stsd"))
    timescale = _timescale(_need(media, b"mdhd"))
    size_bytes = _sizes(_need(tables, b"stsz"), file_bytes)
    offset = _offsets(tables, size_bytes)
    decoded = _decoding_times(_need(tables, b"stts"), len(size_bytes))
    shown = decoded + _composition_offsets(tables.get(b"ctts"), len(size_bytes))
    shift = _edit_shift(_only(track).get(b"edts"), timescale, _timescale(_need(movie, b"mvhd")))
    return VideoTrack(schema, offset, size_bytes, _ns(shown + shift, timescale), _ns(decoded + shift, timescale))


def _timescale(box: memoryview) -> int:
    """Ticks per second of an mdhd or mvhd box."""
    at = 20 if len(box) and box[0] == 1 else 12
    timescale = int.from_bytes(box[at : at + 4], "big") if len(box) >= at + 4 else 0
    if not timescale:
        raise _invalid("a clock without ticks")
    return timescale


def _rows(box: memoryview, dtype: str, count_at: int = 4) -> np.ndarray:
    """Rows of a table box behind its count; the count must fit the box."""
    start = count_at + 4
    count = int.from_bytes(box[count_at:start], "big") if len(box) >= start else -1
    kind = np.dtype(dtype)
    if not 0 <= count <= MAX_SAMPLES or start + count * kind.itemsize > len(box):
        raise _invalid(f"a table of {count} rows in {len(box)} bytes")
    return np.frombuffer(box, kind, count, start)


def _sizes(box: memoryview, file_bytes: int) -> np.ndarray:
    if len(box) < 12:
        raise _invalid("stsz is too short")
    fixed, count = struct.unpack_from(">II", box, 4)
    if count > MAX_SAMPLES:
        raise BadInputError(f"{count} frames, at most {MAX_SAMPLES} are read", reason="mp4_too_large")
    if fixed and fixed * count > file_bytes:
        raise _invalid(f"{count} frames of {fixed} bytes in a file of {file_bytes}")
    if fixed:
        return np.full(count, fixed, np.int64)
    return _rows(box, ">u4", 8).astype(np.int64)


def _offsets(tables: Boxes, size_bytes: np.ndarray) -> np.ndarray:
    """Byte offset of each frame from the chunks that hold them."""
    chunks = _rows(tables[b"stco"], ">u4") if b"stco" in tables else _rows(_need(tables, b"co64"), ">u8")
    if len(chunks) and int(chunks.max()) >= 2**62:
        raise _invalid("a chunk beyond every file")
    runs = _rows(_need(tables, b"stsc"), ">u4,>u4,>u4")
    first, per_chunk = runs["f0"].astype(np.int64) - 1, runs["f1"].astype(np.int64)
    if not len(size_bytes) and not len(chunks):
        return np.empty(0, np.int64)
    if not len(runs) or first[0] != 0 or (np.diff(first) <= 0).any() or first[-1] >= max(len(chunks), 1):
        raise _invalid("stsc does not cover the chunks")
    counts = np.repeat(per_chunk, np.diff(np.append(first, len(chunks))))
    if int(counts.sum()) != len(size_bytes):
        raise _invalid(f"chunks of {int(counts.sum())} frames, stsz has {len(size_bytes)}")
    before = np.cumsum(size_bytes) - size_bytes
    starts = np.cumsum(counts) - counts
    in_chunk = before - np.repeat(before[np.minimum(starts, len(before) - 1)], counts)
    offsets: np.ndarray = np.repeat(chunks.astype(np.int64), counts) + in_chunk
    return offsets


def _decoding_times(box: memoryview, count: int) -> np.ndarray:
    runs = _rows(box, ">u4,>u4")
    lengths = runs["f0"].astype(np.int64)
    if int(lengths.sum()) != count:
        raise _invalid(f"times of {int(lengths.sum())} frames, stsz has {count}")
    steps = np.repeat(runs["f1"].astype(np.int64), lengths)
    times: np.ndarray = np.cumsum(steps) - steps
    return times


def _composition_offsets(box: memoryview | None, count: int) -> np.ndarray:
    if box is None:
        return np.zeros(count, np.int64)
    # Version 0 is unsigned by the letter; writers put negative ones there all the same, and players take them so.
    runs = _rows(box, ">u4,>i4")
    lengths = runs["f0"].astype(np.int64)
    if int(lengths.sum()) != count:
        raise _invalid(f"composition offsets of {int(lengths.sum())} frames, stsz has {count}")
    return np.repeat(runs["f1"].astype(np.int64), lengths)


def _edit_shift(edits: memoryview | None, timescale: int, movie_timescale: int) -> int:
    """Ticks to add to media time: an empty edit delays the track, the first real one says where it begins."""
    if edits is None:
        return 0
    box = _only(edits).get(b"elst")
    if box is None:
        return 0
    is_long = len(box) and box[0] == 1
    rows = _rows(box, ">u8,>i8,>u4" if is_long else ">u4,>i4,>u4")
    shift = 0
    for duration, media_time, _ in rows.tolist()[:16]:
        if media_time >= 0:
            return shift - int(media_time)
        shift += int(duration) * timescale // movie_timescale
    return shift


def _ns(ticks: np.ndarray, timescale: int) -> np.ndarray:
    """Ticks in ns, rounded to the nearest."""
    seconds, rest = np.divmod(ticks, timescale)
    if len(seconds) and (int(seconds.max()) > _MAX_SECONDS or int(seconds.min()) < -_MAX_SECONDS):
        raise _invalid("frames are shown more than 68 years from the start")
    ns: np.ndarray = seconds * _NS_PER_S + (rest * _NS_PER_S + timescale // 2) // timescale
    return ns


def _sample_entry(box: memoryview) -> dict[str, Any]:
    """Codec, size and NAL framing of the first sample entry."""
    kind, entry = next(_boxes(box[8:]), (b"", box[:0]))
    if len(entry) < _ENTRY_BYTES - 8:
        raise _invalid(f"a sample entry {kind!r} of {len(entry)} bytes")
    width_px, height_px = struct.unpack_from(">HH", entry, 24)
    codec = _CODECS.get(kind, kind.decode("latin-1"))
    schema: dict[str, Any] = {"codec": codec, "width_px": width_px, "height_px": height_px}
    inner = _only(entry[_ENTRY_BYTES - 8 :]) if codec in ("h264", "h265") else {}
    if codec == "h264":
        length, sets = _avc_sets(_need(inner, b"avcC"))
    elif codec == "h265":
        length, sets = _hevc_sets(_need(inner, b"hvcC"))
    else:
        return schema
    return {**schema, "nal_length_bytes": length, "parameter_sets": [base64.b64encode(s).decode() for s in sets]}


def _avc_sets(box: memoryview) -> tuple[int, list[memoryview]]:
    """Bytes of a NAL unit's length, and SPS and PPS."""
    sets: list[memoryview] = []
    if len(box) < 7:
        raise _invalid("avcC is too short")
    at = 6
    for count in (box[5] & 0x1F, None):
        if count is None:
            if at >= len(box):
                raise _invalid("avcC ends early")
            count, at = box[at], at + 1
        found, at = _units(box, at, count)
        sets += found
    return (box[4] & 3) + 1, sets


def _hevc_sets(box: memoryview) -> tuple[int, list[memoryview]]:
    """Bytes of a NAL unit's length, and VPS, SPS, PPS."""
    if len(box) < 23:
        raise _invalid("hvcC is too short")
    sets: list[memoryview] = []
    at = 23
    for _ in range(box[22]):
        if at + 3 > len(box):
            raise _invalid("hvcC ends early")
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
            raise _invalid("a parameter set beyond its box")
        units.append(box[start:at])
    return units, at


def _invalid(detail: str, byte_offset: int | None = None) -> BadInputError:
    return BadInputError(f"not an MP4 file: {detail}", reason="mp4_invalid", byte_offset=byte_offset)
