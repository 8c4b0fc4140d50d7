"""A video file of a LeRobot dataset: one message per frame, as the file has it.

Nothing is decoded. Presentation time is the publish time, which rules; the log time is the time of decoding, so that
the payload file keeps the order that a decoder needs.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats import dataset_blocks as blocks
from scenelake.decode.formats.blocks import Block, Definition, Findings, Part, Source
from scenelake.decode.formats.dataset_blocks import DatasetChannels, EpisodeClock
from scenelake.decode.formats.lerobot_meta import LeRobotMeta, Place, VideoSpan, read_meta
from scenelake.decode.formats.lerobot_reader import describe
from scenelake.decode.formats.mp4 import VideoTrack, read_video_track
from scenelake.decode.formats.siblings import Siblings

_BLOCK_BYTES = 8 * 1024 * 1024


class LeRobotVideoReader:
    """Reads one MP4 file.

    Args:
        place: of the object in its dataset; None for a video that came alone, which is episode 0 of nothing.

    Raises:
        BadInputError: no table of its frames can be read (``mp4.read_video_track``).
    """

    format = "mp4"

    def __init__(self, source: Source, config: DecodeConfig, place: Place | None, siblings: Siblings) -> None:
        self._source = source
        self._max_frame_bytes = config.max_chunk_bytes
        self._place = place
        self._clock = EpisodeClock(config.episode_spacing_ns)
        self.findings = Findings()
        self._meta: LeRobotMeta = read_meta(place.root if place else "", siblings, config.max_chunk_bytes)
        self._track: VideoTrack = read_video_track(source, config.max_record_bytes)
        topic = self._meta.video_topic(place.key) if place else "/video"
        self._definition: Definition = DatasetChannels(self.findings).define(topic, blocks.VIDEO, self._track.schema)
        if place:
            describe(self.findings, self._meta, "video_presentation_time")

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """One."""
        return (Part(0, 0, self._source.size_bytes),)

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Every frame that the file holds whole, in the order of decoding.

        Raises:
            BadInputError: reason ``mp4_invalid`` for a file whose frames share their bytes.
        """
        shown_ns, decoded_ns = self._times()
        track = self._track
        self.findings.problems += track.problems
        is_there = track.offset + track.size_bytes <= self._source.size_bytes
        is_small = track.size_bytes <= self._max_frame_bytes
        self._report("truncated", "frames lie beyond the end of the file", ~is_there)
        self._report("frame_too_large", f"a frame of more than {self._max_frame_bytes} bytes", is_there & ~is_small)
        kept = np.flatnonzero(is_there & is_small & (track.size_bytes > 0))
        if int(track.size_bytes[kept].sum()) > self._source.size_bytes:
            raise BadInputError("its frames are larger together than the file", reason="mp4_invalid")
        group = np.cumsum(track.size_bytes[kept]) // _BLOCK_BYTES
        for frames in np.split(kept, np.flatnonzero(np.diff(group)) + 1):
            for first in range(0, len(frames), blocks.MAX_BLOCK_MESSAGES):
                rows = frames[first : first + blocks.MAX_BLOCK_MESSAGES]
                yield self._block(rows, shown_ns[rows], decoded_ns[rows])

    def _block(self, rows: np.ndarray, shown_ns: np.ndarray, decoded_ns: np.ndarray) -> Block:
        offset, size = self._track.offset[rows], self._track.size_bytes[rows]
        exclusive_end = np.cumsum(size)
        body = bytearray(int(exclusive_end[-1]))
        for at, start, length in zip((exclusive_end - size).tolist(), offset.tolist(), size.tolist(), strict=True):
            body[at : at + length] = self._source.read(start, length)
        return blocks.make_block(
            self._definition,
            memoryview(body).toreadonly(),
            exclusive_end - size,
            exclusive_end,
            shown_ns,
            offset,
            # Frames may share some bytes in a hostile file; their numbers tell them apart.
            rows,
            log_time_ns=decoded_ns,
        )

    def _times(self) -> tuple[np.ndarray, np.ndarray]:
        """Presentation and decoding time of each frame in its episode's place, (n,) int64 each."""
        shown, decoded = self._track.shown_ns, self._track.decoded_ns
        spans = self._spans()
        steps = np.diff(np.sort(shown))
        half_ns = int(np.median(steps)) // 2 if len(steps) else 0
        # Episode bounds are sums of rounded seconds: a frame belongs to the bound that is nearest.
        number = np.searchsorted(np.array([s.start_ns - half_ns for s in spans], np.int64), shown, side="right") - 1
        if (number < 0).any():
            number = np.maximum(number, 0)
        times = np.empty(len(shown), np.int64)
        logged = np.empty(len(shown), np.int64)
        for at in np.unique(number).tolist():
            is_here, span = number == at, spans[at]
            since = np.maximum(shown[is_here] - span.start_ns, 0)
            times[is_here] = self._clock.placed(span.episode_index, since)
            logged[is_here] = self._clock.placed(span.episode_index, decoded[is_here] - span.start_ns)
        return times, logged

    def _spans(self) -> list[VideoSpan]:
        place = self._place
        if place is None:
            return [VideoSpan(0, 0)]
        if place.episode is not None:
            return [VideoSpan(place.episode, 0)]
        spans = self._meta.video_spans(place)
        if not spans:
            # Without meta/episodes the file's number is all there is to keep its frames from another's.
            self.findings.metadata[blocks.DATASET]["time"] = "video_presentation_time_of_file"
            return [VideoSpan(place.chunk * 1000 + place.file, 0)]
        return spans

    def _report(self, reason: str, detail: str, is_lost: np.ndarray) -> None:
        if not is_lost.any():
            return
        offset, size = self._track.offset[is_lost], self._track.size_bytes[is_lost]
        end = min(int((offset + size).max()), self._source.size_bytes)
        start = min(int(offset.min()), end)
        self.findings.problems.append(Problem(reason, f"{int(is_lost.sum())} frames: {detail}", start, end))
