"""Headers of compressed video, without decoding: the size of a picture, and whether a decoder can start there.

One call looks at one access unit (the bytes of one recorded message) and stops at its first slice, so its cost does
not grow with the picture. It keeps no state: a unit's answer follows from its own bytes, however a recording was
split. Sources: ITU-T H.264 (08/2021) 7.3.1, 7.3.2.1.1, 7.4.1, annex B; ITU-T H.265 (09/2023) 7.3.1.2, 7.3.2.2, 7.3.3,
7.4.2.2, annex B; ISO/IEC 14496-15 5.3 (length-prefixed NAL units); AV1 Bitstream & Decoding Process Specification
(2019-01-08 with errata) 5.3, 5.5, 5.9.2, 4.10.5, 7.6.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from scenelake.contracts.errors import BadInputError

MAX_HEADER_BYTES = 1024 * 1024
"""Everything in front of an access unit's first slice: parameter sets and messages of some hundred bytes."""
MAX_UNITS = 256
MAX_SIDE_PX = 65_536
_MAX_SET_BYTES = 4096
_CODECS = (("h264", re.compile(r"264|avc")), ("h265", re.compile(r"265|hevc")), ("av1", re.compile(r"av1")))
_START_CODE = b"\x00\x00\x01"
_PREFIX_BYTES = 4

_H264_SLICES = frozenset(range(1, 6))
_H264_IDR, _H264_SPS, _H264_PPS = 5, 7, 8
_H264_WITH_CHROMA = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
_H265_VPS, _H265_SPS, _H265_PPS = 32, 33, 34
_H265_FIRST_IRAP, _H265_LAST_IRAP, _H265_LAST_SLICE = 16, 21, 31
_H265_PROFILE_BITS = 88
_AV1_SEQUENCE, _AV1_FRAME_HEADER, _AV1_FRAME = 1, 3, 6
_AV1_KEY_FRAME = 0


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """What the front of one access unit says.

    Attributes:
        width_px, height_px: of the picture as shown (after cropping); None without a sequence header.
        is_random_access: a decoder that knows nothing can start here: the unit has its parameter sets and begins with
            an IDR (H.264), IRAP (H.265) or shown key frame (AV1), or has parameter sets alone, which some recorders
            put into a message in front of it. H.265 pictures that follow a CRA in the stream and are shown before it
            need the random-access point before that one.
    """

    width_px: int | None
    height_px: int | None
    is_random_access: bool


def video_codec(declared: str) -> str | None:
    """``h264``, ``h265`` or ``av1`` from a message's own word for it: ``libx264``, ``hevc_nvenc``, ``h264;yuv420p``."""
    words = declared.lower()
    return next((codec for codec, pattern in _CODECS if pattern.search(words)), None)


def video_header(codec: str, data: memoryview) -> VideoHeader:
    """Reads the front of one access unit.

    Raises:
        BadInputError: reason ``video_header_invalid``.
    """
    if codec == "av1":
        return _av1_header(data)
    return _nal_header(codec, data)


def nal_units(data: memoryview) -> Iterator[memoryview]:
    """NAL units of an access unit, without start codes or lengths, as far as ``MAX_HEADER_BYTES`` reaches.

    Units behind 4-byte lengths are told from start codes by their lengths adding up to the whole.

    Raises:
        BadInputError: reason ``video_header_invalid`` when there is neither.
    """
    bounds = _length_prefixed(data)
    yield from (data[start:end] for start, end in bounds) if bounds else _start_coded(data)


def annex_b(data: memoryview) -> bytes:
    """The access unit with start codes, as a decoder without a container takes it."""
    bounds = _length_prefixed(data)
    return b"".join(b"\x00" + _START_CODE + bytes(data[a:b]) for a, b in bounds) if bounds else bytes(data)


def _length_prefixed(data: memoryview) -> list[tuple[int, int]]:
    bounds: list[tuple[int, int]] = []
    at = 0
    while at < len(data):
        start = at + _PREFIX_BYTES
        length = int.from_bytes(data[at:start], "big")
        if length < 2 or start + length > len(data) or data[start] & 0x80 or len(bounds) >= MAX_UNITS:
            return []
        bounds.append((start, start + length))
        at = start + length
    return bounds


def _start_coded(data: memoryview) -> Iterator[memoryview]:
    head = bytes(data[:MAX_HEADER_BYTES])
    at = head.find(_START_CODE)
    if at < 0 or any(head[:at]):
        raise _invalid(f"starts with {head[:8].hex() or 'nothing'}, neither a start code nor lengths that add up")
    while at >= 0:
        following = head.find(_START_CODE, at + 3)
        end = following if following >= 0 else len(head)
        yield data[at + 3 : end]
        at = following


def _nal_header(codec: str, data: memoryview) -> VideoHeader:
    is_h264 = codec == "h264"
    sets, wanted = set(), {_H264_SPS, _H264_PPS} if is_h264 else {_H265_VPS, _H265_SPS, _H265_PPS}
    size: tuple[int, int] | None = None
    for count, unit in enumerate(nal_units(data), 1):
        if count > MAX_UNITS:
            raise _invalid(f"more than {MAX_UNITS} NAL units and no slice")
        if len(unit) < 2 or unit[0] & 0x80:
            raise _invalid(f"NAL unit {count} starts with {bytes(unit[:2]).hex() or 'nothing'}")
        kind = unit[0] & 0x1F if is_h264 else unit[0] >> 1 & 0x3F
        if kind in wanted:
            sets.add(kind)
        if kind == (_H264_SPS if is_h264 else _H265_SPS):
            size = _h264_size(unit) if is_h264 else _h265_size(unit)
        is_slice = kind in _H264_SLICES if is_h264 else kind <= _H265_LAST_SLICE
        if is_slice:
            is_start = kind == _H264_IDR if is_h264 else _H265_FIRST_IRAP <= kind <= _H265_LAST_IRAP
            return _header(size, is_random_access=is_start and sets == wanted)
    if len(data) > MAX_HEADER_BYTES:
        raise _invalid(f"no slice in the first {MAX_HEADER_BYTES} bytes")
    return _header(size, is_random_access=sets == wanted)


def _header(size: tuple[int, int] | None, *, is_random_access: bool) -> VideoHeader:
    if size is None:
        return VideoHeader(None, None, is_random_access)
    width_px, height_px = size
    if not (0 < width_px <= MAX_SIDE_PX and 0 < height_px <= MAX_SIDE_PX):
        raise _invalid(f"pictures of {width_px}x{height_px}")
    return VideoHeader(width_px, height_px, is_random_access)


def _invalid(detail: str) -> BadInputError:
    return BadInputError(f"not a video access unit: {detail}", reason="video_header_invalid")


class _Bits:
    """Reads numbers of any width from the front of a header."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def u(self, width: int) -> int:
        self._left -= width
        if self._left < 0:
            raise _invalid("a header ends early")
        return self._value >> self._left & ((1 << width) - 1)

    def flag(self) -> bool:
        return self.u(1) == 1

    def ue(self) -> int:
        """Exp-Golomb code, H.264 9.1; also AV1's uvlc()."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise _invalid("a number of more than 32 bits")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _payload(unit: memoryview, head_bytes: int) -> _Bits:
    """A parameter set without its NAL header and emulation prevention bytes (H.264 7.3.1)."""
    return _Bits(bytes(unit[head_bytes:_MAX_SET_BYTES]).replace(b"\x00\x00\x03", b"\x00\x00"))


def _h264_size(unit: memoryview) -> tuple[int, int]:
    bits = _payload(unit, 1)
    profile = bits.u(8)
    bits.u(16)
    bits.ue()
    chroma = 1
    if profile in _H264_WITH_CHROMA:
        chroma = _h264_chroma(bits)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        count = bits.ue()
        if count > 255:
            raise _invalid(f"{count} frames in a picture order cycle")
        for _ in range(count):
            bits.se()
    bits.ue()
    bits.u(1)
    width, height = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
    is_frames_only = bits.flag()
    if not is_frames_only:
        height *= 2
        bits.u(1)
    bits.u(1)
    return _cropped(bits, width, height, chroma, 1 if is_frames_only else 2)


def _h264_chroma(bits: _Bits) -> int:
    """The fields that only the higher profiles have; returns ChromaArrayType."""
    chroma = bits.ue()
    is_separate = chroma == 3 and bits.flag()
    bits.ue()
    bits.ue()
    bits.u(1)
    if bits.flag():
        for number in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return 0 if is_separate else chroma


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = scale = 8
    for _ in range(size):
        if scale:
            scale = (last + bits.se()) % 256
        last = scale or last


def _h265_size(unit: memoryview) -> tuple[int, int]:
    bits = _payload(unit, 2)
    bits.u(4)
    nbr_sublayers = bits.u(3)
    bits.u(1 + _H265_PROFILE_BITS + 8)
    present = [(bits.flag(), bits.flag()) for _ in range(nbr_sublayers)]
    if nbr_sublayers:
        bits.u(2 * (8 - nbr_sublayers))
    for has_profile, has_level in present:
        bits.u(_H265_PROFILE_BITS * has_profile + 8 * has_level)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3 and bits.flag():
        chroma = 0
    width, height = bits.ue(), bits.ue()
    return _cropped(bits, width, height, chroma, 1)


def _cropped(bits: _Bits, width: int, height: int, chroma: int, row_unit: int) -> tuple[int, int]:
    """Width and height less the cropping rectangle, which counts in chroma samples."""
    if bits.flag():
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * (2 if chroma in (1, 2) else 1)
        height -= (top + bottom) * (2 if chroma == 1 else 1) * row_unit
    return width, height


def _av1_header(data: memoryview) -> VideoHeader:
    size: tuple[int, int] | None = None
    is_still = False
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(data):
            break
        kind, start, end = _obu(data, at)
        if kind == _AV1_SEQUENCE:
            size, is_still = _av1_size(_Bits(bytes(data[start:end][:_MAX_SET_BYTES])))
        elif kind in (_AV1_FRAME_HEADER, _AV1_FRAME):
            is_key = is_still or _is_shown_key_frame(_Bits(bytes(data[start:end][:1])))
            return _header(size, is_random_access=is_key and size is not None)
        at = end
    else:
        raise _invalid(f"more than {MAX_UNITS} OBUs and no frame")
    if size is None:
        raise _invalid(f"neither a frame nor a sequence header in {len(data)} bytes")
    return _header(size, is_random_access=True)


def _obu(data: memoryview, at: int) -> tuple[int, int, int]:
    """Type, start and end of the payload of the OBU at a byte."""
    first = data[at]
    if first & 0x81:
        raise _invalid(f"OBU header {first:#04x} at byte {at}")
    start = at + (2 if first & 0x04 else 1)
    size = len(data) - start
    if first & 0x02:
        size = 0
        for shift in range(0, 56, 7):
            if start >= len(data):
                raise _invalid(f"the OBU at byte {at} ends in its size")
            byte = data[start]
            start += 1
            size |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
    if size < 0 or start + size > len(data):
        raise _invalid(f"the OBU at byte {at} claims {size} bytes, {len(data) - start} are left")
    return first >> 3 & 0x0F, start, start + size


def _is_shown_key_frame(bits: _Bits) -> bool:
    shows_existing = bits.flag()
    return not shows_existing and bits.u(2) == _AV1_KEY_FRAME and bits.flag()


def _av1_size(bits: _Bits) -> tuple[tuple[int, int], bool]:
    """Largest frame size of a sequence header, and whether it is of a single still picture."""
    bits.u(4)
    is_still = bits.flag()
    if is_still:
        bits.u(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
    return (bits.u(width_bits) + 1, bits.u(height_bits) + 1), is_still


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.flag():
        bits.u(64)
        if bits.flag():
            bits.ue()
        if bits.flag():
            delay_bits = bits.u(5) + 1
            bits.u(32 + 5 + 5)
    has_display_delay = bits.flag()
    for _ in range(bits.u(5) + 1):
        bits.u(12)
        if bits.u(5) > 7:
            bits.u(1)
        if delay_bits and bits.flag():
            bits.u(2 * delay_bits + 1)
        if has_display_delay and bits.flag():
            bits.u(4)
