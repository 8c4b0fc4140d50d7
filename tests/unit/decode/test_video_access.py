"""Frames by position and by time, each group of pictures decoded once, from videos that real encoders wrote."""

from collections.abc import Sequence

import numpy as np
import pytest
from tests.unit.decode.videos import CODECS, HEIGHT, WIDTH, Unit, encode, length_prefixed, mp4, shows

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.sources import MemorySource
from scenelake.decode.video_access import Mp4Index, VideoLimits, decode_frames
from scenelake.decode.video_bitstream import video_header

FRAME_NS = 1_000_000_000 / 30
VERDICTS = (
    "not_mp4",
    "no_video_stream",
    "video_format_unsupported",
    "video_frame_missing",
    "video_no_random_access",
    "video_packet_corrupt",
    "video_too_large",
)


class Units(Sequence[bytes]):
    """Access units that remember which of them were asked for."""

    def __init__(self, units: list[Unit], codec: str) -> None:
        self.codec = codec
        self.data = [u.data for u in units]
        self.flags = [video_header(codec, memoryview(d)).is_random_access for d in self.data]
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, position: int) -> bytes:  # type: ignore[override]
        self.asked.append(position)
        return self.data[position]

    def frames(self, wanted: Sequence[int], limits: VideoLimits | None = None) -> dict[int, np.ndarray]:
        return dict(decode_frames(self.codec, self.flags, self.__getitem__, wanted, limits or VideoLimits()))


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    return request.param


def test_wanted_frames_are_decoded_from_the_start_of_their_group_alone(codec: str) -> None:
    encoded = encode(CODECS[codec], 20)
    units = Units(encoded, codec)
    frames = units.frames([17, 3, 16, 3])
    assert set(frames) == {3, 16, 17}
    assert all(shows(image, encoded[position].number) for position, image in frames.items())
    assert units.asked == [0, 1, 2, 3, 15, 16, 17]


def test_every_frame_is_decoded_once(codec: str) -> None:
    encoded = encode(CODECS[codec], 20)
    units = Units(encoded, codec)
    frames = units.frames(range(20))
    assert len(frames) == 20
    assert all(shows(image, encoded[position].number) for position, image in frames.items())
    assert units.asked == list(range(20))
    assert np.array_equal(units.frames([8])[8], frames[8]), "a frame does not depend on what else was asked for"


def test_pictures_shown_in_another_order_than_decoded() -> None:
    encoded = encode("libx264", 20, b_frames=3)
    assert [u.number for u in encoded] != sorted(u.number for u in encoded)
    for position, image in Units(encoded, "h264").frames(range(20)).items():
        assert shows(image, encoded[position].number)


def test_pictures_that_lead_an_open_group_are_decoded_from_the_group_before() -> None:
    options = {"x265-params": "log-level=none:crf=10:open-gop=1:bframes=3:keyint=6:min-keyint=6"}
    encoded = encode("libx265", 24, group=6, b_frames=3, options=options)
    units = Units(encoded, "h265")
    frames = units.frames(range(24))
    assert len(frames) == 24
    assert all(shows(image, encoded[position].number) for position, image in frames.items())
    assert len(units.asked) > 24, "the video has no open group, so this test shows nothing"


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_length_prefixed_units(codec: str) -> None:
    encoded = encode(CODECS[codec], 6)
    packed = [Unit(u.number, u.is_key, length_prefixed(u.data)) for u in encoded]
    assert all(shows(image, encoded[p].number) for p, image in Units(packed, codec).frames(range(6)).items())


def test_frames_before_the_first_start_cannot_be_decoded(codec: str) -> None:
    units = Units(encode(CODECS[codec], 10)[2:], codec)
    with pytest.raises(BadInputError, match="frame 1: no random-access point") as caught:
        units.frames([1, 4])
    assert caught.value.reason == "video_no_random_access"
    assert list(units.frames([4])) == [4]


def test_a_packet_that_the_decoder_rejects_is_named() -> None:
    units = Units(encode("libx264", 10), "h264")
    units.data[7] = units.data[7][:5] + b"\xff" * (len(units.data[7]) - 5)
    with pytest.raises(BadInputError, match="video packet 7") as caught:
        units.frames([8])
    assert caught.value.reason == "video_packet_corrupt"
    assert len(units.frames([6, 4])) == 2


def test_limits_hold_before_anything_is_decoded(codec: str) -> None:
    units = Units(encode(CODECS[codec], 6), codec)
    for limits in (
        VideoLimits(max_pixels=WIDTH * HEIGHT - 1),
        VideoLimits(max_packet_bytes=10),
        VideoLimits(max_frames=5),
    ):
        with pytest.raises(BadInputError) as caught:
            units.frames([0], limits)
        assert caught.value.reason == "video_too_large"
    assert len(units.frames([0], VideoLimits(max_pixels=WIDTH * HEIGHT))) == 1


def test_a_size_that_grows_within_a_group_is_held_to_the_limit_too() -> None:
    large = encode("libx264", 1, size=(1280, 1024))
    units = Units([*encode("libx264", 2), *large], "h264")
    units.flags[2] = False
    with pytest.raises(BadInputError, match="video packet 2"):
        units.frames([2], VideoLimits(max_pixels=WIDTH * HEIGHT))


@pytest.mark.parametrize("encoder", [*CODECS.values(), "mpeg4"])
def test_mp4_files_are_indexed_without_decoding_and_read_by_time(encoder: str) -> None:
    data = mp4(encoder, 12)
    index = Mp4Index(MemorySource(data))
    assert (len(index), index.width_px, index.height_px) == (12, WIDTH, HEIGHT)
    assert np.abs(np.sort(index.pts_ns) - np.arange(12) * FRAME_NS).max() <= 0.5
    assert index.is_key[0]
    assert 2 <= index.is_key.sum() < 12
    for position, packet in index.packets():
        start, size = index.start_byte[position], index.size_bytes[position]
        assert packet == data[start : start + size]
    wanted = np.array([7, 2, 7], np.int64) * 33_333_333
    frames = dict(index.frames_at(wanted, 1_000))
    assert sorted(round(pts / FRAME_NS) for pts in frames) == [2, 7]
    assert all(shows(image, round(pts / FRAME_NS)) for pts, image in frames.items())


def test_mp4_with_pictures_shown_in_another_order() -> None:
    index = Mp4Index(MemorySource(mp4("libx264", 12, b_frames=2)))
    assert (np.diff(index.pts_ns) < 0).any()
    frames = dict(index.frames_at(index.pts_ns, 0))
    assert all(shows(image, round(pts / FRAME_NS)) for pts, image in frames.items())
    assert len(frames) == 12


def test_times_without_a_frame_within_tolerance() -> None:
    index = Mp4Index(MemorySource(mp4("libx264", 6)))
    assert index.positions_at(np.array([16_000_000, 17_000_000]), 20_000_000).tolist() == [0, 1]
    with pytest.raises(BadInputError, match="no frame within 1000 ns of 900000000 ns") as caught:
        index.positions_at(np.array([0, 900_000_000]), 1_000)
    assert caught.value.reason == "video_time_unmatched"


def test_files_that_are_no_mp4_are_cut_or_too_large() -> None:
    data = mp4("libx264", 6)
    for bad in (b"", b"#EXTM3U\nhttp://127.0.0.1:9/a.ts\n", data[:40], b"\x00" * 500):
        with pytest.raises(BadInputError) as caught:
            Mp4Index(MemorySource(bad))
        assert caught.value.reason == "not_mp4"
    for limits in (VideoLimits(max_pixels=100), VideoLimits(max_frames=5), VideoLimits(max_packet_bytes=9)):
        with pytest.raises(BadInputError) as caught:
            Mp4Index(MemorySource(data), limits)
        assert caught.value.reason == "video_too_large"


@pytest.mark.parametrize("seed", range(40))
def test_changed_files_give_frames_or_a_verdict(seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(mp4("libx264", 6))
    for at in random.integers(0, len(data), 12).tolist():
        data[at] ^= int(random.integers(1, 256))
    try:
        index = Mp4Index(MemorySource(bytes(data)), VideoLimits(max_pixels=1_000_000))
        nbr_frames = len(list(index.frames(range(len(index)))))
    except BadInputError as error:
        if error.reason not in VERDICTS:
            raise
    else:
        assert nbr_frames == len(index)
