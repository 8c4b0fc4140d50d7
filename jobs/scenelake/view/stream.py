"""Rows of a scene on their way into a Rerun recording, in blocks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import rerun as rr

from scenelake.export.images import Unusable
from scenelake.export.summary import Summary
from scenelake.timebase.arrays import Int64Array
from scenelake.view.opened import NO_FRAME, Channel, OpenedScene

TIME, KEYFRAME = "time", "keyframe"
WORLD, EGO = "/world", "/world/ego"
BLOCK_BYTES = 8 * 1024**2
"""Payload that is gathered before it is handed on."""
BLOCK_ROWS = 20_000
"""Rows that are handed on at a time."""
Columns = Iterable[Any]
"""What ``columns`` of a Rerun archetype gives."""
Item = TypeVar("Item")


class Stream:
    """What the parts of a recording share."""

    def __init__(self, recording: rr.RecordingStream, opened: OpenedScene, summary: Summary) -> None:
        self.recording = recording
        self.opened = opened
        self.summary = summary

    def entity(self, parent: str, channel: Channel) -> str:
        """``<parent>/<modality>/<short name>``."""
        return f"{parent}/{channel.modality}/{self.opened.names(channel.modality, channel.channel)}"

    def log_static(self, entity: str, what: Any) -> None:
        """Logs an archetype that holds at all times."""
        self.recording.log(entity, what, static=True)

    def send(
        self, entity: str, stamps_ns: Int64Array, frames: Int64Array, columns_of: Callable[[Int64Array], Columns]
    ) -> None:
        """Sends rows of one entity: those of keyframes on both timelines, the others on time alone.

        Args:
            frames: (n,) keyframe of each row, or ``NO_FRAME``.
            columns_of: gives the components of the rows at some positions.
        """
        for is_key in (True, False):
            at = np.flatnonzero((frames != NO_FRAME) == is_key)
            for start in range(0, len(at), BLOCK_ROWS):
                part = at[start : start + BLOCK_ROWS]
                indexes = [rr.TimeColumn(TIME, timestamp=stamps_ns[part].astype("datetime64[ns]"))]
                if is_key:
                    indexes.append(rr.TimeColumn(KEYFRAME, sequence=frames[part]))
                self.recording.send_columns(entity, indexes, columns_of(part))

    def send_items(
        self,
        entity: str,
        channel: Channel,
        at: Int64Array,
        items: Sequence[Item],
        columns_of: Callable[[list[Item]], Columns],
    ) -> None:
        """Sends something for each of a channel's messages at some positions."""
        stamps_ns, frames = channel.stamps_ns[at], channel.frames[at]
        self.send(entity, stamps_ns, frames, lambda part: columns_of([items[i] for i in part.tolist()]))

    def send_seen(
        self,
        entity: str,
        channel: Channel,
        seen: Iterable[Item | Unusable],
        size_of: Callable[[Item], int],
        columns_of: Callable[[list[Item]], Columns],
    ) -> None:
        """Sends what a channel's messages show, one for each, in blocks of bounded size.

        What is not usable is counted in the summary.

        Args:
            size_of: bytes of one.
        """
        held: list[Item] = []
        at: list[int] = []
        size_bytes = 0
        for number, item in enumerate(seen):
            if isinstance(item, Unusable):
                self.summary.leave_out(f"{channel.modality} messages", item.reason, item.detail or channel.channel)
                continue
            held.append(item)
            at.append(number)
            size_bytes += size_of(item)
            if size_bytes >= BLOCK_BYTES:
                self.send_items(entity, channel, np.array(at, np.int64), held, columns_of)
                held, at, size_bytes = [], [], 0
            self.summary.wrote(f"{channel.modality} messages")
        self.send_items(entity, channel, np.array(at, np.int64), held, columns_of)
