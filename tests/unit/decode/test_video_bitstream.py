"""Fronts of access units that real encoders wrote, and of broken ones: a size, a flag, or a verdict."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decode.videos import CODECS, HEIGHT, WIDTH, encode, length_prefixed

from scenelake.contracts.errors import BadInputError
from scenelake.decode.video_bitstream import MAX_UNITS, VideoHeader, annex_b, nal_units, video_codec, video_header

START = b"\x00\x00\x00\x01"
UNITS = {codec: encode(encoder) for codec, encoder in CODECS.items()}
KEY = {codec: units[0].data for codec, units in UNITS.items()}


@pytest.mark.parametrize("codec", CODECS)
def test_key_frames_of_real_encoders_are_found_with_their_size(codec: str) -> None:
    units = UNITS[codec]
    assert sum(u.is_key for u in units) == 3
    for unit in units:
        size = (WIDTH, HEIGHT) if unit.is_key else (None, None)
        assert video_header(codec, memoryview(unit.data)) == VideoHeader(*size, unit.is_key)


@pytest.mark.parametrize(
    ("encoder", "pixels", "options"),
    [
        ("libx264", "yuv444p", {}),
        ("libx264", "yuv422p10le", {}),
        ("libx264", "gray", {}),
        ("libx264", "yuv420p", {"profile": "baseline"}),
        ("libx265", "yuv444p", {}),
        ("libx265", "yuv420p10le", {}),
    ],
)
@pytest.mark.parametrize("size", [(98, 66), (64, 48), (176, 144), (130, 258)])
def test_sizes_after_cropping(encoder: str, pixels: str, options: dict[str, str], size: tuple[int, int]) -> None:
    codec = next(c for c, name in CODECS.items() if name == encoder)
    unit = encode(encoder, 1, size=size, pixels=pixels, options=options)[0]
    assert video_header(codec, memoryview(unit.data)) == VideoHeader(*size, True)


@pytest.mark.parametrize("size", [(98, 68), (64, 48), (176, 144)])
def test_sizes_of_interlaced_video(size: tuple[int, int]) -> None:
    unit = encode("libx264", 1, size=size, options={"x264-params": "interlaced=1"})[0]
    assert video_header("h264", memoryview(unit.data)) == VideoHeader(*size, True)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_length_prefixed_units_are_read_alike(codec: str) -> None:
    for unit in UNITS[codec]:
        packed = length_prefixed(unit.data)
        assert video_header(codec, memoryview(packed)) == video_header(codec, memoryview(unit.data))
        assert annex_b(memoryview(packed)).replace(START, START[1:]) == unit.data.replace(START, START[1:])
    assert annex_b(memoryview(KEY[codec])) == KEY[codec]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_key_frame_without_parameter_sets_is_no_start_and_the_sets_alone_are(codec: str) -> None:
    units = [bytes(u) for u in nal_units(memoryview(KEY[codec]))]
    heads = [u[0] & 0x1F if codec == "h264" else u[0] >> 1 & 0x3F for u in units]
    sets = (7, 8) if codec == "h264" else (32, 33, 34)
    alone = b"".join(START + u for u, kind in zip(units, heads, strict=True) if kind in sets)
    bare = b"".join(START + u for u, kind in zip(units, heads, strict=True) if kind not in sets)
    assert video_header(codec, memoryview(alone)) == VideoHeader(WIDTH, HEIGHT, True)
    assert video_header(codec, memoryview(bare)) == VideoHeader(None, None, False)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"hello", START, START + b"\x67", START + b"\xe7\x00", b"\xff" * 40, b"\x0a\xff\xff\xff\xff"]
)
def test_what_is_no_access_unit_gets_a_verdict(codec: str, data: bytes) -> None:
    with pytest.raises(BadInputError) as caught:
        video_header(codec, memoryview(data))
    assert caught.value.reason == "video_header_invalid"


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("h264", (START + b"\x06\x05") * (MAX_UNITS + 1)),
        ("h264", START + b"\x67\x64\x00\x28" + b"\x00" * 60),
        ("h264", START + b"\x67\x42\x00\x28\xf0" + b"\x01" * 20),
        ("h265", START + b"\x42\x01" + b"\xff" * 30),
        ("av1", b"\x12\x00" * (MAX_UNITS + 1)),
        ("av1", b"\x0a" + b"\xff" * 12),
    ],
    ids=["units", "zeros", "cycle", "sublayers", "obus", "size"],
)
def test_counts_and_lengths_are_checked_before_they_are_believed(codec: str, data: bytes) -> None:
    with pytest.raises(BadInputError, match="not a video access unit"):
        video_header(codec, memoryview(data))


def header_or_none(codec: str, data: bytes) -> VideoHeader | None:
    """None for the verdict that bytes may get; whatever else is raised fails the test."""
    try:
        return video_header(codec, memoryview(data))
    except BadInputError as error:
        if error.reason != "video_header_invalid":
            raise
        return None


@settings(max_examples=600, deadline=2000)
@given(
    codec=st.sampled_from(sorted(CODECS)),
    edits=st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=6)), max_size=6),
    cut=st.integers(0, 200),
    is_prefixed=st.booleans(),
)
def test_changed_fronts_give_a_header_or_a_verdict(
    codec: str, edits: list[tuple[int, bytes]], cut: int, is_prefixed: bool
) -> None:
    data = bytearray(length_prefixed(KEY[codec]) if is_prefixed and codec != "av1" else KEY[codec])
    for at, patch in edits:
        data[at : at + len(patch)] = patch
    header = header_or_none(codec, bytes(data[: len(data) - cut]))
    if header is not None and header.width_px is not None:
        assert 0 < header.width_px <= 65_536
        assert header.height_px is not None


@settings(max_examples=300, deadline=2000)
@given(codec=st.sampled_from(sorted(CODECS)), data=st.binary(max_size=300))
def test_random_bytes_give_a_header_or_a_verdict(codec: str, data: bytes) -> None:
    header_or_none(codec, data)


@pytest.mark.parametrize(
    ("declared", "codec"),
    [("h264", "h264"), ("H.264", "h264"), ("libx264", "h264"), ("h264;yuv420p;bgr8", "h264"), ("hevc_nvenc", "h265"),
     ("h265", "h265"), ("av1", "av1"), ("vp9", None), ("jpeg", None), ("", None)],
)  # fmt: skip
def test_words_for_codecs(declared: str, codec: str | None) -> None:
    assert video_codec(declared) == codec
