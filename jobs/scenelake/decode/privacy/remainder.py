"""What a file of a picture holds besides the picture: it is shown to no detector, and may show a face.

Thumbnails in EXIF segments, second pictures behind the first (MPF), further frames (APNG), the bytes beside the rows of
a raw frame. They are cut out without touching the picture. Sources: ITU-T T.81 annex B; Portable Network Graphics
(third edition) sections 5 and 11.
"""

import re

from scenelake.contracts.errors import BadInputError

SMALL_BYTES = 64
"""Segments and chunks up to this size hold no picture: a JFIF or AVI header, the name of a program, a time."""
_JPEG_START, _JPEG_END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_OF_THE_PICTURE = frozenset({*range(0xC0, 0xD0), _SCAN, 0xDB, 0xDC, 0xDD, 0xDE}) - {0xC8}
_COLOURS = b"ICC_PROFILE\0"
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_PNG_START = b"\x89PNG\r\n\x1a\n"
_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"IDAT", b"IEND"})
_FRAMES = frozenset({b"acTL", b"fcTL", b"fdAT"})


def without_remainder(data: bytes, image_format: str) -> bytes | None:
    """The file of a JPEG or PNG without what is not the picture; None where it holds nothing else.

    Zeros behind the end do not count: cameras fill their buffers with them.

    Raises:
        BadInputError: reason ``image_undecodable``: its segments or chunks cannot be followed.
    """
    kept = _jpeg(data) if image_format == "jpeg" else _png(data)
    return None if data.startswith(kept) and not data[len(kept) :].strip(b"\0") else kept


def _jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while at + 1 < len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == _JPEG_START:
            raise BadInputError(f"JPEG: expected a marker at byte {at}", reason="image_undecodable")
        if marker == _JPEG_END:
            return b"".join([*kept, data[at : at + 2]])
        if marker == 0xFF or marker in _ALONE:
            end = at + (1 if marker == 0xFF else 2)
            kept.append(data[at:end])
            at = end
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not at + 4 <= end <= len(data):
            raise BadInputError(f"JPEG: the segment at byte {at} has no end", reason="image_undecodable")
        is_needed = marker in _OF_THE_PICTURE or data.startswith(_COLOURS, at + 4) or end - at <= SMALL_BYTES
        if marker == _SCAN:
            following = _NEXT_MARKER.search(data, end)
            end = following.start() if following else len(data)
        if is_needed:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _png(data: bytes) -> bytes:
    kept, at = [data[: len(_PNG_START)]], len(_PNG_START)
    while at < len(data):
        name = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or len(name) < 4:
            raise BadInputError(f"PNG: the chunk at byte {at} has no end", reason="image_undecodable")
        if name in _CHUNKS or (end - at <= SMALL_BYTES and name not in _FRAMES):
            kept.append(data[at:end])
        if name == b"IEND":
            break
        at = end
    return b"".join(kept)
