"""Samples of a fragmented MP4 file: what its ``moof`` boxes list, behind what the header (``moov``) does.

A writer that may be cut off writes fragments, so a fragment that makes no sense costs its own frames and no others.
Source: ISO/IEC 14496-12, section 8.8 (mvex, moof, traf, trun, tfdt).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.mp4_boxes import MAX_SAMPLES, MAX_SECONDS, Boxes, box_at, boxes, invalid, need

MAX_FRAGMENT_BOXES = 400_000
"""Boxes of the file itself: 27 hours of a fragment and its data each second twice over."""
MAX_PROBLEMS = 1000
_MAX_OFFSET = 2**62
_BASE_OFFSET, _DESCRIPTION, _DURATION, _SIZE, _FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
_BASE_IS_MOOF = 0x020000
_RUN_OFFSET, _RUN_FIRST_FLAGS = 0x1, 0x4
_RUN_DURATION, _RUN_SIZE, _RUN_FLAGS, _RUN_COMPOSITION = 0x100, 0x200, 0x400, 0x800


@dataclass(frozen=True, slots=True)
class Samples:
    """n frames in the order of decoding, each column (n,) int64.

    Attributes:
        offset, size_bytes: where each lies in the file.
        decoded, composition: decoding time, and what is to be added to it for the presentation, in ticks.
    """

    offset: np.ndarray
    size_bytes: np.ndarray
    decoded: np.ndarray
    composition: np.ndarray

    @classmethod
    def joined(cls, found: list["Samples"]) -> "Samples":
        columns = zip(*((s.offset, s.size_bytes, s.decoded, s.composition) for s in found), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, slots=True)
class Track:
    """The track whose samples are wanted.

    Attributes:
        timescale: ticks per second.
        start: where the first fragment goes on, in ticks, when it does not say.
    """

    track_id: int
    timescale: int
    start: int


@dataclass(slots=True)
class _Defaults:
    """What samples have that do not say it themselves."""

    duration: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class _Walk:
    """A walk over the fragments: where the track has come to, and what was found."""

    track: Track
    defaults: dict[int, _Defaults]
    file_bytes: int
    clock: int
    nbr_samples: int
    found: list[Samples] = field(default_factory=list)


def read_fragments(
    source: Source, start: int, movie: Boxes, track: Track, first: Samples, max_header_bytes: int
) -> tuple[Samples, tuple[Problem, ...]]:
    """The track's samples, those of the header first, and the fragments that could not be used.

    Args:
        start: where the boxes behind the header begin.
        movie: boxes of the header; ``mvex`` among them.
        first: samples that the header itself lists.
    """
    walk = _Walk(track, _defaults(movie), source.size_bytes, track.start, len(first.offset), [first])
    problems: list[Problem] = []
    at = start
    for number in range(MAX_FRAGMENT_BOXES + 1):
        if len(problems) >= MAX_PROBLEMS or number == MAX_FRAGMENT_BOXES:
            problems.append(Problem("too_many_problems", "the rest of the fragments is given up", at, walk.file_bytes))
            break
        try:
            box = box_at(source, at)
        except BadInputError as error:
            problems.append(Problem("fragment_invalid", f"behind it nothing is found: {error}", at, walk.file_bytes))
            break
        if box is None:
            break
        end = min(box.exclusive_end, walk.file_bytes)
        if box.kind == b"moof":
            try:
                _take(source, box.start, box.content, box.exclusive_end, walk, max_header_bytes)
            except BadInputError as error:
                reason = "truncated" if box.exclusive_end > end else "fragment_invalid"
                problems.append(Problem(reason, f"a fragment: {error}", at, end))
        at = box.exclusive_end
    return Samples.joined(walk.found), tuple(problems)


def _take(source: Source, start: int, content: int, end: int, walk: _Walk, max_header_bytes: int) -> None:
    """The samples of a fragment, all or none of them."""
    if end - content > max_header_bytes or end > walk.file_bytes:
        raise invalid(f"it claims {end - start} bytes", start)
    found: list[Samples] = []
    clock, data_end = walk.clock, start
    for kind, fragment in boxes(memoryview(bytes(source.read(content, end - content)))):
        if kind == b"traf":
            clock, data_end = _take_track(fragment, start, data_end, clock, walk, found)
    walk.found += found
    walk.clock = clock
    walk.nbr_samples += sum(len(s.offset) for s in found)


def _take_track(
    fragment: memoryview, moof_start: int, data_end: int, clock: int, walk: _Walk, found: list[Samples]
) -> tuple[int, int]:
    """Samples of one track in a fragment; returns its clock, and where its data end."""
    inner = list(boxes(fragment))
    by_kind = dict(reversed(inner))
    track_id, base, defaults = _head(need(by_kind, b"tfhd"), walk, moof_start, data_end)
    is_wanted = track_id == walk.track.track_id
    if is_wanted and b"tfdt" in by_kind:
        clock = _decode_time(by_kind[b"tfdt"])
    at, time = base, clock
    for run in (content for kind, content in inner if kind == b"trun"):
        room = MAX_SAMPLES - walk.nbr_samples - sum(len(s.offset) for s in found)
        samples, at, time = _run(run, base, at, time, defaults, walk.file_bytes, room)
        if time > MAX_SECONDS * walk.track.timescale and is_wanted:
            raise invalid("frames are shown more than 68 years from the start", moof_start)
        if is_wanted:
            found.append(samples)
    return time if is_wanted else clock, at


def _defaults(movie: Boxes) -> dict[int, _Defaults]:
    """Duration and size of samples by track, as ``trex`` boxes say."""
    found: dict[int, _Defaults] = {}
    for kind, box in boxes(movie[b"mvex"]):
        if kind == b"trex" and len(box) >= 20:
            track_id, _, duration, size_bytes = struct.unpack_from(">IIII", box, 4)
            found.setdefault(track_id, _Defaults(duration, size_bytes))
    return found


def _head(box: memoryview, walk: _Walk, moof_start: int, data_end: int) -> tuple[int, int, _Defaults]:
    """Track, the byte that offsets count from, and what its samples have by default."""
    flags, numbers = _flags(box), _numbers(box, 4)
    track_id = next(numbers)
    base = moof_start if flags & _BASE_IS_MOOF else data_end
    if flags & _BASE_OFFSET:
        base = next(numbers) << 32 | next(numbers)
    if flags & _DESCRIPTION:
        next(numbers)
    said = walk.defaults.get(track_id, _Defaults())
    duration = next(numbers) if flags & _DURATION else said.duration
    size_bytes = next(numbers) if flags & _SIZE else said.size_bytes
    return track_id, base, _Defaults(duration, size_bytes)


def _decode_time(box: memoryview) -> int:
    numbers = _numbers(box, 4)
    time = next(numbers)
    return time << 32 | next(numbers) if box[0] == 1 else time


def _run(
    box: memoryview, base: int, at: int, time: int, defaults: _Defaults, file_bytes: int, room: int
) -> tuple[Samples, int, int]:
    """Samples of a ``trun`` box, and where and when the next one goes on."""
    flags, numbers = _flags(box), _numbers(box, 4)
    count, head_bytes = next(numbers), 8
    if flags & _RUN_OFFSET:
        (offset,) = struct.unpack(">i", next(numbers).to_bytes(4, "big"))
        at, head_bytes = base + offset, head_bytes + 4
    if flags & _RUN_FIRST_FLAGS:
        head_bytes += 4
    fields = [f for f in (_RUN_DURATION, _RUN_SIZE, _RUN_FLAGS, _RUN_COMPOSITION) if flags & f]
    if count > room or head_bytes + 4 * len(fields) * count > len(box):
        raise invalid(f"a run of {count} samples in {len(box)} bytes")
    table = np.frombuffer(box, ">u4", len(fields) * count, head_bytes).reshape(count, len(fields))

    def column(which: int, default: int) -> np.ndarray:
        if which in fields:
            return table[:, fields.index(which)].astype(np.int64)
        return np.full(count, default, np.int64)

    size_bytes = column(_RUN_SIZE, defaults.size_bytes)
    if (_RUN_SIZE not in fields and defaults.size_bytes * count > file_bytes) or not 0 <= at <= _MAX_OFFSET:
        raise invalid(f"{count} samples of {defaults.size_bytes} bytes at {at}, in a file of {file_bytes}")
    ends = at + np.cumsum(size_bytes)
    durations = column(_RUN_DURATION, defaults.duration)
    decoded = np.cumsum(durations) - durations
    # Version 0 is unsigned by the letter; as in ctts, negative ones are there all the same.
    composition = column(_RUN_COMPOSITION, 0).astype(np.int32).astype(np.int64)
    nbr_bytes, nbr_ticks = int(size_bytes.sum()), int(durations.sum())
    if time > _MAX_OFFSET:
        raise invalid(f"a fragment at tick {time}")
    return Samples(ends - size_bytes, size_bytes, time + decoded, composition), at + nbr_bytes, time + nbr_ticks


def _flags(box: memoryview) -> int:
    return int.from_bytes(box[1:4], "big")


def _numbers(box: memoryview, at: int) -> Iterator[int]:
    """The 32-bit numbers of a box, one after the other.

    Raises:
        BadInputError: when there is none left.
    """
    while at + 4 <= len(box):
        yield int.from_bytes(box[at : at + 4], "big")
        at += 4
    raise invalid(f"a box of {len(box)} bytes ends early")
