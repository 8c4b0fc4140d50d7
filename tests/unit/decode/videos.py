"""Small videos that tests encode themselves: smooth pictures that move, so that each frame is told from the next."""

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

CODECS = {"h264": "libx264", "h265": "libx265", "av1": "libsvtav1"}
WIDTH, HEIGHT = 98, 66
_OPTIONS = {
    "libx264": {"sc_threshold": "0", "crf": "15"},
    "libx265": {"x265-params": "log-level=none:bframes=0:scenecut=0:crf=10"},
    "libsvtav1": {"preset": "8", "crf": "15"},
    "mpeg4": {"b": "4000000"},
}


@dataclass(frozen=True)
class Unit:
    """An access unit as it leaves the encoder; ``number`` is that of the picture shown."""

    number: int
    is_key: bool
    data: bytes


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns * 2, rows * 2 + 4 * number, columns + 4 * number], axis=-1).clip(0, 255).astype(np.uint8)


def encode(
    encoder: str,
    count: int = 12,
    *,
    group: int = 5,
    b_frames: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> list[Unit]:
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height = size
    context.pix_fmt = pixels
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30, 1)
    context.gop_size, context.max_b_frames = group, b_frames
    context.options = _OPTIONS.get(encoder, {}) | (options or {})
    packets = [p for n in range(count) for p in context.encode(_frame(n, size, pixels))]
    packets += context.encode(None)
    return [Unit(p.pts, p.is_keyframe, bytes(p)) for p in packets]


def mp4(encoder: str, count: int = 12, *, group: int = 5, b_frames: int = 0, rate: int = 30) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=rate, options=_OPTIONS.get(encoder, {}))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = group, b_frames
        for number in range(count):
            container.mux(stream.encode(_frame(number, (WIDTH, HEIGHT), "yuv420p")))
        container.mux(stream.encode(None))
    return file.getvalue()


def shows(image: np.ndarray, number: int) -> bool:
    """Whether a decoded image is that picture, and neither of its neighbours."""
    wrong = [np.abs(image.astype(int) - picture(n)).mean() for n in (number, number - 1, number + 1)]
    return image.shape == (HEIGHT, WIDTH, 3) and wrong[0] < 4 and wrong[0] == min(wrong)


def length_prefixed(data: bytes) -> bytes:
    """An Annex B access unit in the form that MP4 files have."""
    units = [u for u in data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01") if u]
    return b"".join(len(u).to_bytes(4, "big") + u for u in units)


def _frame(number: int, size: tuple[int, int], pixels: str) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(format=pixels)
    frame.pts = number
    return frame
