"""Frames of compressed video at wanted positions, each group of pictures decoded once.

For those who read the lake (loaders, viewers) and for datasets whose images are MP4 files. Decoding is on one thread,
so the same bytes give the same frames, and strict: a packet that the decoder finds fault with is an error that names
it, not a concealed picture. A flipped bit within a picture's entropy-coded data can still decode to something; the
lake's payload hashes tell that. Memory holds one packet and the decoder's own reference frames, whatever the length.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.codec import CodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Source
from scenelake.decode.video_bitstream import annex_b, video_header

_DECODERS = {"h264": "h264", "h265": "hevc", "av1": "libdav1d"}
_STRICT = "crccheck+explode"
_ALIGNMENT_PIXELS = 1 << 20
"""Decoders count whole blocks of up to 64x64: so much more than the picture has at 8192 pixels a side."""
_SECOND_NS = 1_000_000_000
_MOV = "mov"
_OPTIONS = {"max_streams": "64"}

Image = np.ndarray
"""(height, width, 3) uint8, RGB."""


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """What is believed of a video; beyond it nothing is decoded.

    Attributes:
        max_pixels: of one picture; an 8K one has 33 million, and a decoder holds up to 16.
        max_packet_bytes: of one access unit.
        max_frames: of one video.
    """

    max_pixels: int = 36_000_000
    max_packet_bytes: int = 64 * 1024 * 1024
    max_frames: int = 10_000_000


DEFAULT_LIMITS = VideoLimits()


@dataclass(frozen=True, slots=True)
class _Video:
    """Packets in the order of decoding and what a decoder needs before the first."""

    decoder: str
    extradata: bytes | None
    starts: np.ndarray
    packet: Callable[[int], bytes]
    limits: VideoLimits


def decode_frames(
    codec: str,
    is_random_access: Sequence[bool] | np.ndarray,
    unit_at: Callable[[int], Any],
    wanted: Iterable[int],
    limits: VideoLimits = DEFAULT_LIMITS,
) -> Iterator[tuple[int, Image]]:
    """Frames of one channel's access units, as ``camera_frame`` has them.

    Args:
        codec: ``h264``, ``h265`` or ``av1`` (``image_format``).
        is_random_access: (n,) of each unit in the order of the recording; ``camera_frame`` has them.
        unit_at: bytes of a unit; asked for what is decoded alone, in ascending order within a group of pictures.
        wanted: positions, in any order.

    Yields:
        Position and frame, once each: by group of pictures, within one in the order in which they are shown.

    Raises:
        BadInputError: reasons ``video_no_random_access`` (nothing to start from), ``video_packet_corrupt`` and
            ``video_frame_missing`` with the position, ``video_too_large``, ``video_header_invalid``.
    """
    flags = np.asarray(is_random_access, bool)
    if codec not in _DECODERS:
        raise BadInputError(f"codec: expected {', '.join(_DECODERS)}, got {codec!r}", reason="video_format_unsupported")
    _check(len(flags) <= limits.max_frames, f"{len(flags)} access units, at most {limits.max_frames} are taken")

    def packet(position: int) -> bytes:
        data = memoryview(unit_at(position)).cast("B")
        _check(len(data) <= limits.max_packet_bytes, f"access unit {position} has {len(data)} bytes")
        if flags[position]:
            header = video_header(codec, data)
            _check_pixels(header.width_px or 0, header.height_px or 0, limits)
        return bytes(data) if codec == "av1" else annex_b(data)

    video = _Video(_DECODERS[codec], None, np.flatnonzero(flags), packet, limits)
    yield from _frames(video, wanted, len(flags))


class Mp4Index:
    """The frames of an MP4 file's first video stream, from its own index, in the order of decoding.

    Attributes:
        codec: name of the decoder.
        width_px, height_px: of the stream.
        pts_ns: (n,) int64, presentation times on the file's own clock, rounded half up to ns.
        is_key: (n,) bool.
        start_byte: (n,) int64, where each packet lies in the file.
        size_bytes: (n,) int64.
    """

    def __init__(self, source: Source, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        """Reads the index; nothing is decoded.

        Raises:
            BadInputError: reasons ``not_mp4``, ``no_video_stream``, ``video_too_large``.
        """
        self._source = source
        self._limits = limits
        try:
            with av.open(_SourceFile(source), format=_MOV, options=_OPTIONS, metadata_errors="replace") as container:
                if not container.streams.video:
                    raise BadInputError("the file has no video stream", reason="no_video_stream")
                stream = container.streams.video[0]
                context = stream.codec_context
                if context is None or stream.time_base is None:
                    raise BadInputError("the video's codec is unknown", reason="video_format_unsupported")
                _check_pixels(context.width, context.height, limits)
                self.codec = context.name
                self.width_px, self.height_px = context.width, context.height
                self._extradata = context.extradata
                columns = self._demux(container, stream)
        except FFmpegError as error:
            raise BadInputError(f"not an MP4 file that can be read: {error}", reason="not_mp4") from error
        self.pts_ns, self.start_byte, self.size_bytes = (np.array(c, np.int64) for c in columns[:3])
        self.is_key = np.array(columns[3], bool)

    def __len__(self) -> int:
        return len(self.pts_ns)

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """Position and bytes of every packet, one at a time."""
        for position in range(len(self)):
            yield position, self._packet(position)

    def positions_at(self, times_ns: np.ndarray, tolerance_ns: int) -> np.ndarray:
        """The frame nearest in presentation time to each time: (k,) int64 positions.

        Raises:
            BadInputError: reason ``video_time_unmatched``, when the nearest is farther than the tolerance.
        """
        times = np.asarray(times_ns, np.int64)
        if not len(self):
            raise BadInputError("the video has no frame", reason="video_time_unmatched")
        order = np.argsort(self.pts_ns, kind="stable")
        shown = self.pts_ns[order]
        after = np.searchsorted(shown, times).clip(0, len(shown) - 1)
        before = (after - 1).clip(0)
        nearest = np.where(np.abs(times - shown[before]) <= np.abs(shown[after] - times), before, after)
        far = np.flatnonzero(np.abs(shown[nearest] - times) > tolerance_ns)
        if len(far):
            at, found = int(times[far[0]]), int(shown[nearest[far[0]]])
            raise BadInputError(
                f"no frame within {tolerance_ns} ns of {at} ns, the nearest is at {found} ns",
                reason="video_time_unmatched",
            )
        positions: np.ndarray = order[nearest]
        return positions

    def frames(self, wanted: Iterable[int]) -> Iterator[tuple[int, Image]]:
        """Position and frame of each wanted position, as ``decode_frames`` yields them."""
        video = _Video(self.codec, self._extradata, np.flatnonzero(self.is_key), self._packet, self._limits)
        yield from _frames(video, wanted, len(self))

    def frames_at(self, times_ns: np.ndarray, tolerance_ns: int) -> Iterator[tuple[int, Image]]:
        """``pts_ns`` and frame of the frames nearest to the times, each once, as ``decode_frames`` yields them."""
        for position, image in self.frames(self.positions_at(times_ns, tolerance_ns).tolist()):
            yield int(self.pts_ns[position]), image

    def _demux(self, container: Any, stream: Any) -> tuple[list[int], list[int], list[int], list[bool]]:
        pts_ns: list[int] = []
        start_byte: list[int] = []
        size_bytes: list[int] = []
        is_key: list[bool] = []
        base = stream.time_base
        for packet in container.demux(stream):
            if not packet.size:
                continue
            _check(len(pts_ns) < self._limits.max_frames, f"more than {self._limits.max_frames} frames")
            _check(packet.size <= self._limits.max_packet_bytes, f"packet {len(pts_ns)} has {packet.size} bytes")
            if packet.pts is None or packet.pos is None or packet.pos < 0:
                raise BadInputError(f"packet {len(pts_ns)} has no time or no place in the file", reason="not_mp4")
            ticks = 2 * packet.pts * base.numerator * _SECOND_NS + base.denominator
            pts_ns.append(ticks // (2 * base.denominator))
            start_byte.append(packet.pos)
            size_bytes.append(packet.size)
            is_key.append(packet.is_keyframe)
        return pts_ns, start_byte, size_bytes, is_key

    def _packet(self, position: int) -> bytes:
        start, size = int(self.start_byte[position]), int(self.size_bytes[position])
        data = bytes(self._source.read(start, size))
        if len(data) != size:
            raise _corrupt(position, f"{len(data)} of its {size} bytes are in the file")
        return data


def _frames(video: _Video, wanted: Iterable[int], nbr_packets: int) -> Iterator[tuple[int, Image]]:
    positions = np.unique(np.fromiter(wanted, np.int64))
    if len(positions) and not (positions[0] >= 0 and positions[-1] < nbr_packets):
        raise IndexError(f"positions {positions[0]} to {positions[-1]} of {nbr_packets} frames")
    groups = np.searchsorted(video.starts, positions, side="right") - 1
    if len(positions) and groups[0] < 0:
        raise BadInputError(
            f"frame {positions[0]}: no random-access point at or before it", reason="video_no_random_access"
        )
    for group in np.unique(groups).tolist():
        of_group = set(positions[groups == group].tolist())
        yield from _decoded(video, group, of_group)
        if of_group and group:
            # Frames that lead an open group of pictures refer to the one before it.
            yield from _decoded(video, group - 1, of_group)
        if of_group:
            raise BadInputError(f"the decoder shows no frame for packet {min(of_group)}", reason="video_frame_missing")


def _decoded(video: _Video, group: int, wanted: set[int]) -> Iterator[tuple[int, Image]]:
    """Decodes from a start to the last wanted packet; takes what it yields out of ``wanted``."""
    context = _context(video)
    for position in range(int(video.starts[group]), max(wanted) + 1):
        yield from _taken(context, _packet(video.packet(position), position), position, wanted)
    yield from _taken(context, None, position, wanted)


def _packet(data: bytes, position: int) -> "av.Packet[Any]":
    """A packet with the zero bytes behind it that decoders read; ``av.Packet(data)`` has none (av 18.1)."""
    if not data:
        raise _corrupt(position, "it is empty")
    packet = av.Packet(len(data))
    packet.update(data)
    packet.pts = position
    return packet


def _taken(context: VideoCodecContext, packet: Any, position: int, wanted: set[int]) -> Iterator[tuple[int, Image]]:
    try:
        frames = context.decode(packet)
    except FFmpegError as error:
        raise _corrupt(position, str(error)) from error
    for frame in frames:
        if frame.is_corrupt:
            raise _corrupt(frame.pts if frame.pts is not None else position, "the decoder marks its frame as corrupt")
        if frame.pts in wanted:
            wanted.discard(frame.pts)
            yield frame.pts, frame.to_ndarray(format="rgb24")


def _context(video: _Video) -> VideoCodecContext:
    context = CodecContext.create(video.decoder, "r")
    if not isinstance(context, VideoCodecContext):
        raise BadInputError(f"{video.decoder} is no video codec", reason="video_format_unsupported")
    context.extradata = video.extradata
    context.thread_count = 1
    context.options = {"max_pixels": str(video.limits.max_pixels + _ALIGNMENT_PIXELS), "err_detect": _STRICT}
    return context


def _check_pixels(width_px: int, height_px: int, limits: VideoLimits) -> None:
    _check(
        width_px * height_px <= limits.max_pixels,
        f"pictures of {width_px}x{height_px}, at most {limits.max_pixels} pixels are decoded",
    )


def _check(is_good: bool, detail: str) -> None:
    if not is_good:
        raise BadInputError(detail, reason="video_too_large")


def _corrupt(position: int, detail: str) -> BadInputError:
    return BadInputError(f"video packet {position}: {detail}", reason="video_packet_corrupt")


class _SourceFile(io.RawIOBase):
    """A source as the file that a demuxer reads."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size_bytes}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._source.size_bytes - self._at, 0)
        wanted = left if size < 0 else min(size, left)
        data = bytes(self._source.read(self._at, wanted)) if wanted else b""
        self._at += len(data)
        return data
