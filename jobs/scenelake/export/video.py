"""MP4 files of camera pictures: H.264 by libx264, so that the same build gives the same bytes.

That takes one thread and a constant quantiser without look-ahead: with x264's rate control (``crf``) and look-ahead,
about one video in a hundred came out different from the same pictures (libavcodec 62.28, PyAV 18.1), with these
settings none of 1,000.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.video.stream import VideoStream

from scenelake.decode.video_access import Image

CODEC = "libx264"
_KEY_EVERY = 2
"""As LeRobot encodes: a frame is one frame's decoding away from a key frame, wherever training starts."""
_BITEXACT = {"fflags": "+bitexact"}
_EXACT = {"threads": "1", "x264-params": "rc-lookahead=0:mbtree=0"}


def pixel_format(width_px: int, height_px: int) -> str:
    """4:2:0 for what can be halved, else 4:4:4."""
    return "yuv420p" if width_px % 2 == 0 and height_px % 2 == 0 else "yuv444p"


def encode(path: Path, pictures: Iterable[Image], size_px: tuple[int, int], fps: int, qp: int) -> int:
    """Writes pictures (height, width, 3) RGB as frames 0, 1, 2, … of a video of a constant rate.

    Returns:
        How many frames were written.
    """
    count = 0
    with av.open(str(path), "w", format="mp4", options=_BITEXACT) as container:
        stream = cast(VideoStream, container.add_stream(CODEC, rate=fps))
        stream.width, stream.height = size_px
        stream.pix_fmt = pixel_format(*size_px)
        stream.thread_count = 1
        stream.codec_context.time_base = Fraction(1, fps)
        quality = {"qp": str(qp), "g": str(_KEY_EVERY), "bf": "0", "preset": "veryfast"}
        stream.options = {**quality, **_EXACT}
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = count, Fraction(1, fps)
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode(None))
    return count


class JoinedVideo:
    """A video file to which whole videos of the same kind are appended without coding them again."""

    def __init__(self, path: Path, fps: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fps = fps
        self._container = av.open(str(path), "w", format="mp4", options=_BITEXACT)
        self._stream: Any = None
        self.nbr_frames = 0
        self.size_bytes = 0

    def append(self, path: Path) -> None:
        """Adds the frames of a video that ``encode`` wrote."""
        with av.open(str(path)) as source:
            template: VideoStream = source.streams.video[0]
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(template)
            tick = template.time_base or Fraction(1, self._fps)
            offset = round(Fraction(self.nbr_frames, self._fps) / tick)
            for packet in source.demux(template):
                if packet.dts is None or packet.pts is None:
                    continue
                packet.pts += offset
                packet.dts += offset
                packet.stream = self._stream
                self._container.mux(packet)
                self.nbr_frames += 1
        self.size_bytes += path.stat().st_size

    def close(self) -> None:
        self._container.close()
