"""Where scenes begin and end, and which clock rules them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scenelake.contracts.modalities import Modality
from scenelake.synchronise.streams import Stream
from scenelake.timebase.arrays import Int64Array
from scenelake.timebase.blocks import blocks
from scenelake.timebase.slots import slot_window, slots_of
from scenelake.timebase.windows import Window

FIXED_GRID_MODALITIES = frozenset(
    {
        Modality.DEPTH,
        Modality.RADAR,
        Modality.RADAR_TRACK,
        Modality.IMU,
        Modality.GNSS,
        Modality.EGO_POSE,
        Modality.ROBOT_STATE,
        Modality.ACTION,
        Modality.CAN,
        Modality.ANNOTATION,
    }
)
"""What makes a scene where there is neither LiDAR nor camera. Latched and unreadable channels make none."""


@dataclass(frozen=True, slots=True)
class EpisodeMark:
    """A ``start`` or ``end`` of an episode, as recorded."""

    timestamp_ns: int
    event: str
    episode_index: int | None
    task: str | None


@dataclass(frozen=True, slots=True)
class SceneWindow:
    """One scene to be.

    Attributes:
        position: slot number, or episode number; the part of the scene's identity within its drive.
        window: what is assigned to it; the scene row's own times are clipped to the data found there.
        task: from the episode's marks; None when they name none.
    """

    position: str
    kind: str
    window: Window
    task: str | None = None


def choose_reference(streams: Mapping[str, Stream], *, is_episodic: bool = False) -> Stream | None:
    """The LiDAR with most decoded rows, else the camera with most; ties by name. None: a fixed grid.

    In a drive of episodes cameras go first: a policy is trained on their frames.
    """
    order = (Modality.LIDAR, Modality.CAMERA)
    for modality in reversed(order) if is_episodic else order:
        candidates = [s for s in streams.values() if s.modality is modality and len(s.decoded_rows)]
        if candidates:
            return min(candidates, key=lambda s: (-len(s.decoded_rows), s.channel))
    return None


def fixed_grid_streams(streams: Mapping[str, Stream]) -> list[Stream]:
    """Channels that make scenes in the absence of a reference."""
    return [s for s in streams.values() if s.modality in FIXED_GRID_MODALITIES and len(s.decoded_rows)]


def cut_segments(streams: Mapping[str, Stream], reference: Stream | None) -> tuple[SceneWindow, ...]:
    """Slots of 20 s anchored at the epoch that hold a row of the reference (or of any ruling channel)."""
    ruling = [reference] if reference is not None else fixed_grid_streams(streams)
    if not ruling:
        return ()
    slots = sorted({slot for s in ruling for slot in _slots_with_data(s.decoded_ns)})
    return tuple(SceneWindow(str(slot), "drive_segment", slot_window(slot)) for slot in slots)


def _slots_with_data(sorted_ns: Int64Array) -> set[int]:
    found: set[int] = set()
    for start, end in blocks(len(sorted_ns)):
        found.update(np.unique(slots_of(sorted_ns[start:end])).tolist())
    return found


def cut_episodes(marks: Sequence[EpisodeMark], last_ns: int) -> tuple[SceneWindow, ...]:
    """Episodes from their marks.

    An episode runs from its start mark through its end mark, or to the next start, or (when the recording
    stops first) through ``last_ns``. An end without a start makes no episode. A number used twice in a drive
    gets ``.1``, ``.2`` … in the order of time; an episode without a number is counted.

    Args:
        marks: in any order.
        last_ns: stamp of the drive's last message.
    """
    ordered = sorted(marks, key=lambda m: (m.timestamp_ns, m.event == "start"))
    starts = [m for m in ordered if m.event == "start"]
    scenes = []
    used: Counter[str] = Counter()
    for number, start in enumerate(starts):
        following = starts[number + 1].timestamp_ns if number + 1 < len(starts) else None
        end = next((m for m in ordered if m.event == "end" and _ends(m, start, following)), None)
        stops = [end.timestamp_ns + 1] if end else [] if following is not None else [last_ns + 1]
        exclusive_end_ns = min(stops + ([following] if following is not None else []))
        if exclusive_end_ns <= start.timestamp_ns:
            continue
        name = str(number if start.episode_index is None else start.episode_index)
        position = f"{name}.{used[name]}" if used[name] else name
        used[name] += 1
        task = start.task or (end.task if end else None)
        scenes.append(SceneWindow(position, "episode", Window(start.timestamp_ns, exclusive_end_ns), task))
    return tuple(scenes)


def _ends(mark: EpisodeMark, start: EpisodeMark, following_ns: int | None) -> bool:
    is_same = mark.episode_index is None or start.episode_index is None or mark.episode_index == start.episode_index
    return (
        is_same
        and mark.timestamp_ns >= start.timestamp_ns
        and (following_ns is None or mark.timestamp_ns <= following_ns)
    )
